"""What the first bytes of a TCP stream or of a UDP datagram are signs of: one service is one function.

Each looks at `data[at:end]` and says how sure it is, in percent, 0 where it is not that service. Ports are asked only
where a form is one that others may have. Sources are the protocols' specifications, named at each.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import rare_byte_helper
from flowgauge.kernels.bytes import be16, be32, be64
from flowgauge.kernels.hosts import is_netbios_name
from flowgauge.kernels.quic import is_quic_version, looks_like_quic
from flowgauge.kernels.servicelist import FORM, PORT_AND_FORM, SIGNATURE
from flowgauge.kernels.text import folded, packed, small, word

U = np.uint64

_MOST_RECORD = U(16384 + 2048)  # RFC 5246 §6.2.3
_CHANGE_CIPHER, _ALERT, _HANDSHAKE, _APPLICATION = 20, 21, 22, 23
_CLIENT_HELLO, _SERVER_HELLO = 1, 2


@rare_byte_helper
def on_port(port, client_port, server_port):
    """Whether either side has a port: which of them serves is not always known."""
    return client_port == port or server_port == port


@rare_byte_helper
def _is_record_header(data, at, end):
    """As far as it is there, a header of TLS 1.0 to 1.3."""
    if data[at] < _CHANGE_CIPHER or data[at] > _APPLICATION:
        return False
    if end > at + U(1) and data[at + U(1)] != 3:
        return False
    return end <= at + U(2) or data[at + U(2)] <= 4


@rare_byte_helper
def _record(data, at, end):
    """A TLS record that begins a stream whose beginning was not captured: what follows it must be one as well."""
    kind, size = data[at], be16(data, at + U(3))
    following = at + U(5) + size
    if following < end and not _is_record_header(data, following, end):
        return 0
    if kind == _CHANGE_CIPHER:
        return FORM if size == U(1) and end > at + U(5) and data[at + U(5)] == 1 else 0
    if kind == _ALERT:
        return FORM if size == U(2) or (size >= U(18) and size <= U(64)) else 0
    return FORM


@rare_byte_helper
def tls(data, at, end):
    """RFC 8446 §5.1; the first handshake message is a hello."""
    if end < at + U(7) or not _is_record_header(data, at, end):
        return 0
    size = be16(data, at + U(3))
    if size == U(0) or size > _MOST_RECORD:
        return 0
    if data[at] != _HANDSHAKE:
        return _record(data, at, end)
    kind = data[at + U(5)]
    if (kind == _CLIENT_HELLO or kind == _SERVER_HELLO) and data[at + U(6)] == 0:
        return SIGNATURE
    return _record(data, at, end)


@rare_byte_helper
def may_be_tls(data, at, end):
    """Whether a stream that has sent less than a hello's beginning may go on as one."""
    return end > at + U(1) and end < at + U(7) and data[at] == _HANDSHAKE and _is_record_header(data, at, end)


@rare_byte_helper
def old_hello(data, at, end):
    """A client's hello in the form of SSL 2 (RFC 5246 appendix E.2)."""
    if end < at + U(11) or data[at] < 0x80 or data[at + U(2)] != 1:
        return 0
    version = be16(data, at + U(3))
    if version != U(2) and (version < U(0x300) or version > U(0x303)):
        return 0
    ciphers, session, challenge = be16(data, at + U(5)), be16(data, at + U(7)), be16(data, at + U(9))
    whole = (be16(data, at) & U(0x7FFF)) == U(9) + ciphers + session + challenge
    return SIGNATURE if whole and ciphers % U(3) == U(0) and challenge >= U(16) and challenge <= U(32) else 0


_FF_SMB = tuple(packed(b"%cSMB" % first) >> U(32) for first in (0xFF, 0xFE, 0xFD, 0xFC))


@rare_byte_helper
def smb(data, at, end):
    """[MS-SMB2] §2.1 behind a length; a NetBIOS session (RFC 1002 §4.3.2), which carries nothing else today."""
    if end < at + U(8):
        return 0
    if data[at] == 0 and be32(data, at) >= U(32):
        magic = be32(data, at + U(4))
        return SIGNATURE if magic in _FF_SMB else 0
    if be32(data, at) == U(0x81000044) and is_netbios_name(data, at + U(4), end):
        return SIGNATURE
    return 0


