"""How fast flowgauge is, on one core of this machine, next to the other meters installed here.

``python benchmarks/bench.py`` (``make bench``) prints tables and writes benchmarks/results.json;
README.md in this folder says what each number means.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from measure import Run, RunError, Spread, TimeLimitError, all_cores, environment, one_core, run, worker
from peers import PEERS, Peer

from report import print_results

HERE = Path(__file__).resolve().parent
FLOWGAUGE = [sys.executable, "-m", "flowgauge"]
GENERATOR = (HERE / "generate.py", HERE / "trace_bytes.py")
PACKAGES = ("flowgauge", "numba", "numpy", "pyarrow", "polars")
LARGEST_PEER_TRACE = 2_000_000
MOST_PEER_RUNS = 3
LEAST_SECONDS = 0.1
SMALL_TIMES = 4  # as many packets of 64 bytes as of the mix: they take less time
OUTPUTS = ("parquet", "csv")
OPEN_PACKETS_PER_FLOW = 5
# Stages that handle no packets.
NOT_KERNELS = ("read", "finalize", "other")


class Own(NamedTuple):
    """One measurement of flowgauge on a capture: seconds to each kind of result, seconds of each stage."""

    seconds: dict[str, float]
    stages: dict[str, float]
    flows: int
    rows: int


class Bench:
    """One run of the benchmark: each section is a method that returns JSON-ready numbers."""

    def __init__(self, args: argparse.Namespace, cores: set[int], cache: str) -> None:
        self.runs: int = args.runs
        self.limit_s: float = args.time_limit
        self.cores = cores
        self.variables = environment(cache)
        self.packets: int = args.packets
        self.taken: list[Run] = []

    def _trace(self, kind: str, packets: int | None = None) -> Path:
        """A capture of benchmarks/data, generated where it is missing or older than its generator."""
        packets = self.packets if packets is None else packets
        path = HERE / "data" / f"{kind}-{packets}.pcap"
        if not path.exists() or path.stat().st_mtime < max(source.stat().st_mtime for source in GENERATOR):
            say(f"generating {path.name}")
            command = [sys.executable, str(HERE / "generate.py"), kind, "--packets", str(packets), "-o", str(path)]
            run(command, 3600, self.variables)
        return path

    def _time(self, command: Callable[[Path], list[str]], runs: int) -> list[Run]:
        """Time a command that writes into a fresh folder."""
        taken = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                taken.append(run(command(Path(folder)), self.limit_s, self.variables))
        self.taken += taken
        return taken

    def _extract(self, trace: Path, output: str) -> Callable[[Path], list[str]]:
        return lambda folder: [
            *FLOWGAUGE,
            "extract",
            str(trace),
            "-o",
            str(folder / f"flows.{output}"),
            "--quiet",
            "--threads",
            "1",
        ]

    def fixed_cost(self) -> dict[str, Any]:
        """Process start: the first one ever, the next ones, and --help."""
        one = self._extract(self._trace("one", 1), "parquet")
        first = self._time(one, 1)[0]
        runs = max(self.runs, 5)
        start = spread(self._time(one, runs))
        helped = self._time(lambda folder: [*FLOWGAUGE, "--help"], runs + 1)[1:]
        return {
            "extract_one_packet_s": asdict(start),
            "help_s": asdict(spread(helped)),
            "first_run_s": first.seconds,
            "first_run_cpu_s": first.cpu_seconds,
            "compile_s": first.seconds - start.median,
        }

    def _own(self, trace: Path) -> Own:
        """One measurement of everything on a capture, in as little time as possible: the machine's speed drifts."""
        profile = worker("profile", str(trace), 1, self.variables)
        stages = profile["runs"][0]
        seconds = {"kernels": kernel_seconds(stages), "arrow": sum(stages.values())}
        for output in OUTPUTS:
            start, whole = self._pair(lambda path: self._extract(path, output), trace)  # noqa: B023
            seconds[output] = whole.seconds - start.seconds
        return Own(seconds, stages, profile["flows"], profile["rows"])

    def _pair(self, command: Callable[[Path], Callable[[Path], list[str]]], trace: Path) -> tuple[Run, Run]:
        """A process on one packet, and at once on the capture."""
        (start,) = self._time(command(self._trace("one", 1)), 1)
        (whole,) = self._time(command(trace), 1)
        return start, whole

    def rates(self) -> dict[str, Any]:
        """Packets and bytes per second from file to kernels, Arrow, Parquet and CSV."""
        answer: dict[str, Any] = {}
        for name, packets in (("mix", self.packets), ("small", SMALL_TIMES * self.packets)):
            trace = self._trace(name, packets)
            runs = [self._own(trace) for _ in range(self.runs)]
            answer[name] = {
                "packets": packets,
                "bytes": trace.stat().st_size,
                "flows": runs[0].flows,
                "rows": runs[0].rows,
                "rates": {key: _rate([one.seconds[key] for one in runs], packets, trace) for key in runs[0].seconds},
                "stages": _stages([one.stages for one in runs], packets),
            }
        return answer

    def flows_out(self, rates: dict[str, Any]) -> dict[str, Any]:
        """Flow records per second through finalize and each sink."""
        written = worker("sinks", str(self._trace("mix")), self.runs, self.variables)
        finalize = rates["mix"]["stages"].get("finalize", {"seconds": {"median": 0.0}})["seconds"]["median"]
        rows = written["rows"]
        sinks = {}
        for name, seconds in written["seconds"].items():
            time = Spread.of(seconds)
            sinks[name] = {
                "seconds": asdict(time),
                "rows_per_s": rows / time.median,
                "rows_per_s_with_finalize": rows / (time.median + finalize),
                "bytes_per_row": written["bytes"][name] / rows,
            }
        return {"rows": rows, "columns": written["columns"], "finalize_s": finalize, "sinks": sinks}

    def memory(self) -> dict[str, Any]:
        """Peak memory of a process with every flow open, and of one packet."""
        packets, flows = OPEN_PACKETS_PER_FLOW * self.packets, self.packets
        trace = self._trace("open", packets)
        full = self._time(self._extract(trace, "parquet"), 1)[0]
        base = self._time(self._extract(self._trace("one", 1), "parquet"), 1)[0]
        return {
            "packets": packets,
            "flows": flows,
            "seconds": full.seconds,
            "peak_bytes": full.peak_bytes,
            "peak_bytes_one_packet": base.peak_bytes,
            "peak_bytes_per_flow": (full.peak_bytes - base.peak_bytes) / flows,
            **worker("slot", str(trace), 1, self.variables),
        }

    def core_share(self) -> float:
        """Processor time over wall-clock time of the processes so far: below 1, something else was running."""
        return sum(one.cpu_seconds for one in self.taken) / sum(one.seconds for one in self.taken)

    def peers(self) -> dict[str, Any]:
        """The other meters on the same mix, each less its own fixed cost."""
        return {peer.name: self._peer(peer) for peer in PEERS}

    def _peer(self, peer: Peer) -> dict[str, Any]:
        version = peer.version()
        if version is None:
            return {"does": peer.does, "missing": "not installed"}
        say(f"measuring {peer.name}")
        with all_cores(self.cores if peer.every_core else os_affinity()):
            try:
                return {"does": peer.does, "version": version, **self._peer_rate(peer)}
            except RunError as error:
                return {"does": peer.does, "version": version, "missing": str(error)}

    def _peer_rate(self, peer: Peer) -> dict[str, Any]:
        """On the mix; on one of a tenth, then a hundredth of its packets where the time limit stops it."""
        packets = min(self.packets, LARGEST_PEER_TRACE)
        while True:
            trace = self._trace("mix", packets)
            try:
                return self._against(peer, trace, packets)
            except TimeLimitError:
                if packets <= self.packets // 100:
                    raise
                packets //= 10

    def _against(self, peer: Peer, trace: Path, packets: int) -> dict[str, Any]:
        """A peer and flowgauge in turn on the same capture: the ratio is that of neighbouring runs."""
        pairs, ratios = [], []
        for _ in range(min(self.runs, MOST_PEER_RUNS)):
            start, whole = self._pair(lambda path: lambda folder: peer.command(path, folder), trace)
            with all_cores({max(self.cores)}):
                own = self._own(trace).seconds
            pairs.append((start, whole))
            ratios.append({key: _ratio(whole.seconds - start.seconds, seconds) for key, seconds in own.items()})
        time = Spread.of([whole.seconds - start.seconds for start, whole in pairs])
        return {
            "packets": packets,
            "seconds": asdict(time),
            "packets_per_s": packets / time.median,
            "cores_used": sum(whole.cpu_seconds for _, whole in pairs) / sum(whole.seconds for _, whole in pairs),
            "ratios": {key: _spread_or_none([ratio[key] for ratio in ratios]) for key in ratios[0]},
        }


