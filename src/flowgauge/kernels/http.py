"""HTTP/1 (RFC 9112) and what is written like it: SSDP (UPnP device architecture 2.0 §1) and SIP (RFC 3261 §7).

Only the first message of each direction is read, and of it only the header. Which direction asks is told by the bytes:
a capture that begins late may have the two the wrong way round.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import rare_byte_helper
from flowgauge.kernels.facts import (
    HTTP_CONTENT_TYPE,
    HTTP_METHOD,
    HTTP_PATH,
    HTTP_USER_AGENT,
    SERVER_NAME,
    begin_text,
    put_bytes,
)
from flowgauge.kernels.text import (
    AT,
    COLON,
    CR,
    HASH,
    LF,
    QUESTION,
    SLASH,
    SPACE,
    find,
    folded,
    packed,
    prefixes,
    read_fields,
    small,
    trimmed,
    which_prefix,
    without_port,
    word,
)

U = np.uint64
METHODS = prefixes(
    *(b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"TRACE ", b"PATCH "),
    *(b"PROPFIND", b"PROPPATC", b"MKCOL ", b"COPY ", b"MOVE ", b"LOCK ", b"UNLOCK ", b"REPORT ", b"SEARCH "),
    *(b"SUBSCRIB", b"UNSUBSCR", b"RPC_IN_D", b"RPC_OUT_", b"BITS_POS", b"CCM_POST", b"SSTP_DUP", b"MERGE "),
)
_CONNECT = 6
_OPTIONS = 5
SIP_METHODS = prefixes(
    *(b"INVITE ", b"ACK ", b"BYE ", b"CANCEL ", b"REGISTER", b"OPTIONS ", b"SUBSCRIB", b"NOTIFY ", b"PUBLISH "),
    *(b"INFO ", b"REFER ", b"MESSAGE ", b"UPDATE ", b"PRACK "),
)
_VERSION = packed(b"HTTP/1.") >> U(8)
_SIP_VERSION = packed(b"SIP/2.0 ")
_HTTP, _SIP, _SIPS, _TEL = small(b"http"), small(b"sip:"), small(b"sips:"), small(b"tel:")
_FOUR, _FIVE = U(0xFFFFFFFF00000000), U(0xFFFFFFFFFF000000)
_LONGEST_METHOD = U(20)
_LONGEST_HOST = U(255)


@rare_byte_helper
def _digit(data, at):
    return data[at] >= 48 and data[at] <= 57


@rare_byte_helper
def is_status_line(data, at, end):
    """`HTTP/1.1 200`."""
    if end < at + U(12) or word(data, at, end) >> U(8) != _VERSION or data[at + U(8)] != SPACE:
        return False
    return _digit(data, at + U(9)) and _digit(data, at + U(10)) and _digit(data, at + U(11))


@rare_byte_helper
def _target_fits(data, at, end, method):
    """Whether the target of a request is one of the four forms (RFC 9112 §3.2)."""
    if at >= end:
        return True  # not there yet
    first = data[at]
    if first == SLASH:
        return True
    if method == _CONNECT:
        return first > SPACE and first < 127
    if first == 42:  # *
        return method == _OPTIONS
    return folded(data, at, end) & _FOUR == _HTTP & _FOUR and end >= at + U(4)


@rare_byte_helper
def is_request_line(data, at, end):
    """Whether an HTTP/1 request begins here; a line that does not end yet may be one."""
    method = which_prefix(word(data, at, end), METHODS)
    if method < 0:
        return False
    target = find(data, at, min(end, at + _LONGEST_METHOD), SPACE) + U(1)
    if not _target_fits(data, target, end, method):
        return False
    stop = find(data, target, end, LF)
    if stop == end:
        return True
    if stop > target and data[stop - U(1)] == CR:
        stop -= U(1)
    return stop >= target + U(9) and word(data, stop - U(8), stop) >> U(8) == _VERSION


@rare_byte_helper
def is_sip_line(data, at, end):
    """Whether a SIP request or answer begins here."""
    first = word(data, at, end)
    if first == _SIP_VERSION:
        return True
    if which_prefix(first, SIP_METHODS) < 0:
        return False
    target = find(data, at, min(end, at + _LONGEST_METHOD), SPACE) + U(1)
    scheme = folded(data, target, end)
    return scheme & _FOUR == _SIP & _FOUR or scheme & _FIVE == _SIPS & _FIVE or scheme & _FOUR == _TEL & _FOUR


@rare_byte_helper
def _put(fact, which, data, at, end, out):
    if at < end:
        begin_text(fact, which)
        put_bytes(fact, which, data, at, end, out)


@rare_byte_helper
def _put_host(fact, data, at, end, out):
    at, end = without_port(data, at, end)
    if end - at <= _LONGEST_HOST:
        _put(fact, SERVER_NAME, data, at, end, out)


@rare_byte_helper
def _authority(data, at, end):
    """Range of `host:port` in `scheme://host:port/path`; an empty one in a target without."""
    colon = find(data, at, min(end, at + U(8)), COLON)
    if colon == at or data[at] == SLASH or colon + U(2) >= end or data[colon] != COLON:
        return at, at
    if data[colon + U(1)] != SLASH or data[colon + U(2)] != SLASH:
        return at, at
    begin = colon + U(3)
    return begin, min(find(data, begin, end, SLASH), find(data, begin, end, QUESTION))


@rare_byte_helper
def _request(data, begin, end, fact, out):
    """A request's method, host, path (without the query) and user agent."""
    stop = find(data, begin, end, LF)
    method_end = find(data, begin, min(stop, begin + _LONGEST_METHOD), SPACE)
    _put(fact, HTTP_METHOD, data, begin, method_end, out)
    target = min(method_end + U(1), stop)
    host, host_end, agent, agent_end, _, _ = read_fields(data, min(stop + U(1), end), end)
    _, target_end = trimmed(data, target, find(data, target, stop, SPACE))
    if which_prefix(word(data, begin, end), METHODS) == _CONNECT:
        host, host_end, target = target, target_end, target_end
    else:
        authority, authority_end = _authority(data, target, target_end)
        if authority < authority_end:  # comes before the field (RFC 9112 §3.2.2)
            host, host_end, target = authority, authority_end, authority_end
    _put_host(fact, data, host, host_end, out)
    path_end = min(find(data, target, target_end, QUESTION), find(data, target, target_end, HASH))
    _put(fact, HTTP_PATH, data, target, path_end, out)
    _put(fact, HTTP_USER_AGENT, data, agent, agent_end, out)