_COOKIE, _NEGOTIATION = small(b"cookie: "), U(0x0800)
_PORT_RDP = 3389


@rare_byte_helper
def rdp(data, at, end, client_port, server_port):
    """[MS-RDPBCGR] §2.2.1: an X.224 connection request or confirmation, with a cookie or a negotiation."""
    if end < at + U(11) or be16(data, at) != U(0x0300):
        return 0
    size, code = be16(data, at + U(2)), data[at + U(5)]
    if size != U(5) + U(data[at + U(4)]) or (code != 0xE0 and code != 0xD0) or data[at + U(10)] != 0:
        return 0
    if size == U(11):
        return PORT_AND_FORM if on_port(_PORT_RDP, client_port, server_port) else 0
    if end < at + U(19):
        return 0
    if code == 0xE0 and folded(data, at + U(11), end) == _COOKIE:
        return SIGNATURE
    kind = data[at + U(11)]
    fits = kind == 1 if code == 0xE0 else kind == 2 or kind == 3
    return SIGNATURE if fits and be16(data, at + U(13)) == _NEGOTIATION else 0


_MQTT, _MQISDP = packed(b"\0\x04MQTT") >> U(16), packed(b"\0\x06MQIsdp")
_PORT_MQTT = 1883


@rare_byte_helper
def mqtt(data, at, end, client_port, server_port):
    """MQTT 3.1 to 5.0 §3.1: CONNECT; its answer alone is told by the port."""
    if end < at + U(4):
        return 0
    if data[at] == 0x20 and data[at + U(1)] >= 2 and data[at + U(2)] <= 1:
        whole = end == at + U(2) + U(data[at + U(1)])
        return PORT_AND_FORM if whole and on_port(_PORT_MQTT, client_port, server_port) else 0
    if data[at] != 0x10:
        return 0
    name = at + U(1)
    while name < end and name < at + U(4) and data[name] >= 0x80:  # a length of up to four bytes
        name += U(1)
    name += U(1)
    if end < name + U(9):
        return 0
    first = be64(data, name)
    if first >> U(16) == _MQTT:
        return SIGNATURE if data[name + U(6)] >= 3 and data[name + U(6)] <= 5 else 0
    return SIGNATURE if first == _MQISDP else 0


_HANDSHAKE_NAME = packed(b"\x13BitTorr"), packed(b"ent prot")


@rare_byte_helper
def bittorrent_stream(data, at, end):
    """BEP 3: the handshake."""
    if end < at + U(16):
        return 0
    both = be64(data, at) == _HANDSHAKE_NAME[0] and be64(data, at + U(8)) == _HANDSHAKE_NAME[1]
    return SIGNATURE if both else 0


_DICTIONARIES = tuple(packed(text) >> U(40) for text in (b"d1:", b"d2:"))
_KIND = packed(b"1:y1:")
_TRACKER = U(0x41727101980)
_SEARCH = packed(b"BT-SEARC")
_SYN, _STATE = U(0x4100), U(0x2100)


@rare_byte_helper
def bittorrent_datagram(data, at, end):
    """BEP 5: a dictionary whose last key says what it is; BEP 15: a tracker; BEP 14; BEP 29: the first of a µTP."""
    size = end - at
    if size < U(16):
        return 0
    first = be64(data, at)
    if first == _TRACKER and size == U(16) and be32(data, at + U(8)) == U(0):
        return SIGNATURE
    if first == _SEARCH:
        return SIGNATURE
    if first >> U(40) in _DICTIONARIES and data[end - U(1)] == 101:  # e
        kind = word(data, end - U(7), end) >> U(24) << U(24) == _KIND
        return SIGNATURE if kind else 0
    if size == U(20) and first >> U(48) == _SYN:
        return FORM if be32(data, at + U(8)) == U(0) and be16(data, at + U(18)) == U(0) else 0
    return 0


_VERSIONS_FROM, _MOST_VERSIONS = U(5), 32


