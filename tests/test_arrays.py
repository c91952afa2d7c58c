"""Addresses, link-layer addresses and Community IDs as Arrow strings."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import struct
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus_folder import CORPUS, needs_corpus
from flowgauge.arrays import community_id_array, ip_array, mac_array
from flowgauge.kernels.packet import NO_MAC
from flowgauge.memory import Memory

V4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
GROUPS = st.lists(st.one_of(st.just(0), st.integers(0, 0xFFFF)), min_size=8, max_size=8)
V6 = GROUPS.map(lambda groups: ipaddress.IPv6Address(struct.pack(">8H", *groups)))
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def halves(addresses: list[Address]) -> tuple[np.ndarray, np.ndarray]:
    """The upper and lower 64 bits of each address."""
    numbers = [int(address) for address in addresses]
    high, low = [n >> 64 for n in numbers], [n & (1 << 64) - 1 for n in numbers]
    return np.array(high, np.uint64), np.array(low, np.uint64)


def texts(addresses: list[Address]) -> list[str]:
    """What ip_array makes of these addresses."""
    version = np.array([address.version for address in addresses], np.uint8)
    array = ip_array(version, *halves(addresses), Memory())
    array.validate(full=True)
    return array.to_pylist()


def rfc5952(address: Address) -> str:
    """The text that the standard library and, for IPv4-mapped addresses, RFC 5952 section 5 ask for."""
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(address) if mapped is None else f"::ffff:{mapped}"


@settings(deadline=None)
@given(st.lists(st.one_of(V4, V6), max_size=8))
def test_addresses_are_dotted_or_rfc_5952(addresses: list[Address]) -> None:
    """IPv4 addresses are dotted, IPv6 addresses are RFC 5952 text, mixed in any order."""
    assert texts(addresses) == [rfc5952(address) for address in addresses]


@pytest.mark.parametrize(
    "text",
    [
        "::",
        "::1",
        "1::",
        "1:0:0:2::3",
        "1::2:0:0:3:4",
        "1:0:2:3:4:5:6:7",
        "::ffff:0.0.0.0",
        "::ffff:1.2.3.4",
        "::102:304",
        "::fffe:1:2",
        "fe80::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "0.0.0.0",
        "255.255.255.255",
        "10.0.200.9",
    ],
)
def test_addresses_at_the_edges(text: str) -> None:
    """Zero runs at either end, equal runs, single zero groups and mapped addresses are written as they are known."""
    address = ipaddress.ip_address(text)
    assert texts([address]) == [text if "." in text else rfc5952(address)]


def test_a_zero_run_of_one_group_is_not_shortened_and_the_first_of_equal_runs_is() -> None:
    """RFC 5952 section 4.2: one zero group stays, the first of the longest runs is shortened."""
    found = texts([ipaddress.ip_address("1:0:2:3:4:5:6:7"), ipaddress.ip_address("1:0:0:2:3:0:0:4")])
    assert found == ["1:0:2:3:4:5:6:7", "1::2:3:0:0:4"]


def test_read_only_and_strided_columns_are_taken() -> None:
    """Columns of a structured array and read-only arrays give the same text as arrays of their own."""
    table = np.zeros(3, [("version", np.uint8), ("lo", np.uint64)])
    table["version"], table["lo"] = 4, [1, 2, 3]
    hi = np.zeros(3, np.uint64)
    hi.setflags(write=False)
    assert ip_array(table["version"], hi, table["lo"], Memory()).to_pylist() == ["0.0.0.1", "0.0.0.2", "0.0.0.3"]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 2**48 - 1)), max_size=20))
def test_link_layer_addresses_are_six_octets_or_null(macs: list[int | None]) -> None:
    """A MAC address is six pairs of lower-case digits; NO_MAC is null."""
    array = mac_array(np.array([NO_MAC if mac is None else mac for mac in macs], np.uint64), Memory())
    array.validate(full=True)
    assert array.type == pa.string()
    assert array.to_pylist() == [None if mac is None else mac.to_bytes(6, "big").hex(":") for mac in macs]


class Flow(NamedTuple):
    """Arguments of one Community ID; the ports of ICMP are its type and code."""

    source: Address
    destination: Address
    protocol: int
    source_port: int
    destination_port: int


def community_ids(flows: list[Flow]) -> list[str]:
    """What community_id_array makes of these flows."""
    src, dst = [flow.source for flow in flows], [flow.destination for flow in flows]
    version = np.array([address.version for address in src], np.uint8)
    protocol = np.array([flow.protocol for flow in flows], np.uint8)
    ports = [np.array([flow[place] for flow in flows], np.uint16) for place in (3, 4)]
    array = community_id_array(version, *halves(src), *halves(dst), protocol, *ports, Memory())
    array.validate(full=True)
    return array.to_pylist()


PAIRS = {1: {8: 0, 10: 9, 13: 14, 15: 16, 17: 18}, 58: {128: 129, 130: 131, 133: 134, 135: 136, 139: 140, 144: 145}}


def by_hashlib(flow: Flow) -> str:
    """The specification, with the standard library's SHA-1."""
    source, destination, protocol, source_port, destination_port = flow
    ordered = True
    if protocol in PAIRS:
        answers = PAIRS[protocol] | {answer: request for request, answer in PAIRS[protocol].items()}
        ordered = source_port in answers
        destination_port = answers.get(source_port, destination_port)
    has_ports = protocol in (1, 6, 17, 58, 132)
    ends = [
        address.packed + (struct.pack(">H", port) if has_ports else b"")
        for address, port in ((source, source_port), (destination, destination_port))
    ]
    if ordered:
        ends.sort()
    size = len(source.packed)
    message = b"\0\0" + ends[0][:size] + ends[1][:size] + bytes([protocol, 0]) + ends[0][size:] + ends[1][size:]
    return "1:" + base64.b64encode(hashlib.sha1(message).digest()).decode()


