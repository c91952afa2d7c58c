"""From declared features to one feature group: a loop over packets that calls their functions, compiled.

Numba's disk cache takes a function for the same whatever it calls. So a small module is written into a folder that is
named by all that its code is made of: sources of the features and of what they import, the globals that they read, and
the package's own kernels. This is the one place in which source is generated.
"""

from __future__ import annotations

import builtins
import hashlib
import inspect
import os
import sys
import sysconfig
import tempfile
import types
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numba.core.errors import NumbaError

from flowgauge.arrays import list_array
from flowgauge.custom.check import check_feature, check_helper, explain
from flowgauge.custom.declare import ARGUMENTS, EXPIRE_ARGUMENTS, UserFeature, arguments_of, place_of
from flowgauge.custom.types import ColumnType
from flowgauge.errors import FeatureError
from flowgauge.features._feature import Array, Feature, Layout, Values, state_dtype
from flowgauge.kernels._cache import cache_folder
from flowgauge.kernels._jit import JIT, inline_byte_helper, user_kernel
from flowgauge.schema import DIRECTIONS, arrow_type

COMPILES = True
"""Whether features are to be compiled, so that what cannot be is refused; `flowgauge.testing` runs them as they are."""

_MODULES = iter(range(2**31))
Function = Callable[..., Any]


def make_group(features: Sequence[UserFeature]) -> Feature:
    """The group of all features of a meter. Raises FeatureError for what cannot be compiled."""
    if COMPILES:
        for feature in features:
            check_feature(feature)
    return _Group(features).feature()


def counts_core(features: Sequence[UserFeature]) -> bool:
    """Whether their group counts the records too, because a function reads those."""
    return any("core" in arguments_of(feature.functions[role], ARGUMENTS) for feature, role in _per_packet(features))


def _per_packet(features: Sequence[UserFeature]) -> Iterator[tuple[UserFeature, str]]:
    return ((feature, role) for feature in features for role in ("init", "update") if role in feature.functions)


# The generated module ------------------------------------------------------------------------

_HEAD = '''"""Loop over packets for the features {names}; generated, and made anew when what it is made of changes."""

from flowgauge.features._feature import look_ahead_wide
from flowgauge.features.core import count


@user_kernel
def update(p, begin, stop, cursor, flows, data, {arrays}):
    for i in range(begin, stop):
{ahead}        q = p.packets[i]
        if q.slot < 0:
            continue
        cursor[0] = i
'''


def source_of_loop(features: Sequence[UserFeature]) -> str:
    """The text of the generated module."""
    arrays = ", ".join(f"states_{n}, params_{n}" for n in range(len(features)))
    ahead = "".join(f"        look_ahead_wide(p, i, stop, states_{n})\n" for n in range(len(features)))
    lines = [_HEAD.format(names=", ".join(feature.name for feature in features), arrays=arrays, ahead=ahead)]
    if counts_core(features):
        lines.append("        count(q, flows[q.slot])\n")
    wanted = {argument for feature, role in _per_packet(features) for argument in _arguments(feature, role)}
    if "payload" in wanted:
        lines.append("        payload = data[q.payload_offset : q.payload_offset + q.payload_caplen]\n")
    for number, feature in enumerate(features):
        lines += _calls(number, feature)
    lines += [_expire(number, feature) for number, feature in enumerate(features) if "expire" in feature.functions]
    return "".join(lines)


def _arguments(feature: UserFeature, role: str) -> tuple[str, ...]:
    return arguments_of(feature.functions[role], EXPIRE_ARGUMENTS if role == "expire" else ARGUMENTS)


def _calls(number: int, feature: UserFeature) -> Iterator[str]:
    """Lines that call the functions of a feature on a packet `q`."""
    values = {"pkt": "q", "core": "flows[q.slot]", "payload": "payload", "params": f"params_{number}[0]"}
    if "init" in feature.functions:
        yield "        if q.begins != 0:\n"
        for place in range(2 if feature.per_direction else 1):
            yield "    " + _call(number, feature, "init", values | {"flow": f"states_{number}[q.slot, {place}]"})
    own = "q.direction" if feature.per_direction else "0"
    yield _call(number, feature, "update", values | {"flow": f"states_{number}[q.slot, {own}]"})


def _call(number: int, feature: UserFeature, role: str, values: dict[str, str]) -> str:
    arguments = ", ".join(values[name] for name in _arguments(feature, role))
    return f"        {role}_{number}({arguments})\n"


