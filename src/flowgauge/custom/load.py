"""Finding a feature by its name: in a file, a module or an installed package."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import re
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from flowgauge.custom.declare import UserFeature
from flowgauge.errors import ConfigError

GROUP = "flowgauge.features"
"""Entry points of this group are features of installed packages."""

_REFERENCE = re.compile(r"(?:(?P<place>.+?):)?(?P<name>[A-Za-z_]\w*)(?:\((?P<params>.*)\))?", re.DOTALL)


def is_reference(text: str) -> bool:
    """Whether a text names a feature: FILE.py:NAME, MODULE:NAME or an entry point, maybe with parameters."""
    match = _REFERENCE.fullmatch(text)
    return match is not None and (match["place"] is not None or match["name"] in _offered())


def load_feature(text: str) -> UserFeature:
    """The feature that a text names, as `my.py:tiny`, `package.module:tiny`, `tiny` or `my.py:tiny(limit=100)`.

    Raises ConfigError where it is not there.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ConfigError(f"feature {text!r} is not FILE.py:NAME, MODULE:NAME or the name of an installed feature")
    place, name, params = match.group("place", "name", "params")
    found: UserFeature | None
    if place is None:
        found = _offered_feature(name)
    else:
        module = _file_module(Path(place)) if place.endswith(".py") else _module(place)
        found = getattr(module, name, None)
        if not isinstance(found, UserFeature):
            there = ", ".join(features_of(module)) or "none"
            raise ConfigError(f"{place} has no feature {name!r}; it has {there}")
    return found if params is None else found(**_parameters(text, params))


def features_of(module: ModuleType) -> dict[str, UserFeature]:
    """The features of a module, by name."""
    return {name: value for name, value in vars(module).items() if isinstance(value, UserFeature)}


def load_file(path: Path) -> dict[str, UserFeature]:
    """The features of a Python file, by name. Raises ConfigError where it has none or cannot be run."""
    found = features_of(_file_module(path))
    if not found:
        raise ConfigError(f"{path} has no feature; decorate a function with @fg.feature(columns=...)")
    return found


def _offered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _offered_feature(name: str) -> UserFeature:
    offered = _offered()
    if name not in offered:
        raise ConfigError(f"no installed package offers a feature {name!r}; offered: {', '.join(offered) or 'none'}")
    found = offered[name].load()
    if not isinstance(found, UserFeature):
        raise ConfigError(f"entry point {name!r} ({offered[name].value}) is no feature")
    return found


def _file_module(path: Path) -> ModuleType:
    """The module of a file, run once; what it imports from its own folder is found."""
    path = path.resolve()
    name = f"flowgauge_file_{hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        raise _failed(path, error) from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _failed(path: Path, error: BaseException) -> BaseException:
    """What running a user's file raised, with the line of it; errors of ours and interrupts as they are."""
    if isinstance(error, ConfigError) or not isinstance(error, Exception):
        return error
    line: Any = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return ConfigError(f"{path}{'' if line is None else f':{line}'}: {type(error).__name__}: {error}")


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"cannot import {name}: {error}; a file is named with its .py") from error


def _parameters(text: str, params: str) -> dict[str, Any]:
    """Keyword arguments with values that are numbers."""
    try:
        call = ast.parse(f"f({params})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        return {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, AssertionError):
        raise ConfigError(f"the parameters of {text!r} are not name=number, name=number") from None