@rare_byte_helper
def quic(data, at, end):
    """RFC 9000 §17.2; a negotiation of versions (RFC 8999 §6) must list one that is known."""
    if not looks_like_quic(data, at, end):
        return 0
    if data[at] < 0x80 or be32(data, at + U(1)) != U(0):
        return SIGNATURE
    here = at + _VERSIONS_FROM
    for _ in range(2):  # past the connection ids
        here += U(1) + U(data[here]) if here < end else U(0)
    if here >= end or (end - here) % U(4) != U(0):
        return 0
    left = _MOST_VERSIONS
    while left > 0 and here < end:
        if is_quic_version(data, here):
            return SIGNATURE
        here += U(4)
        left -= 1
    return 0


_MAGIC_COOKIE = U(0x2112A442)
_PORT_STUN = 3478


@rare_byte_helper
def _attributes_fit(data, at, end):
    """Whether STUN's attributes fill the bytes, each of a known range."""
    while at < end:
        if end - at < U(4) or (be16(data, at) & U(0x7FFF)) > U(0x40):
            return False
        at += U(4) + (be16(data, at + U(2)) + U(3) & U(0xFFFC))
    return at == end


@rare_byte_helper
def stun(data, at, end, is_udp, client_port, server_port):
    """RFC 8489 §5; without the cookie RFC 3489 §11.1, whose attributes must fit."""
    if end < at + U(20) or data[at] >= 0x40:
        return 0
    size = be16(data, at + U(2))
    if size % U(4) != U(0):
        return 0
    whole = at + U(20) + size == end
    if be32(data, at + U(4)) == _MAGIC_COOKIE:
        return SIGNATURE if whole or not is_udp else 0
    kind = be16(data, at)
    if not whole or not is_udp or kind & U(0xFEE0) != U(0) or kind & U(0xF) == U(0):
        return 0
    if size == U(0):
        return PORT_AND_FORM if on_port(_PORT_STUN, client_port, server_port) else 0
    return FORM if _attributes_fit(data, at + U(20), end) else 0


@rare_byte_helper
def dtls(data, at, end):
    """RFC 6347 §4.1, RFC 9147 §4: records that fill the datagram; a handshake's first epoch is 0."""
    if end < at + U(13):
        return 0
    first = data[at]
    if first == _HANDSHAKE and be16(data, at + U(3)) == U(0) and (end < at + U(25) or data[at + U(13)] > 24):
        return 0
    here = at
    while here < end:
        if end - here < U(13) or data[here] < _CHANGE_CIPHER or data[here] > 26:
            return 0
        version, size = be16(data, here + U(1)), be16(data, here + U(11))
        if version != U(0xFEFF) and version != U(0xFEFD) and version != U(0x0100):
            return 0
        if size == U(0) or size > _MOST_RECORD:
            return 0
        here += U(13) + size
    return SIGNATURE if here == end else 0


_PORT_NTP = 123
_NTP_SIZE = U(48)


@rare_byte_helper
def ntp(data, at, end, client_port, server_port):
    """RFC 5905 §7.3, RFC 9327 §2 (control messages); nothing but port 123 tells it from other datagrams."""
    if not on_port(_PORT_NTP, client_port, server_port) or end < at + U(8):
        return 0
    size, version, mode = end - at, data[at] >> 3 & 7, data[at] & 7
    if version < 1 or version > 4 or size % U(4) != U(0):
        return 0
    if mode >= 1 and mode <= 5:
        return FORM if size >= _NTP_SIZE and size <= U(512) and data[at + U(1)] <= 16 else 0
    if mode == 6:
        return PORT_AND_FORM if size >= U(12) and be16(data, at + U(10)) + U(12) <= size else 0
    return PORT_AND_FORM if mode == 7 else 0


_PORT_WIREGUARD = 51820
_INITIATION, _RESPONSE, _COOKIE_REPLY = 1, 2, 3
_INITIATION_SIZE, _RESPONSE_SIZE, _COOKIE_SIZE = U(148), U(92), U(64)