def _rate(seconds: list[float], packets: int, trace: Path) -> dict[str, Any]:
    """Rates are None where the runs differ by more than they take: starts of the process are not the same either."""
    time = Spread.of(seconds)
    told = time.largest - time.smallest < time.median
    return {
        "seconds": asdict(time),
        "packets_per_s": packets / time.median if told else None,
        "bytes_per_s": trace.stat().st_size / time.median if told else None,
    }


def _stages(runs: list[dict[str, float]], packets: int) -> dict[str, Any]:
    """Nanoseconds a packet and the share of the whole, stage by stage."""
    spreads = {stage: Spread.of([one[stage] for one in runs]) for stage in runs[0]}
    whole = sum(time.median for time in spreads.values())
    return {
        stage: {"seconds": asdict(time), "ns_per_packet": time.median / packets * 1e9, "share": time.median / whole}
        for stage, time in spreads.items()
    }


def _ratio(seconds: float, own: float) -> float | None:
    """None where the capture is too small to tell."""
    return seconds / own if min(seconds, own) > LEAST_SECONDS else None


def _spread_or_none(ratios: list[float | None]) -> dict[str, Any] | None:
    told = [ratio for ratio in ratios if ratio is not None]
    return asdict(Spread.of(told)) if told else None


def spread(runs: list[Run]) -> Spread:
    return Spread.of([one.seconds for one in runs])


