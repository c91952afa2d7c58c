"""What cannot be compiled in a feature's function, said in the terms of who wrote it, with the line.

Only what is certain from the source is refused here; what is left goes to Numba, whose answer `explain` translates.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from flowgauge.custom.declare import UserFeature, place_of
from flowgauge.errors import FeatureError
from flowgauge.kernels.packet import EARLY_FIELDS, PACKET
from flowgauge.kernels.state import FLOW

PACKET_FIELDS = tuple(name for name in PACKET.names or () if name not in EARLY_FIELDS)
CORE_FIELDS = tuple(FLOW.names or ())

# Nodes that are never compiled, and what to do instead.
_REFUSED: dict[type[ast.AST], str] = {
    ast.Import: "imports inside a function cannot be compiled; import at the top of the file",
    ast.ImportFrom: "imports inside a function cannot be compiled; import at the top of the file",
    ast.Dict: "a dict cannot be kept per flow; declare an array in state, such as fg.u32[16]",
    ast.DictComp: "a dict cannot be kept per flow; declare an array in state, such as fg.u32[16]",
    ast.Set: "a set cannot be kept per flow; declare an array in state, such as fg.u8[256]",
    ast.List: "a list cannot be kept per flow; declare an array in state, such as fg.u32[16], and count its values",
    ast.ListComp: "a list cannot be kept per flow; declare an array in state, such as fg.u32[16]",
    ast.JoinedStr: "there is no text in a feature; keep a number that stands for it",
    ast.Try: "try is not compiled; test the condition before",
    ast.With: "with is not compiled",
    ast.Lambda: "functions inside a function cannot be compiled; define it at the top of the file",
    ast.FunctionDef: "functions inside a function cannot be compiled; define it at the top of the file",
    ast.ClassDef: "classes inside a function cannot be compiled",
    ast.Global: "what a feature keeps belongs to a flow; declare it in state",
    ast.Nonlocal: "what a feature keeps belongs to a flow; declare it in state",
    ast.Yield: "a feature's function returns nothing; set fields of flow",
}
_CALLS = {
    "print": "print cannot be compiled; run python -m flowgauge.testing on the file, where print and pdb work",
    "open": "files cannot be opened while packets are counted",
    "dict": _REFUSED[ast.Dict],
    "set": _REFUSED[ast.Set],
    "list": _REFUSED[ast.List],
    "str": "there is no text in a feature; keep a number that stands for it",
}


class Source(NamedTuple):
    """A function's syntax tree and where it is."""

    tree: ast.FunctionDef
    file: str
    first_line: int

    def error(self, node: ast.AST, name: str, text: str) -> FeatureError:
        """An error at a node."""
        line = self.first_line + getattr(node, "lineno", 1) - 1
        return FeatureError(f"{self.file}:{line}: {name}: {text}")