@rare_byte_helper
def wireguard(data, at, end, client_port, server_port):
    """The WireGuard protocol §5.4: handshake messages have sizes of their own; on its port longer ones are it too."""
    size = end - at
    if size < _COOKIE_SIZE or be32(data, at) & U(0x00FFFFFF) != U(0) or be32(data, at + U(4)) == U(0):
        return 0
    kind = data[at]
    if kind == _COOKIE_REPLY:
        return FORM if size == _COOKIE_SIZE else 0
    if kind != _INITIATION and kind != _RESPONSE:
        return 0
    needed = _INITIATION_SIZE if kind == _INITIATION else _RESPONSE_SIZE
    if size == needed:
        return SIGNATURE
    return PORT_AND_FORM if size > needed and on_port(_PORT_WIREGUARD, client_port, server_port) else 0


@rare_byte_helper
def may_be_wireguard(data, at, end):
    """A transport message: a counter below 2^32, and what is encrypted comes in units of 16 bytes."""
    size = end - at
    if size < U(32) or size % U(16) != U(0) or be32(data, at) != U(0x04000000):
        return False
    return be32(data, at + U(4)) != U(0) and be32(data, at + U(12)) == U(0)


@rare_byte_helper
def is_wireguard_port(client_port, server_port):
    return on_port(_PORT_WIREGUARD, client_port, server_port)


_RESET_SIZES = np.array([0, 16, 20, 32, 64], np.uint64)  # of the HMAC in front: none, MD5, SHA-1, SHA-2
_EARLIEST, _LATEST = U(0x40000000), U(0x80000000)  # seconds: 2004 to 2038


@rare_byte_helper
def _is_reset(data, at, end, is_answer):
    """OpenVPN's first packet of a side, plain or with an HMAC, a packet id and a time in front (tls-auth)."""
    tail = U(17) if is_answer else U(5)  # acknowledgements: how many, one, and whose session; packet id
    size = end - at
    for row in range(len(_RESET_SIZES)):
        extra = _RESET_SIZES[row] + (U(8) if row > 0 else U(0))
        if size == U(9) + extra + tail:
            here = at + U(9) + extra
            fits = data[here] == (1 if is_answer else 0) and be32(data, end - U(4)) == U(0)
            if fits and row > 0:
                fits = be32(data, here - U(8)) == U(1)
            if fits and is_answer:
                fits = be32(data, here + U(1)) == U(0)
            if fits:
                return True
    return False


@rare_byte_helper
def _is_encrypted_reset(data, at, end):
    """The same with tls-crypt: packet id 1 and a time behind the session."""
    if end < at + U(54):
        return False
    time = be32(data, at + U(13))
    return time >= _EARLIEST and time < _LATEST and be32(data, at + U(9)) == U(1)


@rare_byte_helper
def _is_wrapped_reset(data, at, end):
    """The same with tls-crypt-v2, where a key follows and the packet id's first half is of flags."""
    if end < at + U(128):
        return False
    time = be32(data, at + U(13))
    return time >= _EARLIEST and time < _LATEST and be16(data, at + U(11)) == U(1)


@rare_byte_helper
def openvpn(data, at, end):
    """OpenVPN network protocol: hard resets, the first packets of both sides, with key 0."""
    if end < at + U(14):
        return 0
    code, size = data[at], end - at
    if code == 0x50:
        return FORM if _is_wrapped_reset(data, at, end) else 0
    if code != 0x38 and code != 0x40:
        return 0
    if _is_reset(data, at, end, code == 0x40):
        return SIGNATURE
    fits = size == U(54) if code == 0x38 else size == U(66) or size == U(72)
    return SIGNATURE if fits and _is_encrypted_reset(data, at, end) else 0


@rare_byte_helper
def rtcp(data, at, end):
    """RFC 3550 §6: packets that fill the datagram; encrypted (RFC 3711 §3.4), a first one as long as it must be."""
    if end < at + U(8) or data[at] >> 6 != 2:
        return 0
    kind, count, words = data[at + U(1)], U(data[at] & 31), be16(data, at + U(2))
    if kind < 200 or kind > 207:
        return 0
    if kind == 200 or kind == 201:
        needed = (U(6) if kind == 200 else U(1)) + U(6) * count
        if words < needed:
            return 0
        if words == needed and end > at + U(4) + U(4) * words:
            return SIGNATURE if data[at + U(4) + U(4) * words] >> 6 == 2 else FORM
    here = at
    while here < end:
        if end - here < U(4) or data[here] >> 6 != 2 or data[here + U(1)] < 192 or data[here + U(1)] > 223:
            return 0
        here += U(4) + U(4) * be16(data, here + U(2))
    return SIGNATURE if here == end else 0


