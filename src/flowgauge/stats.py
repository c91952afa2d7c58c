"""RunStats: what a run read, metered and wrote."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

STATS = "flowgauge_stats"
"""Name in the footer of a Parquet file of the counts of the run that wrote it, as JSON: :meth:`RunStats.results`."""


@dataclass
class RunStats:
    """Counts of one run. Every packet read is in exactly one of `reasons`.

    `counters` are oddities of packets that were metered all the same: clock_jump, no_time,
    ip_length_lies, orphan_fragments, tunnel_fragment, rst_ignored; with group `names` heads_refused and
    dissector_faults; with `dedup` dedup_forgotten, with `reorder` reordered, reorder_late and reorder_early;
    labels_unread, where a capture's word on processes makes no sense; reconnected, how often a broken connection to a
    storage was gone on with; of a live run lost, packets that the system had
    no room for.
    `duplicates_suspected` is the estimated share of packets that are copies of others, 0 up to 1 % or with `dedup`.
    `skipped` are files that are no captures; `failed` those that could not be read; `damaged` those read up to where
    they break; `unlabelled` those that the label template does not match. `truth` says what of a truth table matches.
    `named`, with group `names`, are bytes of frames: of `all` records, and of those with a server_name, an app_guess.
    """

    files: int = 0
    input_bytes: int = 0  # as stored, compressed
    packets: int = 0
    packet_bytes: int = 0  # on the wire
    flows: int = 0
    rows: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    interrupted: bool = False
    limited: bool = False
    duplicates_suspected: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)  # "app/action" -> records
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    truth: dict[str, Any] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """All counts as JSON-ready values."""
        return asdict(self)

    def results(self, with_names: bool = True) -> dict[str, Any]:
        """What the same input gives again: all but times and what connections did, and, unless `with_names`, what holds
        names of files."""
        left_out = _TIMES if with_names else (*_TIMES, *_NAMES)
        found = {name: value for name, value in asdict(self).items() if name not in left_out}
        found["counters"].pop("reconnected", None)
        return found


_AS_MET = ("ended", "labels")  # counts of what was met alone
_TIMES = ("seconds", "compile_seconds")
_NAMES = ("skipped", "failed", "damaged", "unlabelled", "truth")


class Counted(NamedTuple):
    """What was counted of some captures, JSON-ready: a RunStats as dict, the sample of a search for copies, and what a
    truth table's rows have matched."""

    stats: dict[str, Any]
    sample: list[list[int]]
    matched: dict[str, Any] | None


def total(runs: Iterable[dict[str, Any]]) -> RunStats:
    """One RunStats of the :meth:`RunStats.results` of several runs; names that this version does not know are passed
    over. Shares are those of the worst run."""
    summed = RunStats()
    for run in runs:
        for each in fields(RunStats):
            old, new = getattr(summed, each.name), run.get(each.name)
            if new is None or each.name == "truth":
                continue
            if isinstance(old, dict):
                both = {**old, **new}
                new = {key: old.get(key, 0) + new.get(key, 0) for key in both} if _counts(both) else both
            elif isinstance(old, (bool, float)):
                new = max(old, new)
            else:
                new = old + new
            setattr(summed, each.name, new)
    return summed


def since(before: RunStats, now: RunStats) -> RunStats:
    """What a run has counted between two of its states; shares and whether limits were reached are those of now."""
    between = RunStats()
    for each in fields(RunStats):
        old, new = getattr(before, each.name), getattr(now, each.name)
        if isinstance(new, dict):
            counts = _counts(new)
            new = {key: value - old.get(key, 0) if counts else value for key, value in new.items()}
            new = new if counts else {key: value for key, value in new.items() if key not in old}
            if each.name in _AS_MET:
                new = {key: value for key, value in new.items() if value}
        elif isinstance(new, list):
            new = new[len(old) :]
        elif not isinstance(new, (bool, float)):
            new = new - old
        setattr(between, each.name, new)
    return between


def _counts(values: dict[str, Any]) -> bool:
    return all(isinstance(value, int) for value in values.values())
