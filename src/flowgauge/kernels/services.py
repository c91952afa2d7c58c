"""Stand-in."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper
from flowgauge.kernels.facts import SERVER_NAME, begin_text, put_bytes

U8, U64, I64 = np.uint8, np.uint64, np.int64
SERVICES = ("", "tls", "quic", "http", "dns", "mdns", "llmnr")


@byte_helper
def first_look(data, begin, end, is_udp, client_port, server_port, is_up):
    if is_udp:
        if server_port == 53:
            return U8(4), U8(90), I64(4096)
        if server_port == 443 and data[begin] & 0x80:
            return U8(2), U8(90), I64(4096)
        return U8(0), U8(0), I64(0)
    if end - begin >= U64(3) and data[begin] == 0x16 and data[begin + U64(1)] == 3:
        return U8(1), U8(90), I64(4096)
    if data[begin] == 71 or data[begin] == 72:
        return U8(3), U8(90), I64(2048)
    return U8(0), U8(0), I64(0)


@byte_helper
def is_whole(service, data, begin, end, is_up):
    if service == 1:
        return end - begin >= U64(5) and end - begin >= U64(5) + (
            U64(data[begin + U64(3)]) << U64(8) | U64(data[begin + U64(4)])
        )
    if service == 3:
        return end > begin and data[end - U64(1)] == 10
    return service == 4


@byte_helper
def judge(data, up_begin, up_end, down_begin, down_end, is_udp, client_port, server_port):
    begin, end = (up_begin, up_end) if up_end > up_begin else (down_begin, down_end)
    if end <= begin:
        return U8(0), U8(0)
    service, confidence, _ = first_look(
        data, begin + U64(2) if is_udp else begin, end, is_udp, client_port, server_port, True
    )
    return service, confidence


@byte_helper
def dissect(service, data, up_begin, up_end, down_begin, down_end, is_udp, fact, out):
    begin_text(fact, SERVER_NAME)
    put_bytes(fact, SERVER_NAME, data, up_begin, up_end, out)
