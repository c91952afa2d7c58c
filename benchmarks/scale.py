"""What a run costs by packet, flow and byte, on one core and on more, and what follows for large amounts.

``python benchmarks/scale.py`` measures (with 10^8 packets half an hour), writes scale.json and docs/scale.md;
``--page`` writes the page from what was measured before. The engine Spark is measured where pyspark and Java are there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import RSS_UNIT, environment, run
from scale_page import write_page
from tiles import PIECE, trace_file

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "scale.json"
FLOWGAUGE = [sys.executable, "-m", "flowgauge"]
PACKETS = 2_000_000
FILES = 8
TIMES = 32  # each of the files, where threads are measured: a run is to last longer than its start
ONE = 8_000_000  # packets of the one capture, which is to fit in memory
LIMIT_S = 3600.0
SIZES = (1_000_000, 10_000_000, 100_000_000)
_RUNS = {SIZES[0]: 7, SIZES[1]: 3}  # of these; others last long enough
# Traces by which costs are told apart: packets a flow, and the bytes of a frame that are kept.
SHAPES = ((20, 65535), (20, 96), (200, 65535), (200, 96))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def trace(packets: int, per_flow: int = 20, snaplen: int = 65535) -> Path:
    """A trace with so many packets a flow and bytes a frame, as a file: pieces of a million packets."""
    path = HERE / "data" / f"tiles-{packets}-{per_flow}-{snaplen}.pcap"
    if not path.exists():
        shape = ("--packets", str(packets), "--flows", str(PIECE // per_flow), "--snaplen", str(snaplen))
        with open(path.with_suffix(".part"), "wb") as output:  # by another process: memory of this one counts in peaks
            subprocess.run([sys.executable, str(HERE / "tiles.py"), *shape], stdout=output, check=True)
        path.with_suffix(".part").rename(path)
    return path


def extract(inputs: Sequence[str], threads: int | None, *options: str) -> dict[str, Any]:
    """Seconds, those of processors and peak bytes of a run to Parquet, and its summary."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*FLOWGAUGE, "extract", *inputs, "-o", f"{folder}/flows.parquet", *options]
        if threads is not None:
            command += ["--threads", str(threads)]
        found = run([*command, "--json-summary"], LIMIT_S, environment())
    summary = json.loads(found.output[found.output.index("{") :].splitlines()[0])
    return {
        "seconds": found.seconds,
        "cpu_seconds": found.cpu_seconds,
        "peak_bytes": found.peak_bytes,
        "packets": summary["packets"],
        "flows": summary["flows"],
        "bytes": summary["input_bytes"],
    }


