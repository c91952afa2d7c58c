"""What DNS, mDNS (RFC 6762) and LLMNR (RFC 4795) messages say: the first question, and what is answered.

A direction is a sequence of messages, each behind its length of two bytes, as TCP has them (RFC 7766 §8) and as kept
datagrams are. Of either direction the first question and the first answer count.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import rare_byte_helper
from flowgauge.kernels.bytes import be16
from flowgauge.kernels.dns import (
    AAAA,
    BROKEN,
    CNAME,
    HEADER,
    INTERNET,
    MOST_RECORDS,
    NS,
    PTR,
    SRV,
    A,
    answer_count,
    is_address,
    is_response,
    put_address,
    put_name,
    question_count,
    question_end,
    question_type,
    questions_end,
    read_record,
    response_code,
)
from flowgauge.kernels.facts import DEVICE_NAME, DNS_ANSWERS, DNS_QUERY, begin_text, put_byte

U, U32 = np.uint64, np.uint32
_MOST_MESSAGES = 8  # of a direction
_MX = U(15)
_COMMA = np.uint8(ord(","))


@rare_byte_helper
def _put_whole_name(data, begin, end, at, fact, which, out):
    """A text of one name; none where that is broken."""
    begin_text(fact, which)
    if not put_name(data, begin, end, at, fact, which, out):
        fact.length[which] = U32(0)


@rare_byte_helper
def _question(data, begin, end, fact, out):
    """The first question; of an announcement without one, the name of what it announces."""
    at = begin + HEADER
    if question_count(data, begin) > U(0):
        if question_end(data, end, at) == BROKEN:
            return
        fact.dns_type = np.uint16(question_type(data, end, at))
    else:
        kind, _, first, _ = read_record(data, end, at)
        if first == BROKEN:
            return
        fact.dns_type = np.uint16(kind)
    _put_whole_name(data, begin, end, at, fact, DNS_QUERY, out)


@rare_byte_helper
def _name_in(kind, first):
    """Where the name begins in a record's data, 0 for kinds that hold none."""
    if kind == CNAME or kind == PTR or kind == NS:
        return first
    if kind == SRV:
        return first + U(6)
    return first + U(2) if kind == _MX else U(0)


@rare_byte_helper
def _answers(data, begin, end, fact, out):
    """Addresses and names of the answer section."""
    begin_text(fact, DNS_ANSWERS)
    at, left = questions_end(data, begin, end), min(answer_count(data, begin), U(MOST_RECORDS))
    while left > U(0) and at != BROKEN:
        kind, group, first, after = read_record(data, end, at)
        if after == BROKEN:
            break
        name = _name_in(kind, first) if group == INTERNET else U(0)
        is_an_address = is_address(kind, group, first, after)
        if (is_an_address or (name != U(0) and name < after)) and fact.length[DNS_ANSWERS] > 0:
            put_byte(fact, DNS_ANSWERS, out, _COMMA)
        if is_an_address:
            put_address(data, first, after, fact, DNS_ANSWERS, out)
        elif name != U(0) and name < after and not put_name(data, begin, end, name, fact, DNS_ANSWERS, out):
            break
        at = after
        left -= U(1)


@rare_byte_helper
def _device(data, begin, end, fact, out):
    """Whose address an mDNS answer tells, in any of its sections: the sender's own name."""
    at, left = questions_end(data, begin, end), MOST_RECORDS
    while left > 0 and at < end:
        kind, group, _, after = read_record(data, end, at)
        if after == BROKEN:
            return
        if group == INTERNET and (kind == A or kind == AAAA):
            _put_whole_name(data, begin, end, at, fact, DEVICE_NAME, out)
            return
        at = after
        left -= 1


@rare_byte_helper
def _message(data, begin, end, tells_device, fact, out):
    if question_count(data, begin) + answer_count(data, begin) > U(0) and fact.length[DNS_QUERY] == 0:
        _question(data, begin, end, fact, out)
    if not is_response(data, begin):
        return
    if fact.dns_rcode < 0:
        fact.dns_rcode = np.int16(response_code(data, begin))
        _answers(data, begin, end, fact, out)
    if tells_device and fact.length[DEVICE_NAME] == 0:
        _device(data, begin, end, fact, out)


@rare_byte_helper
def _direction(data, begin, end, tells_device, fact, out):
    at, left = begin, _MOST_MESSAGES
    while left > 0 and end >= at + U(2) + HEADER:
        stop = min(at + U(2) + be16(data, at), end)
        if stop >= at + U(2) + HEADER:
            _message(data, at + U(2), stop, tells_device, fact, out)
        at = stop
        left -= 1


@rare_byte_helper
def dissect_dns(data, up_begin, up_end, down_begin, down_end, tells_device, fact, out):
    """Both directions; `tells_device`: who answers answers for itself (mDNS, LLMNR)."""
    _direction(data, up_begin, up_end, tells_device, fact, out)
    _direction(data, down_begin, down_end, tells_device, fact, out)
