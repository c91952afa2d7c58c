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


def little(data: bytes) -> int:
    return int.from_bytes(data, "little")


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

    def without(self, trailer: int) -> Place:
        """The same without so many bytes at the end of what was on the wire."""
        return self._replace(end=max(self.at, self.end - trailer))

    def upto(self, size: int) -> Place:
        """At most so many bytes from here on."""
        return self._replace(end=min(self.end, self.at + size))


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
    macs: tuple[bytes, bytes] | None = None  # source and destination


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


def named(kind: int) -> Kind:
    """An EtherType where a number cannot be a length."""
    return kind if kind > 1500 else "nothing"


def _llc(place: Place) -> Step:
    """802.3: a length instead of an EtherType, then LLC: SNAP, SAP 06 of IPv4, SAP FE of an NLPID."""
    need(len(place.known) >= 3, "truncated_link")
    header = place.known[:3]
    if header == b"\x06\x06\x03":
        return Step(0x0800, place.after(3))
    if header == b"\xfe\xfe\x03":
        return Step("nlpid", place.after(3))
    need(header == b"\xaa\xaa\x03", "not_ip")
    return _snap(place.after(3), padding=2)


def _snap(place: Place, padding: int) -> Step:
    """An organisation and its protocol: an EtherType, or a bridged frame."""
    need(len(place.known) >= 5, "truncated_link")
    organisation, protocol = place.known[:3], u16(place.known, 3)
    if organisation in (b"\0\0\0", b"\0\0\xf8"):
        return Step(named(protocol), place.after(5))
    need(organisation == b"\0\x80\xc2" and protocol in (1, 7), "not_ip")
    return Step(0x6558, place.after(5 + padding))


def _nlpid(place: Place) -> Step:
    need(len(place.known) >= 1, "truncated_link")
    number, behind = place.known[0], place.after(1)
    if number == 0x80:
        return _snap(behind, padding=0)
    need(number in (0xCC, 0x8E), "not_ip")
    return Step(0x0800 if number == 0xCC else 0x86DD, behind)


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
    protocol, behind = int.from_bytes(place.known[:size], "big"), place.after(size)
    if protocol == 0x31:  # bridging: flags, MAC type, perhaps a LAN id
        need(len(behind.known) >= 2, "truncated_link")
        need(behind.known[1] == 1, "not_ip")
        return Step(0x6558, behind.after(6 if behind.known[0] & 0x40 else 2))
    if protocol == 0x3D:  # multilink: a fragment that begins and ends its packet
        need(len(behind.known) >= 4, "truncated_link")
        need(behind.known[0] >> 6 == 3, "not_ip")
        return Step(0x880B, behind.after(4))
    kinds = {0x21: 0x0800, 0x57: 0x86DD, 0x281: 0x8847, 0x283: 0x8847}
    need(protocol in kinds, "not_ip")
    return Step(kinds[protocol], behind)


def _bridged(place: Place) -> Step:
    need(len(place.known) >= 14, "truncated_link")
    return Step(u16(place.known, 12), place.after(14))


def _tag(size: int) -> Callable[[Place], Step]:
    """A tag that ends in an EtherType."""

    def layer(place: Place) -> Step:
        need(len(place.known) >= size, "truncated_link")
        return Step(u16(place.known, size - 2), place.after(size))

    return layer


def _macsec(place: Place) -> Step:
    """The page: what is signed is walked, what is encrypted is not IP. A check value of 16 bytes ends the frame."""
    need(len(place.known) >= 1, "truncated_link")
    version, identifier, encrypted = place.known[0] & 0x80, place.known[0] & 0x20, place.known[0] & 0x0C
    need(not version and not encrypted, "not_ip")
    step = _tag(16 if identifier else 8)(place)
    return step._replace(place=step.place.without(16))


def _pbb(place: Place) -> Step:
    need(len(place.known) >= 4, "truncated_link")
    return Step(0x6558, place.after(4), (Encapsulation("pbb", u32(place.known, 0) & 0xFFFFFF),))


def _fabricpath(place: Place) -> Step:
    need(len(place.known) >= 2, "truncated_link")
    return Step(0x6558, place.after(2), (Encapsulation("fabricpath"),))


