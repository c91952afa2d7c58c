"""What the first bytes of each service name: hosts, paths, software, algorithms."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from corpus_folder import CORPUS, needs_corpus
from firstbytes import read_heads
from recognising import Flow, dissect, tcp, tell, tell_heads, udp
from samples import (
    INVITE,
    SEARCH,
    SSH,
    announcement,
    answer,
    dhcp,
    dhcpv6,
    key_exchange,
    labels,
    netbios_datagram,
    netbios_question,
    question,
    stun,
)
from trust import tshark


def facts(flow: Flow) -> dict[str, Any]:
    """What is found of a flow, but for a missing answer of DNS."""
    return {name: value for name, value in tell(flow).facts.items() if (name, value) != ("dns_rcode", -1)}


def request(line: str, *fields: str, newline: str = "\r\n") -> dict[str, Any]:
    """What a request says, without its method."""
    found = facts(tcp(newline.join([line, *fields, "", ""]).encode("latin-1")))
    assert found.pop("http_method") == line.split(" ")[0]
    return found


@pytest.mark.parametrize(
    ("line", "field", "host", "path"),
    [
        ("GET / HTTP/1.1", "Host: a.example", "a.example", "/"),
        ("GET /x HTTP/1.1", "hOsT:a.example:8080", "a.example", "/x"),
        ("GET /x HTTP/1.1", "Host: \t a.example \t", "a.example", "/x"),
        ("GET /x?a=/b#c HTTP/1.1", "Host: [2001:db8::1]:80", "2001:db8::1", "/x"),
        ("GET http://b.example:81/y?z HTTP/1.1", "Host: a.example", "b.example", "/y"),
        ("GET http://b.example HTTP/1.1", "Host: a.example", "b.example", None),
        ("GET HTTP://u:p@b.example/y HTTP/1.0", "X: 1", "b.example", "/y"),
        ("CONNECT c.example:443 HTTP/1.1", "Host: a.example", "c.example", None),
        ("OPTIONS * HTTP/1.1", "Host: a.example", "a.example", "*"),
        ("GET /http://x/y HTTP/1.1", "Host: a.example", "a.example", "/http://x/y"),
        ("GET /x HTTP/1.1", "Hostess: a.example", None, "/x"),
        ("GET /x HTTP/1.1", "Host:", None, "/x"),
        ("GET /x HTTP/1.1", "Host: " + "a" * 256, None, "/x"),
    ],
)
def test_host_and_path(line: str, field: str, host: str | None, path: str | None) -> None:
    """The host is without user and port, that of an absolute target or of CONNECT first; the path without the query."""
    for newline in ("\r\n", "\n"):
        found = request(line, field, newline=newline)
        assert (found.get("server_name"), found.get("http_path")) == (host, path)


def test_only_the_first_request_and_its_header_are_read() -> None:
    """Neither a body nor the next request says anything, and the first field of a name counts."""
    first = "POST /1 HTTP/1.1\r\nUser-Agent: one\r\nUser-Agent: two\r\n\r\n"
    body = "Host: body.example\r\n\r\nGET /2 HTTP/1.1\r\nHost: second.example\r\n\r\n"
    assert facts(tcp((first + body).encode())) == {"http_method": "POST", "http_path": "/1", "http_user_agent": "one"}


def test_a_request_that_is_cut_off() -> None:
    """What is there of a request is told, as far as it goes."""
    assert request("GET /abc HTTP/1.1", "Host: a.exam")["server_name"] == "a.exam"
    assert facts(tcp(b"GET /abc?d")) == {"http_method": "GET", "http_path": "/abc"}


def test_an_answer_alone() -> None:
    """Status and content type are the server's, whichever direction is called the server's."""
    for flow in (
        tcp(b"", b"HTTP/1.0 404 No\r\nContent-type: a/b\r\n\r\n"),
        tcp(b"HTTP/1.0 404 No\r\nContent-type: a/b\r\n\r\n"),
    ):
        assert facts(flow) == {"http_status": 404, "http_content_type": "a/b"}


def test_ssh() -> None:
    """HASSH is made of the lists that each side names for its own direction."""
    assert facts(tcp(SSH + key_exchange(), b"SSH-2.0-srv comment\n" + key_exchange(), 22)) == {
        "ssh_client": "SSH-2.0-OpenSSH_9.6",
        "ssh_server": "SSH-2.0-srv comment",
        "hassh": "kex1,kex2;enc-up;mac-up;zip-up",
        "hassh_server": "kex1,kex2;enc-down;mac-down;zip-down",
    }


def test_ssh_lists_that_are_not_whole() -> None:
    """No hash of a part of the lists: it would be another software's."""
    whole = SSH + key_exchange()
    assert facts(tcp(whole[:-1])) == facts(tcp(SSH))
    lying = whole.replace(b"\0\0\0\6mac-up", b"\0\xff\0\6mac-up")
    assert facts(tcp(lying)) == {"ssh_client": "SSH-2.0-OpenSSH_9.6"}


