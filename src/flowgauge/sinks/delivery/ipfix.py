"""IPFIX: flow records as biflows to a collector (RFC 7011, RFC 5103), over UDP or TCP.

The client is the source of a biflow; what the server has sent is in reverse elements. Records have a fixed length, one
template for IPv4 and one for IPv6, and are encoded column by column. IPFIX has no acknowledgement: over TCP a delivery
returns when the collector's system has all of it, over UDP when it is sent.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.errors import ConfigError, DestinationDown, SinkError
from flowgauge.schema import TCP_FLAGS
from flowgauge.sinks.delivery.url import Url

PORT = 4739
VERSION = 10
TEMPLATES = {4: 256, 6: 257}
"""The template id of records of each version of IP."""
REVERSE = 29305
"""The enterprise number of reverse information elements (RFC 5103 §6.1)."""

_TEMPLATE_SET = 2
_HEADER, _SET_HEADER = struct.Struct("!HHIII"), struct.Struct("!HH")
_AROUND = {"udp": 40 + 8, "tcp": 40 + 60}  # bytes of IPv6 and transport headers
_TIMEOUT = 10.0  # s, of a connection and of what is sent
_TAKEN = 30.0  # s that a collector's system may need to take a delivery
_BURST, _REST = 10, 0.002  # messages over UDP, and s behind them: the buffer of a collector holds about a hundred
_REFUSED = 0.05  # s in which a machine says that nobody listens there
_NTP = 2_208_988_800  # s from 1900, where the times of NTP begin, to 1970
_END_REASONS = {
    **{"idle": 1, "active": 2, "window": 2, "fin": 3, "rst": 3, "reuse": 3, "late": 3},
    **{"eof": 4, "stop": 4, "limit": 5},
}  # flowEndReason: idle timeout, active timeout, end of flow, forced end, lack of resources
_INITIATOR, _ARBITRARY = 1, 0  # biflowDirection

Numbers = NDArray[Any]


class Element(NamedTuple):
    """One field of a record: its information element, its NumPy type, and its values of the rows of a table."""

    name: str
    number: int
    kind: str
    values: Callable[[pa.Table], Any]
    needs: tuple[str, ...]  # columns
    reverse: bool = False


def _column(name: str, number: int, kind: str, column: str, reverse: bool = False, shift: int = 0) -> Element:
    return Element(name, number, kind, lambda table: _integers(table, column) >> shift, (column,), reverse)


def _both(name: str, number: int, kind: str, column: str) -> list[Element]:
    """An element and its reverse, of the columns of either direction."""
    return [_column(name, number, kind, f"up_{column}"), _column(name, number, kind, f"down_{column}", True)]


def _integers(table: pa.Table, name: str) -> Numbers:
    """The values of a column, 0 for null; times in ns since 1970."""
    found: Numbers = pc.fill_null(table[name].cast(pa.int64()), 0).to_numpy()
    return found


def _ntp(ns: Numbers) -> Numbers:
    """Times as NTP has them, 32 bits of seconds and 32 of their fraction (RFC 7011 §6.1.9)."""
    seconds = (ns // 10**9 + _NTP).astype(np.uint64)
    fraction = ((ns % 10**9).astype(np.uint64) << np.uint64(32)) // np.uint64(10**9)
    found: Numbers = seconds << np.uint64(32) | fraction
    return found


def _time(name: str, number: int, column: str, of: Callable[[Numbers], Numbers]) -> Element:
    return Element(name, number, ">u8", lambda table: of(_integers(table, column)), (column,))


def _addresses4(texts: pa.ChunkedArray) -> Numbers:
    digits = pc.list_flatten(pc.split_pattern(texts, ".")).cast(pa.uint8())
    return np.ascontiguousarray(digits.to_numpy()).view("V4")


def _addresses6(texts: pa.ChunkedArray) -> Numbers:
    encoded = texts.combine_chunks().dictionary_encode()
    known = b"".join(socket.inet_pton(socket.AF_INET6, text) for text in encoded.dictionary.to_pylist())
    found: Numbers = np.frombuffer(known, "V16")[encoded.indices.to_numpy()]
    return found


def _address(name: str, number: int, column: str, version: int) -> Element:
    kind, of = {4: ("V4", _addresses4), 6: ("V16", _addresses6)}[version]
    return Element(name, number, kind, lambda table: of(table[column]), (column,))


def _mac(name: str, number: int, column: str) -> Element:
    return Element(name, number, "V6", lambda table: _macs(table[column]), (column,))


def _macs(texts: pa.ChunkedArray) -> Numbers:
    digits = pc.replace_substring(pc.fill_null(texts, "00:00:00:00:00:00"), ":", "")
    return np.frombuffer(bytes.fromhex("".join(digits.to_pylist())), "V6")


def _flags(prefix: str, reverse: bool = False) -> Element:
    names = tuple(f"{prefix}{flag}_packets" for flag in TCP_FLAGS)

    def values(table: pa.Table) -> Numbers:
        return sum((_integers(table, name) > 0).astype(np.uint16) << bit for bit, name in enumerate(names))  # type: ignore[return-value]

    return Element("tcpControlBits", 6, ">u2", values, names, reverse)


def _coded(name: str, number: int, column: str, codes: dict[str, int], otherwise: int) -> Element:
    def values(table: pa.Table) -> Numbers:
        texts = table[column].combine_chunks().cast(pa.dictionary(pa.int32(), pa.string()))
        table_of = [codes.get(text, otherwise) for text in texts.dictionary.to_pylist()]
        found: Numbers = np.array([*table_of, otherwise], np.uint8)[pc.fill_null(texts.indices, -1).to_numpy()]
        return found

    return Element(name, number, "u1", values, (column,))


def _icmp(name: str, number: int) -> Element:
    def values(table: pa.Table) -> Numbers:
        return _integers(table, "icmp_type") << 8 | _integers(table, "icmp_code")

    return Element(name, number, ">u2", values, ("icmp_type", "icmp_code"))


def elements(version: int) -> list[Element]:
    """All fields of the records of a version of IP, by the registry of IANA."""
    addresses = {4: (8, 12), 6: (27, 28)}[version]
    return [
        _column("flowId", 148, ">u8", "flow_id"),
        _time("flowStartMilliseconds", 152, "start", lambda ns: ns // 10**6),
        _time("flowEndMilliseconds", 153, "end", lambda ns: ns // 10**6),
        _time("flowStartNanoseconds", 156, "start", _ntp),
        _time("flowEndNanoseconds", 157, "end", _ntp),
        _address(f"sourceIPv{version}Address", addresses[0], "client_ip", version),
        _address(f"destinationIPv{version}Address", addresses[1], "server_ip", version),
        _column("sourceTransportPort", 7, ">u2", "client_port"),
        _column("destinationTransportPort", 11, ">u2", "server_port"),
        _column("protocolIdentifier", 4, "u1", "protocol"),
        _column("ipVersion", 60, "u1", "ip_version"),
        *_both("octetDeltaCount", 1, ">u8", "ip_bytes"),
        *_both("packetDeltaCount", 2, ">u8", "packets"),
        _flags("down_", reverse=True),  # first: of two, nfcapd 1.7.1 keeps the last
        _flags("up_"),
        _coded("flowEndReason", 136, "end_reason", _END_REASONS, 3),
        _coded("biflowDirection", 239, "client_by", {"first": _ARBITRARY}, _INITIATOR),
        _icmp(*{4: ("icmpTypeCodeIPv4", 32), 6: ("icmpTypeCodeIPv6", 139)}[version]),
        _column("vlanId", 58, ">u2", "vlan_outer"),
        _column("dot1qCustomerVlanId", 245, ">u2", "vlan"),
        _mac("sourceMacAddress", 56, "client_mac"),
        _mac("destinationMacAddress", 80, "server_mac"),
        *_both("ipDiffServCodePoint", 195, "u1", "dscp"),
        *_both("minimumTTL", 52, "u1", "ttl_min"),
        *_both("maximumTTL", 53, "u1", "ttl_max"),
    ]


_REQUIRED = ("flow_id", "start", "end", "client_ip", "server_ip", "ip_version", "up_packets", "down_packets")


class Template:
    """The records of one version of IP, with those elements that a table has columns for."""

    def __init__(self, version: int, schema: pa.Schema) -> None:
        names = set(schema.names)
        self.id, self.version = TEMPLATES[version], version
        self.elements = [element for element in elements(version) if names.issuperset(element.needs)]
        self.record = np.dtype([(str(place), element.kind) for place, element in enumerate(self.elements)])

    def encoded(self) -> bytes:
        """The template record (RFC 7011 §3.4.1)."""
        fields = [_SET_HEADER.pack(self.id, len(self.elements))]
        for place, element in enumerate(self.elements):
            length = self.record[place].itemsize
            fields.append(_SET_HEADER.pack(element.number | 0x8000 * element.reverse, length))
            fields.append(struct.pack("!I", REVERSE) * element.reverse)
        return b"".join(fields)

    def records(self, table: pa.Table) -> Numbers:
        """The data records of the rows that are of this version."""
        table = table.filter(pc.equal(table["ip_version"], self.version))
        found = np.zeros(len(table), self.record)
        for place, element in enumerate(self.elements if len(table) else ()):
            try:
                found[str(place)] = element.values(table)
            except (ValueError, OSError) as error:  # of inet_pton, which must not look as if nobody answered
                raise SinkError(f"a value of {' or '.join(element.needs)} is no {element.name}: {error}") from None
        return found


class Ipfix:
    """The collector of a URL `ipfix://host[:4739]?transport=udp|tcp&domain=0&mtu=1500`."""

    rows = 4096

    def __init__(self, url: Url) -> None:
        url.check_options({"transport", "domain", "mtu"})
        self._transport = url.one_of("transport", ("udp", "tcp"))
        self._domain = url.whole("domain", 0, 0, 2**32 - 1)
        self._size = url.whole("mtu", 1500, 576, 65_535) - _AROUND[self._transport]
        found = url.addresses(PORT)
        if len(found) != 1 or url.path:
            raise ConfigError(f"{url.shown}: name one collector: ipfix://collector:{PORT}")
        self._address = found[0]
        self.name = url.shown
        self._socket: socket.socket | None = None
        self._sequence = 0
        self._sent = 0  # messages
        self._templates: list[Template] = []

    def connect(self, schema: pa.Schema) -> None:
        """Connect, and send the templates."""
        self.close()
        if missing := [name for name in _REQUIRED if name not in schema.names]:
            raise ConfigError(f"ipfix:// takes flows of schema native, which have a column {missing[0]}")
        self._templates = [Template(version, schema) for version in TEMPLATES]
        self._sequence = 0  # counts data records of one session
        with self._explained():
            kind = socket.SOCK_STREAM if self._transport == "tcp" else socket.SOCK_DGRAM
            family, _, protocol, _, address = socket.getaddrinfo(*self._address, type=kind)[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.settimeout(_TIMEOUT)
            self._socket.connect(address)
            self._send(self._template_message())
            self._check(_REFUSED if self._transport == "udp" else 0.0)

    def deliver(self, table: pa.Table) -> None:
        """Send all rows as biflows; over UDP behind the templates, which a collector that has begun anew needs."""
        with self._explained():
            if self._transport == "udp":
                self._send(self._template_message())
            for message in self._messages(table):
                self._send(message)
            self._wait_taken()
            self._check(0.0)

    def _template_message(self) -> bytes:
        return self._message(_TEMPLATE_SET, b"".join(template.encoded() for template in self._templates))

    def _messages(self, table: pa.Table) -> Iterator[bytes]:
        for template in self._templates:
            records = template.records(table)
            most = (self._size - _HEADER.size - _SET_HEADER.size) // template.record.itemsize
            for begin in range(0, len(records), most):
                some = records[begin : begin + most]
                yield self._message(template.id, some.tobytes())
                self._sequence = (self._sequence + len(some)) % 2**32

    def _message(self, set_id: int, data: bytes) -> bytes:
        """A message of one set (RFC 7011 §3.1)."""
        length = _HEADER.size + _SET_HEADER.size + len(data)
        header = _HEADER.pack(VERSION, length, int(time.time()), self._sequence, self._domain)
        return header + _SET_HEADER.pack(set_id, _SET_HEADER.size + len(data)) + data

    def _send(self, message: bytes) -> None:
        assert self._socket is not None
        self._socket.sendall(message)
        self._sent += 1
        if self._transport == "udp" and not self._sent % _BURST:
            time.sleep(_REST)

    def _check(self, seconds: float) -> None:
        """Raise OSError where the other end has left, or says in this time that nobody is there; it never sends."""
        assert self._socket is not None
        if select.select([self._socket], [], [], seconds)[0] and not self._socket.recv(1):
            raise ConnectionResetError("the collector has closed the connection")

    def _wait_taken(self) -> None:
        """Over TCP, wait until the collector's system has acknowledged all, where this system can tell."""
        end = time.monotonic() + _TAKEN
        while self._transport == "tcp" and _unsent(self._socket):
            if time.monotonic() > end:
                raise TimeoutError("the collector takes no more")
            self._check(0.001)  # what is not acknowledged when a connection breaks off never will be

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DestinationDown(error.strerror or str(error)) from error

    def close(self) -> None:
        """End the session."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _unsent(connection: socket.socket | None) -> int:
    """Bytes that the other end has not acknowledged (SIOCOUTQ, tcp(7)); 0 where the system does not tell."""
    if connection is None or sys.platform != "linux":
        return 0
    import fcntl
    import termios

    return int(struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0\0\0\0"))[0])
