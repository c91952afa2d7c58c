"""Is this good data? What is wrong with the flows or their run, how much of it, and what to do about it.

Each check is a function of the evidence that gives one finding: of severity `ok` where nothing is wrong, None where the
columns or the run's counts that it needs are not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.report.fingerprints import COLUMNS as SPLT
from flowgauge.report.flows import Flows
from flowgauge.report.health import TCP
from flowgauge.stats import RunStats

UDP = 17
FEW_FLOWS = 10
"""A label with less flows is hardly learnt."""
UNEQUAL = 100
"""Times as many flows as another label, from which on a label drowns it."""
_YEAR_2000 = 946_684_800 * 10**9
_MANY = "^(22[4-9]|23[0-9])[.]|^[fF][fF][0-9a-fA-F]{2}:|^255[.]255[.]255[.]255$|[.]255$"
"""Addresses of groups and of everybody: nobody has to answer."""
_NAMED = 3
_SAME = ("start", "end", "client_ip", "client_port", "server_ip", "server_port", "protocol", "packets", "frame_bytes")


class Finding(NamedTuple):
    """What was found: `severity` is ok, note, warn or bad, `value` how much, `text` what it means, `advice` what to
    do."""

    name: str
    severity: str
    value: str
    text: str
    advice: str


class Evidence(NamedTuple):
    """What is judged: the flows, and what their run counted, where that is known."""

    flows: Flows
    run: RunStats | None


class Fault(NamedTuple):
    """A kind of fault: its name, the shares from which on it is a note, a warning and bad, and words for it."""

    name: str
    levels: tuple[float, float, float]
    text: str
    advice: str
    fine: str

    def found(self, count: int, of: int, noun: str, more: str = "") -> Finding:
        """The finding for `count` of `of`; `more` is said behind the text."""
        if not count:
            return Finding(self.name, "ok", f"0 {noun}", self.fine, "")
        share = count / max(of, count)
        severity = _severity(share, self.levels)
        value = f"{_counted(count, noun)} ({_percent(share)})"
        return Finding(self.name, severity, value, f"{self.text}{more}", self.advice)


def quality(flows: Flows, run: RunStats | None) -> list[Finding]:
    """All findings, the worst first; faults before what is fine."""
    if not len(flows):
        return [_NO_FLOWS, *_files(Evidence(flows, run))]
    evidence = Evidence(flows, run)
    found = [finding for check in _CHECKS for finding in check(evidence)]
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))


_ORDER = ("bad", "warn", "note", "ok")
_NO_FLOWS = Finding(
    *(
        "No flows",
        "bad",
        "0 flows",
        "There are no flows: the captures hold no packets of IP, or all were filtered out.",
    ),
    "Look at the captures with `flowgauge info`, and at --filter.",
)


def _severity(share: float, levels: tuple[float, float, float]) -> str:
    bad, warn = share >= levels[2], share >= levels[1]
    return "bad" if bad else "warn" if warn else "note" if share >= levels[0] else "ok"


def _counted(count: int, noun: str) -> str:
    """A count and its noun, which is given as the plural: `1 TCP flow`."""
    return f"{count:,} {noun}" if count != 1 else f"1 {_PLURAL.sub('', noun, count=1)}"


_PLURAL = re.compile(r"(?<=[a-z]{3})s\b")


def _percent(share: float) -> str:
    return "below 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


_UNLABELLED = Fault(
    *("Flows without a label", (0, 0.01, 0.5), "Flows without a label cannot be learnt from or tested on."),
    "Name the files as --label TEMPLATE says, or label by --rules or --truth; or leave these flows out.",
    "Every flow has a label.",
)
_NO_LABELS = Finding(
    *(
        "Flows without a label",
        "note",
        "no labels",
        "No flow has a label: there is nothing to learn.",
    ),
    "Label by the names of files with --label '{app}_{action}_*.pcap', or by --rules or --truth.",
)


def _unlabelled(evidence: Evidence) -> Iterable[Finding]:
    flows, run = evidence
    codes = flows.names("app").codes if flows.has("app") else np.full(len(flows), -1)
    missing = codes < 0
    if missing.all():
        yield _NO_LABELS
        return
    files = _files_of(flows, missing)
    names = sorted({*files, *(run.unlabelled if run is not None else ())})
    more = f" Whole files are without one: {_some(names)}." if names else ""
    yield _UNLABELLED.found(int(missing.sum()), len(flows), "flows", more)


def _files_of(flows: Flows, faulty: NDArray[np.bool_]) -> list[str]:
    """The files of which all flows are faulty."""
    if not flows.has("source"):
        return []
    sources = flows.names("source")
    whole = np.ones(len(sources.values) + 1, np.bool_)
    whole[sources.codes[~faulty]] = False
    return [name for name, is_whole in zip(sources.values, whole[:-1].tolist(), strict=True) if is_whole]


_MIDDLE = Fault(
    *(
        "Caught in the middle",
        (0, 0.05, 0.25),
        "TCP connections that began before the capture lack their first packets.",
    ),
    "Begin to record before the application starts; leave them out where first packets matter (client_by is syn).",
    "Every TCP connection was caught from its beginning.",
)


def _middle(evidence: Evidence) -> Iterable[Finding]:
    flows = evidence.flows
    if flows.has("client_by"):
        tcp = flows.whole("protocol") == TCP
        if flows.has("part"):
            tcp &= flows.whole("part") == 0
        middle = tcp & ~_among(flows, "client_by", "syn", "synack")
        yield _MIDDLE.found(int(middle.sum()), int(tcp.sum()), "TCP flows")


def _among(flows: Flows, column: str, *values: str) -> NDArray[np.bool_]:
    names = flows.names(column)
    chosen = np.array([*(value in values for value in names.values), False])
    found: NDArray[np.bool_] = chosen[names.codes]
    return found


_ONE_SIDED = Fault(
    *("One-sided flows", (0, 0.1, 0.5), "Only one end is seen to talk, though nobody sends to a group."),
    "Capture where both directions pass (a mirror port may give one only); TCP flows in state S0 were not answered.",
    "Both ends are seen in every flow of TCP and UDP.",
)


def _one_sided(evidence: Evidence) -> Iterable[Finding]:
    flows = evidence.flows
    protocol = flows.whole("protocol")
    servers = flows.names("server_ip")
    groups = pc.match_substring_regex(pa.array(servers.values, pa.string()), _MANY).to_numpy(zero_copy_only=False)
    judged = ((protocol == TCP) | (protocol == UDP)) & ~np.append(groups, False)[servers.codes].astype(np.bool_)
    silent = judged & ((flows.whole("up_packets") == 0) | (flows.whole("down_packets") == 0))
    yield _ONE_SIDED.found(int(silent.sum()), int(judged.sum()), "flows of TCP and UDP")


_MISSING = Fault(
    *(
        "Bytes that the capture lacks",
        (0, 0.001, 0.01),
        "Bytes that were acknowledged are in no packet: the capture dropped packets.",
    ),
    "Give the capturing program a larger buffer (--ring, tcpdump -B), filter while capturing, write to a faster disk.",
    "No byte is missing that a TCP end acknowledged.",
)


def _missing(evidence: Evidence) -> Iterable[Finding]:
    flows = evidence.flows
    if flows.has("up_gap_bytes", "down_gap_bytes"):
        gaps = int(flows.whole("up_gap_bytes").sum() + flows.whole("down_gap_bytes").sum())
        held = int(flows.whole("payload_bytes")[flows.whole("protocol") == TCP].sum())
        yield _MISSING.found(gaps, gaps + held, "bytes of TCP")


_AGAIN = Fault(
    *("Sent again", (0.01, 0.05, 0.2), "Segments were sent again: a lossy path, or packets captured twice."),
    "Look whether copies are the cause (--dedup 1ms); else record over a better link, where loss is not the subject.",
    "Less than 1 % of the TCP packets were sent again.",
)


def _again(evidence: Evidence) -> Iterable[Finding]:
    flows = evidence.flows
    names = "up_retransmitted_packets", "down_retransmitted_packets"
    if flows.has(*names):
        again = int(sum(flows.whole(name).sum() for name in names))
        packets = int(flows.whole("packets")[flows.whole("protocol") == TCP].sum())
        share = again / max(packets, 1)
        yield _AGAIN.found(again if share >= _AGAIN.levels[0] else 0, packets, "TCP packets")


_BACK = Fault(
    *(
        "Time that goes back",
        (0, 0.001, 0.05),
        "Packets are older than one before them in their flow: out of order.",
    ),
    "Put them in order with --reorder 10ms; merge captures of several interfaces with mergecap.",
    "Time never goes back within a flow.",
)
_UNSET = Fault(
    *(
        "Clock not set",
        (0, 0, 0.1),
        "Flows are dated before the year 2000: the clock of what captured them was not set.",
    ),
    "Set the clock of the capturing machine (NTP); durations and gaps are right all the same.",
    "All flows have a plausible date.",
)
_JUMPS = Fault(
    *("Clock jumps", (0, 0.001, 0.01), "Packets had no time, or one that is hours off; the time before stands for it."),
    "Capture in a format with times, and let no clock be set while recording.",
    "No packet lacks a time, and no clock jumped.",
)


def _clock(evidence: Evidence) -> Iterable[Finding]:
    flows, run = evidence
    if flows.has("clock_back"):
        yield _BACK.found(int(flows.whole("clock_back").sum()), int(flows.whole("packets").sum()), "packets")
    yield _UNSET.found(int((flows.times("start") < _YEAR_2000).sum()), len(flows), "flows")
    if run is not None:
        jumps = run.counters.get("clock_jump", 0) + run.counters.get("no_time", 0)
        yield _JUMPS.found(jumps, run.packets, "packets")


_REPEATED = Fault(
    *(
        "Flows that are there twice",
        (0, 0.001, 0.05),
        "The same flow is there more than once: a capture was read twice.",
    ),
    "Give each capture once; a flow in training and in test data makes every result too good.",
    "No flow is there twice.",
)
_COPIES_ADVICE = "Leave them out with --dedup 1ms; mirror one direction of a port, or one port of a path, only."


def _copies(evidence: Evidence) -> Iterable[Finding]:
    yield _REPEATED.found(_repeated(evidence.flows), len(evidence.flows), "flows")
    if evidence.run is not None:
        share = evidence.run.duplicates_suspected
        text = "Packets are copies of others within a millisecond: counts and sizes of flows are too large."
        fine = Finding("Copies of packets", "ok", "below 1 %", "Hardly any packet is a copy of another.", "")
        severity = "bad" if share >= 0.2 else "warn"
        yield (
            Finding("Copies of packets", severity, f"about {share:.0%} of the packets", text, _COPIES_ADVICE)
            if share
            else fine
        )


def _repeated(flows: Flows) -> int:
    """Flows beyond the first with the same ends, times and counts. Few start in the same nanosecond: only these are
    compared."""
    start = flows.times("start")
    order = np.argsort(start, kind="stable")
    same = start[order[1:]] == start[order[:-1]]
    rows = np.sort(order[np.append(same, False) | np.append(False, same)]) if len(order) else order
    if not len(rows):
        return 0
    names = [name for name in (*_SAME, "part", "vlan", "tunnel") if flows.has(name)]
    distinct = flows.table.select(names).take(pa.array(rows)).group_by(names).aggregate([])
    return len(rows) - len(distinct)


_TRUNCATED = Fault(
    *("Truncated packets", (0, 0.001, 0.01), "Packets end inside their headers: they are in no flow."),
    "Capture more of each packet: tcpdump -s 0, or -s 200 at least.",
    "No packet is cut off inside its headers.",
)
_LOST = Fault(
    *("Packets that the system lost", (0, 0.001, 0.01), "The system had no room for packets: they are in no flow."),
    "Give the ring more memory (--ring), or look at less (--filter).",
    "The system lost no packet.",
)


def _packets(evidence: Evidence) -> Iterable[Finding]:
    run = evidence.run
    if run is not None:
        cut = sum(count for reason, count in run.reasons.items() if reason.startswith("truncated"))
        yield _TRUNCATED.found(cut, run.packets, "packets")
        if "lost" in run.counters:
            yield _LOST.found(run.counters["lost"], run.packets + run.counters["lost"], "packets")


def _files(evidence: Evidence) -> Iterable[Finding]:
    run = evidence.run
    if run is None:
        return
    broken = sorted({**run.failed, **run.damaged})
    text = f"Files were not read, or only up to where they break: {_some(broken)}."
    advice = "Record or copy them again; `flowgauge info` says at which byte they break."
    severity = "bad" if len(broken) > run.files // 2 else "warn"
    fine = Finding("Damaged files", "ok", "0 files", "Every file was read to its end.", "")
    yield Finding("Damaged files", severity, _counted(len(broken), "files"), text, advice) if broken else fine


_LIMIT = Fault(
    *("Flows ended for lack of room", (0, 0, 0.05), "Flows were ended early because there were too many at a time."),
    "Give --max-flows more, or read the captures apart.",
    "No flow was ended for lack of room.",
)
_PARTS = Fault(
    *(
        "Flows in parts",
        (0, 2, 2),
        "Long flows are in several rows: later parts have no handshake and no first packets.",
    ),
    "Sum up the rows with the same flow_id, or meter with --active-timeout off.",
    "Every flow is in one row.",
)


def _ends(evidence: Evidence) -> Iterable[Finding]:
    flows = evidence.flows
    if flows.has("end_reason"):
        yield _LIMIT.found(int(_among(flows, "end_reason", "limit").sum()), len(flows), "flows")
    if flows.has("part"):
        yield _PARTS.found(int((flows.whole("part") > 0).sum()), len(flows), "rows")


def _spread_of_labels(evidence: Evidence) -> Iterable[Finding]:
    """Labels that are rare, that drown others, or that come from one file only."""
    flows = evidence.flows
    if not flows.has("app") or len(flows.names("app").values) < 2:
        return
    labels = flows.names("app")
    known = labels.codes >= 0
    counts = np.bincount(labels.codes[known], minlength=len(labels.values))
    yield _rare([name for name, count in zip(labels.values, counts.tolist(), strict=True) if count < FEW_FLOWS])
    yield _unequal(labels.values, counts)
    if flows.has("source"):
        sources = flows.names("source")
        files = np.unique(labels.codes[known] * (len(sources.values) + 1) + sources.codes[known] + 1)
        many = np.bincount(files // (len(sources.values) + 1), minlength=len(labels.values))
        yield _single([name for name, count in zip(labels.values, many.tolist(), strict=True) if count < 2])


def _rare(names: list[str]) -> Finding:
    if not names:
        return Finding("Rare labels", "ok", "0 labels", f"Every label has {FEW_FLOWS} flows or more.", "")
    text = f"Labels with less than {FEW_FLOWS} flows are hardly learnt: {_some(sorted(names))}."
    return Finding("Rare labels", "warn", _counted(len(names), "labels"), text, "Record them again, or leave them out.")


def _unequal(names: list[str], counts: NDArray[np.int64]) -> Finding:
    most, least = int(counts.argmax()), int(counts.argmin())
    ratio = counts[most] / max(counts[least], 1)
    value = f"{ratio:,.0f} : 1"
    if ratio < UNEQUAL:
        return Finding("Unequal labels", "ok", value, "No label drowns another.", "")
    text = (
        f"{names[most]} has {ratio:,.0f} times as many flows as {names[least]}: accuracy says nothing of the rare one."
    )
    return Finding("Unequal labels", "warn", value, text, "Weigh or sample the labels; tell F1 by label, not accuracy.")


def _single(names: list[str]) -> Finding:
    if not names:
        return Finding("Labels of one file", "ok", "0 labels", "Every label comes from two files or more.", "")
    text = f"Labels come from one file only: {_some(sorted(names))}. What tells them apart may be the file."
    advice = "Record each label several times, and split training and test data by file (fg.split)."
    return Finding("Labels of one file", "note", _counted(len(names), "labels"), text, advice)


def _sequences(evidence: Evidence) -> Iterable[Finding]:
    if not evidence.flows.has(*SPLT):
        text = "There are no fingerprints: lengths and directions of the first packets were not kept."
        yield Finding(
            "No fingerprints", "note", "no group splt", text, "Extract again with --features splt and the others."
        )


_CHECKS: tuple[Callable[[Evidence], Iterable[Finding]], ...] = (
    *(_unlabelled, _middle, _one_sided, _missing, _again, _clock, _copies, _packets, _files, _ends),
    *(_spread_of_labels, _sequences),
)
