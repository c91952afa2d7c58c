"""The system's libpcap, by ctypes: compiles pcap-filter expressions and runs the programs."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowgauge.errors import FlowgaugeError, MissingDependency

MAX_SNAPLEN = 262_144

_INSTALL = (
    "filters need libpcap, which is not there: apt-get install libpcap0.8 (Debian, Ubuntu), "
    "dnf install libpcap (Fedora), brew install libpcap (macOS)"
)
_FILES = ("libpcap.so.1", "libpcap.so.0.8")
_MAGIC, _VERSION = 0xA1B2C3D4, (2, 4)
_MESSAGE_BYTES = 256  # PCAP_ERRBUF_SIZE
_lock = threading.Lock()  # pcap_compile kept its state in globals up to libpcap 1.8


class CompileError(FlowgaugeError):
    """An expression that libpcap does not compile; the message is libpcap's."""


class _Program(ctypes.Structure):
    """struct bpf_program."""

    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


def _load() -> Any:
    for name in (ctypes.util.find_library("pcap"), *_FILES):  # which finds nothing without ldconfig and a compiler
        if name is not None:
            with suppress(OSError):
                return ctypes.CDLL(name)
    raise MissingDependency(_INSTALL)


@functools.cache
def _library() -> Any:
    """libpcap with the types of what is called of it; raises MissingDependency."""
    library = _load()
    handle, program = ctypes.c_void_p, ctypes.POINTER(_Program)
    library.pcap_open_offline.argtypes, library.pcap_open_offline.restype = (ctypes.c_char_p, ctypes.c_char_p), handle
    library.pcap_compile.argtypes = (handle, program, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint)
    library.pcap_geterr.argtypes, library.pcap_geterr.restype = (handle,), ctypes.c_char_p
    library.pcap_freecode.argtypes, library.pcap_freecode.restype = (program,), None
    library.pcap_close.argtypes, library.pcap_close.restype = (handle,), None
    return library


def is_installed() -> bool:
    """Whether filters can be used on this machine."""
    try:
        return bool(interpreter())
    except MissingDependency:
        return False


def interpreter() -> int:
    """Address of bpf_filter; raises MissingDependency."""
    return ctypes.cast(_library().bpf_filter, ctypes.c_void_p).value or 0


def compile_expression(expression: str, link: int, big_endian: bool, snaplen: int = MAX_SNAPLEN) -> NDArray[np.uint64]:
    """The program of an expression, each struct bpf_insn as one uint64; it returns 0 or `snaplen`.

    `link` is a LINKTYPE_ value, `big_endian` the byte order of the capture. Names of hosts are looked up. Raises
    CompileError or MissingDependency.
    """
    library = _library()
    with _lock, _capture(library, link, big_endian, snaplen) as capture:
        program = _Program()
        text = expression.encode("utf-8", "replace")
        if library.pcap_compile(capture, ctypes.byref(program), text, 1, 0):  # 0: the netmask, as tcpdump has it
            raise CompileError(_text(library.pcap_geterr(capture)))
        try:
            code = ctypes.string_at(program.instructions, 8 * program.length)
        finally:
            library.pcap_freecode(ctypes.byref(program))
    return np.frombuffer(code, np.uint64).copy()


@contextmanager
def _capture(library: Any, link: int, big_endian: bool, snaplen: int) -> Iterator[int]:
    """An empty capture as libpcap sees it.

    Programs for files are not those for interfaces (direction, address families of BSD loopback), and only from a file
    does libpcap take a LINKTYPE_ value: its own numbers of link types depend on the system.
    """
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as file:
            file.write(struct.pack((">" if big_endian else "<") + "IHHiIII", _MAGIC, *_VERSION, 0, 0, snaplen, link))
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        capture = library.pcap_open_offline(f"/dev/fd/{reading}".encode(), message)
    finally:
        os.close(reading)
    if not capture:
        raise CompileError(_text(message.value))
    try:
        yield capture
    finally:
        library.pcap_close(capture)


def _text(message: bytes) -> str:
    return message.decode("utf-8", "replace")
