"""What kernels call that is not part of their own code: the system, libpcap, and other kernels.

All are called by a name, which is bound to an address before the first call: with an address in its code, or a ctypes
function, a kernel is not cached.
"""

from __future__ import annotations

import copy
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from flowgauge.kernels._jit import JIT, bytes_at, inline_byte_helper, inline_helper

_POINTER, _NUMBER, _SIZE = ir.IntType(8).as_pointer(), ir.IntType(32), ir.IntType(64)

HAS_READ = sys.platform != "win32"
"""Whether :data:`read_file` works here."""

if JIT and HAS_READ:
    _library = ctypes.CDLL(None)
    for _name in ("read", "clock_gettime"):
        llvmlite.binding.add_symbol(_name, ctypes.cast(getattr(_library, _name), ctypes.c_void_p).value)


def by_name(kernel: Any) -> Any:
    """A kernel for others to call, with its arguments as a tuple, without a copy of its code in theirs, which would be
    compiled once more.

    It is bound at its own first call from Python, which has to come before theirs.
    """
    if not JIT:
        return lambda args: kernel(*args)
    symbol = kernel.share()

    @intrinsic
    def call(typing_context: Any, args: Any) -> Any:
        kernel.dispatcher.compile(tuple(args))
        (compiled,) = kernel.dispatcher.overloads.values()
        description = copy.copy(compiled.fndesc)
        description.mangled_name = symbol

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.call_internal(
                builder, description, compiled.signature, cgutils.unpack_tuple(builder, args[0])
            )

        return compiled.signature.return_type(args), generate

    return call


def _file_reader() -> Any:
    """A kernel (file, data, at, count) -> bytes that read(2) has put to data[at : at + count]; 0 at the end, -1 where
    it failed; IndexError where there is no such place."""

    @intrinsic
    def call(typing_context: Any, file: Any, data: Any, at: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = bytes_at(context, builder, signature.args[1], args[1], args[2], args[3])
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_SIZE, [_NUMBER, _POINTER, _SIZE]), "read"
            )
            return builder.call(function, [args[0], place, args[3]])

        return types.int64(types.int32, data, types.uint64, types.uint64), generate

    def read(file, data, at, count):  # type: ignore[no-untyped-def]
        return call(file, data, at, count)

    return inline_byte_helper(read)


def _read_file(file: Any, data: Any, at: Any, count: Any) -> np.int64:
    if int(at) + int(count) > len(data):
        raise IndexError("offset out of bounds")
    try:
        return np.int64(os.readv(int(file), [data.data[int(at) : int(at) + int(count)]]))
    except OSError:
        return np.int64(-1)


read_file = _file_reader() if JIT and HAS_READ else _read_file


def _ticker() -> Any:
    """A kernel () -> nanoseconds of the system's monotonic clock."""
    clock = getattr(time, "CLOCK_MONOTONIC", 1)

    @intrinsic
    def call(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = cgutils.alloca_once(builder, ir.ArrayType(_SIZE, 2))
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_NUMBER, [_NUMBER, _POINTER]), "clock_gettime"
            )
            builder.call(function, [_NUMBER(clock), builder.bitcast(place, _POINTER)])
            seconds, rest = (builder.load(cgutils.gep_inbounds(builder, place, 0, i)) for i in range(2))
            return builder.add(builder.mul(seconds, _SIZE(1_000_000_000)), rest)

        return types.int64(), generate

    def ticks():  # type: ignore[no-untyped-def]
        return call()

    return inline_helper(ticks)


def _ticks() -> np.int64:
    return np.int64(time.perf_counter_ns())


ticks = _ticker() if JIT and HAS_READ else _ticks


_PACKET_FILTER = "flowgauge_packet_filter"
"""What compiled kernels, in the cache too, call libpcap's bpf_filter."""

_interpreter: Callable[..., int] | None = None


def bind_packet_filter(address: int) -> None:
    """Say where libpcap's bpf_filter is; comes before the first call of a kernel that has :data:`run_packet_filter`."""
    global _interpreter
    if JIT:
        llvmlite.binding.add_symbol(_PACKET_FILTER, address)
    else:
        number, pointer = ctypes.c_uint, ctypes.c_void_p
        _interpreter = ctypes.CFUNCTYPE(number, pointer, pointer, number, number)(address)


def _packet_filter() -> Any:
    """A kernel (code, start, data, at, length, captured) -> what a filter says of a packet, 0: it does not pass.

    Its program begins at code[start] (struct bpf_insn as uint64) and is sound: libpcap has made it. `length` are the
    bytes on the wire, data[at : at + captured] those that are there; IndexError where they are not.
    """

    @intrinsic
    def run(typing_context: Any, code: Any, start: Any, data: Any, at: Any, length: Any, captured: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            code = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
            size = builder.zext(args[5], _SIZE)
            packet = bytes_at(context, builder, signature.args[2], args[2], args[3], size)
            program = builder.bitcast(builder.gep(code.data, [args[1]]), _POINTER)
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_NUMBER, [_POINTER, _POINTER, _NUMBER, _NUMBER]), _PACKET_FILTER
            )
            return builder.call(function, [program, packet, args[4], args[5]])

        return types.uint32(code, types.int64, data, types.uint64, types.uint32, types.uint32), generate

    def run_filter(code, start, data, at, length, captured):  # type: ignore[no-untyped-def]
        return run(code, start, data, at, length, captured)

    return inline_byte_helper(run_filter)


def _run_packet_filter(code: Any, start: Any, data: Any, at: Any, length: Any, captured: Any) -> int:
    assert _interpreter is not None
    if int(at) + int(captured) > len(data):
        raise IndexError("offset out of bounds")
    program = code.ctypes.data + int(start) * code.itemsize
    return _interpreter(program, data.ctypes.data + int(at), int(length), int(captured))


run_packet_filter = _packet_filter() if JIT else _run_packet_filter
