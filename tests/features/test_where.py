"""Where both ends of a flow are: local networks, groups and everybody, autonomous systems and countries."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowgauge as fg
from flowgauge.errors import ConfigError, SourceError
from flowgauge.places import Addresses, Databases, Networks, Place, are_multicast
from mmdb_files import mmdb
from packets import MAC_A, capture, eth, ip4, ip6, sent, udp

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)
NETWORKS = (
    "10.0.0.0/8",
    "192.168.7.0/24",
    "192.168.8.4/31",
    "198.51.100.7/32",
    "fd00::/8",
    "2001:db8:1:2::/64",
    "::1/128",
)
NEAR = [
    ipaddress.ip_address(int(edge) + step) if net.version == 4 else ipaddress.IPv6Address(int(edge) + step)
    for net in map(ipaddress.ip_network, NETWORKS)
    for edge in (net[0], net[-1])
    for step in (-1, 0, 1)
    if int(edge) + step >= 0
]


def rows(*listed: Any) -> Addresses:
    numbers = [int(address) for address in listed]
    return Addresses(
        np.array([address.version for address in listed], np.uint8),
        np.array([number >> 64 for number in numbers], np.uint64),
        np.array([number & (2**64 - 1) for number in numbers], np.uint64),
    )


@given(st.lists(st.one_of(V4, V6, st.sampled_from(NEAR)), min_size=1))
def test_networks_contain_what_they_contain_by_their_definition(listed: list[Any]) -> None:
    """An address is local where one of the networks has it, and a group's where the standard says so."""
    networks = [ipaddress.ip_network(text) for text in NETWORKS]
    inside = [any(a in net for net in networks if net.version == a.version) for a in listed]
    assert Networks(NETWORKS).contain(rows(*listed)).tolist() == inside
    assert are_multicast(rows(*listed)).tolist() == [a.is_multicast for a in listed]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("255.255.255.255", True),
        ("192.168.7.255", True),
        ("10.255.255.255", True),
        ("192.168.8.5", False),  # of two addresses none is everybody's
        ("198.51.100.7", False),
        ("10.0.0.255", False),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", False),
    ],
)
def test_the_last_address_of_a_local_network_is_everybodys(text: str, expected: bool) -> None:
    """Of IPv4 networks that have such an address."""
    assert Networks(NETWORKS).are_broadcast(rows(ipaddress.ip_address(text))).tolist() == [expected]


ASN = {
    "192.0.2.0/24": {"autonomous_system_number": 64500, "autonomous_system_organization": "Example Net"},
    "2001:db8::/32": {"autonomous_system_number": 4_200_000_000, "autonomous_system_organization": "Six"},
}
COUNTRY = {
    "192.0.2.0/25": {"country": {"iso_code": "DE", "names": {"en": "Germany"}}},
    "198.51.100.0/24": {"registered_country": {"iso_code": "BR"}},
}
IPINFO = {"203.0.113.0/24": {"asn": "AS64501", "as_name": "Third", "country": "India", "country_code": "IN"}}


def files(tmp_path: Path, *tables: dict[str, Any], ip_version: int = 6) -> list[str]:
    paths = [tmp_path / f"{number}.mmdb" for number in range(len(tables))]
    for path, table in zip(paths, tables, strict=True):
        path.write_bytes(mmdb(table, ip_version))
    return [str(path) for path in paths]


def found(paths: list[str], *texts: str) -> list[Place]:
    places, which = Databases(paths).find(rows(*map(ipaddress.ip_address, texts)))
    return [places[place] for place in which]


def test_several_databases_say_together_where_an_address_is(tmp_path: Path) -> None:
    """System and country come from whatever database knows them, in any of the usual words."""
    paths = files(tmp_path, ASN, COUNTRY, IPINFO)
    texts = ("192.0.2.7", "2001:db8::7", "192.0.2.200", "198.51.100.1", "203.0.113.9", "8.8.8.8", "192.0.2.7")
    germany = Place(64500, "Example Net", "DE")
    assert found(paths, *texts) == [
        *(germany, Place(4_200_000_000, "Six", None), Place(64500, "Example Net", None), Place(0, None, "BR")),
        *(Place(64501, "Third", "IN"), Place(), germany),
    ]


def test_the_first_database_that_knows_counts(tmp_path: Path) -> None:
    """The order of the databases is that in which they are asked."""
    other = {"192.0.2.0/24": {"autonomous_system_number": 1, "country": {"iso_code": "US"}}}
    assert found(files(tmp_path, other, ASN, COUNTRY), "192.0.2.7") == [Place(1, "Example Net", "US")]


def test_a_database_of_ipv4_knows_nothing_of_ipv6(tmp_path: Path) -> None:
    """It is asked, and says nothing."""
    paths = files(tmp_path, {"192.0.2.0/24": ASN["192.0.2.0/24"]}, ip_version=4)
    assert found(paths, "192.0.2.7", "2001:db8::7") == [Place(64500, "Example Net"), Place()]


