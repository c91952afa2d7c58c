"""The one policy for everything that Numba compiles; nothing else imports Numba, but for where kernels are kept
(_cache.py) and what they call that is not compiled with them (_external.py).

Every kernel of the package is made by :func:`kernel` or, where it reads packet bytes, by
:func:`byte_kernel`. Both release the GIL, follow NumPy's arithmetic errors and are cached on disk.

Environment: ``FLOWGAUGE_CACHE_DIR`` moves the cache; ``NUMBA_DISABLE_JIT=1`` runs the same code
uncompiled; ``NUMBA_BOUNDSCHECK=1`` checks every index of every kernel.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import caching, cgutils, codegen, compiler, config
from numba.extending import intrinsic, typeof_impl

from flowgauge.kernels._cache import KernelCache, OwnCache, cache_folder
from flowgauge.kernels.packet import CACHE_LINE

JIT = not config.DISABLE_JIT
BOUNDSCHECK = bool(config.BOUNDSCHECK)


def is_warm(groups: Iterable[str] = ()) -> bool:
    """Whether this version's kernels, and those of these feature groups, were compiled on this machine before."""
    folder = cache_folder()
    return not JIT or (folder is not None and all((folder / name).exists() for name in _marks(groups)))


def mark_warm(groups: Iterable[str] = ()) -> None:
    """Remember that every kernel of the main path, and those of these groups, are in the cache."""
    folder = cache_folder()
    if JIT and folder is not None:
        for name in _marks(groups):
            (folder / name).touch()


def _marks(groups: Iterable[str]) -> list[str]:
    """Names of files in the cache folder that say what is compiled."""
    return ["warm", *(f"warm-{group}" for group in groups)]


def _uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function in plain Python; integers wrap silently as they do when compiled."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args)

    return call


class _HelperLibrary(codegen.JITCodeLibrary):
    """The code of a helper: never entered, only linked into kernels, which optimise it with their own."""

    def _optimize_final_module(self) -> None:
        """Left to the kernels."""

    def _finalize_final_module(self) -> None:
        """No machine code; nor does the engine get the module, of which it would make some."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Code that is not in the engine has no environment there."""


class _HelperCompiler(compiler.CompilerBase):
    """Numba's usual pipeline, into a :class:`_HelperLibrary`."""

    def define_pipelines(self) -> list[Any]:
        state = self.state
        state.library = _HelperLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return [compiler.DefaultPassBuilder.define_nopython_pipeline(state)]


class Kernel:
    """A compiled kernel that Python calls, always with arguments of the same types.

    The first call goes through Numba's dispatcher, which looks at every argument; the later ones enter the compiled
    code directly, which takes a thirtieth of the time (0.1 µs) and checks no dtype. Where bounds are checked
    every call is dispatched.
    """

    def __init__(self, dispatcher: Any) -> None:
        functools.update_wrapper(self, dispatcher.py_func)
        self.dispatcher = dispatcher
        self._enter: Callable[..., Any] = self._first
        self._name: str | None = None

    def __call__(self, *args: Any) -> Any:
        return self._enter(*args)

    @property
    def signatures(self) -> list[Any]:
        """The types of arguments it was compiled for."""
        return list(self.dispatcher.signatures)

    def share(self) -> str:
        """Let other kernels enter it by the name that is returned, once it was called from Python."""
        self._name = f"flowgauge_{self.dispatcher.py_func.__name__}"
        return self._name

    def _first(self, *args: Any) -> Any:
        result = self.dispatcher(*args)
        if self._name is None and BOUNDSCHECK:
            return result
        (compiled,) = self.dispatcher.overloads.values()
        if self._name is not None:
            address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
            llvmlite.binding.add_symbol(self._name, address)
        if not BOUNDSCHECK:
            self._enter = compiled.entry_point
        return result


@typeof_impl.register(Kernel)
def _typeof_kernel(value: Kernel, context: Any) -> Any:
    """In another kernel, a kernel is what it compiles to."""
    return types.Dispatcher(value.dispatcher)