def _expire(number: int, feature: UserFeature) -> str:
    """A kernel that calls a feature's last function on ended records."""
    values = {"core": "flows[row]", "params": "params[0]", "flow": "states[row, place]"}
    call = _call(number, feature, "expire", values)
    return (
        f"\n\n@user_kernel\ndef expire_rows_{number}(states, flows, params):\n"
        f"    for row in range(len(states)):\n        for place in range(states.shape[1]):\n    {call}"
    )


def _build(features: Sequence[UserFeature]) -> types.ModuleType:
    """The generated module, run: `update`, and `expire_rows_<n>` of the features that have one."""
    text = source_of_loop(features)
    parts = [part for feature in features for function in feature.functions.values() for part in _made_of(function)]
    cached = JIT and cache_folder() is not None and not any(part is None for part in parts)
    module = types.ModuleType(f"flowgauge_features_{next(_MODULES)}")
    path = f"<{module.__name__}>"
    if cached:
        name = _digest([Path(__file__).read_text("utf-8"), text, *map(str, parts)])
        module.__name__ = f"flowgauge_features_{name}"
        path = _write(text, f"user-{name}")
    module.__file__ = path
    module.__dict__["user_kernel"] = partial(user_kernel, cached=cached)
    sys.modules[module.__name__] = module  # before its kernels are loaded, which name it
    memo: dict[Function, Any] = {}
    for number, feature in enumerate(features):
        for role, function in feature.functions.items():
            module.__dict__[f"{role}_{number}"] = _helper(function, feature.name, module.__name__, memo, ())
    exec(compile(text, path, "exec"), module.__dict__)
    return module