def kernel_seconds(stages: dict[str, float]) -> float:
    """Frames, decode, assign and features: all that happens once a packet."""
    return sum(seconds for stage, seconds in stages.items() if stage not in NOT_KERNELS)


def os_affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def machine(cores: set[int]) -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": len(cores),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
    }


def package_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All sections, in the order in which they are printed."""
    results: dict[str, Any] = {"packets": args.packets, "runs": args.runs}
    with one_core() as cores, tempfile.TemporaryDirectory() as cache:
        results["machine"] = machine(cores)
        bench = Bench(args, cores, cache)
        if not args.peers_only:
            say("measuring the first run and the start of a process")
            results["fixed"] = bench.fixed_cost()
            say("measuring rates and stages")
            results["rates"] = bench.rates()
            say("measuring sinks")
            results["flows_out"] = bench.flows_out(results["rates"])
            say("measuring memory")
            results["memory"] = bench.memory()
            results["core_share"] = bench.core_share()
        if not args.no_peers:
            results["peers"] = bench.peers()
    return results


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure flowgauge, and other meters where installed, on one core.")
    parser.add_argument("--packets", type=int, default=2_000_000, help="packets of the mix (default: 2,000,000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement (default: 5)")
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds for one process (default: 120)")
    parser.add_argument("--quick", action="store_true", help="does it run at all: 50,000 packets, one run")
    parser.add_argument("--output", type=Path, default=HERE / "results.json", help="default: benchmarks/results.json")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--no-peers", action="store_true", help="flowgauge only")
    group.add_argument("--peers-only", action="store_true", help="the other meters, each beside flowgauge, only")
    args = parser.parse_args(arguments)
    if args.quick:
        args.packets, args.runs = 50_000, 1
    if args.packets < 1000 or args.runs < 1:
        parser.error("--packets is 1000 or more, --runs 1 or more")
    return args


def main() -> int:
    args = parse()
    try:
        results = measure(args)
    except RunError as error:
        say(f"bench: {error}")
        return 1
    args.output.write_text(json.dumps(results, indent=2) + "\n")
    print_results(results)
    say(f"written to {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
