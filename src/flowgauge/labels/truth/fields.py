"""What the columns of a truth table are: conditions that a flow has to meet, or labels.

Names are compared without case, and with all else than letters and digits as `_`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flowgauge.errors import ConfigError
from flowgauge.labels.template import field_fault

SPELLINGS = {
    "start": ("start", "start_time", "starttime", "stime", "timestamp", "time", "ts", "from", "begin"),
    "end": ("end", "end_time", "endtime", "etime", "ltime", "to", "until", "stop"),
    "duration": ("duration", "duration_s", "dur"),
    "duration_us": ("flow_duration",),
    "client": ("client", "client_ip", "client_addr", "client_address"),
    "server": ("server", "server_ip", "server_addr", "server_address"),
    "src": (
        *("src", "src_ip", "src_addr", "srcaddr", "srcip", "saddr", "source", "source_ip", "source_address"),
        *("id_orig_h", "host", "ip", "address"),
    ),
    "dst": (
        *("dst", "dst_ip", "dst_addr", "dstaddr", "dstip", "daddr", "destination", "destination_ip"),
        *("destination_address", "id_resp_h"),
    ),
    "client_port": ("client_port",),
    "server_port": ("server_port",),
    "src_port": ("src_port", "srcport", "sport", "source_port", "id_orig_p", "port"),
    "dst_port": ("dst_port", "dstport", "dport", "destination_port", "id_resp_p"),
    "protocol": ("protocol", "proto", "ip_proto", "ip_protocol"),
    "file": ("file", "filename", "file_name", "pcap", "capture"),
}
"""Conditions, and what columns are called that hold them."""

TIMES = ("start", "end", "duration", "duration_us")
DIRECTED = ("client", "server", "client_port", "server_port")
EITHER = ("src", "dst", "src_port", "dst_port")
_LOWERED = ("app", "action", "label")
_UNNAMED = re.compile(r"|Unnamed: \d+|__index_level_\d+__")


class Form(NamedTuple):
    """Tables that other tools write: known by `marks`; only the column `label` is a label there."""

    name: str
    marks: frozenset[str]
    needs: tuple[str, ...]
    advice: str
    half_day: bool  # hours are those of a clock with twelve


FORMS = (
    Form(
        "CICFlowMeter",
        frozenset({"flow_duration", "label"}),
        ("start", "src", "dst"),
        "the files without addresses and times cannot be matched; CIC-IDS2017 has both in TrafficLabelling",
        half_day=True,
    ),
    Form("Argus", frozenset({"starttime", "dur", "srcaddr", "dstaddr", "label"}), (), "", half_day=False),
)


class Header(NamedTuple):
    """Number of the column of each condition, and of each label; `either`: ends match both ways round."""

    conditions: Mapping[str, int]
    labels: Mapping[str, int]
    either: bool
    half_day: bool

    @property
    def is_timed(self) -> bool:
        return any(name in self.conditions for name in TIMES)


def read_header(table: str, names: Sequence[str]) -> Header:
    """What the columns are. Raises ConfigError naming the table and the column."""
    plain = [_plain(name) for name in names]
    form = next((form for form in FORMS if form.marks <= set(plain)), None)
    conditions: dict[str, int] = {}
    rest = []
    for number, name in enumerate(plain):
        condition = _CONDITIONS.get(name)
        if condition is None:
            rest.append(number)
        elif condition in conditions:
            raise ConfigError(
                f"{table}: the columns {names[conditions[condition]]!r} and {names[number]!r} are both {condition}"
            )
        else:
            conditions[condition] = number
    _check(table, conditions, form)
    if form is not None:
        rest = [number for number in rest if plain[number] == "label"]
    labels = _labels(table, names, rest)
    return Header(conditions, labels, not any(name in conditions for name in DIRECTED), bool(form and form.half_day))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


_CONDITIONS = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings}


def _check(table: str, conditions: Mapping[str, int], form: Form | None) -> None:
    if not conditions:
        known = ", ".join(SPELLINGS)
        raise ConfigError(f"{table}: no column says which flows a row is about; it has some of {known}")
    if any(name in conditions for name in DIRECTED) and any(name in conditions for name in EITHER):
        raise ConfigError(f"{table}: columns of client or server and of src or dst exclude each other: rename one pair")
    if "end" in conditions and any(name in conditions for name in ("duration", "duration_us")):
        raise ConfigError(f"{table}: columns of an end and of a duration exclude each other: leave one out")
    if form is not None and not all(name in conditions for name in form.needs):
        raise ConfigError(f"{table} has the columns of {form.name} without {', '.join(form.needs)}: {form.advice}")


def _labels(table: str, names: Sequence[str], numbers: Sequence[int]) -> dict[str, int]:
    labels: dict[str, int] = {}
    for number in numbers:
        given = names[number].strip()
        if _UNNAMED.fullmatch(given):  # the row numbers of pandas
            continue
        name = given.lower() if given.lower() in _LOWERED else re.sub(r"\W+", "_", given).strip("_")
        fault = field_fault(name)
        if fault is not None:
            raise ConfigError(f"{table}: the column {given!r} is no condition, and as a label it is {fault}; rename it")
        if name in labels:
            raise ConfigError(f"{table}: two columns are called {name!r}")
        labels[name] = number
    if not labels:
        raise ConfigError(f"{table}: no column is a label: all say which flows a row is about")
    return labels
