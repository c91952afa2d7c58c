"""What the oracle knows of the way to an IP packet: from the link to IP, and from one IP packet into the next.

Plain Python like the rest of the oracle, and written from docs/formats.md and docs/flow-semantics.md, "Tunnels": it
imports nothing of the package. Every layer is a function from the place where it begins to a :class:`Step`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class UnmeteredError(Exception):
    """The packet is in no flow; the message is its reason."""


def need(condition: bool, reason: str) -> None:
    """A packet that fails a condition ends in that reason."""
    if not condition:
        raise UnmeteredError(reason)


def u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


class Place(NamedTuple):
    """A position in the captured bytes of a frame; `end` is where the packet around it ends on the wire."""

    data: bytes
    at: int
    end: int

    @property
    def known(self) -> bytes:
        """What was captured from here on."""
        return self.data[self.at : self.end]

    @property
    def length(self) -> int:
        """Bytes on the wire from here on."""
        return self.end - self.at

    def after(self, size: int) -> Place:
        return self._replace(at=self.at + size)


class Encapsulation(NamedTuple):
    """One entry of the column `tunnel`."""

    name: str
    id: int | str | None = None
    symmetric: bool = False

    @property
    def text(self) -> str:
        return self.name if self.id is None else f"{self.name}:{self.id}"


Kind = int | str
"""What follows: an EtherType, a length, or the name of something that has none."""


class Step(NamedTuple):
    """What a layer leads to."""

    kind: Kind
    place: Place
    around: tuple[Encapsulation, ...] = ()
    vlan: int | None = None


class Found(NamedTuple):
    """An IP packet, of the version that what is in front announces; the VLAN ids before any encapsulation."""

    version: int
    place: Place
    around: tuple[Encapsulation, ...]
    vlans: tuple[int, ...]


IP_OF_ETHERTYPE = {0x0800: 4, 0x86DD: 6}
VLAN_ETHERTYPES = (0x8100, 0x88A8, 0x9100)
MOST = 8  # encapsulations


# ---------------------------------------------------------------------------------------------
# Between link and IP
# ---------------------------------------------------------------------------------------------


def walk(kind: Kind, place: Place) -> Found:
    """From a layer to IP. Raises UnmeteredError."""
    around: tuple[Encapsulation, ...] = ()
    vlans: tuple[int, ...] = ()
    while kind not in IP_OF_ETHERTYPE:
        layer = _LAYERS.get("llc" if isinstance(kind, int) and kind <= 1500 else kind)
        if layer is None:
            raise UnmeteredError("not_ip")
        step = layer(place)
        if step.vlan is not None and not around:
            vlans += (step.vlan,)
        around += step.around
        kind, place = step.kind, step.place
    return Found(IP_OF_ETHERTYPE[int(kind)], place, around, vlans)


def _vlan(place: Place) -> Step:
    need(len(place.known) >= 4, "truncated_link")
    return Step(u16(place.known, 2), place.after(4), vlan=u16(place.known, 0) & 0xFFF)


def _llc(place: Place) -> Step:
    """802.3: a length instead of an EtherType, then LLC; SNAP holds an EtherType, SAP 06 is IPv4."""
    need(len(place.known) >= 3, "truncated_link")
    header = place.known[:3]
    if header == b"\x06\x06\x03":
        return Step(0x0800, place.after(3))
    need(header == b"\xaa\xaa\x03", "not_ip")
    need(len(place.known) >= 8, "truncated_link")
    kind = u16(place.known, 6)
    need(place.known[3:6] == b"\0\0\0" and kind > 1500, "not_ip")
    return Step(kind, place.after(8))


def _ip_by_version(place: Place) -> Step:
    need(len(place.known) >= 1, "truncated_link")
    version = place.known[0] >> 4
    need(version in (4, 6), "bad_ip_version")
    return Step(0x0800 if version == 4 else 0x86DD, place)


def is_ip(place: Place) -> bool:
    """Whether a whole header that fits into the bytes on the wire begins here."""
    known = place.known
    if len(known) >= 20 and known[0] >> 4 == 4:
        return 20 <= (known[0] & 15) * 4 <= u16(known, 2) <= place.length
    return len(known) >= 40 and known[0] >> 4 == 6 and 40 + u16(known, 4) <= place.length


def is_frame(place: Place) -> bool:
    """Whether an Ethernet frame with an IP header begins here."""
    at = 12
    while u16(place.known, at) in VLAN_ETHERTYPES and len(place.known) >= at + 4:
        at += 4
    return u16(place.known, at) in IP_OF_ETHERTYPE and is_ip(place.after(at + 2))


def _mpls(place: Place) -> Step:
    """The page: what follows the last label is IP, or a pseudowire with Ethernet in it."""
    need(len(place.known) >= 4, "truncated_link")
    entry = u32(place.known, 0)
    label, behind = (Encapsulation("mpls", entry >> 12),), place.after(4)
    if not entry & 0x100:
        return Step(0x8847, behind, label)
    if not behind.known or is_ip(behind):
        return Step("ip", behind, label)
    first = behind.known[0] >> 4
    if first == 0 and is_frame(behind.after(4)):
        return Step(0x6558, behind.after(4), label)
    if is_frame(behind):
        return Step(0x6558, behind, label)
    need(first in (4, 6), "not_ip")
    return Step("ip", behind, label)


def _pppoe(place: Place) -> Step:
    need(len(place.known) >= 6, "truncated_link")
    need(place.known[:2] == b"\x11\0", "not_ip")
    return Step(0x880B, place.after(6), (Encapsulation("pppoe", u16(place.known, 2)),))


def _ppp(place: Place) -> Step:
    if place.known[:2] == b"\xff\x03":
        place = place.after(2)
    need(len(place.known) >= 2, "truncated_link")
    size = 1 if place.known[0] & 1 else 2
    protocol = int.from_bytes(place.known[:size], "big")
    kinds = {0x21: 0x0800, 0x57: 0x86DD, 0x281: 0x8847, 0x283: 0x8847}
    need(protocol in kinds, "not_ip")
    return Step(kinds[protocol], place.after(size))


def _bridged(place: Place) -> Step:
    need(len(place.known) >= 14, "truncated_link")
    return Step(u16(place.known, 12), place.after(14))


_LAYERS: dict[Kind, Callable[[Place], Step]] = {
    **dict.fromkeys(VLAN_ETHERTYPES, _vlan),
    "llc": _llc,
    "ip": _ip_by_version,
    0x8847: _mpls,
    0x8848: _mpls,
    0x8864: _pppoe,
    0x880B: _ppp,
    0x6558: _bridged,
}


# ---------------------------------------------------------------------------------------------
# Inside an IP packet
# ---------------------------------------------------------------------------------------------


class Carrier(NamedTuple):
    """An IP packet that may carry another: where its payload is, and the ports of UDP."""

    version: int
    protocol: int
    source: int
    destination: int
    payload: Place


def look_inside(carrier: Carrier, depth: int) -> Found | None:
    """The IP packet inside another that lies in `depth` encapsulations; None without one."""
    step = _PROTOCOLS.get(carrier.protocol, _nothing)(carrier)
    if step is None:
        return None
    try:
        found = walk(step.kind, step.place)
    except UnmeteredError:
        return None
    around = step.around + found.around
    return None if depth + len(around) > MOST else found._replace(around=around, vlans=())


def _nothing(carrier: Carrier) -> Step | None:
    return None


def _ip_in_ip(carrier: Carrier) -> Step | None:
    """Protocols 4 and 41."""
    inner = {4: 4, 41: 6}[carrier.protocol]
    name = "ipip" if inner == carrier.version == 4 else f"{inner}in{carrier.version}"
    return Step(0x0800 if inner == 4 else 0x86DD, carrier.payload, (Encapsulation(name),))


def _gre(carrier: Carrier) -> Step | None:
    place = carrier.payload
    if len(place.known) < 4:
        return None
    flags, kind = u16(place.known, 0), u16(place.known, 2)
    if flags & 0x4007:
        return None
    optional = [bit for bit in (0x8000, 0x2000, 0x1000) if flags & bit]  # checksum, key, sequence number
    size = 4 + 4 * len(optional)
    if len(place.known) < size:
        return None
    around = Encapsulation("gre")
    if 0x2000 in optional:
        key = u32(place.known, 4 + 4 * optional.index(0x2000))
        around = Encapsulation("gre", key)
        if kind == 0x6558 and optional == [0x2000]:
            around = Encapsulation("nvgre", key >> 8, symmetric=True)
    return Step(kind, place.after(size), (around,))


def _vxlan(place: Place) -> Step | None:
    known = place.known
    if len(known) < 8 or known[7]:
        return None
    group_policy = known[0] & 0x80
    if known[0] & 0x7F != 8 or known[1] & (0xB7 if group_policy else 0xFF):
        return None
    if known[2:4] != b"\0\0" and not group_policy:
        return None
    return Step(0x6558, place.after(8), (Encapsulation("vxlan", u32(known, 4) >> 8, symmetric=True),))


def _udp(carrier: Carrier) -> Step | None:
    to_port = _TO_PORT.get(carrier.destination)
    return to_port(carrier.payload) if to_port else None


_PROTOCOLS: dict[int, Callable[[Carrier], Step | None]] = {4: _ip_in_ip, 17: _udp, 41: _ip_in_ip, 47: _gre}
_TO_PORT: dict[int, Callable[[Place], Step | None]] = {4789: _vxlan, 8472: _vxlan}