def middle(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The run in the middle of some, by its seconds."""
    found = sorted(runs, key=lambda each: each["seconds"])
    return found[len(found) // 2]


def median(runs: int, inputs: Sequence[str], threads: int | None, *options: str) -> dict[str, Any]:
    """The one in the middle of some runs of `extract`."""
    return middle(extract(inputs, threads, *options) for _ in range(runs))


def one_packet() -> list[str]:
    """A capture whose run is but a start."""
    return [str(trace_file("one", 1))]


def costs(runs: int) -> dict[str, Any]:
    """Seconds of a start, and for a packet, a flow and a byte, on one core; and the runs that they are told by."""
    measured = [median(runs, one_packet(), 1)]
    for packets in (4 * PIECE, PIECE):
        measured += [median(runs, [str(trace(packets, *shape))], 1) for shape in SHAPES]
    names = ("packets", "flows", "bytes")
    rows = np.array([[1.0, *(each[name] for name in names)] for each in measured])
    seconds = np.array([each["seconds"] for each in measured])
    weights = 1 / seconds  # all runs are to be told equally well
    scale = rows.max(axis=0)
    found = _not_negative(rows / scale * weights[:, None], seconds * weights) / scale
    told = rows @ found
    return {
        "start_s": found[0],
        "packet_s": found[1],
        "flow_s": found[2],
        "byte_s": found[3],
        "largest_error": float(np.abs(told / seconds - 1)[1:].max()),
        "runs": measured,
    }


def _not_negative(rows: Any, values: Any) -> Any:
    """Least squares without negative costs: what would be negative is left out."""
    used = np.ones(rows.shape[1], bool)
    while True:
        answer = np.zeros(rows.shape[1])
        answer[used] = np.linalg.lstsq(rows[:, used], values, rcond=None)[0]
        if (answer >= 0).all():
            return answer
        used &= answer > 0


def threads(runs: int) -> dict[str, Any]:
    """One and two threads: on one file, and on several. Runs take turns, so that all see the same machine."""
    one, many = [str(trace(ONE))], [str(folder_of_parts())]
    answer: dict[str, Any] = {}
    for name, inputs in (("one", one), ("many", many)):
        found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
        starts = []
        extract(inputs, 2)  # captures come from memory from here on
        for _ in range(runs):
            starts.append(extract(one_packet(), 1)["seconds"])
            for number in found:
                found[number].append(extract(inputs, number))
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(found[1], found[2], strict=True)]
        answer[name] = {
            **{
                what: {number: statistics.median(each[what] for each in all_runs) for number, all_runs in found.items()}
                for what in ("seconds", "cpu_seconds")
            },
            "packets": found[1][0]["packets"],
            "start_seconds": statistics.median(starts),
            "speedup": statistics.median(ratios),
            "speedup_range": [min(ratios), max(ratios)],
        }
    return answer


def packet_table(runs: int) -> dict[str, Any]:
    """Rows of the packet table, of whole frames, by compression; runs take turns with those of one packet."""
    path, (single,) = str(trace(ONE)), one_packet()
    found: dict[str, list[float]] = {"zstd": [], "lz4": []}
    starts = []
    _write_packets(path, "zstd")  # the capture comes from memory from here on
    for _ in range(runs):
        starts.append(_write_packets(single, "zstd"))
        for compression, seconds in found.items():
            seconds.append(_write_packets(path, compression))
    medians = {compression: statistics.median(seconds) for compression, seconds in found.items()}
    return {"packets": ONE, "start_seconds": statistics.median(starts), "seconds": medians}


def _write_packets(path: str, compression: str) -> float:
    """Seconds of a run to Parquet."""
    with tempfile.TemporaryDirectory() as folder:
        output = ["-o", f"{folder}/packets.parquet", "--compression", compression, "--quiet"]
        return run([*FLOWGAUGE, "packets", path, *output], LIMIT_S, environment()).seconds


def parts() -> list[Path]:
    """Captures of equal size, each a trace of its own."""
    from generate import generate

    made = []
    for number in range(FILES):
        made.append(HERE / "data" / f"part-{number}-of-{FILES}-{PACKETS}.pcap")
        if not made[-1].exists():
            generate(made[-1], "mix", PACKETS // FILES, seed=100 + number)
    return made


def folder_of_parts() -> Path:
    """A folder in which each part is several times, by a name of its own."""
    folder = HERE / "data" / f"parts-{TIMES * FILES}-{TIMES * PACKETS}"
    folder.mkdir(exist_ok=True)
    for time_, part in itertools.product(range(TIMES), parts()):
        link = folder / f"{time_}-{part.name}"
        if not link.exists():
            os.link(part, link)
    return folder


def linearity(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Runs over traces that are made while they are read, each after a few runs that are but a start: of the short
    ones, the one in the middle."""
    answer = []
    for packets in sizes:
        say(f"{packets:,} packets, made on the fly")
        start = median(5, one_packet(), 1)["seconds"]
        taken = middle(_on_the_fly(packets) for _ in range(_RUNS.get(packets, 1)))
        answer.append({**taken, "start_seconds": start})
        say(json.dumps(answer[-1]))
    return answer


def _on_the_fly(packets: int) -> dict[str, Any]:
    """One such run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*FLOWGAUGE, "extract", "-", "-o", f"{folder}/flows.parquet", "--threads", "1", "--json-summary"]
        maker = [sys.executable, str(HERE / "tiles.py"), "--packets", str(packets)]
        with subprocess.Popen(maker, stdout=subprocess.PIPE, env=environment()) as source:
            select.select([source.stdout], [], [])  # until the first packets are there
            begin = time.perf_counter()
            sink = subprocess.Popen(command, stdin=source.stdout, stdout=subprocess.PIPE, env=environment())
            assert source.stdout is not None and sink.stdout is not None
            source.stdout.close()
            text = sink.stdout.read()
            _, status, usage = os.wait4(sink.pid, 0)
            seconds = time.perf_counter() - begin
        if status:
            raise SystemExit(f"extract failed: {text.decode()[-500:]}")
    summary = json.loads(text)
    return {
        "packets": summary["packets"],
        "flows": summary["flows"],
        "bytes": summary["input_bytes"],
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * RSS_UNIT,
    }


def machine() -> dict[str, Any]:
    """What this was measured on."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    return {"processor": name, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="packets of the largest trace")
    parser.add_argument(
        "--only", choices=("costs", "threads", "packet_table", "linearity", "spark"), help="measure this anew"
    )
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    given = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() and (given.page or given.only) else {}
    tasks = {
        "costs": lambda: costs(given.runs),
        "linearity": lambda: linearity([size for size in SIZES if size <= given.most]),
        "threads": lambda: threads(given.runs),
        "packet_table": lambda: packet_table(given.runs),
        "spark": lambda: spark(given.runs),
    }
    for name, task in tasks.items():
        if not given.page and given.only in (None, name):
            say(f"measuring {name}")
            results[name] = task()
            results["machine"] = machine()
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    if set(results) >= set(tasks) and len(results["linearity"]) == len(SIZES):
        write_page(json.loads(RESULTS.read_text()))


def spark(runs: int) -> dict[str, Any]:
    """Seconds of the engine Spark with one and two workers, beside one thread without it."""
    inputs = [str(part) for part in parts()]
    answer: dict[str, Any] = {"here": median(runs, inputs, 1), "packets": PACKETS, "runs": runs}
    answer["start"] = median(runs, one_packet(), None, "--engine", "spark", "--master", "local[1]")
    for workers in (1, 2):
        for name, options in (("apart", ()), ("joined", ("--join",))):
            found = median(runs, inputs, None, "--engine", "spark", "--master", f"local[{workers}]", *options)
            answer[f"{name}-{workers}"] = found
    answer["shuffle_bytes"] = shuffle_bytes(inputs) / PACKETS
    return answer


def shuffle_bytes(inputs: Sequence[str]) -> int:
    """Bytes that one trace in many files sends between tasks, as Spark counts them."""
    from flowgauge.spark import flows
    from flowgauge.spark.session import session

    with session("local[2]") as spark:
        flows(spark, list(inputs), join=True).count()
        executors = spark.sparkContext._jsc.sc().statusStore().executorList(False)
        return sum(executors.apply(number).totalShuffleWrite() for number in range(executors.size()))


if __name__ == "__main__":
    main()