def _trill(place: Place) -> Step:
    size = 6 + 4 * (u16(place.known, 0) >> 6 & 31)
    need(len(place.known) >= size, "truncated_link")
    return Step(0x6558, place.after(size), (Encapsulation("trill"),))


NEXT_PROTOCOLS: dict[int, Kind] = {1: 0x0800, 2: 0x86DD, 3: 0x6558, 4: 0x894F, 5: 0x8847}


def _nsh(place: Place) -> Step:
    known = place.known
    need(len(known) >= 8, "truncated_link")
    size = (known[1] & 63) * 4
    need(known[0] < 0x40 and size >= 8, "not_ip")
    need(len(known) >= size, "truncated_link")
    return Step(NEXT_PROTOCOLS.get(known[3], "nothing"), place.after(size), (Encapsulation("nsh", u32(known, 4) >> 8),))


def wireless(place: Place, *, swapped: bool = False, padded: bool = False) -> Step:
    """802.11: a data frame that is whole and not encrypted; the first packet of several."""
    known = place.known
    need(len(known) >= 2, "truncated_link")
    control, flags = (known[1], known[0]) if swapped else (known[0], known[1])
    quality = bool(control & 0x80)
    need(control & 3 == 0 and control >> 2 & 3 == 2 and not control & 0x40, "not_ip")
    need(not flags & 0x40, "not_ip")
    distribution = flags & 3
    plain_size = 30 if distribution == 3 else 24
    size = plain_size + (2 if quality else 0) + (4 if quality and flags & 0x80 else 0)
    need(len(known) >= size, "truncated_link")
    need(known[23 if swapped else 22] & 15 == 0, "not_ip")
    first, second, third, fourth = known[4:10], known[10:16], known[16:22], known[24:30]
    macs = [(second, first), (second, third), (third, first), (fourth, third)][distribution]
    body = place.after(size + (-size % 4 if padded else 0))
    if quality and known[plain_size] & 0x80:
        return _aggregate(body)
    return Step("llc", body, macs=macs)


def _aggregate(place: Place) -> Step:
    need(len(place.known) >= 14, "truncated_link")
    while len(place.known) >= 22:
        known, size = place.known, u16(place.known, 12)
        if known[14:20] == b"\xaa\xaa\3\0\0\0" and u16(known, 20) in IP_OF_ETHERTYPE:
            return Step("llc", place.after(14).upto(size), macs=(known[6:12], known[:6]))
        place = place.after(14 + size + -(14 + size) % 4)
    raise UnmeteredError("not_ip")


_LAYERS: dict[Kind, Callable[[Place], Step]] = {
    **dict.fromkeys(VLAN_ETHERTYPES, _vlan),
    "llc": _llc,
    "ip": _ip_by_version,
    0x8847: _mpls,
    0x8848: _mpls,
    0x8864: _pppoe,
    0x880B: _ppp,
    0x6558: _bridged,
    "nlpid": _nlpid,
    "wireless": wireless,
    "wireless swapped": lambda place: wireless(place, swapped=True),
    0x8926: _tag(6),
    0x892F: _tag(6),
    0x8909: _tag(8),
    0x88E5: _macsec,
    0x88E7: _pbb,
    0x8903: _fabricpath,
    0x22F3: _trill,
    0x894F: _nsh,
}


# ---------------------------------------------------------------------------------------------
# Links that few captures have
# ---------------------------------------------------------------------------------------------

FAMILIES = {2: 4, 10: 6, 24: 6, 28: 6, 30: 6}


def rare_link(link: int, place: Place) -> Step:
    """The first step behind the start of a frame of this link type. Raises UnmeteredError."""
    for _ in range(8):  # headers that a capture puts before the frame of another link type
        if link in (149, 258):
            link, place = _pktap(place)
        elif link == 192:
            link, place = _ppi(place)
        else:
            break
    if link in PLAIN_LINKS:
        return Step(f"link {link}", place)
    need(link in _LINKS, "unknown_link")
    return _LINKS[link](place)


