"""Dissectors called from Python: bytes of both ends in, what was found out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from flowgauge.kernels import dtls, quic, tls
from flowgauge.kernels._jit import byte_kernel
from flowgauge.kernels.facts import FACT, TEXTS
from flowgauge.kernels.hello import OVER_DTLS, OVER_QUIC, OVER_TCP

U = np.uint64
OUT_BYTES = 1 << 16


@byte_kernel
def _tls(data, up_begin, up_end, down_begin, down_end, facts, out):
    tls.dissect_tls(data, up_begin, up_end, down_begin, down_end, facts[0], out)


@byte_kernel
def _dtls(data, up_begin, up_end, down_begin, down_end, facts, out):
    dtls.dissect_dtls(data, up_begin, up_end, down_begin, down_end, facts[0], out)


@byte_kernel
def _client_hello(data, begin, end, carrier, facts, out):
    tls.dissect_client_hello(data, begin, end, carrier, facts[0], out)


@byte_kernel
def _is_whole_hello(data, begin, end, is_up):
    return tls.is_whole_hello(data, begin, end, is_up)


@byte_kernel
def _is_whole_dtls_hello(data, begin, end, is_up):
    return dtls.is_whole_dtls_hello(data, begin, end, is_up)


@byte_kernel
def _looks_like_quic(data, begin, end):
    return quic.looks_like_quic(data, begin, end)


def _array(*parts: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The parts between bytes that are none of them, so that one read too far is seen."""
    return np.frombuffer(b"\x16" + b"\x16".join(parts) + b"\x16", np.uint8).copy()


def found(fact: Any, out: Any) -> dict[str, Any]:
    """Numbers that are not 0, and texts that there are."""
    names = [name for name in FACT.names or () if name not in ("begin", "length", "stop")]
    told: dict[str, Any] = {name: int(fact[name]) for name in names if fact[name]}
    for i, name in enumerate(TEXTS):
        begin, length = int(fact["begin"][i]), int(fact["length"][i])
        if length:
            text = out[begin : begin + length].tobytes()
            told[name] = text if name == "certificate" else text.decode("latin-1")
    return told


def _both(kernel: Any, up: bytes, down: bytes, size: int) -> dict[str, Any]:
    facts, out = np.zeros(1, FACT).view(np.recarray), np.zeros(size, np.uint8)
    data, middle = _array(up, down), 1 + len(up)
    kernel(data, U(1), U(middle), U(middle + 1), U(middle + 1 + len(down)), facts, out)
    return found(facts[0], out)


def dissect_tls(up: bytes, down: bytes = b"", size: int = OUT_BYTES) -> dict[str, Any]:
    return _both(_tls, up, down, size)


def behind_lengths(datagrams: Sequence[bytes]) -> bytes:
    """Datagrams as they are kept: each behind its length."""
    return b"".join(len(datagram).to_bytes(2, "big") + datagram for datagram in datagrams)


def dissect_dtls(up: Sequence[bytes], down: Sequence[bytes] = (), size: int = OUT_BYTES) -> dict[str, Any]:
    return _both(_dtls, behind_lengths(up), behind_lengths(down), size)


def dissect_client_hello(message: bytes, carrier: str = "t", size: int = OUT_BYTES) -> dict[str, Any]:
    facts, out = np.zeros(1, FACT).view(np.recarray), np.zeros(size, np.uint8)
    number = {"t": OVER_TCP, "q": OVER_QUIC, "d": OVER_DTLS}[carrier]
    _client_hello(_array(message), U(1), U(1 + len(message)), number, facts, out)
    return found(facts[0], out)


def is_whole_hello(data: bytes, is_up: bool = True) -> bool:
    return bool(_is_whole_hello(_array(data), U(1), U(1 + len(data)), is_up))


def is_whole_dtls_hello(datagrams: Sequence[bytes], is_up: bool = True) -> bool:
    data = behind_lengths(datagrams)
    return bool(_is_whole_dtls_hello(_array(data), U(1), U(1 + len(data)), is_up))


def looks_like_quic(data: bytes) -> bool:
    return bool(_looks_like_quic(_array(data), U(1), U(1 + len(data))))


def ja3_hash(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def ja4_hash(text: str) -> str:
    """JA4 of its raw form; an empty list is twelve zeros."""
    first, ciphers, *rest = text.split("_")
    parts = [ciphers, "_".join(rest) if rest[0] else ""]
    return "_".join([first, *(hashlib.sha256(part.encode()).hexdigest()[:12] if part else "0" * 12 for part in parts)])
