"""The shipped list of well-known server ports."""

from __future__ import annotations

import csv
import re
from importlib import resources

import pytest

FIRST_EPHEMERAL = 32768  # Linux's default range of client ports begins here


def lines() -> list[str]:
    """The file's lines."""
    return resources.files("flowgauge").joinpath("services.csv").read_text("utf-8").splitlines()


def rows() -> list[tuple[int, str, str]]:
    """Port, protocol and name of every row."""
    return [(int(row["port"]), row["protocol"], row["name"]) for row in csv.DictReader(lines()[1:])]


def test_header() -> None:
    """The version comes first, then the header, and every row has its three fields in plain form."""
    version, header, *body = lines()
    assert re.fullmatch(r"# version: [1-9]\d*", version)
    assert header == "port,protocol,name"
    assert [line for line in body if not re.fullmatch(r"[1-9]\d*,(tcp|udp|sctp),[a-z0-9]+(-[a-z0-9]+)*", line)] == []


def test_order() -> None:
    """Rows are sorted by port, then TCP, UDP, SCTP, and none appears twice."""
    keys = [(port, ("tcp", "udp", "sctp").index(protocol)) for port, protocol, _ in rows()]
    assert keys == sorted(set(keys))
    assert 300 <= len(keys) <= 450


def test_no_client_ports() -> None:
    """No port that systems hand out to clients is in the list: it would turn directions around."""
    assert [port for port, _, _ in rows() if port >= FIRST_EPHEMERAL] == []
    assert not {(68, "udp"), (546, "udp")} & {row[:2] for row in rows()}  # DHCP clients


@pytest.mark.parametrize(
    "service",
    [
        (22, "tcp"), (53, "tcp"), (53, "udp"), (67, "udp"), (123, "udp"), (443, "tcp"), (443, "udp"), (1883, "tcp"),
        (3306, "tcp"), (3389, "tcp"), (3478, "udp"), (3868, "sctp"), (5060, "udp"), (5222, "tcp"), (5228, "tcp"),
        (5432, "tcp"), (6379, "tcp"), (8080, "tcp"), (8443, "tcp"), (25565, "tcp"), (27015, "udp"),
    ],
)  # fmt: skip
def test_common_services(service: tuple[int, str]) -> None:
    """What commonly listens is in the list, also above port 1023."""
    assert service in {row[:2] for row in rows()}
