"""docs/scale.md, written from benchmarks/scale.json: what was measured, and what a model says of large amounts."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scale.md"
TERA = 1e12
DAY = 86_400.0


class Cluster(NamedTuple):
    """Machines that share the work: `read` are bytes a second that each gets from the storage, `network` those that it
    sends to others."""

    machines: int
    cores: int
    read: float
    network: float


CLUSTER = Cluster(machines=20, cores=16, read=1.0e9, network=1.25e9)
FRAME_BYTES = 700  # of a frame that is captured whole, on average
PER_FLOW = 20  # packets
AMOUNTS = (("1 TB", TERA), ("10 TB", 10 * TERA), ("1 PB", 1000 * TERA))


def write_page(results: dict[str, Any]) -> None:
    """Write the page anew."""
    PAGE.write_text(page(results), encoding="utf-8")


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    parts = [
        _head(results),
        _costs(results["costs"]),
        _threads(results["threads"]),
        _packet_table(results["packet_table"]),
        _spark(results["spark"]),
    ]
    parts += [_linearity(results["costs"], results["linearity"]), _model(results)]
    return "\n\n".join(map(_wrapped, "\n\n".join(parts).split("\n\n"))) + "\n"


def _wrapped(block: str) -> str:
    """A paragraph, list or formula in lines of at most 120 characters; all else as it is."""
    if block.startswith(("#", "|", "<!--")):
        return block
    items = re.split(r"\n(?=- )", block)
    indents = {"- ": "  ", "> ": "> "}
    filled = (
        textwrap.fill(
            " ".join(map(str.strip, item.split("\n"))),
            120,
            subsequent_indent=indents.get(item[:2], ""),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for item in items
    )
    return "\n".join(filled)


def predicted(costs: dict[str, Any], packets: float, flows: float, size: float) -> float:
    """Seconds of one thread."""
    told: float = costs["start_s"] + costs["packet_s"] * packets + costs["flow_s"] * flows + costs["byte_s"] * size
    return told


def _head(results: dict[str, Any]) -> str:
    m = results["machine"]
    return f"""# Scale

<!-- Written by benchmarks/scale.py: edit that. -->

How much traffic a machine and a cluster can meter: costs that were measured on one small machine, and what follows from
them by arithmetic that is written out, so that you can put in the numbers of your own machines.

Measured on {m["cores"]} processors of {m["processor"]}, Python {m["python"]}, by `python benchmarks/scale.py`; the output is Parquet
with the default groups, and each figure the median of several runs, if nothing else is said."""


def _costs(costs: dict[str, Any]) -> str:
    return f"""## What a run costs

On one thread, the seconds of a run are

> {costs["start_s"]:.2f} + {costs["packet_s"] * 1e9:.0f} ns × packets + {costs["flow_s"] * 1e6:.1f} µs × flows + {costs["byte_s"] * 1e9:.2f} ns × captured bytes

fitted to {len(costs["runs"])} runs that differ in packets, packets a flow, and captured bytes of a packet; none of them is further
off than {costs["largest_error"]:.0%}. The formula goes from file to Parquet: reading from memory, decoding, metering, columns,
compressing."""


def _threads(threads: dict[str, Any]) -> str:
    rows = []
    for name, text in (("many", "256 captures, side by side"), ("one", "1 capture, read beside being metered")):
        found = threads[name]
        one, two = (found["seconds"][n] for n in ("1", "2"))
        start = found["start_seconds"]
        used = found["cpu_seconds"]["2"] / found["cpu_seconds"]["1"]
        low, high = found["speedup_range"]
        rows.append(
            f"| {text} | {found['packets'] / one / 1e6:.2f} | {found['packets'] / two / 1e6:.2f} | "
            f"{found['speedup']:.2f} ({low:.2f} to {high:.2f}) | {(one - start) / (two - start):.2f} | {used:.2f} |"
        )
    table = "\n".join(rows)
    return f"""## Threads

Million packets a second of a whole command with one thread and with two on as many processors, how many times as quick
two are (median of pairs of runs, and range), the same by the medians of each without that of a start, and how many times
the processor time they take:

| input | 1 thread | 2 threads | times as quick | without start | processor time |
| --- | --- | --- | --- | --- | --- |
{table}

Rows, order and bytes are the same for any number of threads. Two threads are not twice as quick: the start of a command
is one thread's; kernels run without the interpreter's lock, but the calls between them need it, and who waits for it
sleeps. Where one capture is read, the thread that reads and the one that meters wait for each other when one of them has
more to do; and half of the flows of this one are open at its end, where they are written by one thread. Of more than two
threads, several encode row groups of Parquet side by side, so that none waits for a single one that writes."""


def _packet_table(found: dict[str, Any]) -> str:
    start, packets = found["start_seconds"], found["packets"]
    rows = [
        f"| {compression} | {packets / seconds / 1e6:.2f} | {packets / (seconds - start) / 1e6:.2f} |"
        for compression, seconds in found["seconds"].items()
    ]
    table = "\n".join(rows)
    return f"""## Packets

Million rows a second of `flowgauge packets` to Parquet, {packets:,} whole frames of one capture:

| compression | command | without start |
| --- | --- | --- |
{table}"""


def _spark(spark: dict[str, Any]) -> str:
    here, packets = spark["here"], spark["packets"]
    rows = [
        f"| without Spark, 1 thread | {here['seconds']:.1f} |",
        f"| Spark, 1 worker, a capture of one packet | {spark['start']['seconds']:.1f} |",
    ]
    for name, text in (("apart", "each capture a trace of its own"), ("joined", "one trace (`--join`)")):
        for workers in (1, 2):
            found = spark[f"{name}-{workers}"]
            rows.append(f"| Spark, {workers} worker{'s' * (workers > 1)}, {text} | {found['seconds']:.1f} |")
    table = "\n".join(rows)
    return f"""## Spark

{packets:,} packets in 8 files, local mode, the start of Spark and of its workers included (runs of each: {spark["runs"]}):

| run | seconds |
| --- | --- |
{table}

On one machine Spark is for trying out. These captures are larger than a partition of Spark, so that they are shared out
to shards with and without `--join`: read for their times, decoded, sorted by Spark and metered in tasks of their own.
Its tasks meter with the same code; what comes on top (a Java machine, its workers, records that pass through it to be
sorted, and through the driver into one file) is not in the formula above, and so not in the model below, which tells
what a cluster cannot be quicker than."""


def _linearity(costs: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    _, second, _ = runs
    told = [predicted(costs, each["packets"], each["flows"], each["bytes"]) for each in runs]
    extra = (second["seconds"] - told[1]) / second["packets"]
    by_packet = [(each["seconds"] - each["start_seconds"]) / each["packets"] for each in runs]
    rows = [
        f"| {each['packets']:,} | {each['flows']:,} | {each['seconds']:.1f} | {cost * 1e9:.0f} | "
        f"{each['peak_bytes'] / 1e6:,.0f} |"
        for each, cost in zip(runs, by_packet, strict=True)
    ]
    last, ahead = runs[-1], told[-1] + extra * runs[-1]["packets"]
    table = "\n".join(rows)
    return f"""## From a million packets to many

Traces that are made while they are read, through a pipe, 96 bytes of each frame; one thread. *Packet* is the time
without that of a start (of one packet, minutes before), by packet.

| packets | flows | s | packet, ns | memory, MB |
| --- | --- | --- | --- | --- |
{table}

The cost of a packet in the largest run is {by_packet[-1] / by_packet[0]:.2f} times that of the smallest, in which tables grow and memory is
touched for the first time.

The pipe and the program that fills it, on the other processor and in the same caches, cost {extra * 1e9:.0f} ns a packet more than the
formula tells, by the run of {second["packets"]:,} packets. With that, the formula tells {ahead:.0f} s for the largest run, {ahead / last["seconds"] - 1:+.0%}
of what it took; without, {told[-1]:.0f} s."""


def _hours(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * DAY else f"{seconds / DAY:.1f} days"


def _model(results: dict[str, Any]) -> str:
    costs, cluster, row_bytes = results["costs"], CLUSTER, results["spark"]["shuffle_bytes"]
    per_byte = costs["packet_s"] / FRAME_BYTES + costs["flow_s"] / FRAME_BYTES / PER_FLOW + costs["byte_s"]
    rows = []
    for text, size in AMOUNTS:
        packets = size / FRAME_BYTES
        cpu = per_byte * size
        work = cpu / (cluster.machines * cluster.cores)
        read = size / (cluster.machines * cluster.read)
        shuffle = packets * row_bytes / (cluster.machines * cluster.network)
        rows.append(
            f"| {text} | {packets:.2g} | {packets / PER_FLOW:.2g} | {_hours(cpu)} | {_hours(work)} | {_hours(read)} | "
            f"{_hours(shuffle)} | {_hours(max(work, read))} | {_hours(2 * read + 2 * work + shuffle)} |"
        )
    table = "\n".join(rows)
    return f"""## A model of large amounts

The formula, on {cluster.machines} machines of {cluster.cores} processors each, with frames of {FRAME_BYTES} bytes and {PER_FLOW} packets a flow. The storage gives each machine
{cluster.read / 1e9:.2g} GB/s, the network {cluster.network * 8 / 1e9:.0f} Gbit/s. These are assumptions, and so is that processors do not slow each other down.

- *One core*: the work of all, on one core like that of the measurement.
- *Work*: the same, divided by all processors. *Reading*: the bytes, divided by what the storage gives.
- *Apart*: each capture is a trace of its own, read once where it is metered: the longer one of work and reading.
- *Joined*: one trace in many files. Files are read twice (first for the clock), each packet is decoded on one machine and
  metered on another: *shuffle* is {row_bytes:.0f} bytes a packet over the network, as Spark counted them above. No step overlaps with another here, and decoding
  for the shuffle is counted as a second time the work.

| amount | packets | flows | one core | work | reading | shuffle | apart | joined |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{table}

Where it breaks:

- **Few large files.** A capture that is compressed or pcapng is read by one task; 10 TB in ten files keep ten processors
  busy. Captures that are rotated every gigabyte do not have this.
- **One giant pair of hosts.** All packets between two addresses are metered by one task: a flow cannot be shared out. At
  {1 / (costs["packet_s"] + costs["byte_s"] * 96) / 1e6:.1f} million packets a second that task takes {_hours(1e10 * (costs["packet_s"] + costs["byte_s"] * 96))} for 10¹⁰ packets of one pair.
- **The shuffle.** It is on the disks of the machines: 1 PB of captures is {1e15 / FRAME_BYTES * row_bytes / 1e12:,.0f} TB of it, {1e15 / FRAME_BYTES * row_bytes / 1e12 / cluster.machines:,.1f} TB a machine.
  Where captures need not be one trace, leave `--join` out.
- **Open flows.** A shard keeps about a kilobyte for each flow that is open at a time."""