def source_of(function: Callable[..., Any]) -> Source | None:
    """The source of a function; None where Python does not know it."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    if not isinstance(tree, ast.FunctionDef):
        return None
    code = function.__code__
    return Source(tree, code.co_filename, code.co_firstlineno)


def check_feature(feature: UserFeature) -> None:
    """Refuse what cannot be compiled in the functions of a feature. Raises FeatureError."""
    assigned: set[str] = set()
    known = True
    for function in feature.functions.values():
        _check_closure(function, feature.name)
        source = source_of(function)
        if source is None:
            known = False
            continue
        check_body(source, feature.name)
        assigned |= _check_fields(source, feature)
    if known and (missing := [name for name in feature.columns if name not in assigned]):
        text = f"column {missing[0]!r} is declared and never set; set flow.{missing[0]}"
        raise FeatureError(f"{place_of(feature.function)}: {feature.name}: {text}")


def check_helper(function: Callable[..., Any], name: str) -> None:
    """Refuse what cannot be compiled in a function that a feature calls. Raises FeatureError."""
    _check_closure(function, name)
    source = source_of(function)
    if source is not None:
        check_body(source, name)


def _check_closure(function: Callable[..., Any], name: str) -> None:
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        value = cell.cell_contents
        if not isinstance(value, (bool, int, float)) and not callable(value):
            raise FeatureError(
                f"{place_of(function)}: {name}: {variable!r} is {_kind(value)} of the function around this one; define "
                "it at the top of the file, or give a number as a parameter"
            )


def _kind(value: Any) -> str:
    kind = type(value).__name__
    return "an array" if kind == "ndarray" else f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def check_body(source: Source, name: str) -> None:
    """Refuse statements and calls that are never compiled."""
    docstring = ast.get_docstring(source.tree) is not None
    for number, statement in enumerate(source.tree.body):
        if number == 0 and docstring:
            continue
        for node in ast.walk(statement):
            if text := _refusal(node, source.tree.name):
                raise source.error(node, name, text)


def _refusal(node: ast.AST, own_name: str) -> str | None:
    if type(node) in _REFUSED:
        return _REFUSED[type(node)]
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
        return "there is no text in a feature; keep a number that stands for it"
    if isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Name) and called.id in _CALLS:
            return _CALLS[called.id]
        if isinstance(called, ast.Name) and called.id == own_name:
            return "a function that calls itself cannot be compiled; write a loop"
        if isinstance(called, ast.Attribute) and called.attr in ("append", "extend"):
            return _REFUSED[ast.List]
    return None


def _check_fields(source: Source, feature: UserFeature) -> set[str]:
    """Refuse fields that do not exist and values that do not fit; returns the fields of `flow` that are set."""
    fields = {"flow": tuple(feature.fields), "pkt": PACKET_FIELDS, "core": CORE_FIELDS, "params": tuple(feature.params)}
    assigned: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            known = fields.get(node.value.id)
            if known is not None and node.attr not in known:
                raise source.error(node, feature.name, _unknown(node.value.id, node.attr, known))
        for target, value in _assignments(node):
            owner, name = _target(target)
            if owner == "flow":
                assigned.add(name)
            if text := _misfit(owner, name, value, feature):
                raise source.error(node, feature.name, text)
    return assigned


def _misfit(owner: str, name: str, value: ast.expr | None, feature: UserFeature) -> str | None:
    """Why a value cannot be set."""
    if owner in ("pkt", "core", "payload", "params"):
        return f"{owner} is what was seen and cannot be set; set fields of flow"
    kind = feature.fields.get(name) if owner == "flow" else None
    if kind is None or kind.is_float or value is None or not _is_float(value, feature):
        return None
    return f"{name!r} is {kind.name} and gets a number with a fraction; declare it fg.f64, or use // and int()"


def _unknown(owner: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    there = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}"
    if owner == "flow":
        return f"flow has no field {name!r}; {there}; declare it in columns, or in state where it is not to be shown"
    return f"{owner} has no field {name!r}; {there}"


def _assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """(target, value) of what a statement sets; the value is None where it is not one expression."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Tuple):
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [None] * len(target.elts)
                yield from zip(target.elts, values, strict=False)
            else:
                yield target, node.value
    elif isinstance(node, ast.AugAssign):
        divides = isinstance(node.op, ast.Div)
        yield node.target, ast.BinOp(node.target, ast.Div(), node.value) if divides else node.value
    elif isinstance(node, ast.AnnAssign):
        yield node.target, node.value


def _target(node: ast.expr) -> tuple[str, str]:
    """(variable, field) of `variable.field`, `variable.field[i]` or `variable[i]`; empty for anything else."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id, node.attr
    return ("payload", "") if isinstance(node, ast.Name) and node.id == "payload" else ("", "")


def _is_float(node: ast.expr, feature: UserFeature) -> bool:
    """Whether an expression is certainly a number with a fraction."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, float)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Div) or _is_float(node.left, feature) or _is_float(node.right, feature)
    if isinstance(node, ast.UnaryOp):
        return _is_float(node.operand, feature)
    if isinstance(node, ast.IfExp):
        return _is_float(node.body, feature) or _is_float(node.orelse, feature)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.value.id == "flow" and node.attr in feature.fields:
            return feature.fields[node.attr].is_float
        return node.value.id == "params" and isinstance(feature.params.get(node.attr), float)
    if isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Name):
            return called.id == "float"
        return isinstance(called, ast.Attribute) and called.attr in ("sqrt", "log", "log2", "log10", "exp")
    return False


_LINE = re.compile(r'File "([^"]+)", line (\d+)')
_ALLOCATES = ("Only accept returning of array", "NRT required", "requires NRT")


def explain(error: BaseException, features: Iterable[UserFeature]) -> FeatureError:
    """Numba's refusal in one line: where, and what it said first."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    own = {function.__code__.co_filename: feature for feature in features for function in feature.functions.values()}
    places = [(os.path.abspath(file), line) for file, line in _LINE.findall(text)]
    said = "arrays cannot be made while packets are counted; declare one in state"
    if not any(words in text for words in _ALLOCATES):
        said = _said(text)
    for file, line in reversed(places):
        if file in own:
            return FeatureError(f"{file}:{line}: {own[file].name}: {said}")
    return FeatureError(f"{' or '.join(feature.name for feature in features)}: {said}")


def _said(text: str) -> str:
    """The line of Numba's message that says what is wrong."""
    lines = [line.strip(" >-") for line in text.splitlines()]
    skipped = ("Failed in", "During:", "File ", "<source", "There are", "No match")
    useful = [line for line in lines if line and not line.startswith(skipped)]
    return useful[0] if useful else "it cannot be compiled"
