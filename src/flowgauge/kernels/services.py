"""Which application protocol a flow speaks, told by the first bytes of both sides, and what those bytes name.

How sure it is, in percent: 99 both sides' bytes say so; 95 a signature of 32 bits or more, or a form that fits to the
last byte; 80 a form of some 20 bits, or one on its own port; 60 a short form on the service's own port; 0 a candidate,
which :func:`judge` confirms once more bytes are there, and which is not to be told unless it does.

A flow of which bytes were kept is what :func:`judge` says, where that is surer than the first look at a direction of
which none were; the others are what the surer of their two first looks said. A range of a TCP stream is its first
bytes; of UDP it is a sequence of datagrams, each behind its length as two bytes; only :func:`first_look` is given a
bare datagram. Ranges are unsigned and may be empty.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels import signs
from flowgauge.kernels._jit import rare_byte_helper
from flowgauge.kernels.bytes import be16
from flowgauge.kernels.dialogue import line_signs, of_both, of_signs
from flowgauge.kernels.dtls import dissect_dtls, is_whole_dtls_hello
from flowgauge.kernels.hosts import (
    dissect_dhcp,
    dissect_dhcpv6,
    dissect_netbios_dgm,
    dissect_netbios_ns,
    dissect_stun,
    is_dhcp,
    is_dhcpv6,
    is_netbios_dgm,
    is_netbios_ns,
)
from flowgauge.kernels.http import (
    dissect_http,
    dissect_sip,
    dissect_ssdp,
    is_request_line,
    is_sip_line,
    is_status_line,
)
from flowgauge.kernels.queries import dissect_dns
from flowgauge.kernels.servicelist import (
    BITTORRENT,
    BOTH,
    CANDIDATE,
    DHCP,
    DHCPV6,
    DNS,
    DTLS,
    FORM,
    FTP,
    HTTP,
    IMAP,
    LLMNR,
    MDNS,
    MQTT,
    NETBIOS_DGM,
    NETBIOS_NS,
    NTP,
    OPENVPN,
    POP3,
    QUIC,
    RDP,
    RTCP,
    RTP,
    SERVICES,
    SIGNATURE,
    SIP,
    SMB,
    SMTP,
    SSDP,
    SSH,
    STUN,
    TLS,
    UNKNOWN,
    WIREGUARD,
)
from flowgauge.kernels.ssh import dissect_ssh, is_ssh, is_whole_key_exchange
from flowgauge.kernels.text import LF, find, head_end, packed, prefixes, which_prefix, word
from flowgauge.kernels.tls import dissect_tls, is_whole_hello

U = np.uint64
HEAD_BYTES = 4096  # of a direction, at most
PREFIX = U(2)  # bytes that hold a datagram's length

_KEPT = {
    TLS: HEAD_BYTES,
    QUIC: HEAD_BYTES,
    HTTP: HEAD_BYTES,
    DNS: 2048,
    MDNS: 2048,
    LLMNR: 512,
    NETBIOS_NS: 512,
    NETBIOS_DGM: 256,
    SSDP: 1024,
    DHCP: 1024,
    DHCPV6: 512,
    SSH: HEAD_BYTES,
    STUN: 512,
    DTLS: HEAD_BYTES,
    WIREGUARD: 2048,  # a message of each side where the port does not tell
    SMB: 128,
    OPENVPN: 128,
    FTP: 512,
    SMTP: 512,
    POP3: 512,
    IMAP: 512,
    SIP: 2048,
    RTP: HEAD_BYTES,  # two packets
}
KEEP = np.zeros(len(SERVICES), np.int64)
KEEP[list(_KEPT)] = list(_KEPT.values())

_PORT_DNS, _PORT_MDNS, _PORT_LLMNR, _PORT_NETBIOS_NS, _PORT_SSDP = 53, 5353, 5355, 137, 1900
_PORT_DHCPV6, _PORT_DHCPV6_SERVER = 546, 547
_HTTP2 = packed(b"PRI * HTTP/2.0"[:8])  # RFC 9113 §3.4
_SSDP = prefixes(b"M-SEARCH", b"NOTIFY *")
_LONG_HEADER, _FIXED_BIT, _TYPE = np.uint8(0x80), np.uint8(0x40), np.uint8(0x30)
_MOST_HELLOS = 4  # datagrams of a QUIC client that are kept
_MOST_FRAMED = U(1500)  # bytes of a datagram in a stream
_MOST_PACKETS = 16  # datagrams among which two of RTP are looked for


@rare_byte_helper
def _stream_text(data, at, end, client_port, server_port):
    """Streams that begin with text."""
    if is_status_line(data, at, end):
        return HTTP, SIGNATURE
    if is_request_line(data, at, end):
        return HTTP, SIGNATURE if end >= at + U(8) else CANDIDATE
    if word(data, at, end) == _HTTP2:
        return HTTP, SIGNATURE
    if is_ssh(data, at, end):
        return SSH, SIGNATURE
    if is_sip_line(data, at, end):
        return SIP, SIGNATURE
    return of_signs(line_signs(data, at, end), client_port, server_port)


@rare_byte_helper
def _stream_form(data, at, end, client_port, server_port):
    """Streams of binary messages."""
    sure = max(signs.tls(data, at, end), signs.old_hello(data, at, end))
    if sure > 0:
        return TLS, sure
    if signs.may_be_tls(data, at, end):
        return TLS, CANDIDATE
    sure = signs.bittorrent_stream(data, at, end)
    if sure > 0:
        return BITTORRENT, sure
    sure = signs.smb(data, at, end)
    if sure > 0:
        return SMB, sure
    sure = signs.rdp(data, at, end, client_port, server_port)
    if sure > 0:
        return RDP, sure
    sure = signs.mqtt(data, at, end, client_port, server_port)
    if sure > 0:
        return MQTT, sure
    sure = signs.stun(data, at, end, False, client_port, server_port)
    if sure > 0:
        return STUN, sure
    return _stream_of_messages(data, at, end, client_port, server_port)


@rare_byte_helper
def _stream_of_messages(data, at, end, client_port, server_port):
    """Streams of what is sent in datagrams otherwise, each behind its length."""
    if end < at + PREFIX:
        return UNKNOWN, CANDIDATE
    begin, size = at + PREFIX, be16(data, at)
    stop = min(begin + size, end)
    if begin + size <= end:
        sure = signs.openvpn(data, begin, stop)
        if sure > 0:
            return OPENVPN, sure
        sure = signs.stun(data, begin, stop, True, client_port, server_port)  # RFC 4571
        if sure > FORM:
            return STUN, sure
    if size < U(12):
        return UNKNOWN, CANDIDATE
    is_dns_port = signs.on_port(_PORT_DNS, client_port, server_port)
    sure = signs.dns(data, begin, stop, not is_dns_port)
    if sure == 0 and size <= _MOST_FRAMED and signs.may_be_rtp(data, begin, stop):  # RFC 4571
        return RTP, CANDIDATE
    return DNS, sure


@rare_byte_helper
def _stream(data, at, end, client_port, server_port):
    service, sure = _stream_text(data, at, end, client_port, server_port)
    if service == UNKNOWN:
        service, sure = _stream_form(data, at, end, client_port, server_port)
        if sure == 0 and service != TLS and service != RTP:
            service = UNKNOWN
    return service, sure


@rare_byte_helper
def _datagram_names(data, at, end, client_port, server_port):
    """DNS and its kin, which the port tells apart."""
    if is_netbios_ns(data, at, end):
        return NETBIOS_NS, SIGNATURE
    if signs.on_port(_PORT_MDNS, client_port, server_port):
        return MDNS, signs.dns(data, at, end, False)
    if signs.on_port(_PORT_LLMNR, client_port, server_port):
        return LLMNR, signs.dns(data, at, end, False)
    if signs.on_port(_PORT_NETBIOS_NS, client_port, server_port):
        return NETBIOS_NS, signs.dns(data, at, end, False)
    return DNS, signs.dns(data, at, end, not signs.on_port(_PORT_DNS, client_port, server_port))


@rare_byte_helper
def _datagram_text(data, at, end, client_port, server_port):
    """Datagrams of text."""
    if which_prefix(word(data, at, end), _SSDP) >= 0:
        return SSDP, SIGNATURE
    if is_status_line(data, at, end):
        return SSDP, SIGNATURE if signs.on_port(_PORT_SSDP, client_port, server_port) else FORM
    if is_sip_line(data, at, end):
        return SIP, SIGNATURE
    return UNKNOWN, CANDIDATE


@rare_byte_helper
def _datagram_hosts(data, at, end, client_port, server_port):
    """Datagrams in which hosts name themselves."""
    if is_dhcp(data, at, end):
        return DHCP, SIGNATURE
    if is_netbios_dgm(data, at, end):
        return NETBIOS_DGM, SIGNATURE
    is_own_port = signs.on_port(_PORT_DHCPV6, client_port, server_port)
    if is_own_port or signs.on_port(_PORT_DHCPV6_SERVER, client_port, server_port):
        return (DHCPV6, SIGNATURE) if is_dhcpv6(data, at, end) else (UNKNOWN, CANDIDATE)
    return UNKNOWN, CANDIDATE


@rare_byte_helper
def _datagram_form(data, at, end, client_port, server_port):
    """Datagrams of binary messages."""
    sure = signs.quic(data, at, end)
    if sure > 0:
        return QUIC, sure
    sure = signs.dtls(data, at, end)
    if sure > 0:
        return DTLS, sure
    sure = signs.stun(data, at, end, True, client_port, server_port)
    if sure > 0:
        return STUN, sure
    sure = signs.bittorrent_datagram(data, at, end)
    if sure > 0:
        return BITTORRENT, sure
    sure = signs.wireguard(data, at, end, client_port, server_port)
    if sure > 0:
        return WIREGUARD, sure
    sure = signs.openvpn(data, at, end)
    if sure > 0:
        return OPENVPN, sure
    sure = signs.ntp(data, at, end, client_port, server_port)
    if sure > 0:
        return NTP, sure
    sure = signs.rtcp(data, at, end)
    return (RTCP, sure) if sure > 0 else (UNKNOWN, CANDIDATE)


@rare_byte_helper
def _datagram_candidate(data, at, end, client_port, server_port):
    """Datagrams that are nothing by themselves."""
    if signs.may_be_wireguard(data, at, end):
        return WIREGUARD, FORM if signs.is_wireguard_port(client_port, server_port) else CANDIDATE
    return RTP if signs.may_be_rtp(data, at, end) else UNKNOWN, CANDIDATE


@rare_byte_helper
def _datagram(data, at, end, client_port, server_port):
    service, sure = _datagram_hosts(data, at, end, client_port, server_port)
    if sure == 0:
        service, sure = _datagram_text(data, at, end, client_port, server_port)
    if sure == 0:
        service, sure = _datagram_names(data, at, end, client_port, server_port)
    if sure == 0:
        service, sure = _datagram_form(data, at, end, client_port, server_port)
    return (service, sure) if sure > 0 else _datagram_candidate(data, at, end, client_port, server_port)


@rare_byte_helper
def _look(data, at, end, is_udp, client_port, server_port):
    if end <= at:
        return UNKNOWN, CANDIDATE
    if is_udp:
        return _datagram(data, at, end, client_port, server_port)
    return _stream(data, at, end, client_port, server_port)


@rare_byte_helper
def first_look(data, begin, end, is_udp, client_port, server_port, is_up):
    """(service, confidence, bytes to keep) by the first payload of a direction, of UDP the bare datagram.

    With bytes to keep (HEAD_BYTES at most), a confidence of 0 is that of a candidate: :func:`judge` decides.
    """
    end = min(end, U(len(data)))
    service, sure = _look(data, begin, end, is_udp, client_port, server_port)
    if service == QUIC and not is_up:
        return service, sure, 0  # nothing of it can be read
    return service, sure, KEEP[service]


@rare_byte_helper
def _first_datagram(data, begin, end):
    """Range of the first datagram of a sequence, as far as it was kept."""
    if end < begin + PREFIX:
        return begin, begin
    return begin + PREFIX, min(begin + PREFIX + be16(data, begin), end)


@rare_byte_helper
def _holds_datagram(data, begin, end):
    return end >= begin + PREFIX and end >= begin + PREFIX + be16(data, begin)


@rare_byte_helper
def _count_datagrams(data, begin, end, most):
    """Whole datagrams in a range, `most` at most, and where the last one begins."""
    count, last = 0, begin
    while count < most and _holds_datagram(data, begin, end):
        count, last = count + 1, begin
        begin += PREFIX + be16(data, begin)
    return count, last


@rare_byte_helper
def _is_rtp(data, begin, end):
    """Whether two packets of one source follow each other in a sequence of datagrams."""
    earlier, left = U(0), _MOST_PACKETS
    while left > 0 and end >= begin + PREFIX:
        at, stop = _first_datagram(data, begin, end)
        if signs.may_be_rtp(data, at, stop):
            if earlier > U(0) and signs.follow(data, earlier, at):
                return True
            earlier = at
        begin = stop
        left -= 1
    return False


@rare_byte_helper
def _is_whole_quic(data, begin, end):
    """The client goes on from hellos to other packets, or has sent more than hellos take."""
    count, last = _count_datagrams(data, begin, end, _MOST_HELLOS)
    if count == 0:
        return False
    first = data[last + PREFIX] if end > last + PREFIX else np.uint8(0)
    return count == _MOST_HELLOS or first & _LONG_HEADER == 0


@rare_byte_helper
def is_whole(service, data, begin, end, is_up):
    """Whether the bytes kept of a direction hold all that the dissector of a service reads of it."""
    end = min(end, U(len(data)))
    if begin >= end:
        return False
    if service == TLS:
        return is_whole_hello(data, begin, end, is_up)
    if service == QUIC:
        return _is_whole_quic(data, begin, end)
    if service == DTLS:
        return is_whole_dtls_hello(data, begin, end, is_up)
    if service == HTTP or service == SIP or service == SSDP:
        return head_end(data, begin, end)[1]
    if service == SSH:
        return is_whole_key_exchange(data, begin, end)
    if service == FTP or service == SMTP or service == POP3 or service == IMAP:
        return find(data, begin, end, LF) < end
    if service == RTP:
        return _is_rtp(data, begin, end)
    if service == MDNS:
        return False  # any of its messages may tell a name
    return _holds_datagram(data, begin, end)


@rare_byte_helper
def _combined(up, up_sure, down, down_sure):
    """What is said of a flow by what is said of both directions."""
    if up != down:
        return (up, up_sure) if up_sure >= down_sure else (down, down_sure)
    if min(up_sure, down_sure) >= FORM:
        return up, BOTH
    if up == WIREGUARD:
        return up, max(up_sure, down_sure, FORM)  # what one side alone would not be
    sure = max(up_sure, down_sure)
    return up, max(sure, FORM) if min(up_sure, down_sure) > 0 else sure


@rare_byte_helper
def _judge_direction(data, begin, end, is_udp, client_port, server_port):
    at, stop = begin, end
    if is_udp:
        at, stop = _first_datagram(data, begin, end)
    service, sure = _look(data, at, stop, is_udp, client_port, server_port)
    if service == RTP and _is_rtp(data, begin, end):  # in streams, too, behind lengths of two bytes (RFC 4571)
        sure = SIGNATURE
    return service, sure


@rare_byte_helper
def judge(data, up_begin, up_end, down_begin, down_end, is_udp, client_port, server_port):
    """(service, confidence) by what was kept of both directions; (0, 0) where that is of none."""
    size = U(len(data))
    up_end, down_end = min(up_end, size), min(down_end, size)
    up, up_sure = _judge_direction(data, up_begin, up_end, is_udp, client_port, server_port)
    down, down_sure = _judge_direction(data, down_begin, down_end, is_udp, client_port, server_port)
    service, sure = _combined(up, up_sure, down, down_sure)
    if not is_udp:
        up_signs, down_signs = line_signs(data, up_begin, up_end), line_signs(data, down_begin, down_end)
        if up_signs != 0 and down_signs != 0:
            service, sure = of_both(up_signs, down_signs, client_port, server_port)
    return (service, sure) if sure > 0 else (UNKNOWN, CANDIDATE)


@rare_byte_helper
def _dissect_datagram(service, data, begin, end, fact, out):
    """Services of which each side's first datagram is read by itself."""
    at, stop = _first_datagram(data, begin, end)
    if service == NETBIOS_NS:
        dissect_netbios_ns(data, at, stop, fact, out)
    elif service == NETBIOS_DGM:
        dissect_netbios_dgm(data, at, stop, fact, out)
    elif service == SSDP:
        dissect_ssdp(data, at, stop, fact, out)
    elif service == DHCP:
        dissect_dhcp(data, at, stop, fact, out)
    elif service == DHCPV6:
        dissect_dhcpv6(data, at, stop, fact, out)
    elif service == STUN:
        dissect_stun(data, at, stop, fact, out)