def _write(text: str, folder: str) -> str:
    """Put the module's source into a folder of the cache; its path."""
    root = cache_folder()
    assert root is not None
    path = root / folder / "loop.py"
    if not path.exists():
        path.parent.mkdir(exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    return str(path)


def _digest(parts: Sequence[str]) -> str:
    digest = hashlib.blake2b(digest_size=10)
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


# What a function is made of ------------------------------------------------------------------


def _made_of(function: Function, seen: set[int] | None = None) -> Iterator[str | None]:
    """Texts that change where a function's code does; None where that cannot be known."""
    seen = set() if seen is None else seen
    if id(function) in seen:
        return
    seen.add(id(function))
    code = function.__code__
    if function.__module__ == "__main__" or not os.path.exists(code.co_filename):
        yield None  # a notebook's or a shell's: the source is not there to be read again
    yield code.co_qualname if hasattr(code, "co_qualname") else code.co_name
    yield code.co_code.hex() + repr(code.co_consts) + repr(code.co_names)
    for name, value in (*_globals(function), *_cells(function)):
        yield from _made_of_value(name, value, seen)


def _made_of_value(name: str, value: Any, seen: set[int]) -> Iterator[str | None]:
    if inspect.isfunction(value):
        yield name
        yield from _made_of(value, seen)
    elif hasattr(value, "py_func"):  # compiled by the user
        yield from _made_of(value.py_func, seen)
    elif isinstance(value, types.ModuleType):
        yield from _module_texts(value, seen)
    elif isinstance(value, np.ndarray):
        yield f"{name}={value.dtype}{value.shape}{value.tobytes().hex()}"
    else:
        yield f"{name}={value!r}"


def _globals(function: Function) -> Iterator[tuple[str, Any]]:
    """Names and values of the globals that a function reads."""
    for name in sorted(set(function.__code__.co_names)):
        if name in function.__globals__ and not hasattr(builtins, name):
            yield name, function.__globals__[name]


def _cells(function: Function) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents


_INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def _is_own(module: types.ModuleType) -> bool:
    """Whether a module is the user's own: a file that belongs to no installation."""
    file = getattr(module, "__file__", None)
    return file is not None and file.endswith(".py") and not file.startswith(_INSTALLED)


def _module_texts(module: types.ModuleType, seen: set[int]) -> Iterator[str]:
    """The sources of a module of the user's own and of those that it imports; of an installed one name and version."""
    if id(module) in seen:
        return
    seen.add(id(module))
    if not _is_own(module):
        yield f"{module.__name__}={getattr(module, '__version__', '')}"
        return
    yield Path(str(module.__file__)).read_text("utf-8", "replace")
    for value in list(vars(module).values()):
        if isinstance(value, types.ModuleType):
            yield from _module_texts(value, seen)


# Functions -----------------------------------------------------------------------------------


def _helper(
    function: Function, name: str, module: str, memo: dict[Function, Any], callers: tuple[Function, ...]
) -> Any:
    """The function compiled, with the plain functions that it calls compiled as well."""
    if function in callers:
        raise FeatureError(
            f"{place_of(function)}: {name}: {function.__name__} calls itself, which cannot be compiled; write a loop"
        )
    if function not in memo:
        if callers:
            check_helper(function, name)
        compiled = partial(_helper, name=name, module=module, memo=memo, callers=(*callers, function))
        copy = _copy(function, _compiled_globals(function, compiled), module)
        memo[function] = inline_byte_helper(copy) if JIT else function
    return memo[function]


def _compiled_globals(function: Function, compiled: Callable[[Function], Any]) -> dict[str, Any]:
    """The globals of a function, with `compiled` functions in place of the plain ones that it calls."""
    own = dict(function.__globals__)
    for called, value in _globals(function):
        if inspect.isfunction(value):
            own[called] = compiled(value)
        elif isinstance(value, types.ModuleType) and _is_own(value):
            own[called] = _stand_in(value, set(function.__code__.co_names), compiled)
    return own


def _stand_in(module: types.ModuleType, names: set[str], compiled: Callable[[Function], Any]) -> types.ModuleType:
    """A copy of a module whose functions of these names are compiled."""
    stand_in = types.ModuleType(module.__name__)
    stand_in.__dict__.update(vars(module))
    for name in names & vars(module).keys():
        if inspect.isfunction(vars(module)[name]):
            setattr(stand_in, name, compiled(vars(module)[name]))
    return stand_in


def _copy(function: Function, own: dict[str, Any], module: str) -> Function:
    """The function with globals of its own, as one of the generated module."""
    code, defaults, cells = function.__code__, function.__defaults__, function.__closure__
    copy = types.FunctionType(code, own, function.__name__, defaults, cells)
    copy.__module__ = module  # which can be imported when an exception of this function is raised
    return copy


# The group -----------------------------------------------------------------------------------


class _Group:
    """The features of one meter."""

    def __init__(self, features: Sequence[UserFeature]) -> None:
        self.features = features
        self.module = _build(features)
        self.cursor = np.zeros(1, np.int64)
        self.params = [_parameters(feature) for feature in features]

    def feature(self) -> Feature:
        layouts = tuple(Layout(_dtype(feature), 2 if feature.per_direction else 1) for feature in self.features)
        return Feature("custom", layouts, self.update, self.finalize, ("flows", "data"))

    def update(self, p: Any, begin: int, stop: int, *rest: Array) -> None:
        *states, flows, data = rest
        pairs = [array for pair in zip(states, self.params, strict=True) for array in pair]
        try:
            self.module.update(p, begin, stop, self.cursor, flows, data, *pairs)
        except NumbaError as error:
            raise explain(error, self.features) from None
        except IndexError:
            number = int(p.packets[int(self.cursor[0])].number)
            names = " or ".join(feature.name for feature in self.features)
            raise FeatureError(
                f"{names}: an index is out of range at packet {number}; look at the length (len(payload)) first"
            ) from None

    def finalize(self, *rest: Any) -> dict[str, Values]:
        *states, flows, _memory = rest
        found: dict[str, Values] = {}
        for number, (feature, state, params) in enumerate(zip(self.features, states, self.params, strict=True)):
            expire = getattr(self.module, f"expire_rows_{number}", None)
            if expire is not None:
                self._expire(expire, state, flows, params)
            for place, prefix in enumerate(DIRECTIONS[1:] if feature.per_direction else ("",)):
                for name in feature.columns:
                    found[prefix + name] = _column(feature.columns[name], state[name][:, place])
        return found

    def _expire(self, expire: Function, state: Array, flows: Array, params: Array) -> None:
        try:
            expire(state, flows, params)
        except NumbaError as error:
            raise explain(error, self.features) from None


def _dtype(feature: UserFeature) -> np.dtype[Any]:
    return state_dtype(
        [
            (name, kind.name, (kind.length,)) if kind.length else (name, kind.name)
            for name, kind in feature.fields.items()
        ]
    )


def _parameters(feature: UserFeature) -> Array:
    """The parameters as a record; a feature without any has one that is not used."""
    fields = [(name, "f8" if isinstance(value, float) else "i8") for name, value in feature.params.items()]
    record = np.zeros(1, np.dtype(fields or [("none", "i8")], align=True))
    for name, value in feature.params.items():
        record[name] = value
    return record.view(np.recarray)


def _column(kind: ColumnType, values: Any) -> Values:
    if not kind.length:
        return np.ascontiguousarray(values), None
    offsets = np.arange(0, len(values) * kind.length + 1, kind.length, dtype=np.int32)
    flat = np.ascontiguousarray(values).reshape(-1)
    if kind.name == "bool":
        lists: pa.Array = pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))
        return lists
    return list_array(arrow_type(kind.name), offsets, flat)
