"""Where addresses are: in networks of one's own, and by databases of the user (MaxMind DB) in which system and country.

Importing this module loads NumPy and no database; opening one needs the package `maxminddb`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.errors import ConfigError, SourceError

_HALF = 2**64 - 1
_LIMITED_BROADCAST = 0xFFFFFFFF
_LONGEST_WITH_BROADCAST = 30  # RFC 3021: /31 and /32 have none
_MOST_KNOWN = 1 << 20  # addresses

Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]


class Addresses(NamedTuple):
    """Addresses as halves of host integers, row by row; those of IPv4 are in `low`."""

    version: NDArray[np.uint8]
    high: Words
    low: Words


class Networks:
    """A set of networks, IPv4 and IPv6."""

    def __init__(self, networks: Iterable[str]) -> None:
        found = [ipaddress.ip_network(text) for text in networks]
        self._rows = [
            (net.version, *_halves(int(net.network_address)), *_halves(int(net.netmask) if net.prefixlen else 0))
            for net in found
        ]
        last = {
            int(net.broadcast_address) for net in found if net.version == 4 and net.prefixlen <= _LONGEST_WITH_BROADCAST
        }
        self._broadcast = np.array(sorted({_LIMITED_BROADCAST, *last}), np.uint64)

    def contain(self, addresses: Addresses) -> Flags:
        """Whether each address is in one of them."""
        inside = np.zeros(len(addresses.low), bool)
        for version, high, low, high_mask, low_mask in self._rows:
            same = addresses.low & np.uint64(low_mask) == np.uint64(low)
            if version == 6:
                same &= addresses.high & np.uint64(high_mask) == np.uint64(high)
            inside |= same & (addresses.version == version)
        return inside

    def are_broadcast(self, addresses: Addresses) -> Flags:
        """Whether each address is 255.255.255.255 or the last one of a network of IPv4."""
        found: Flags = np.isin(addresses.low, self._broadcast) & (addresses.version == 4)
        return found


def _halves(number: int) -> tuple[int, int]:
    return number >> 64, number & _HALF


def are_multicast(addresses: Addresses) -> Flags:
    """224.0.0.0/4 (RFC 5771) and ff00::/8 (RFC 4291)."""
    v4 = (addresses.version == 4) & (addresses.low >> np.uint64(28) == 0xE)
    v6 = (addresses.version == 6) & (addresses.high >> np.uint64(56) == 0xFF)
    found: Flags = v4 | v6
    return found


class Place(NamedTuple):
    """Autonomous system (0: not known), its organisation, and country."""

    asn: int = 0
    organization: str | None = None
    country: str | None = None


class Databases:
    """Looks addresses up in databases of users; what the first one does not know is asked of the next.

    Raises ConfigError for a file that is no such database.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._readers = [(path, _open(path)) for path in paths]
        self._known: dict[tuple[int, int, int], Place] = {}

    def find(self, addresses: Addresses) -> tuple[list[Place], NDArray[np.intp]]:
        """The places of the distinct addresses, and which of them each address has."""
        keys, places = _distinct(addresses)
        if len(self._known) + len(keys) > _MOST_KNOWN:
            self._known.clear()
        for key in keys:
            if key not in self._known:
                self._known[key] = self._look(key)
        return [self._known[key] for key in keys], places

    def _look(self, key: tuple[int, int, int]) -> Place:
        version, high, low = key
        text = ipaddress.IPv4Address(low) if version == 4 else ipaddress.IPv6Address(high << 64 | low)
        found = Place()
        for path, reader in self._readers:
            entry = _read(path, reader, text)
            if isinstance(entry, dict):
                found = _merged(found, entry)
        return found


def _distinct(addresses: Addresses) -> tuple[list[tuple[int, int, int]], NDArray[np.intp]]:
    """Each address once, and the place of each row's among them. IPv4 apart: one word is sorted faster than three."""
    places = np.zeros(len(addresses.low), np.intp)
    keys: list[tuple[int, int, int]] = []
    v4 = addresses.version == 4
    if v4.any():
        low, inverse = np.unique(addresses.low[v4], return_inverse=True)
        keys += [(4, 0, number) for number in low.tolist()]
        places[v4] = inverse.reshape(-1)
    if not v4.all():
        rows = np.stack((addresses.high[~v4], addresses.low[~v4]), axis=1)
        unique, inverse = np.unique(rows, axis=0, return_inverse=True)
        places[~v4] = inverse.reshape(-1) + len(keys)
        keys += [(6, high, low) for high, low in unique.tolist()]
    return keys, places


def _open(path: str) -> Any:
    import maxminddb

    try:
        return maxminddb.open_database(path)
    except OSError as error:
        raise ConfigError(f"cannot read the database {path}: {error.strerror or error}") from None
    except (maxminddb.InvalidDatabaseError, ValueError) as error:
        raise ConfigError(f"{path} is no MaxMind database (.mmdb): {error}") from None


def _read(path: str, reader: Any, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Any:
    import maxminddb

    try:
        return reader.get(address)
    except maxminddb.InvalidDatabaseError as error:
        raise SourceError(f"the database {path} is damaged: {error}") from None
    except ValueError:  # an IPv6 address, and the database has none
        return None


def _merged(known: Place, entry: Mapping[str, Any]) -> Place:
    """What is known, and behind it what an entry says: in the words of MaxMind and DB-IP, or of IPinfo."""
    return Place(
        known.asn or _asn(entry),
        known.organization or next(_texts(entry, "autonomous_system_organization", "as_name"), None),
        known.country or next(_countries(entry), None),
    )


def _asn(entry: Mapping[str, Any]) -> int:
    number = entry.get("autonomous_system_number", entry.get("asn"))
    if isinstance(number, str):
        number = number.upper().removeprefix("AS")
        number = int(number) if number.isascii() and number.isdigit() else 0
    return number if isinstance(number, int) and 0 <= number < 2**32 else 0


def _countries(entry: Mapping[str, Any]) -> Iterator[str]:
    """Codes of two letters (ISO 3166): where an address is, or else where it is registered."""
    for name in ("country", "registered_country"):
        inside = entry.get(name)
        if isinstance(inside, dict):
            yield from _texts(inside, "iso_code")
    yield from (text for text in _texts(entry, "country_code", "country") if len(text) == 2)


def _texts(entry: Mapping[str, Any], *names: str) -> Iterator[str]:
    for name in names:
        value = entry.get(name)
        if isinstance(value, str) and value:
            yield value