_RTP_HEADER = U(12)


@rare_byte_helper
def may_be_rtp(data, at, end):
    """RFC 3550 §5.1: version 2, a payload type in use (RFC 3551 §6), room for what the header says."""
    if end < at + _RTP_HEADER or data[at] >> 6 != 2:
        return False
    kind = data[at + U(1)] & 127
    if kind > 34 and kind < 96:
        return False
    size = _RTP_HEADER + U(4) * U(data[at] & 15)
    if data[at] & 16:
        if end < at + size + U(4):
            return False
        size += U(4) + U(4) * be16(data, at + size + U(2))
    return end >= at + size


_MOST_SKIPPED = U(100)  # sequence numbers between two packets, of which those between are lost or not kept


@rare_byte_helper
def follow(data, first, second):
    """Whether the RTP packet at `second` follows that at `first`: same source, sequence and time risen."""
    source = be32(data, first + U(8))
    if source != be32(data, second + U(8)):
        return False
    risen = (be16(data, second + U(2)) - be16(data, first + U(2))) & U(0xFFFF)
    later = (be32(data, second + U(4)) - be32(data, first + U(4))) & U(0xFFFFFFFF)
    if source == U(0) and later == U(0):  # zeros are anything's
        return False
    return risen >= U(1) and risen <= _MOST_SKIPPED and later < U(1 << 31)


_LONGEST_NAME = U(255)
_PORT_DNS, _PORT_MDNS, _PORT_LLMNR = 53, 5353, 5355


@rare_byte_helper
def _name_end(data, at, end, is_strict):
    """Where that begins which follows an uncompressed name, 0 where there is none; `is_strict`: of visible ASCII."""
    begin = at
    while at < end and at - begin <= _LONGEST_NAME:
        size = U(data[at])
        if size > U(63) or size >= end - at:
            return U(0)
        at += U(1)
        if size == U(0):
            return at
        while size > U(0):
            if is_strict and (data[at] < 33 or data[at] > 126):
                return U(0)
            at += U(1)
            size -= U(1)
    return U(0)


@rare_byte_helper
def _asks(data, at, end, is_strict):
    """Where that begins which follows a question of known class, 0 where there is none."""
    after = _name_end(data, at, end, is_strict)
    if after == U(0) or end - after < U(4):
        return U(0)
    kind, group = be16(data, after), be16(data, after + U(2)) & U(0x7FFF)
    if kind == U(0) or (group != U(1) and group != U(3) and group != U(4) and group < U(254)) or group > U(255):
        return U(0)
    if is_strict and (kind > U(300) or group != U(1)):
        return U(0)
    return after + U(4)


@rare_byte_helper
def dns(data, at, end, is_strict):
    """RFC 1035 §4.1, and mDNS' answers without a question; `is_strict` where no port says so."""
    if end < at + U(12):
        return 0
    flags = be16(data, at + U(2))
    questions, answers, servers = be16(data, at + U(4)), be16(data, at + U(6)), be16(data, at + U(8))
    others = be16(data, at + U(10))
    if flags >> U(11) & U(15) > U(6):
        return 0
    damaged = PORT_AND_FORM if not is_strict and questions == U(1) else 0
    if U(12) + U(5) * questions + U(11) * (answers + servers) > end - at:
        return damaged
    if questions == U(0):
        if is_strict:
            return 0
        if answers == U(0):  # a bare refusal
            return FORM if flags & U(0x8000) and flags & U(15) and end == at + U(12) else 0
        return FORM if flags & U(0x8000) and end >= at + U(23) and data[at + U(12)] < 64 else 0
    after = _asks(data, at + U(12), end, is_strict)
    if after == U(0):
        return damaged
    if not is_strict:
        return SIGNATURE
    if questions != U(1) or flags & U(0x7840) != U(0) or others > U(16):
        return 0
    if flags & U(0x8000) == U(0) and answers + servers > U(0):
        return 0
    return FORM if answers + servers + others > U(0) or after == end else 0
