"""MeterConfig: every option that changes what a flow is, validated once."""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from flowgauge.custom.declare import UserFeature
from flowgauge.errors import ConfigError

NANOSECONDS = 1_000_000_000
DEFAULT_FEATURES = ("core", "size", "iat", "flags", "tcp")
DEFAULT_MAX_FLOWS = 4_194_304
MOST_SPLT = 65_535  # packets
MOST_HEAD = 512  # bytes
MOST_RAW = 64, 1500  # packets and bytes of each
PRIVATE = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),  # RFC 1918, RFC 4193
    *("100.64.0.0/10", "169.254.0.0/16", "fe80::/10", "127.0.0.0/8", "::1/128"),  # RFC 6598, 3927, 4291, 1122
)
"""Networks that are local where none is named."""
TIMEOUT_CLASSES = ("tcp", "udp", "icmp", "other")
_MAX_SECONDS = 2**62 // NANOSECONDS // 2

_LONGEST_WINDOW = 3600.0  # s; further apart are steps of the clock
_PARTS = {"ms": 1e3, "us": 1e6, "µs": 1e6, "s": 1.0}  # of a second

Timeout = float | None
IdleTimeout = Timeout | str | Mapping[str, Timeout | str]


@dataclass(frozen=True)
class MeterConfig:
    """How packets become flows (see docs/flow-semantics.md).

    `first_packets` and `first_seconds` say how much of a record counts, `window` cuts records at its multiples.
    `local_net` are networks and `mmdb` databases for the group `where`, which either switches on.
    `anonymize` says where the key is that names are hidden with.

    Timeouts, `dedup` and `reorder` are seconds, None is off; `idle_timeout` holds one for each of TIMEOUT_CLASSES,
    `attempt_timeout` is that of TCP connections that were not answered. With `forget` nothing is known of a flow once
    its record has left; with `services_only` ports tell the direction only where they are in the list of services.
    With `icmp_by_hosts` ICMP has no types in the key, with `clock_times` packets that come late have the time of the
    clock. `filter` (a pcap-filter expression), `dedup` and `reorder` are for what comes before a meter. The options
    from `splt` on are those of feature groups: their names begin with that of the group, but for `catalogue`, files
    that tell the group `names` which domains are of which app.
    """

    features: tuple[str | UserFeature, ...] = DEFAULT_FEATURES
    key: str = "5tuple"
    vlan_in_key: bool = False
    icmp_by_hosts: bool = False
    tunnels: str = "inner"
    idle_timeout: tuple[Timeout, Timeout, Timeout, Timeout] = (120.0, 120.0, 120.0, 120.0)
    active_timeout: Timeout = 1800.0
    attempt_timeout: Timeout = None
    no_tcp_end: bool = False
    forget: bool = False
    first_is_client: bool = False
    services_only: bool = False
    clock_times: bool = False
    filter: str | None = None
    dedup: float | None = None
    reorder: float | None = None
    max_flows: int = DEFAULT_MAX_FLOWS
    first_packets: int | None = None
    first_seconds: Timeout = None
    window: Timeout = None
    anonymize: str | None = field(default=None, repr=False)
    splt: int = 20
    splt_data: bool = False
    activity_gap: float = 5.0
    payload_head: int = 64
    raw_packets: int = 5
    raw_bytes: int = 128
    raw_masked: bool = False
    local_net: tuple[str, ...] = PRIVATE
    mmdb: tuple[str, ...] = ()
    catalogue: tuple[str, ...] = ()

    @property
    def custom(self) -> tuple[UserFeature, ...]:
        """The features that users wrote, in order."""
        return tuple(feature for feature in self.features if isinstance(feature, UserFeature))

    def results(self) -> dict[str, Any]:
        """The options that change results, as JSON-ready values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["idle_timeout"] = dict(zip(TIMEOUT_CLASSES, self.idle_timeout, strict=True))
        values["features"] = list(map(str, self.features))
        values["anonymize"] = self.anonymize is not None
        if self.anonymize is not None and self.filter is not None:
            values["filter"] = "hidden"  # it may name addresses
        if self.anonymize is not None and self.local_net != PRIVATE:
            values["local_net"] = "hidden"
        return values


PRESETS: dict[str, dict[str, Any]] = {
    "zeek": {
        "idle_timeout": "tcp=300,udp=60,icmp=60,other=60",
        "active_timeout": None,
        "attempt_timeout": 5.0,
        "forget": True,
        "services_only": True,
    },
    "nfstream": {
        "no_tcp_end": True,
        "first_is_client": True,
        "vlan_in_key": True,
        "icmp_by_hosts": True,
        "clock_times": True,
    },
    "cic": {"active_timeout": 120.0},
    "classic": {"key": "hosts"},
}
"""Construction rules of other tools, by name; options given beside a preset win."""


def make_config(*, preset: str | None = None, **options: Any) -> MeterConfig:
    """A validated MeterConfig from a preset and the options given (None: not given).

    Raises ConfigError naming the option, the value and what it takes.
    """
    values: dict[str, Any] = {}
    if preset is not None:
        values.update(PRESETS[_choice("preset", preset, tuple(PRESETS))])
    values.update((name, value) for name, value in options.items() if value is not None)
    known = {field.name for field in fields(MeterConfig)}
    for name in values.keys() - known:
        raise ConfigError(f"unknown option {name!r}; known: {', '.join(sorted(known))}")
    checked: dict[str, Any] = {name: _CHECKS[name](name, value) for name, value in values.items()}
    if checked.get("local_net") or checked.get("mmdb"):
        checked["features"] = _features("features", (*checked.get("features", DEFAULT_FEATURES), "where"))
    return replace(MeterConfig(), **checked)


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ConfigError(f"{name} {value!r} is not one of {', '.join(choices)}")
    return str(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is True or False, not {value!r}")
    return value


def _seconds(name: str, value: Any) -> Timeout:
    if value is None or value == "off":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds <= _MAX_SECONDS:
        raise ConfigError(f"{name} is seconds above 0 or 'off', not {value!r}")
    return seconds


def _window(name: str, value: Any) -> Timeout:
    """A short time: a number of seconds, or text with a unit."""
    if value is None or value == "off":
        return None
    text = str(value).strip()
    unit = next((unit for unit in _PARTS if text.endswith(unit)), "")
    try:
        seconds = math.nan if isinstance(value, bool) else float(text.removesuffix(unit)) / _PARTS.get(unit, 1.0)
    except ValueError:
        seconds = math.nan
    if not 1 / NANOSECONDS <= seconds <= _LONGEST_WINDOW:
        raise ConfigError(
            f"{name} is a time up to an hour, such as 0.001 (seconds), '5ms' or '200us', or 'off', not {value!r}"
        )
    return seconds


def _idle_timeout(name: str, value: Any) -> tuple[Timeout, ...]:
    if isinstance(value, str) and "=" in value:
        value = dict(_pair(name, part) for part in value.split(","))
    if isinstance(value, Mapping):
        for key in value:
            _choice(f"{name}'s protocol", key, TIMEOUT_CLASSES)
        default = MeterConfig.idle_timeout[0]
        return tuple(_seconds(name, value.get(key, default)) for key in TIMEOUT_CLASSES)
    if isinstance(value, tuple) and len(value) == len(TIMEOUT_CLASSES):
        return tuple(_seconds(name, seconds) for seconds in value)
    return (_seconds(name, value),) * len(TIMEOUT_CLASSES)


def _pair(name: str, part: str) -> tuple[str, str]:
    key, separator, seconds = part.strip().partition("=")
    if not separator:
        raise ConfigError(f"{name} part {part!r} is not PROTOCOL=SECONDS")
    return key, seconds


def _features(name: str, value: Any) -> tuple[str | UserFeature, ...]:
    from flowgauge.schema import GROUPS, HIDDEN_GROUPS

    chosen = value.split(",") if isinstance(value, str) else list(_iterable(name, value))
    found = [_feature(feature, GROUPS, HIDDEN_GROUPS) for feature in chosen]
    groups = tuple(group for group in (*GROUPS, *HIDDEN_GROUPS) if group in ("core", *found))
    custom = tuple(feature for feature in found if isinstance(feature, UserFeature))
    _check_names(custom)
    return groups + custom


def _feature(value: Any, groups: tuple[str, ...], hidden: tuple[str, ...]) -> str | UserFeature:
    """The name of a group, or a feature that a user wrote, given as it is or by its name."""
    if isinstance(value, UserFeature):
        return value
    text = str(value).strip()
    if text in hidden:
        return text
    if text not in groups:
        from flowgauge.custom.load import is_reference, load_feature

        if is_reference(text):
            return load_feature(text)
    return _choice("feature group", text, groups)


def _check_names(custom: tuple[UserFeature, ...]) -> None:
    from flowgauge.schema import custom_columns, native_columns

    taken = {column.name for column in native_columns()} if custom else set()
    for feature in custom:
        for column in custom_columns(feature):
            if column.name in taken:
                raise ConfigError(f"feature {feature.name!r}: there is a column {column.name!r} already; rename it")
            taken.add(column.name)


def _iterable(name: str, value: Any) -> Iterable[Any]:
    if not isinstance(value, Iterable):
        raise ConfigError(f"{name} is a list of names or a comma-separated string, not {value!r}")
    return value


def _whole(least: int, most: int) -> Callable[[str, Any], int]:
    """A check for whole numbers from `least` to `most`."""

    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ConfigError(f"{name} is a whole number from {least} to {most}, not {value!r}")
        return value

    return check


def _text(name: str, value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise ConfigError(f"{name} is the path of a key file, or 'env', not {value!r}")
    return os.fspath(value)


def _paths(name: str, value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, (str, os.PathLike)) else list(_iterable(name, value))
    if not all(isinstance(path, (str, os.PathLike)) for path in listed):
        raise ConfigError(f"{name} is the path of a file, or a list of those, not {value!r}")
    return tuple(os.fspath(path) for path in listed)


def _expression(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} is a pcap-filter expression such as 'tcp port 443', not {value!r}")
    return value


def _some_seconds(name: str, value: Any) -> float:
    seconds = _seconds(name, value) if value != "off" else None
    if seconds is None:
        raise ConfigError(f"{name} is seconds above 0, not {value!r}")
    return seconds


def _networks(name: str, value: Any) -> tuple[str, ...]:
    found = []
    for text in _texts(name, value):
        try:
            found.append(str(ipaddress.ip_network(text.strip())))
        except ValueError as error:
            raise ConfigError(
                f"{name} is a network such as 192.168.7.0/24 or 2001:db8::/32, not {text!r}: {error}"
            ) from None
    return tuple(found) or PRIVATE


def _texts(name: str, value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, (str, os.PathLike)) else list(_iterable(name, value))
    if not all(isinstance(entry, (str, os.PathLike)) for entry in listed):
        raise ConfigError(f"{name} is a text or a list of texts, not {value!r}")
    return tuple(os.fspath(entry) for entry in listed)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "features": _features,
    "key": lambda name, value: _choice(name, value, ("5tuple", "hosts")),
    "vlan_in_key": _flag,
    "icmp_by_hosts": _flag,
    "tunnels": lambda name, value: _choice(name, value, ("inner", "outer")),
    "idle_timeout": _idle_timeout,
    "active_timeout": _seconds,
    "attempt_timeout": _seconds,
    "no_tcp_end": _flag,
    "forget": _flag,
    "first_is_client": _flag,
    "services_only": _flag,
    "clock_times": _flag,
    "filter": _expression,
    "dedup": _window,
    "reorder": _window,
    "max_flows": _whole(1, 2**30),
    "first_packets": _whole(1, 2**31 - 1),
    "first_seconds": _seconds,
    "window": _seconds,
    "anonymize": _text,
    "splt": _whole(1, MOST_SPLT),
    "splt_data": _flag,
    "activity_gap": _some_seconds,
    "payload_head": _whole(0, MOST_HEAD),
    "raw_packets": _whole(1, MOST_RAW[0]),
    "raw_bytes": _whole(1, MOST_RAW[1]),
    "raw_masked": _flag,
    "local_net": _networks,
    "mmdb": _texts,
    "catalogue": _paths,
}
