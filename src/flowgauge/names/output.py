"""The columns of group `names` that are made of numbers and texts of ended records."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.arrays import category_array, text_array
from flowgauge.config import MeterConfig
from flowgauge.kernels.facts import CERTIFICATE, JA3, SERVER_NAME, TEXTS
from flowgauge.kernels.header import TCP, UDP
from flowgauge.kernels.naming import ANSWERED
from flowgauge.kernels.servicelist import SERVICES
from flowgauge.kernels.texts import rank_texts
from flowgauge.names.shown import ja4, md5, plain
from flowgauge.names.table import TextTable
from flowgauge.privacy import Anonymizer, read_key

if TYPE_CHECKING:
    from flowgauge.features._feature import Array, Values

Make = Callable[[bytes], Any]
NANO = 1e9
PORT_CONFIDENCE = 20  # percent
_NETBIOS_NS = SERVICES.index("netbios_ns")
_LATEST = 1 << 13  # names
_LONGEST_NAME = 255  # what is longer is the name of no host

_BY = ("sni", "quic_sni", "http_host", "protocol", "dns_answer")
_BY_SERVICE = {"tls": 0, "dtls": 0, "quic": 1, "http": 2}
_BY_PROTOCOL, _BY_ANSWER = 3, 4
_SERVICE_BY = ("payload", "port")
_COVERS = frozenset((b"cloudflare-ech.com", b"cover.defo.ie", b"public.tls-ech.dev"))
"""Names that hellos show in place of the one that Encrypted Client Hello hides."""
_HASHED: dict[str, Make] = {"ja3": md5, "ja3s": md5, "ja4": ja4, "hassh": md5, "hassh_server": md5}
_HIDDEN = ("dns_query", "device_name")
"""Texts that name ends, which `anonymize` hides; schema.py leaves out those that do more than that."""
_PORTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    # service: ports of TCP, ports of UDP
    "tls": ((443, 465, 636, 853, 989, 990, 993, 995, 5061, 5223, 8443, 8883), ()),
    "quic": ((), (443, 784, 853)),
    "http": ((80, 8000, 8008, 8080), ()),
    "dns": ((53,), (53,)),
    "mdns": ((), (5353,)),
    "llmnr": ((5355,), (5355,)),
    "netbios_ns": ((), (137,)),
    "netbios_dgm": ((), (138,)),
    "ssdp": ((), (1900,)),
    "dhcp": ((), (67, 68)),
    "dhcpv6": ((), (546, 547)),
    "ssh": ((22,), ()),
    "stun": ((3478,), (3478, 19302)),
    "ntp": ((), (123,)),
    "mqtt": ((1883,), ()),
    "bittorrent": ((6881,), (6881,)),
    "wireguard": ((), (51820,)),
    "openvpn": ((1194,), (1194,)),
    "rdp": ((3389,), (3389,)),
    "smb": ((445,), ()),
    "ftp": ((21,), ()),
    "smtp": ((25, 587), ()),
    "pop3": ((110,), ()),
    "imap": ((143,), ()),
    "sip": ((5060,), (5060,)),
}
_VERSIONS = {
    0x0002: "SSL 2.0",
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
    0xFEFF: "DTLS 1.0",
    0xFEFD: "DTLS 1.2",
    0xFEFC: "DTLS 1.3",
}
_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR"}
_NETBIOS = 1 << 16  # NetBIOS has other types with the same numbers (RFC 1002 §4.2.1.3)
_TYPES |= {_NETBIOS | 32: "NB", _NETBIOS | 33: "NBSTAT"}
_TYPES |= {43: "DS", 46: "RRSIG", 48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 255: "ANY", 257: "CAA"}


def _port_table() -> NDArray[np.uint8]:
    """Service by transport (0 TCP, 1 UDP) and port."""
    table = np.zeros((2, 1 << 16), np.uint8)
    for name, both in _PORTS.items():
        for transport, ports in enumerate(both):
            table[transport, list(ports)] = SERVICES.index(name)
    return table


class Output:
    """Makes the columns; what is shown of a text is made once for each."""

    def __init__(self, config: MeterConfig, texts: TextTable) -> None:
        from flowgauge.names.catalogue import Catalogue

        self.bytes: Counter[str] = Counter()  # of frames: of all records, and of those with a server_name, an app_guess
        self._texts = texts
        self._anonymizer = None if config.anonymize is None else Anonymizer(read_key(config.anonymize))
        self._catalogue = Catalogue(config.catalogue)
        self._entry = functools.lru_cache(_LATEST)(self._look_up)  # app and category are asked one after the other
        self._ports = _port_table()
        self._services, self._by, self._service_by = map(text_array, (SERVICES, _BY, _SERVICE_BY))
        self._of_service = np.array([_BY_SERVICE.get(name, _BY_PROTOCOL) for name in SERVICES], np.int32)
        hide = self._hidden if self._anonymizer else plain
        self._made: dict[str, Make] = {name: _HASHED.get(name, plain) for name in TEXTS}
        for name in ("server_name", "certificate"):  # of which columns of their own are made
            del self._made[name]
        self._made |= dict.fromkeys(_HIDDEN, hide)
        self._name: dict[str, Make] = {
            "server_name": hide,
            "server_domain": self._domain,
            "app_guess": self._app,
            "app_category": self._category,
        }
        self._certificate: dict[str, Make] = {"tls_subject": self._subject, "tls_issuer": self._issuer}
        self._place_of = np.zeros(0, np.int32)
        self._load()

    def columns(self, state: Array, flows: Array) -> dict[str, Values]:
        texts = state["texts"]
        made = {name: self._column(texts[:, TEXTS.index(name)], make) for name, make in self._made.items()}
        own = self._own(state)
        name = np.where(own != 0, own, state["answer"])
        made |= {column: self._column(name, make) for column, make in self._name.items()}
        made |= {column: self._column(texts[:, CERTIFICATE], make) for column, make in self._certificate.items()}
        made |= self._service(state, flows) | self._naming(state, own) | self._numbers(state) | self._validity(state)
        self._count(flows, made)
        return made

    def _own(self, state: Array) -> Array:
        """The names that the flows give of their servers; not those that only cover another, if DNS knows that."""
        own = state["texts"][:, SERVER_NAME]
        hidden = (state["tls_ech"] != 0) & (state["answer"] != 0)
        if not hidden.any():
            return own
        codes, count, distinct = self._ranked(own)
        covers = np.array([*self._texts.show_all(_is_cover, distinct[:count].tolist()), False], np.bool_)
        return np.where(hidden & covers[codes], 0, own)

    def _count(self, flows: Array, made: dict[str, Any]) -> None:
        """What share of the bytes has a name."""
        size = flows["frame_bytes"].sum(axis=1)
        self.bytes["all"] += int(size.sum())
        for column in ("server_name", "app_guess"):
            self.bytes[column] += int(size[made[column].is_valid().to_numpy(zero_copy_only=False)].sum())

    def _load(self) -> None:
        """What is only loaded when it is first asked, ahead: a live capture must not wait for it."""
        self._entry(b"example.org")
        self._domain(b"example.org")
        _certificate(b"")

    def _column(self, numbers: Array, make: Make) -> pa.Array:
        """A column of what is made of the texts with these numbers; null where that is None, or there is no text."""
        codes, count, distinct = self._ranked(numbers)
        shown = self._texts.show_all(make, distinct[:count].tolist())
        places = {text: place for place, text in enumerate(dict.fromkeys(text for text in shown if text is not None))}
        code_of = np.array([*(-1 if text is None else places[text] for text in shown), -1], np.int32)
        codes = code_of[codes]
        return category_array(codes, text_array(places), codes < 0)

    def _ranked(self, numbers: Array) -> tuple[Array, int, Array]:
        if len(self._place_of) < self._texts.rows:
            self._place_of = np.zeros(self._texts.rows, np.int32)
        codes, distinct = np.empty(len(numbers), np.int32), np.empty(len(numbers), np.uint32)
        count = rank_texts(np.ascontiguousarray(numbers), self._place_of, codes, distinct)
        return codes, count, distinct

    def _service(self, state: Array, flows: Array) -> dict[str, Values]:
        """By payload, or else by the server's port."""
        by_payload = state["confidence"] > 0
        protocol = flows["protocol"]
        by_port = self._ports[(protocol == UDP).astype(np.intp), flows["server_port"]]
        by_port = np.where((protocol == TCP) | (protocol == UDP), by_port, 0)
        service = np.where(by_payload, state["service"], by_port)
        none = service == 0
        return {
            "service": category_array(service, self._services, none),
            "service_by": category_array(~by_payload, self._service_by, none),
            "service_confidence": (np.where(by_payload, state["confidence"], PORT_CONFIDENCE), none),
        }

    def _naming(self, state: Array, names: Array) -> dict[str, Values]:
        own, answer = names != 0, state["answer"] != 0
        by = np.where(own, self._of_service[state["service"]], _BY_ANSWER)
        return {
            "server_name_by": category_array(by, self._by, ~(own | answer)),
            "server_name_age_s": (state["answer_age"] / NANO, own | ~answer),
        }

    def _numbers(self, state: Array) -> dict[str, Values]:
        version, cipher, kind = state["tls_version"], state["tls_cipher"], state["dns_type"].astype(np.int64)
        kind = np.where((state["service"] == _NETBIOS_NS) & (kind != 0), _NETBIOS | kind, kind)
        return {
            "tls_version": _category(version, lambda number: _VERSIONS.get(number, f"0x{number:04x}")),
            "tls_cipher": (cipher, cipher == 0),
            "tls_ech": (state["tls_ech"], (state["texts"][:, JA3] == 0) & (state["tls_ech"] == 0)),
            "http_status": (state["http_status"], state["http_status"] == 0),
            "dns_type": _category(kind, lambda number: _TYPES.get(number, f"TYPE{number & 0xFFFF}")),
            "dns_rcode": (state["dns_rcode"] - 1, state["dns_rcode"] == 0),
            "dns_response_s": (state["query_time"] / NANO, state["marks"] & ANSWERED == 0),
        }

    def _validity(self, state: Array) -> dict[str, Values]:
        codes, count, distinct = self._ranked(state["texts"][:, CERTIFICATE])
        times = np.zeros((count + 1, 2), np.int64)
        known = np.zeros((count + 1, 2), np.bool_)
        for place, found in enumerate(self._texts.show_all(_certificate, distinct[:count].tolist())):
            for end, time in enumerate((found.not_before, found.not_after) if found else ()):
                if time is not None:
                    times[place, end], known[place, end] = time, True
        names = ("tls_not_before", "tls_not_after")
        return {name: (times[codes, end], ~known[codes, end]) for end, name in enumerate(names)}

    def _hidden(self, text: bytes) -> str:
        assert self._anonymizer is not None
        return self._anonymizer.name(plain(text))

    def _domain(self, text: bytes) -> str | None:
        from flowgauge.names.domains import registrable

        domain = registrable(plain(text)) if len(text) <= _LONGEST_NAME else None
        return domain if domain is None or self._anonymizer is None else self._anonymizer.name(domain)

    def _look_up(self, text: bytes) -> tuple[str | None, str | None]:
        found = self._catalogue.of(plain(text)) if len(text) <= _LONGEST_NAME else None
        return found or (None, None)

    def _app(self, text: bytes) -> str | None:
        return self._entry(text)[0]

    def _category(self, text: bytes) -> str | None:
        return self._entry(text)[1]

    def _subject(self, text: bytes) -> str | None:
        return self._shown(_certificate(text), "subject")

    def _issuer(self, text: bytes) -> str | None:
        return self._shown(_certificate(text), "issuer")

    def _shown(self, certificate: Any, name: str) -> str | None:
        text = None if certificate is None else getattr(certificate, name)
        if not text:
            return None
        shown = plain(text.encode("utf-8", "surrogatepass"))
        return shown if self._anonymizer is None else self._anonymizer.name(shown)


def _is_cover(text: bytes) -> bool:
    return text in _COVERS


def _certificate(text: bytes) -> Any:
    from flowgauge.names.certificate import read_certificate

    return read_certificate(text)


def _category(numbers: Array, name: Callable[[int], str]) -> pa.DictionaryArray:
    """A category column of numbers that have names; null where it is 0."""
    distinct, codes = np.unique(numbers, return_inverse=True)
    return category_array(codes, text_array(map(name, distinct.tolist())), numbers == 0)
