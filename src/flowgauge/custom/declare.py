"""Declaring a feature: ``@fg.feature(columns={"tiny_packets": fg.u32})`` over a function of a flow and a packet."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flowgauge.custom.types import ColumnType
from flowgauge.errors import ConfigError

ARGUMENTS = ("flow", "pkt", "core", "payload", "params")
"""What a function per packet may take, in any order, by name."""
EXPIRE_ARGUMENTS = ("flow", "core", "params")

Function = Callable[..., None]


@dataclass(frozen=True, eq=False)
class UserFeature:
    """A feature as it was declared; call it with other parameters to get another one.

    `columns` are shown, `state` is kept beside them; both begin as zeros in every record. With `per_direction` each
    direction has its own, and columns are shown with `up_` and `down_` before their names.
    """

    name: str
    columns: Mapping[str, ColumnType]
    state: Mapping[str, ColumnType]
    params: Mapping[str, float]
    per_direction: bool
    definition: str
    functions: dict[str, Function] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, ColumnType]:
        """Columns and state: the fields of `flow`."""
        return {**self.columns, **self.state}

    @property
    def function(self) -> Function:
        """The function per packet."""
        return self.functions["update"]

    def init(self, function: Function) -> Function:
        """Decorate a function that is called before a record's first packet, with the arguments of that."""
        return self._attach("init", function, ARGUMENTS)

    def expire(self, function: Function) -> Function:
        """Decorate a function that is called when a record has ended, for each direction with `per_direction`."""
        return self._attach("expire", function, EXPIRE_ARGUMENTS)

    def _attach(self, role: str, function: Function, known: tuple[str, ...]) -> Function:
        arguments_of(function, known)
        self.functions[role] = function
        return function

    def __call__(self, **params: float) -> UserFeature:
        """The same feature with these parameters."""
        for name, value in params.items():
            if name not in self.params:
                known = ", ".join(self.params) or "none"
                raise ConfigError(f"feature {self.name!r} has no parameter {name!r}; it has {known}")
            _check_parameter(self.name, name, value)
        return replace(self, params={**self.params, **params}, functions=self.functions)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
        return f"{self.name}({values})" if values else self.name


def feature(
    *,
    columns: Mapping[str, ColumnType],
    state: Mapping[str, ColumnType] | None = None,
    params: Mapping[str, float] | None = None,
    per_direction: bool = False,
) -> Callable[[Function], UserFeature]:
    """Make a feature of a function that is called for every packet, in order of arrival.

    The function takes what it names: `flow`, whose fields are `columns` and `state`; `pkt`, the packet's
    fields; `core`, the flow's counts with this packet in them; `payload`, its captured bytes; and `params`. Its
    docstring defines the columns. Raises ConfigError for what cannot be declared.
    """

    def declare(function: Function) -> UserFeature:
        arguments_of(function, ARGUMENTS)
        made = UserFeature(
            name=function.__name__,
            columns=dict(columns),
            state=dict(state or {}),
            params=dict(params or {}),
            per_direction=per_direction,
            definition=" ".join((inspect.getdoc(function) or "").split("\n\n")[0].split()),
        )
        _check_fields(made)
        made.functions["update"] = function
        return made

    return declare


def arguments_of(function: Function, known: tuple[str, ...]) -> tuple[str, ...]:
    """The names of a function's arguments. Raises ConfigError for others than those that are known."""
    if not inspect.isfunction(function):
        raise ConfigError(f"a feature is made of a plain function, not of {function!r}")
    names = tuple(inspect.signature(function).parameters)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{place_of(function)}: {function.__name__} takes {name!r}; it can take {', '.join(known)}"
            )
    return names


def place_of(function: Function) -> str:
    """File and first line of a function."""
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _check_fields(made: UserFeature) -> None:
    place = f"feature {made.name!r}"
    if not made.columns:
        raise ConfigError(f"{place} has no columns; give columns={{'name': fg.u32}}")
    for name, kind in (*made.columns.items(), *made.state.items()):
        if not name.isidentifier() or name.startswith("_"):
            raise ConfigError(f"{place}: {name!r} is no name of a field")
        if not isinstance(kind, ColumnType):
            raise ConfigError(f"{place}: {name!r} is declared as {kind!r}; its type is one of fg.u8 … fg.i64, fg.f64")
    if twice := made.columns.keys() & made.state.keys():
        raise ConfigError(f"{place}: {min(twice)!r} is both a column and state")
    for name, value in made.params.items():
        _check_parameter(made.name, name, value)


def _check_parameter(feature_name: str, name: str, value: Any) -> None:
    if not isinstance(value, (bool, int, float)):
        raise ConfigError(f"feature {feature_name!r}: parameter {name!r} is a number, not {value!r}")
