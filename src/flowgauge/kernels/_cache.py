"""Where compiled kernels are kept, and how they come back.

The cache folder is named by a fingerprint of every source file that can define a kernel or a
dtype, the versions of Numba, llvmlite and NumPy, and the flags. Numba's own cache looks only at
the file that holds the decorated function and so misses edits to helpers, to imported constants
and to compile flags.

Numba also gets ready to compile before it looks into a cache, and parses the code that other kernels would be linked
with, which is most of what loading a kernel takes. Here, both wait until a kernel is compiled.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba.core import caching, codegen, compiler, config

_PACKAGE = Path(__file__).resolve().parent.parent
_KERNEL_SOURCES = ("kernels", "features")


def _fingerprint() -> str:
    digest = hashlib.blake2b(digest_size=10)
    for part in (numba.__version__, llvmlite.__version__, np.__version__, sys.version, bool(config.BOUNDSCHECK)):
        digest.update(str(part).encode())
    for folder in _KERNEL_SOURCES:
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def cache_root() -> Path:
    """Folder that holds one sub-folder of compiled kernels per fingerprint."""
    chosen = os.environ.get("FLOWGAUGE_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or tempfile.gettempdir()
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "flowgauge"


def _trusted(folder: Path) -> bool:
    """Loading a cache unpickles it: the folder must be ours and writable by nobody else."""
    if not hasattr(os, "geteuid"):
        return True
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _prepare(folder: Path) -> str | None:
    """Make the cache folder; return why it cannot be used, or None."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _trusted(folder):
            return f"{folder} belongs to another user or is writable by others"
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"{folder}: {error.strerror or error}"


@functools.cache
def cache_folder() -> Path | None:
    """Folder of this version's compiled kernels, or None (said once) where none can be used."""
    folder = cache_root() / f"kernels-{_fingerprint()}"
    reason = _prepare(folder)
    if reason is None:
        return folder
    warnings.warn(
        f"no kernel cache, kernels are compiled at every start: {reason}; "
        "set FLOWGAUGE_CACHE_DIR to a folder of your own",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


class _Locator(caching._CacheLocator):
    """Puts every kernel of the package into :func:`cache_folder`."""

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return "fingerprint"  # the folder's name already says which sources these are

    def get_disambiguator(self) -> None:
        return None

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls()


class _OwnLocator(_Locator):
    """Puts a kernel beside its source, in a folder whose name says what that is made of."""

    def __init__(self, py_file: str) -> None:
        self._folder = os.path.dirname(py_file)

    def get_cache_path(self) -> str:
        return self._folder

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _OwnLocator:
        return cls(py_file)


class _LoadedLibrary(codegen.JITCodeLibrary):
    """The code of a kernel that comes from the cache; what others are linked with is parsed when one is compiled."""

    def __init__(self, made_by: Any, name: str, machine_code: bytes, bitcode: bytes, entries: Iterable[str]) -> None:
        super().__init__(made_by, name)
        self._bitcode = bitcode
        self.enable_object_caching()
        self._set_compiled_object(machine_code)
        self._finalize_final_module()
        made_by._engine._defined_symbols.update(entries)  # those that Python asks for

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = llvmlite.binding.parse_bitcode(self._bitcode)
        return self._shared_module


class _CacheImpl(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)

    def rebuild(self, target_context: Any, payload: tuple[Any, ...]) -> Any:
        """The compiled kernel that `payload`, made by Numba's `reduce`, tells."""
        (name, _, (machine_code, bitcode)), about, environment, signature, _, _, annotation, _, others = payload
        entries = (about.llvm_func_name, about.llvm_cpython_wrapper_name)
        library = _LoadedLibrary(target_context.codegen(), name, machine_code, bitcode, entries)
        entry = target_context.get_executable(library, about, environment)
        for other in others:  # environments of kernels that are part of this one
            library.codegen.set_env(other.env_name, other)
        return compiler.compile_result(
            target_context=target_context,
            typing_context=target_context.typing_context,
            library=library,
            environment=environment,
            entry_point=entry,
            fndesc=about,
            type_annotation=annotation,
            signature=signature,
            objectmode=False,
            lifted=(),
            reload_init=[],
            referenced_envs=others,
        )


class KernelCache(caching.FunctionCache):
    """Keeps a kernel of the package in :func:`cache_folder`."""

    _impl_class = _CacheImpl

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The kernel for arguments of these types, or None. What compiling needs is loaded by compiling."""
        with self._guard_against_spurious_io_errors():
            return self._load_overload(signature, target_context)


class _OwnCacheImpl(_CacheImpl):
    _locator_classes = (_OwnLocator,)


class OwnCache(KernelCache):
    """Keeps a kernel beside its source."""

    _impl_class = _OwnCacheImpl
