"""What a run did, as plain text: the counts (`summary`) and lines about files (`failures`, `notes`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowgauge.cli.text import aligned, counted, failure_lines, few, size, skipped_lines
from flowgauge.kernels.packet import REASONS
from flowgauge.labels.truth import no_truth
from flowgauge.stats import RunStats

COUNTERS = {
    "clock_jump": "record times that step by more than an hour and back; the clock stands for them",
    "no_time": "records without a time; the clock stands for it",
    "ip_length_lies": "IP lengths above what the wire held; clamped",
    "orphan_fragments": "fragments whose first one was not seen; metered with ports 0",
    "tunnel_fragment": "fragments whose first one was metered as the packet inside; metered outside",
    "rst_ignored": "connections that went on after a reset",
    "heads_refused": "directions of flows of whose first bytes there was no room to keep any; they name nothing",
    "dissector_faults": "flows at which reading names stopped at a check; please report them",
    "dedup_forgotten": "packets forgotten before dedup's time was over; copies of them may have been metered",
    "labels_unread": "packets and blocks whose word on processes makes no sense, or had no room",
    "reconnected": "times that a connection to a storage broke and was gone on with",
    "lost": "packets that the system had no room for: more memory with --ring, or fewer packets with --filter",
    "reordered": "packets put into order of time",
    "reorder_late": "packets too late to be put into order; metered where they were",
    "reorder_early": "packets metered before reorder's time was over, because too many waited",
}
_MANY_LABELS = 20


def summary(stats: RunStats, rows_of: str = "records") -> str:
    """Files, packets by reason, flows by ending, labels, time and rate, in aligned lines.

    `rows_of` says what was written: "records" of flows, or "packets".
    """
    blocks = [
        aligned(_overview(stats, rows_of)),
        _block("packets by reason", stats.reasons, REASONS),
        _block("oddities", stats.counters, COUNTERS),
        _labels(stats, rows_of),
    ]
    return "\n\n".join(block for block in blocks if block)


def failures(stats: RunStats, done: str = "metered") -> list[str]:
    """One line for each file that could not be read, or only up to where it breaks."""
    damaged = failure_lines(stats.damaged.items())
    return [*failure_lines(stats.failed.items()), *(f"{line}; the packets before were {done}" for line in damaged)]


def notes(stats: RunStats) -> Iterator[str]:
    """What the user may like to know, though nothing went wrong."""
    yield from skipped_lines(stats.skipped)
    if stats.unlabelled:
        files = counted(len(stats.unlabelled), "file")
        yield f"{files} not matched by the label template, labels are empty: {few(stats.unlabelled)}"
    if stats.truth and not stats.truth["records_matched"]:
        yield no_truth(stats.truth)
    elif stats.truth and stats.truth["unmatched_rows"]:
        numbers = stats.truth["unmatched_rows"]
        missing = stats.truth["rows"] - stats.truth["rows_matched"]
        more = ", …" if missing > len(numbers) else ""
        listed = ", ".join(map(str, numbers)) + more
        yield f"{counted(missing, 'row')} of {stats.truth['table']} without a record: {listed} (counted from 1)"
    if stats.duplicates_suspected:
        share = f"{stats.duplicates_suspected:.0%}"
        yield f"about {share} of the packets are copies of others within a millisecond; --dedup 1ms leaves them out"
    if stats.limited:
        yield "max_flows was reached: records of the least recently used flows ended early (end_reason=limit)"


def _overview(stats: RunStats, rows_of: str) -> Iterator[tuple[str, str]]:
    others = (("failed", stats.failed), ("damaged", stats.damaged), ("skipped", stats.skipped))
    files = [f"{stats.files:,} read", *(f"{len(listed):,} {word}" for word, listed in others if listed)]
    yield "files", ", ".join(files)
    yield "packets", f"{stats.packets:,}"
    yield "bytes", f"{size(stats.packet_bytes)} on the wire, {size(stats.input_bytes)} read"
    if rows_of == "packets":
        yield "rows", f"{stats.rows:,}"
        yield "time", _time(stats)
        return
    rows = "" if stats.rows == stats.flows else f", {counted(stats.rows, 'row')} written"
    yield "flows", f"{stats.flows:,}{rows}"
    ended = sorted(((count, name) for name, count in stats.ended.items() if count), reverse=True)
    if ended:
        yield "ended by", ", ".join(f"{name} {count:,}" for count, name in ended)
    if stats.truth:
        yield "truth", _truth(stats.truth)
    if stats.named.get("all"):
        shares = (f"{column} {stats.named[column] / stats.named['all']:.1%}" for column in ("server_name", "app_guess"))
        yield "names", f"{', '.join(shares)} of the bytes"
    yield "time", _time(stats)


def _truth(truth: dict[str, Any]) -> str:
    offset = f"; its clock is {truth['offset_s']:,g} s behind" if truth["offset_s"] or truth["offset_found"] else ""
    return (
        f"{truth['table']}: {truth['records_matched']:,} of {counted(truth['records'], 'record')} matched by "
        f"{truth['rows_matched']:,} of {counted(truth['rows'], 'row')}{offset}{' (found)' * truth['offset_found']}"
    )


def _time(stats: RunStats) -> str:
    seconds = max(stats.seconds, 1e-3)
    rate = f"{stats.packets / seconds:,.0f} packets/s, {size(stats.packet_bytes / seconds)}/s"
    compiled = f"; kernels compiled in {stats.compile_seconds:.1f} s, once" if stats.compile_seconds else ""
    stopped = "; interrupted" if stats.interrupted else ""
    return f"{stats.seconds:.2f} s ({rate}){compiled}{stopped}"


def _block(title: str, counts: dict[str, int], meanings: dict[str, str]) -> str:
    """The counts above zero with their meanings, numbers right-aligned."""
    shown = {name: f"{count:,}" for name, count in counts.items() if count}
    width = max(map(len, shown.values()), default=0)
    rows = [(name, count.rjust(width), meanings.get(name, "")) for name, count in shown.items()]
    return f"{title}\n{aligned(rows, '  ')}" if rows else ""


def _labels(stats: RunStats, rows_of: str) -> str:
    ranked = sorted(stats.labels.items(), key=lambda item: (-item[1], item[0]))
    shown = _block(f"{rows_of} by label (app/action)", dict(ranked[:_MANY_LABELS]), {})
    rest = len(ranked) - _MANY_LABELS
    return f"{shown}\n  and {rest:,} more labels" if rest > 0 else shown