@rare_byte_helper
def dissect(service, data, up_begin, up_end, down_begin, down_end, is_udp, fact, out):
    """Put into `fact` and `out` what the bytes kept of both directions say; QUIC's hello is encrypted, see names/."""
    size = U(len(data))
    up_end, down_end = min(up_end, size), min(down_end, size)
    if service == TLS:
        dissect_tls(data, up_begin, up_end, down_begin, down_end, fact, out)
    elif service == DTLS:
        dissect_dtls(data, up_begin, up_end, down_begin, down_end, fact, out)
    elif service == HTTP:
        dissect_http(data, up_begin, up_end, down_begin, down_end, fact, out)
    elif service == DNS:
        dissect_dns(data, up_begin, up_end, down_begin, down_end, False, fact, out)
    elif service == MDNS or service == LLMNR:
        dissect_dns(data, up_begin, up_end, down_begin, down_end, True, fact, out)
    elif service == SSH:
        dissect_ssh(data, up_begin, up_end, down_begin, down_end, fact, out)
    elif service == SIP:
        if is_udp:
            up_begin, up_end = _first_datagram(data, up_begin, up_end)
            down_begin, down_end = _first_datagram(data, down_begin, down_end)
        dissect_sip(data, up_begin, up_end, down_begin, down_end, fact, out)
    elif service == STUN and not is_udp:
        dissect_stun(data, up_begin, up_end, fact, out)
        dissect_stun(data, down_begin, down_end, fact, out)
    else:
        _dissect_datagram(service, data, up_begin, up_end, fact, out)
        _dissect_datagram(service, data, down_begin, down_end, fact, out)