PLAIN_LINKS = (0, 1, 12, 14, 101, 108, 113, 228, 229, 276)
"""Link types that the oracle itself decodes."""


def _pktap(place: Place) -> tuple[int, Place]:
    known = place.known
    need(len(known) >= 12, "truncated_link")
    size, record, link = (little(known[at : at + 4]) for at in (0, 4, 8))
    need(size >= 12 and record == 1, "not_ip")
    need(len(known) >= size, "truncated_link")
    return link, place.after(size)


def _ppi(place: Place) -> tuple[int, Place]:
    known = place.known
    need(len(known) >= 8, "truncated_link")
    size, link = little(known[2:4]), little(known[4:8])
    need(size >= 8, "not_ip")
    need(len(known) >= size, "truncated_link")
    at, fcs = 8, False
    while at + 4 <= size:
        kind, length = little(known[at : at + 2]), little(known[at + 2 : at + 4])
        fcs = fcs or (kind == 2 and at + 14 <= size and bool(known[at + 12] & 1))
        at += 4 + length
        if known[1] & 1:  # fields at multiples of four bytes
            at += -at % 4
    behind = place.after(size)
    return link, behind.without(4) if fcs else behind


def _typed(type_at: int, size: int) -> Callable[[Place], Step]:
    """A header of one size with an EtherType in it."""

    def layer(place: Place) -> Step:
        need(len(place.known) >= size, "truncated_link")
        return Step(named(u16(place.known, type_at)), place.after(size))

    return layer


def _as_it_is(kind: Kind, skipped: int = 0) -> Callable[[Place], Step]:
    return lambda place: Step(kind, place.after(skipped))


def _hdlc(place: Place) -> Step:
    need(len(place.known) >= 1, "truncated_link")
    return _typed(2, 4)(place) if place.known[0] in (0x0F, 0x8F) else Step(0x880B, place)


def _frame_relay(place: Place) -> Step:
    known, size = place.known, 2
    while size < 4 and size <= len(known) and not known[size - 1] & 1:
        size += 1
    need(len(known) >= size + 2, "truncated_link")
    need(not known[0] & 1, "not_ip")
    if known[size] != 3:
        return _typed(0, 2)(place.after(size))
    return Step("nlpid", place.after(size + (2 if known[size + 1] == 0 else 1)))


def _atm(place: Place) -> Step:
    need(len(place.known) >= 1, "truncated_link")
    return Step("llc" if place.known[0] in (0xAA, 0xFE) else "ip", place)


def _sunatm(place: Place) -> Step:
    need(len(place.known) >= 4, "truncated_link")
    traffic = place.known[0] & 15
    need(traffic in (1, 2), "not_ip")
    return Step("llc", place.after(4)) if traffic == 2 else Step(0x6558, place.after(6))


def _arcnet(type_at: int) -> Callable[[Place], Step]:
    def layer(place: Place) -> Step:
        need(len(place.known) >= type_at + 1, "truncated_link")
        kind, behind = place.known[type_at], place.after(type_at + 1)
        if kind == 240:
            return Step(0x0800, behind)
        need(kind in (212, 196), "not_ip")
        if behind.known[:1] == b"\xff":
            behind = behind.after(4)
        need(len(behind.known) >= 3, "truncated_link")
        split = behind.known[0]
        need(split == 0 or bool(split & 1), "not_ip")
        return Step(0x0800 if kind == 212 else 0x86DD, behind.after(3))

    return layer


def _of_family(family: int, place: Place) -> Step:
    version = FAMILIES.get(family)
    return Step("nothing" if version is None else {4: 0x0800, 6: 0x86DD}[version], place)


def _enc(place: Place) -> Step:
    need(len(place.known) >= 12, "truncated_link")
    family = u32(place.known, 0)
    return _of_family(family if family < 1 << 16 else little(place.known[:4]), place.after(12))


def _pflog(place: Place) -> Step:
    need(len(place.known) >= 2, "truncated_link")
    size = place.known[0] + -place.known[0] % 4
    need(len(place.known) >= size, "truncated_link")
    return _of_family(place.known[1], place.after(max(2, size)))