def _compile(
    function: Callable[..., Any],
    entry: bool = True,
    cache: type[caching.FunctionCache] | None = KernelCache,
    **flags: Any,
) -> Any:
    if not JIT:
        return _uncompiled(function)
    # Kernels own no memory (_nrt): without reference counts, passing an array to a helper is free.
    if not entry:
        flags |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _HelperCompiler}
    dispatcher = numba.njit(nogil=True, error_model="numpy", _nrt=False, **flags)(function)
    if not entry:
        return dispatcher
    if cache is not None and cache_folder() is not None:  # what only kernels call is part of their code
        dispatcher._cache = cache(function)
    return Kernel(dispatcher)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel that reads columns and tables (bounds unchecked as shipped)."""
    return _compile(function)


def user_kernel(function: Callable[..., Any], cached: bool) -> Any:
    """A :func:`byte_kernel` of a generated module, cached beside that."""
    return _compile(function, cache=OwnCache if cached else None, boundscheck=True)


def helper(function: Callable[..., Any]) -> Any:
    """A kernel that only kernels call: without an entry from Python it compiles in half the time."""
    return _compile(function, entry=False)


def inline_helper(function: Callable[..., Any]) -> Any:
    """A :func:`helper` that is always inlined: for those on every packet's way that take a table,
    or are shorter than a call.

    A table is passed as some hundred words, and a call that is not inlined copies them all.
    """
    return _compile(function, entry=False, forceinline=True)


def bytes_at(context: Any, builder: Any, kind: Any, array: Any, at: Any, size: Any, *, checked: bool = True) -> Any:
    """Code for a pointer to the `size` bytes at an offset of an array of bytes, both 64-bit values; an IndexError where
    they are `checked` and not there."""
    values = cgutils.create_struct_proxy(kind)(context, builder, array)
    if checked:
        short = builder.icmp_unsigned("<", values.nitems, size)
        beyond = builder.icmp_unsigned(">", at, builder.sub(values.nitems, size))  # huge where that is below 0
        with cgutils.if_unlikely(builder, builder.or_(short, beyond)):
            context.call_conv.return_user_exc(builder, IndexError, ("offset out of bounds",))
    return builder.gep(values.data, [at])


def _big_endian_reader(width: int) -> Any:
    """A kernel (data, at) -> the `width` bytes (1, 2, 4 or 8) at an offset as one big-endian number.

    One bounds check and one load for the whole number: byte by byte, each with a check of its own,
    decoding takes nearly twice as long. IndexError where the bytes are not there, as in a byte_kernel.
    """

    @intrinsic
    def load(typing_context: Any, data: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = bytes_at(context, builder, signature.args[0], args[0], args[1], ir.Constant(ir.IntType(64), width))
            pointer = builder.bitcast(place, ir.IntType(8 * width).as_pointer())
            value = builder.load(pointer, align=1)
            if width > 1 and sys.byteorder == "little":
                value = builder.bswap(value)
            return value if width == 8 else builder.zext(value, ir.IntType(64))

        return types.uint64(data, types.uint64), generate

    def read(data, at):  # type: ignore[no-untyped-def]
        return load(data, at)

    return byte_helper(read)


def big_endian_reader(width: int) -> Any:
    """Read a big-endian number of `width` bytes at an unsigned offset, checked, as uint64."""
    if JIT:
        return _big_endian_reader(width)

    def read(data: Any, at: Any) -> np.uint64:
        if at + width > len(data):
            raise IndexError("offset out of bounds")
        return np.uint64(int.from_bytes(data[int(at) : int(at) + width].tobytes(), "big"))

    return read


def _prefetcher(lines: int) -> Any:
    """A kernel (array, i) that asks for the first `lines` cache lines of array[i] without waiting for them.

    Any `i` is harmless.
    """

    @intrinsic
    def fetch(typing_context: Any, array: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
            byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), [byte, number, number, number]), "llvm.prefetch.p0i8"
            )
            size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
            item = builder.bitcast(builder.gep(values.data, [args[1]]), byte)
            for offset in range(0, min(size, lines * CACHE_LINE), CACHE_LINE):
                place = builder.gep(item, [ir.Constant(ir.IntType(64), offset)])
                builder.call(function, [place, number(1), number(3), number(1)])
            return context.get_dummy_value()

        return types.void(array, types.int64), generate

    def prefetch(array, i):  # type: ignore[no-untyped-def]
        fetch(array, i)

    return inline_helper(prefetch)


def _no_prefetch(array: Any, i: Any) -> None:
    """Uncompiled code has nothing to wait for."""


# Records are laid out so that what most packets touch is in their first two lines.
prefetch = _prefetcher(2) if JIT else _no_prefetch
prefetch_all = _prefetcher(32) if JIT else _no_prefetch


def _high_multiplier() -> Any:
    """A kernel (a, b) -> the upper 64 bits of the product of two uint64: one instruction, where shifts take ten."""

    @intrinsic
    def multiply(typing_context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            wide = ir.IntType(128)
            product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
            return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

        return types.uint64(types.uint64, types.uint64), generate

    def high(a, b):  # type: ignore[no-untyped-def]
        return multiply(a, b)

    return helper(high)


def _high_product(a: Any, b: Any) -> np.uint64:
    return np.uint64(int(a) * int(b) >> 64)


multiply_high = _high_multiplier() if JIT else _high_product


def _leading_zero_counter() -> Any:
    """A kernel (value) -> the zero bits above the highest bit set in a uint64; 64 for 0."""

    @intrinsic
    def count(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

        return types.uint64(types.uint64), generate

    def zeros(value):  # type: ignore[no-untyped-def]
        return count(value)

    return helper(zeros)


def _count_leading_zeros(value: Any) -> np.uint64:
    return np.uint64(64 - int(value).bit_length())


leading_zeros = _leading_zero_counter() if JIT else _count_leading_zeros


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any, width: int) -> Any:
    """Pointer to `width` bytes of a byte array as one integer; in the checked lane they must be there."""
    size = ir.Constant(ir.IntType(64), width)
    place = bytes_at(context, builder, kind, array, at, size, checked=BOUNDSCHECK)
    return builder.bitcast(place, ir.IntType(8 * width).as_pointer())


def _word_copier() -> Any:
    """A kernel (out, at, data, begin) that copies eight bytes at once: for short texts, whose loop costs more."""

    @intrinsic
    def copy(typing_context: Any, out: Any, at: Any, data: Any, begin: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source = _place(context, builder, signature.args[2], args[2], args[3], 8)
            target = _place(context, builder, signature.args[0], args[0], args[1], 8)
            builder.store(builder.load(source, align=1), target, align=1)
            return context.get_dummy_value()

        return types.void(out, types.uint64, data, types.uint64), generate

    def copy_word(out, at, data, begin):  # type: ignore[no-untyped-def]
        copy(out, at, data, begin)

    return inline_helper(copy_word)


def _copy_word(out: Any, at: Any, data: Any, begin: Any) -> None:
    if begin + 8 > len(data) or at + 8 > len(out):
        raise IndexError("offset out of bounds")
    out[int(at) : int(at) + 8] = data[int(begin) : int(begin) + 8]


copy_word = _word_copier() if JIT else _copy_word


def _quad_putter() -> Any:
    """A kernel (out, at, value) that writes the four bytes of a uint32, the lowest first."""

    @intrinsic
    def store(typing_context: Any, out: Any, at: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.bswap(args[2]) if sys.byteorder == "big" else args[2]
            builder.store(value, _place(context, builder, signature.args[0], args[0], args[1], 4), align=1)
            return context.get_dummy_value()

        return types.void(out, types.uint64, types.uint32), generate

    def put_quad(out, at, value):  # type: ignore[no-untyped-def]
        store(out, at, value)

    return inline_helper(put_quad)


def _put_quad(out: Any, at: Any, value: Any) -> None:
    out[int(at) : int(at) + 4] = np.frombuffer(int(value).to_bytes(4, "little"), np.uint8)


put_quad = _quad_putter() if JIT else _put_quad


def byte_kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel that reads packet bytes: every index is checked, also as shipped."""
    return _compile(function, boundscheck=True)


def byte_helper(function: Callable[..., Any]) -> Any:
    """A :func:`byte_kernel` that only kernels call."""
    return _compile(function, entry=False, boundscheck=True)


def rare_byte_helper(function: Callable[..., Any]) -> Any:
    """A :func:`byte_helper` that is inlined only where LLVM finds that worth it: for what few packets need.

    Numba hands `forceinline` on to all that is compiled on behalf of an inline helper; a hundred helpers that are all
    inlined into one kernel take LLVM ten times as long.
    """
    return _compile(function, entry=False, boundscheck=True, forceinline=False)


def inline_byte_helper(function: Callable[..., Any]) -> Any:
    """A :func:`byte_helper` that is always inlined: for those on every packet's way, called from one place."""
    return _compile(function, entry=False, boundscheck=True, forceinline=True)
