"""Anonymisation: addresses keep common prefixes, names and MAC addresses become keyed hashes.

Addresses follow Crypto-PAn (Xu, Fan, Ammar and Moon 2002), which is a bijection: two addresses that share their first
k bits share the first k bits after it, and no more. IPv6 is done the same way over 128 bits. The same key gives the
same names in every run.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowgauge.errors import ConfigError
from flowgauge.kernels.packet import NO_MAC

KEY_BYTES = 32
FROM_ENVIRONMENT = "env"
VARIABLE = "FLOWGAUGE_KEY"
_BLOCK = 16
_BITS_AT_ONCE = 1 << 22  # of all blocks, a byte each
_MAC_BYTES = 32
_AT_ONCE = 1 << 26  # bytes that are encrypted in one call
_LOCAL = np.uint64(0x02 << 40)  # bit of a MAC address that is not the manufacturer's (IEEE 802 §8.2)
_GROUP = np.uint64(0x01 << 40)  # and of one that is a group's

U64 = NDArray[np.uint64]


def read_key(source: str) -> bytes:
    """The key in a file, or for "env" in the environment variable FLOWGAUGE_KEY: 64 hexadecimal digits.

    Raises ConfigError where it is not there or is none.
    """
    if source == FROM_ENVIRONMENT:
        text, place = os.environ.get(VARIABLE, ""), f"the environment variable {VARIABLE}"
    else:
        place = source
        try:
            text = Path(source).read_text("ascii", "replace")
        except OSError as error:
            raise ConfigError(f"cannot read the key {source}: {error.strerror or error}") from None
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        digits = 2 * KEY_BYTES
        raise ConfigError(f"{place} is no key of {digits} hexadecimal digits; make one: openssl rand -hex {KEY_BYTES}")
    return key


class Anonymizer:
    """Replaces what names people and machines, by one key."""

    def __init__(self, key: bytes) -> None:
        self._encrypt = _encryptor(key[:_BLOCK])
        self._pad = np.frombuffer(self._encrypt(key[_BLOCK:]), np.uint8)
        self._secret = hmac.digest(key, b"flowgauge names", hashlib.sha256)
        self._known: dict[tuple[int, int, int], tuple[int, int]] = {}

    def addresses(self, version: NDArray[np.uint8], high: U64, low: U64) -> tuple[U64, U64]:
        """Addresses as halves of host integers; those of IPv4 are in `low`."""
        rows = np.stack((version.astype(np.uint64), high, low), axis=1)
        unique, places = np.unique(rows, axis=0, return_inverse=True)
        keys = [tuple(row) for row in unique.tolist()]
        for bits, wanted in ((32, 4), (128, 6)):
            new = [key for key in keys if key[0] == wanted and key not in self._known]
            step = _BITS_AT_ONCE // (bits * 8 * _BLOCK)
            for at in range(0, len(new), step):
                part = new[at : at + step]
                self._known.update(zip(part, self._prefix_preserving(part, bits), strict=True))
        found = np.array([self._known[key] for key in keys], np.uint64).reshape(-1, 2)[places.reshape(-1)]
        return np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1])

    def _prefix_preserving(self, keys: list[tuple[int, int, int]], bits: int) -> list[tuple[int, int]]:
        """Crypto-PAn: bit n is flipped by the first bit of the cipher of the n bits before it and the pad."""
        numbers = [high << 64 | low for _, high, low in keys]
        size = bits // 8
        octets = np.frombuffer(b"".join(number.to_bytes(size, "big") for number in numbers), np.uint8)
        address = np.unpackbits(octets.reshape(-1, size), axis=1)
        pad = np.unpackbits(self._pad)
        blocks = np.broadcast_to(pad, (len(keys), bits, pad.size)).copy()
        shown = np.tri(bits, bits, -1, dtype=bool)  # bit n is told by those before it
        blocks[:, :, :bits] = np.where(shown, address[:, None, :], pad[:bits])
        cipher = np.frombuffer(self._encrypt(np.packbits(blocks, axis=2).tobytes()), np.uint8)
        flips = cipher.reshape(len(keys), bits, _BLOCK)[:, :, 0] >> 7
        made = np.packbits(address ^ flips, axis=1)
        return [_halves(int.from_bytes(row.tobytes(), "big")) for row in made]

    def macs(self, macs: U64) -> U64:
        """48-bit MAC addresses, each another local one; group addresses stay such, and none stays none."""
        unique, places = np.unique(macs, return_inverse=True)
        made = [mac if mac == NO_MAC else self._mac(int(mac)) for mac in unique]
        return np.array(made, np.uint64)[places]

    def _mac(self, mac: int) -> np.uint64:
        digest = hmac.digest(self._secret, b"mac" + mac.to_bytes(6, "big"), hashlib.sha256)
        number = np.uint64(int.from_bytes(digest[:6], "big")) & ~(_LOCAL | _GROUP)
        return number | _LOCAL | (np.uint64(mac) & _GROUP)

    def name(self, text: str) -> str:
        """A name, such as that of a file, as 16 hexadecimal digits."""
        return hmac.digest(self._secret, b"name" + text.encode("utf-8", "surrogateescape"), hashlib.sha256)[:8].hex()


class Seal:
    """Encrypts what is to be read with the same key alone: AES-256 in counter mode, and an HMAC of what that gives."""

    def __init__(self, key: bytes) -> None:
        self._cipher, self._mac = (hmac.digest(key, purpose, hashlib.sha256) for purpose in (b"seal", b"seal check"))

    def close(self, data: bytes) -> bytes:
        """The data encrypted, behind their HMAC and a nonce."""
        sealed = (nonce := os.urandom(_BLOCK)) + self._crypted(nonce, data)
        return hmac.digest(self._mac, sealed, hashlib.sha256) + sealed

    def open(self, data: bytes | memoryview) -> bytes | None:
        """The data of :meth:`close`; None where they, or the key, are others."""
        found, sealed = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(hmac.digest(self._mac, sealed, hashlib.sha256), found):
            return None
        return self._crypted(bytes(sealed[:_BLOCK]), sealed[_BLOCK:])

    def _crypted(self, nonce: bytes, data: bytes | memoryview) -> bytes:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        encryptor, view = Cipher(algorithms.AES(self._cipher), modes.CTR(nonce)).encryptor(), memoryview(data)
        parts = (encryptor.update(view[at : at + _AT_ONCE]) for at in range(0, len(view), _AT_ONCE))
        return b"".join(parts) + encryptor.finalize()


def _halves(number: int) -> tuple[int, int]:
    return number >> 64, number & (2**64 - 1)


def _encryptor(key: bytes) -> Callable[[bytes], bytes]:
    """AES-128 of whole blocks, each by itself."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    cipher = Cipher(algorithms.AES(key), modes.ECB())  # the construction of Crypto-PAn: a keyed function, no message

    def encrypt(blocks: bytes) -> bytes:
        encryptor = cipher.encryptor()
        done: bytes = encryptor.update(blocks) + encryptor.finalize()
        return done

    return encrypt