@rare_byte_helper
def _answer(data, begin, end, fact, out):
    """An answer's status and content type."""
    if not is_status_line(data, begin, end):
        return
    status = U(0)
    for place in range(9, 12):
        status = status * U(10) + U(data[begin + U(place)]) - U(48)
    fact.http_status = np.uint16(status)
    fields = read_fields(data, min(find(data, begin, end, LF) + U(1), end), end)
    _put(fact, HTTP_CONTENT_TYPE, data, fields[4], fields[5], out)


@rare_byte_helper
def dissect_http(data, up_begin, up_end, down_begin, down_end, fact, out):
    """The first request and the first answer of a connection."""
    if is_status_line(data, up_begin, up_end):
        up_begin, up_end, down_begin, down_end = down_begin, down_end, up_begin, up_end
    if which_prefix(word(data, up_begin, up_end), METHODS) >= 0:
        _request(data, up_begin, up_end, fact, out)
    _answer(data, down_begin, down_end, fact, out)


@rare_byte_helper
def dissect_ssdp(data, begin, end, fact, out):
    """One message's method, and what its sender says of its software."""
    if not is_status_line(data, begin, end):
        stop = find(data, begin, min(end, begin + _LONGEST_METHOD), SPACE)
        _put(fact, HTTP_METHOD, data, begin, stop, out)
    fields = read_fields(data, min(find(data, begin, end, LF) + U(1), end), end)
    _put(fact, HTTP_USER_AGENT, data, fields[2], fields[3], out)


@rare_byte_helper
def _sip_host(data, begin, end, fact, out):
    """Host of a request's target: `sip:user@host:port;parameters`."""
    stop = find(data, begin, end, LF)
    target = min(find(data, begin, min(stop, begin + _LONGEST_METHOD), SPACE) + U(1), stop)
    target_end = find(data, target, stop, SPACE)
    scheme = find(data, target, target_end, COLON)
    if scheme >= target_end or folded(data, target, target_end) & _FOUR == _TEL & _FOUR:
        return
    last = min(find(data, scheme, target_end, np.uint8(59)), find(data, scheme, target_end, QUESTION))
    sign = find(data, scheme, target_end, AT)
    if sign < target_end and sign > last:  # a user may have parameters of its own
        last = min(find(data, sign, target_end, np.uint8(59)), find(data, sign, target_end, QUESTION))
    _put_host(fact, data, scheme + U(1), last, out)


@rare_byte_helper
def dissect_sip(data, up_begin, up_end, down_begin, down_end, fact, out):
    """Host of the first request, and the first user agent that is named, the asking side's before the other's."""
    if word(data, up_begin, up_end) == _SIP_VERSION:
        up_begin, up_end, down_begin, down_end = down_begin, down_end, up_begin, up_end
    if is_sip_line(data, up_begin, up_end) and word(data, up_begin, up_end) != _SIP_VERSION:
        _sip_host(data, up_begin, up_end, fact, out)
    up = read_fields(data, min(find(data, up_begin, up_end, LF) + U(1), up_end), up_end)
    down = read_fields(data, min(find(data, down_begin, down_end, LF) + U(1), down_end), down_end)
    if up[2] < up[3]:
        _put(fact, HTTP_USER_AGENT, data, up[2], up[3], out)
    else:
        _put(fact, HTTP_USER_AGENT, data, down[2], down[3], out)