SSH_CAPTURES = ("arkime/ssh2.pcap", "zeek/traces/ssh/ssh.pcap")


@needs_corpus
@pytest.mark.skipif(not tshark.available(), reason="tshark is not installed")
@pytest.mark.parametrize("capture", SSH_CAPTURES)
def test_hassh_is_that_of_wireshark(capture: str) -> None:
    """All hashes that Wireshark finds of either side are found; it does not see every server's."""
    path = CORPUS / capture
    fields = ("ssh.kex.hassh", "ssh.kex.hasshserver")
    ours: dict[str, set[str]] = {field: set() for field in fields}
    for heads in read_heads(path):
        for field, name in zip(fields, ("hassh", "hassh_server"), strict=True):
            if text := tell_heads(heads).facts.get(name):
                ours[field].add(hashlib.md5(text.encode("latin-1"), usedforsecurity=False).hexdigest())
    theirs = {field: _tshark(path, field) for field in fields}
    assert theirs["ssh.kex.hassh"] == ours["ssh.kex.hassh"]
    assert set() != theirs["ssh.kex.hasshserver"] <= ours["ssh.kex.hasshserver"]


def _tshark(path: Path, field: str) -> set[str]:
    command = ["tshark", "-r", str(path), "-T", "fields", "-e", field, "-Y", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return {value for line in done.stdout.split() for value in line.split(",")}


def test_dns() -> None:
    """The first question, its type, and what is answered: addresses and names."""
    records = [
        (5, labels("b.example")),
        (1, b"\1\2\3\4"),
        (28, bytes(15) + b"\1"),
        (16, b"\4text"),
        (15, b"\0\1" + labels("mx.example")),
    ]
    flow = udp(question("a.example", 28), answer("a.example", records), 53)
    assert tell(flow).facts == {
        "dns_query": "a.example",
        "dns_type": 28,
        "dns_answers": "b.example,1.2.3.4,::1,mx.example",
    }
    refused = udp(question("a.example"), question("a.example", flags=0x8183), 53)
    assert tell(refused).facts == {"dns_query": "a.example", "dns_type": 1, "dns_rcode": 3}


def test_dns_over_tcp() -> None:
    """The same behind a length."""
    parts = question("a.example"), answer("a.example", [(1, b"\1\2\3\4")])
    up, down = (len(part).to_bytes(2, "big") + part for part in parts)
    assert tell(tcp(up, down, 53)).facts == {"dns_query": "a.example", "dns_type": 1, "dns_answers": "1.2.3.4"}


def test_dns_of_a_direction_alone() -> None:
    """An answer has the question in it."""
    assert tell(udp((), answer("a.example", [(1, b"\1\2\3\4")]), 53)).facts["dns_query"] == "a.example"


def test_a_broken_question_has_no_name() -> None:
    """A name that leads beyond the message is none, not a part of one."""
    broken = question("a.example")[:-8]
    assert "dns_query" not in dissect("dns", len(broken).to_bytes(2, "big") + broken, b"", True)


def test_mdns_tells_devices() -> None:
    """Who answers for an address by mDNS answers for itself."""
    flow = udp(announcement("tv.local"), port=5353, client=5353)
    assert tell(flow).facts == {
        "dns_query": "tv.local",
        "dns_type": 1,
        "dns_answers": "10.0.0.5",
        "device_name": "tv.local",
    }
    both = udp((question("_ipp._tcp.local", 12), announcement("tv.local")), port=5353, client=5353)
    found = tell(both).facts
    assert (found["dns_query"], found["device_name"]) == ("_ipp._tcp.local", "tv.local")


def test_netbios() -> None:
    """Encoded names are told without padding: asked for, registered, or of a datagram's sender."""
    ask, register = netbios_question("PRINTER"), netbios_question("DESK", 0x2910)
    assert facts(udp(ask, port=137, client=137)) == {"dns_query": "PRINTER", "dns_type": 0x20}
    assert facts(udp(register, port=137, client=137)) == {"device_name": "DESK"}
    assert facts(udp(netbios_datagram("DESK"), port=138, client=138)) == {"device_name": "DESK"}


def test_ssdp() -> None:
    """The method, and what the sender's software is, told as user agent or as server."""
    assert facts(udp(SEARCH, port=1900)) == {"http_method": "M-SEARCH", "http_user_agent": "Chrome/1"}
    assert facts(udp(b"HTTP/1.1 200 OK\r\nServer: tv UPnP/1.0\r\n\r\n")) == {"http_user_agent": "tv UPnP/1.0"}


def test_dhcp() -> None:
    """Host name and vendor class, behind padding, not behind the end of the options."""
    found = facts(udp(dhcp((0, b""), (12, b"desk\0"), (60, b"MSFT 5.0")), port=67, client=68))
    assert found == {"device_name": "desk", "http_user_agent": "MSFT 5.0"}
    assert facts(udp(dhcp() + b"\x0c\x04late", port=67, client=68)) == {}
    assert facts(udp(dhcp()[:-1] + b"\x0c\xffcut", port=67, client=68)) == {}


def test_dhcpv6() -> None:
    """A client's full name and vendor class."""
    options = (39, b"\0" + labels("desk.example")), (16, b"\0\0\1\x37\0\x08MSFT 5.0")
    assert facts(udp(dhcpv6(*options), port=547, client=546)) == {
        "device_name": "desk.example",
        "http_user_agent": "MSFT 5.0",
    }


def test_stun_realm() -> None:
    """A server's realm, in datagrams and in streams; an attribute that is cut off names none."""
    realm = b"\0\x09\0\x05\0\0\4\1x\0\0\0\0\x14\0\x09a.example\0\0\0"
    assert facts(udp(stun(), stun(0x0113, realm))) == {"server_name": "a.example"}
    assert facts(tcp(stun(), stun(0x0113, realm))) == {"server_name": "a.example"}
    assert facts(tcp(stun(), stun(0x0113, realm)[:-4])) == {}


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("sip:sip.example.com", "sip.example.com"),
        ("sip:bob@sip.example.com:5060;transport=udp", "sip.example.com"),
        ("sips:bob;day=1@sip.example.com?to=x", "sip.example.com"),
        ("sip:[2001:db8::1]:5060", "2001:db8::1"),
        ("tel:+1234", None),
    ],
)
def test_sip_host(target: str, host: str | None) -> None:
    """The host of a request's target, without user, port and parameters."""
    assert facts(udp(f"INVITE {target} SIP/2.0\r\n\r\n".encode(), port=5060)).get("server_name") == host


def test_sip_agent() -> None:
    """The asking side's software comes before the other's, also where the directions are turned."""
    ringing = b"SIP/2.0 180 Ringing\r\nServer: pbx\r\n\r\n"
    for flow in (udp(INVITE, ringing, 5060), udp(ringing, INVITE, 5060)):
        assert facts(flow) == {"server_name": "sip.example.com", "http_user_agent": "phone/1"}
    assert facts(udp((), ringing, 5060)) == {"http_user_agent": "pbx"}


def test_texts_without_room_are_cut() -> None:
    """Where texts have no room left, the last one is cut off, and that is told."""
    head = b"GET /abcdef HTTP/1.1\r\n\r\n"
    assert dissect("http", head, b"", False, 6) == {"http_method": "GET", "http_path": "/ab", "cut": 1, "dns_rcode": -1}