def _nflog(place: Place) -> Step:
    need(len(place.known) >= 4, "truncated_link")
    family, version = place.known[0], place.known[1]
    need(version == 0, "not_ip")
    place = place.after(4)
    while len(place.known) >= 4:
        order = "big" if not place.known[2] & 0x7F and place.known[3] else "little"
        size, kind = (int.from_bytes(place.known[at : at + 2], order) for at in (0, 2))  # type: ignore[arg-type]
        need(size >= 4, "not_ip")
        if kind & 0x7FFF == 9:
            return _of_family(family, place.upto(size).after(4))
        place = place.after(size + -size % 4)
    raise UnmeteredError("truncated_link")


def _radiotap(place: Place) -> Step:
    known = place.known
    need(len(known) >= 8, "truncated_link")
    size, present = little(known[2:4]), little(known[4:8])
    need(known[0] == 0 and size >= 8, "not_ip")
    need(len(known) >= size, "truncated_link")
    at, word = 8, present
    while word >> 31 and at + 4 <= size:
        word, at = little(known[at : at + 4]), at + 4
    if present & 1:
        at += -at % 8 + 8
    flags = known[at] if present & 2 and at < size else 0
    body = place.after(size)
    return wireless(body.without(4) if flags & 0x10 else body, padded=bool(flags & 0x20))


def _avs(place: Place) -> Step:
    need(len(place.known) >= 8, "truncated_link")
    size = max(8, u32(place.known, 4))
    need(len(place.known) >= size, "truncated_link")
    return wireless(place.after(size))


def _prism(place: Place) -> Step:
    if len(place.known) >= 4 and u32(place.known, 0) >> 4 == 0x8021100:
        return _avs(place)
    need(len(place.known) >= 144, "truncated_link")
    return wireless(place.after(144))


