"""Anonymised tables: published vectors, what stays and what does not."""

from __future__ import annotations

import io
import ipaddress
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowgauge as fg
from flowgauge.kernels.packet import NO_MAC
from flowgauge.privacy import VARIABLE, Anonymizer, read_key
from flowgauge.sample import sample_capture

# Of the reference implementation's sample trace (Crypto-PAn 1.0) and, for IPv6, of those that extend it to 128 bits.
KEY = bytes.fromhex("15 22 17 8d 33 a4 cf 80 13 0a 5b 16 49 90 7d 10 d8 98 8f 83 79 79 65 27 62 57 4c 2d 2a 84 22 02")
PUBLISHED = {
    "128.11.68.132": "135.242.180.132",
    "129.118.74.4": "134.136.186.123",
    "130.132.252.244": "133.68.164.234",
    "141.223.7.43": "141.167.8.160",
    "141.233.145.108": "141.129.237.235",
    "152.163.225.39": "151.140.114.167",
    "156.29.3.236": "147.225.12.42",
    "165.247.96.84": "162.9.99.234",
    "166.107.77.190": "160.132.178.185",
    "192.102.249.13": "252.138.62.131",
    "::1": "78ff:f001:9fc0:20df:8380:b1f1:704:ed",
    "::2": "78ff:f001:9fc0:20df:8380:b1f1:704:ef",
    "2001:db8::1": "4401:2bc:603f:d91d:27f:ff8e:e6f1:dc1e",
}
EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "captures"
HALF = 2**64


def hidden(*addresses: str, key: bytes = KEY) -> list[str]:
    """The addresses that stand for these."""
    parsed = [ipaddress.ip_address(address) for address in addresses]
    version = np.array([address.version for address in parsed], np.uint8)
    halves = [np.array([f(int(address)) for address in parsed], np.uint64) for f in (_high, _low)]
    high, low = Anonymizer(key).addresses(version, *halves)
    numbers = [int(h) * HALF + int(x) for h, x in zip(high, low, strict=True)]
    kinds = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}
    return [str(kinds[address.version](number)) for address, number in zip(parsed, numbers, strict=True)]


def _high(number: int) -> int:
    return number // HALF


def _low(number: int) -> int:
    return number % HALF


def test_published_vectors() -> None:
    """Addresses of both versions become what other implementations make of them."""
    assert hidden(*PUBLISHED) == list(PUBLISHED.values())


def common(a: str, b: str) -> int:
    """Bits at the front that two addresses share."""
    first, second = ipaddress.ip_address(a), ipaddress.ip_address(b)
    return first.max_prefixlen - (int(first) ^ int(second)).bit_length()


ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 128))
)


@given(ADDRESSES)
def test_common_prefixes_stay_as_long_as_they_were(drawn: Any) -> None:
    """Two addresses share as many bits afterwards as before, to the bit."""
    address, bit = drawn
    other = type(address)(int(address) ^ (1 << bit >> 1))
    pair = str(address), str(other)
    assert common(*hidden(*pair)) == common(*pair)


def test_macs_stay_apart_and_groups_stay_groups() -> None:
    """Each MAC address is another local one, the same every time; that of a group stays one, and none stays none."""
    macs = np.array([0x0050_5601_0203, 0x0050_5601_0204, 0x0100_5E00_00FB, NO_MAC, 0x0050_5601_0203], np.uint64)
    found = Anonymizer(KEY).macs(macs)
    assert found[3] == NO_MAC
    assert len(set(found.tolist())) == 4 and found[0] == found[4]
    assert [int(mac) >> 40 & 3 for mac in found[:3]] == [2, 2, 3]
    assert not np.array_equal(Anonymizer(bytes(32)).macs(macs), found)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_text(KEY.hex() + "\n")
    return str(path)


def test_a_table_tells_no_address_name_or_content(key_file: str) -> None:
    """Addresses, MACs and files are others; heads of payload and users' bytes are gone; numbers and labels stay."""

    @fg.feature(columns={"first": fg.u8[4], "n": fg.u32})
    def heads(flow: Any, payload: Any) -> None:
        flow.n += 1
        if len(payload) > 0:
            flow.first[0] = payload[0]

    options: dict[str, Any] = {"features": ["size", "payload", heads], "label": "{app}_{action}_*.pcap"}
    path = str(EXAMPLES / "browser_http-fetch_01.pcap")
    plain, table = fg.read(path, **options), fg.read(path, anonymize=key_file, **options)
    removed = {"up_payload_head", "down_payload_head", "first"}
    assert set(plain.schema.names) - set(table.schema.names) == removed
    changed = {"community_id", "source", *(f"{side}_{name}" for side in ("client", "server") for name in ("ip", "mac"))}
    for name in table.schema.names:
        if name in changed:
            assert not set(plain[name].to_pylist()) & set(table[name].to_pylist()), name
            assert len(plain[name].unique()) == len(table[name].unique())
        else:
            assert table[name].to_pylist() == plain[name].to_pylist(), name
    assert fg.read(path, anonymize=key_file, **options).equals(table)


def test_community_ids_are_those_of_the_new_addresses(key_file: str, tmp_path: Path) -> None:
    """A community id is what the specification makes of the addresses that the table shows."""
    table = fg.read(io.BytesIO(sample_capture()), anonymize=key_file, features="core")
    row = table.to_pylist()[0]
    changed = bytearray(sample_capture())
    for old, new in (("192.0.2.10", row["client_ip"]), ("192.0.2.53", row["server_ip"])):
        octets, others = (ipaddress.IPv4Address(address).packed for address in (old, new))
        changed = changed.replace(octets, others)
    assert fg.read(io.BytesIO(bytes(changed)), features="core").to_pylist()[0]["community_id"] == row["community_id"]


def test_the_key_is_never_in_the_output(key_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metadata says that a table is anonymised, and nothing of the key, which the environment may hold too."""
    table = fg.read(io.BytesIO(sample_capture()), anonymize=key_file)
    metadata = table.schema.metadata[b"flowgauge_options"].decode()
    assert json.loads(metadata)["anonymize"] is True
    assert KEY.hex() not in metadata and key_file not in metadata
    monkeypatch.setenv(VARIABLE, KEY.hex())
    assert fg.read(io.BytesIO(sample_capture()), anonymize="env").equals(table)


def test_what_is_no_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing, short or garbled key is one line with the command that makes one."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(
        fg.ConfigError, match="FLOWGAUGE_KEY is no key of 64 hexadecimal digits; make one: openssl rand"
    ):
        read_key("env")
    path = tmp_path / "key"
    with pytest.raises(fg.ConfigError, match=r"cannot read the key .*: No such file"):
        read_key(str(path))
    for text in ("", "abc", KEY.hex()[:-2], "g" * 64):
        path.write_text(text)
        with pytest.raises(fg.ConfigError, match="is no key of 64 hexadecimal digits"):
            fg.read(io.BytesIO(sample_capture()), anonymize=str(path))
