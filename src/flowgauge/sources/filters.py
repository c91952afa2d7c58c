"""Filters: pcap-filter expressions, compiled by libpcap, for the frames of captures and for sockets."""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.captureinfo import link_name
from flowgauge.errors import ConfigError, SourceError
from flowgauge.kernels import filters as k
from flowgauge.kernels._external import bind_packet_filter
from flowgauge.kernels.packet import PacketBatch
from flowgauge.sources import libpcap
from flowgauge.sources.expression import find_fault, underline
from flowgauge.sources.libpcap import MAX_SNAPLEN, CompileError

ETHERNET = 1
_OTHER_LINKS = (105, 113, 117, 123)  # with words of their own: 802.11, Linux cooked, packet filter log, SunATM
_SAME_FOR_ALL = ("syntax error", "unknown ", "rejects all")  # what libpcap says whatever the link type
_BIG = sys.byteorder == "big"

# linux/filter.h and asm-generic/socket.h
_SO_ATTACH_FILTER = 26
_MOST_INSTRUCTIONS = 4096
_JUMP, _JUMP_EQUAL = 0x05, 0x15
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
_INSTRUCTION = np.dtype([("code", np.uint16), ("jt", np.uint8), ("jf", np.uint8), ("k", np.uint32)])


class Program(NamedTuple):
    """An expression, compiled for one link type: `code` holds each struct bpf_insn as one uint64."""

    expression: str
    code: NDArray[np.uint64]

    @property
    def on_socket(self) -> bool:
        """Whether a packet socket of Linux can run it with the same result.

        The system takes VLAN tags off frames before a socket's filter sees them: what looks for tags is to run on the
        frame with its tag put back. It also refuses loops (`protochain`) and more than 4096 instructions.
        Where nothing looks for tags, a tagged frame is judged as though it had none, which on a file it is not.
        """
        instructions = self.code.view(_INSTRUCTION)
        jumps_back = (instructions["code"] == _JUMP) & (instructions["k"] > 0x7FFFFFFF)
        tags = (instructions["code"] == _JUMP_EQUAL) & np.isin(instructions["k"], _VLAN_TAGS)
        return len(self.code) <= _MOST_INSTRUCTIONS and not bool((jumps_back | tags).any())

    def attach(self, to: socket.socket) -> None:
        """Let the system deliver only what passes.

        What has arrived before stays: attach first, then bind to the interface. Raises ConfigError for a
        program that is not for sockets, SourceError where the system refuses it.
        """
        if not self.on_socket:
            raise ConfigError(f"the filter {self.expression!r} cannot run on a socket: it has to run on whole frames")
        if sys.platform != "linux":
            raise SourceError("filters are attached to sockets of Linux only")
        program = struct.pack("HP", len(self.code), self.code.ctypes.data)  # struct sock_fprog
        try:
            to.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        except OSError as error:
            raise SourceError(
                f"the system refuses the filter {self.expression!r}: {error.strerror or error}"
            ) from error


def compile_filter(
    expression: str, link: int = ETHERNET, *, big_endian: bool = _BIG, snaplen: int = MAX_SNAPLEN
) -> Program:
    """Compile an expression for one link type, a LINKTYPE_ value; a socket cuts what passes to `snaplen` bytes.

    `big_endian` is the byte order of the capture, which BSD loopback headers have. Raises ConfigError with libpcap's
    message and the place that it means, MissingDependency without libpcap.
    """
    try:
        return Program(expression, compile_code(expression, link, big_endian, snaplen))
    except CompileError as error:
        raise _explained(expression, str(error), link) from None


def compile_code(expression: str, link: int, big_endian: bool = _BIG, snaplen: int = MAX_SNAPLEN) -> NDArray[np.uint64]:
    """The code of an expression, each struct bpf_insn as one uint64; raises CompileError."""
    if "\0" in expression:
        raise ConfigError("a filter cannot hold a NUL character")
    return libpcap.compile_expression(expression, link, big_endian, snaplen)


def _explained(expression: str, fault: str, link: int) -> ConfigError:
    """The error for an expression: libpcap's message, and a mark below the place."""
    place = find_fault(expression, fault, lambda text: _fault(text, link))
    return ConfigError(f"the filter cannot be compiled: {fault}\n{underline(expression, place)}")


def _fault(expression: str, link: int) -> str | None:
    try:
        compile_code(expression, link)
    except CompileError as error:
        return str(error)
    return None


def check_expression(expression: str) -> None:
    """Raise ConfigError for an expression that has no meaning for any link type."""
    fault = _fault(expression, ETHERNET)
    if fault is None:
        return
    elsewhere = () if any(said in fault for said in _SAME_FOR_ALL) else _OTHER_LINKS
    if all(_fault(expression, link) is not None for link in elsewhere):
        raise _explained(expression, fault, ETHERNET)


class Filter:
    """Leaves out the frames that an expression does not select, as though the captures did not have them.

    It is compiled for each link type when that is met. `seconds` is the time spent in it. Raises ConfigError for an
    expression that has no meaning for any link type, MissingDependency without libpcap.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.seconds = 0.0
        check_expression(expression)
        bind_packet_filter(libpcap.interpreter())
        self._code = np.zeros(0, np.uint64)
        self._starts = np.full((2, 1 << 16), k.NOT_COMPILED)  # by byte order of the capture
        self._left_out = np.zeros(2, np.int64)

    @property
    def packets(self) -> int:
        """Frames left out so far."""
        return int(self._left_out[k.PACKETS])

    @property
    def wire_bytes(self) -> int:
        """Their bytes on the wire."""
        return int(self._left_out[k.WIRE_BYTES])

    def keep(
        self, data: NDArray[np.uint8], batch: PacketBatch, begin: int, stop: int, big_endian: bool
    ) -> tuple[int, str | None]:
        """Close the gaps that those of rows begin..stop leave which do not pass; `data` holds their bytes.

        Returns where the rows end now, and None; or, from the first frame on to whose link type the expression cannot
        be applied, the message that says so.
        """
        since = time.perf_counter()
        kept, fault = begin, None
        while begin < stop and fault is None:
            programs = k.Programs(self._code, self._starts[int(big_endian)], self._left_out)
            kept, begin = k.keep_rows(data, batch, kept, begin, stop, programs)
            if begin < stop:
                fault = self._meet(int(batch.packets[begin].link), big_endian)
        self.seconds += time.perf_counter() - since
        return kept, fault

    def _meet(self, link: int, big_endian: bool) -> str | None:
        """Compile for a link type; the message where that cannot be."""
        try:
            code = compile_code(self.expression, link, big_endian)
        except CompileError as error:
            return f"the filter {self.expression!r} cannot be applied to {link_name(link)}: {error}"
        self._starts[int(big_endian), link] = len(self._code)
        self._code = np.concatenate((self._code, code))
        return None