def test_what_is_no_database_is_an_error(tmp_path: Path) -> None:
    """A missing file, a text, and a database whose tree leads nowhere."""
    with pytest.raises(ConfigError, match=r"cannot read the database .*none\.mmdb: No such file"):
        Databases([str(tmp_path / "none.mmdb")])
    (tmp_path / "text.mmdb").write_text("no database")
    with pytest.raises(ConfigError, match="is no MaxMind database"):
        fg.read(some(tmp_path), mmdb=str(tmp_path / "text.mmdb"))
    content = mmdb(ASN)
    (tmp_path / "broken.mmdb").write_bytes(content.replace(b"\x00" * 16 + b"\xe2", b"\x00" * 16 + b"\xff", 1))
    with pytest.raises(SourceError, match="is damaged"):
        found([str(tmp_path / "broken.mmdb")], "192.0.2.7")


ENDS = (
    ("192.168.7.5", "192.0.2.9"),
    ("192.168.7.5", "192.168.7.255"),
    ("10.1.1.1", "224.0.0.251"),
    ("fd00::5", "ff02::fb"),
)


def packet(source: str, destination: str, mac: bytes = MAC_A) -> bytes:
    layer = (ip6 if ":" in source else ip4)(udp(40000, 50000), source, destination)
    return eth(layer, destination=mac)


def written(tmp_path: Path, *frames: bytes) -> Path:
    path = tmp_path / "x.pcap"
    path.write_bytes(capture([sent(number, frame) for number, frame in enumerate(frames)]))
    return path


def some(tmp_path: Path) -> Path:
    return written(tmp_path, *(packet(*ends) for ends in ENDS))


def test_giving_a_network_or_a_database_switches_the_group_on(tmp_path: Path) -> None:
    """Without, its columns are not there; with the group alone, private networks are local."""
    path = some(tmp_path)
    assert "client_local" not in fg.read(path).column_names
    (database,) = files(tmp_path, ASN)
    assert fg.read(path, mmdb=database)["server_asn"].to_pylist() == [64500, None, None, None]
    private = fg.read(path, features="where")
    assert private["client_local"].to_pylist() == [True, True, True, True]
    assert private["server_asn"].null_count == len(ENDS)
    own = fg.read(path, local_net=["192.168.7.0/24", "fd00::/8"])
    assert own["client_local"].to_pylist() == [True, True, False, True]
    assert own["server_local"].to_pylist() == [False, True, False, False]
    assert own["server_broadcast"].to_pylist() == [False, True, False, False]
    assert own["server_multicast"].to_pylist() == [False, False, True, True]


def test_a_packet_to_everybody_on_the_link_goes_to_everybody(tmp_path: Path) -> None:
    """Whatever the network is: the MAC address says it, of a group it does not."""
    frames = [packet("172.16.1.1", server, mac=b"\xff" * 6) for server in ("172.16.1.127", "224.0.0.1")]
    path = written(tmp_path, *frames)
    table = fg.read(path, features="where")
    assert table["server_broadcast"].to_pylist() == [True, False]


def test_places_are_those_of_true_addresses_when_these_are_hidden(tmp_path: Path, monkeypatch: Any) -> None:
    """Hidden addresses are elsewhere; the columns do not change, and networks are not told in the options."""
    monkeypatch.setenv("FLOWGAUGE_KEY", "07" * 32)
    path = some(tmp_path)
    options = {"local_net": "192.168.7.0/24", "mmdb": files(tmp_path, ASN, COUNTRY)}
    plain, hidden = fg.read(path, **options), fg.read(path, anonymize="env", **options)
    assert plain["client_ip"].to_pylist() != hidden["client_ip"].to_pylist()
    names = [field.name for field in plain.schema if field.metadata[b"group"] == b"where"]
    assert len(names) == 12
    assert plain.select(names).to_pylist() == hidden.select(names).to_pylist()
    assert json.loads(hidden.schema.metadata[b"flowgauge_options"])["local_net"] == "hidden"


def test_zeeks_columns_say_what_the_group_says(tmp_path: Path) -> None:
    """local_orig and local_resp are those of the networks that are named."""
    path = some(tmp_path)
    table = fg.read(path, schema="zeek", local_net="192.168.7.0/24")
    assert table["local_orig"].to_pylist() == [True, True, False, False]
    assert table["local_resp"].to_pylist() == [False, True, False, False]
    assert fg.read(path, schema="zeek")["local_orig"].to_pylist() == [True, True, True, True]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"local_net": "192.168.7.1/24"}, "local_net is a network such as .* has host bits set"),
        ({"local_net": ["here"]}, "local_net is a network such as"),
        ({"local_net": 7}, "local_net is a list"),
        ({"mmdb": [7]}, "mmdb is a text or a list of texts"),
    ],
)
def test_what_is_no_network_is_an_error(options: dict[str, Any], problem: str) -> None:
    """It says what was given and what it takes."""
    with pytest.raises(ConfigError, match=problem):
        fg.columns(**options)