PROTOCOLS = st.one_of(st.sampled_from([1, 6, 17, 58, 132, 47]), st.integers(0, 255))
FLOWS = st.one_of(
    *(
        st.builds(Flow, addresses, addresses, PROTOCOLS, st.integers(0, 255), st.integers(0, 65535))
        | st.builds(
            Flow, addresses, addresses, st.sampled_from([6, 17, 132]), st.integers(0, 65535), st.integers(0, 65535)
        )
        for addresses in (V4, V6)
    )
)


@settings(deadline=None)
@given(st.lists(FLOWS, max_size=5))
def test_community_ids_are_the_hash_of_the_specification(flows: list[Flow]) -> None:
    """Version 1, seed 0: base64 of SHA-1 over ordered endpoints, ICMP by type and counterpart, else without ports."""
    assert community_ids(flows) == [by_hashlib(flow) for flow in flows]


@settings(deadline=None)
@given(FLOWS.filter(lambda flow: flow.protocol not in (1, 58)))
def test_both_directions_have_one_community_id(flow: Flow) -> None:
    """Swapping sender and receiver changes nothing where ports are ports."""
    back = Flow(flow.destination, flow.source, flow.protocol, flow.destination_port, flow.source_port)
    assert len(set(community_ids([flow, back]))) == 1


def test_a_published_community_id() -> None:
    """The first example of the specification comes out as published."""
    flow = Flow(ipaddress.ip_address("128.232.110.120"), ipaddress.ip_address("66.35.250.204"), 6, 34855, 80)
    assert community_ids([flow]) == ["1:LQU9qZlK+B5F3KDmev6m5PMibrg="]


@needs_corpus
def test_the_baseline_of_the_specification() -> None:
    """Every flow of the specification's baseline has its Community ID."""
    baseline = json.loads((CORPUS / "formats/community-id-spec/baseline/baseline_deflt.json").read_text())
    flows = [
        Flow(
            ipaddress.ip_address(entry["saddr"]),
            ipaddress.ip_address(entry["daddr"]),
            entry["proto"],
            entry.get("sport") or 0,
            entry.get("dport") or 0,
        )
        for entry in baseline
    ]
    assert len(flows) >= 20
    assert community_ids(flows) == [entry["communityid"] for entry in baseline]