_LINKS: dict[int, Callable[[Place], Step]] = {
    7: _arcnet(2),
    9: _hdlc,
    50: _hdlc,
    51: _as_it_is(0x8864),
    100: _atm,
    104: _typed(2, 4),
    105: wireless,
    107: _frame_relay,
    109: _enc,
    117: _pflog,
    119: _prism,
    122: _as_it_is("llc", 16),
    123: _sunatm,
    127: _radiotap,
    129: _arcnet(4),
    138: _typed(16, 18),
    163: _avs,
    204: lambda place: _hdlc(place.after(1)),
    219: _as_it_is(0x8847),
    239: _nflog,
    242: _typed(40, 44),
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
    cut: bool = False  # its bytes may end before those of the packet in it


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


def _etherip(carrier: Carrier) -> Step | None:
    place = carrier.payload
    return Step(0x6558, place.after(2), (Encapsulation("etherip"),)) if place.known[:2] == b"\x30\0" else None


def _ethernet(carrier: Carrier) -> Step | None:
    return Step(0x6558, carrier.payload, (Encapsulation("ethernet"),))


def _mpls_inside(carrier: Carrier) -> Step | None:
    return Step(0x8847, carrier.payload)


def _gre(carrier: Carrier) -> Step | None:
    place = carrier.payload
    if len(place.known) < 4:
        return None
    flags, kind = u16(place.known, 0), u16(place.known, 2)
    if flags & 7 == 1:
        return _pptp(place, flags, kind)
    if flags & 0x4007:
        return None
    optional = [bit for bit in (0x8000, 0x2000, 0x1000) if flags & bit]  # checksum, key, sequence number
    behind = place.after(4 + 4 * len(optional))
    if len(place.known) < 4 + 4 * len(optional):
        return None
    if kind == 0x88BE:
        return _erspan(behind) if 0x1000 in optional else Step(0x6558, behind, (Encapsulation("erspan1"),))
    if kind == 0x22EB:
        return _erspan3(behind)
    around = Encapsulation("gre")
    if 0x2000 in optional:
        key = u32(place.known, 4 + 4 * optional.index(0x2000))
        around = Encapsulation("gre", key)
        if kind == 0x6558 and optional == [0x2000]:
            around = Encapsulation("nvgre", key >> 8, symmetric=True)
    if kind == 0x8909:  # Cisco's metadata, with its EtherType in front
        if len(behind.known) < 8:
            return None
        kind, behind = u16(behind.known, 0), behind.after(8)
    return Step(named(kind), behind, (around,))


def _pptp(place: Place, flags: int, kind: int) -> Step | None:
    """Version 1: key and sequence number must be there, checksum and routing not; an acknowledgement may be."""
    if kind != 0x880B or flags >> 12 != 3 or len(place.known) < 8:
        return None
    return Step(0x880B, place.after(16 if flags & 0x80 else 12), (Encapsulation("pptp", u16(place.known, 6)),))


def _erspan(place: Place) -> Step | None:
    if len(place.known) < 8 or place.known[0] >> 4 != 1:
        return None
    return Step(0x6558, place.after(8), (Encapsulation("erspan2", u16(place.known, 2) & 0x3FF),))


def _erspan3(place: Place) -> Step | None:
    known = place.known
    if len(known) < 12 or known[0] >> 4 != 2:
        return None
    kind = {0: 0x6558, 2: "ip"}.get(known[10] >> 2 & 31)
    if kind is None:
        return None
    size = 20 if known[11] & 1 else 12
    return Step(kind, place.after(size), (Encapsulation("erspan3", u16(known, 2) & 0x3FF),))


def _l2tpv3(place: Place) -> Step | None:
    """The page: a cookie of 0, 4 or 8 bytes and a sublayer of 0 or 4, whichever a whole IP packet follows."""
    if len(place.known) < 4 or u32(place.known, 0) == 0:
        return None
    around = (Encapsulation("l2tpv3", u32(place.known, 0)),)
    for skipped in (0, 4, 8, 12):
        begin = place.after(4 + skipped)
        if is_frame(begin):
            return Step(0x6558, begin, around)
        if len(begin.known) >= 4 and is_ip(begin.after(4)):
            word = begin.known[:4].hex()
            if word in ("ff030021", "ff030057"):
                return Step(0x880B, begin, around)
            if word[:4] in ("0f00", "8f00") and word[4:] in ("0800", "86dd"):
                return Step(int(word[4:], 16), begin.after(4), around)
    return None


def _fits(carrier: Carrier, size: int) -> bool:
    """Whether a length is that of the payload, or more where the packet around is cut."""
    return size == carrier.payload.length or (carrier.cut and size > carrier.payload.length)


def _l2tp(carrier: Carrier) -> Step | None:
    place = carrier.payload
    known = place.known
    if len(known) < 8:
        return None
    flags = u16(known, 0)
    control, reserved, version = flags & 0x8000, flags & 0x34F0, flags & 15
    if control or reserved or version not in (2, 3):
        return None
    if version == 3:
        return _l2tpv3(place.after(4))
    at = 2
    if flags & 0x4000:
        if not _fits(carrier, u16(known, 2)):
            return None
        at = 4
    if len(known) < at + 10:
        return None
    tunnel, session = u16(known, at), u16(known, at + 2)
    at += 8 if flags & 0x0800 else 4
    if flags & 0x0200:
        at += 2 + u16(known, at)
    return Step(0x880B, place.after(at), (Encapsulation("l2tp", f"{tunnel}.{session}"),))


def _gtp(carrier: Carrier) -> Step | None:
    known = carrier.payload.known
    if len(known) < 8 or known[0] >> 3 != 6 or known[1] != 255 or not _fits(carrier, 8 + u16(known, 2)):
        return None
    at = 8
    if known[0] & 7:
        at = 12
        if len(known) < 12:
            return None
        following = known[11] if known[0] & 4 else 0
        while following:
            size = known[at] * 4 if at < len(known) else 0
            if size == 0 or at + size > len(known):
                return None
            at += size
            following = known[at - 1]
    return Step("ip", carrier.payload.after(at), (Encapsulation("gtp", u32(known, 4)),))


def _teredo(carrier: Carrier) -> Step | None:
    place = carrier.payload
    if place.known[:2] == b"\0\1" and len(place.known) >= 4:
        place = place.after(13 + place.known[2] + place.known[3])
    if place.known[:2] == b"\0\0":
        place = place.after(8)
    return Step(0x86DD, place, (Encapsulation("teredo"),))


def _ayiya(carrier: Carrier) -> Step | None:
    known = carrier.payload.known
    if len(known) < 8 or known[2] & 15 != 1 or known[3] not in (4, 41):
        return None
    size = 8 + (1 << (known[0] >> 4)) + 4 * (known[1] >> 4)
    return Step(0x0800 if known[3] == 4 else 0x86DD, carrier.payload.after(size), (Encapsulation("ayiya"),))


def _capwap(carrier: Carrier) -> Step | None:
    known = carrier.payload.known
    if len(known) < 8 or known[0]:
        return None
    size, native, fragment, keep_alive = (known[1] >> 3) * 4, known[2] & 1, known[3] & 0x80, known[3] & 0x08
    if fragment or keep_alive or size < 8 or len(known) < size + 2:
        return None
    kind: Kind = 0x6558
    if native:
        kind = "wireless" if known[size] & 15 == 8 else "wireless swapped"
    return Step(kind, carrier.payload.after(size), (Encapsulation("capwap"),))


def _vxlan(carrier: Carrier) -> Step | None:
    place = carrier.payload
    known = place.known
    if len(known) < 8 or known[7]:
        return None
    group_policy = known[0] & 0x80
    if known[0] & 0x7F != 8 or known[1] & (0xB7 if group_policy else 0xFF):
        return None
    if known[2:4] != b"\0\0" and not group_policy:
        return None
    return Step(0x6558, place.after(8), (Encapsulation("vxlan", u32(known, 4) >> 8, symmetric=True),))


def _vxlan_gpe(carrier: Carrier) -> Step | None:
    known = carrier.payload.known
    if len(known) < 8 or known[0] & 0xFD != 0x0C or known[1:3] != b"\0\0" or known[7]:
        return None
    around = (Encapsulation("vxlan-gpe", u32(known, 4) >> 8, symmetric=True),)
    return Step(NEXT_PROTOCOLS.get(known[3], "nothing"), carrier.payload.after(8), around)


def _geneve(carrier: Carrier) -> Step | None:
    known = carrier.payload.known
    if len(known) < 8 or known[0] >> 6 or known[1] & 63 or known[7]:
        return None
    around = (Encapsulation("geneve", u32(known, 4) >> 8, symmetric=True),)
    return Step(named(u16(known, 2)), carrier.payload.after(8 + 4 * (known[0] & 63)), around)


def _tzsp(carrier: Carrier) -> Step | None:
    known = carrier.payload.known
    if len(known) < 4 or known[0] != 1 or known[1] > 1:
        return None
    kind = {1: 0x6558, 18: "wireless"}.get(u16(known, 2))
    if kind is None:
        return None
    at = 4
    while at + 2 <= len(known) and known[at] != 1:
        at += 1 if known[at] == 0 else 2 + known[at + 1]
    return Step(kind, carrier.payload.after(at + 1), (Encapsulation("tzsp"),))


def _udp(carrier: Carrier) -> Step | None:
    """The receiver's port decides; the sender's, where the receiver's is none of a tunnel."""
    if carrier.destination in _TO_PORT:
        return _TO_PORT[carrier.destination](carrier)
    port = carrier.destination if carrier.destination in _EITHER_PORT else carrier.source
    return _EITHER_PORT.get(port, _nothing)(carrier)


_PROTOCOLS: dict[int, Callable[[Carrier], Step | None]] = {
    4: _ip_in_ip,
    17: _udp,
    41: _ip_in_ip,
    47: _gre,
    97: _etherip,
    115: lambda carrier: _l2tpv3(carrier.payload),
    137: _mpls_inside,
    143: _ethernet,
}
_TO_PORT: dict[int, Callable[[Carrier], Step | None]] = {
    4754: _gre,
    4789: _vxlan,
    4790: _vxlan_gpe,
    6081: _geneve,
    6635: _mpls_inside,
    8472: _vxlan,
    37008: _tzsp,
}
_EITHER_PORT: dict[int, Callable[[Carrier], Step | None]] = {
    1701: _l2tp,
    2152: _gtp,
    3544: _teredo,
    5072: _ayiya,
    5247: _capwap,
}
