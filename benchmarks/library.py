"""What feature groups, filters and users' features cost, on one core.

``python benchmarks/library.py`` (part of ``make bench``) prints: nanoseconds a packet of every group, kernels and
columns apart; the rate with all groups on; what filters cost; the first run ever with all of them; and what a feature
that a user wrote costs, beside NFStream with the same feature as a plugin.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from measure import Spread, one_core

HERE = Path(__file__).resolve().parent
PEER_PACKETS = 200_000
FILTERS = (
    "",
    "tcp port 443",
    "udp port 53 or icmp",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "net 10.0.0.0/8 and not port 80",
)
TINY = """
import flowgauge as fg


@fg.feature(columns={"tiny_packets": fg.u32}, per_direction=True)
def tiny(flow, pkt):
    'made at {made}'
    if pkt.payload_len < 64:
        flow.tiny_packets += 1
"""


def trace(packets: int) -> Path:
    """The mix of bench.py, made where it is missing."""
    path = HERE / "data" / f"mix-{packets}.pcap"
    if not path.exists():
        subprocess.run(
            [sys.executable, str(HERE / "generate.py"), "mix", "--packets", str(packets), "-o", str(path)], check=True
        )
    return path


def metered(path: Path, features: Any) -> tuple[float, dict[str, float]]:
    """Seconds to Arrow, and nanoseconds a packet of each stage and of each group's columns (`name columns`)."""
    from flowgauge.run import Hooks, Run

    run, columns = Run(str(path), Hooks(), features=features, threads=1), Counter[str]()

    def timed(feature: Any) -> Any:
        def finalize(*arrays: Any) -> Any:
            begin = time.perf_counter()
            found = feature.finalize(*arrays)
            columns[f"{feature.name} columns"] += time.perf_counter() - begin
            return found

        return feature._replace(finalize=finalize)

    run.meter.records._features = tuple(map(timed, run.meter.features))
    begin = time.perf_counter()
    for _ in run.batches():
        pass
    seconds = time.perf_counter() - begin
    stages = {**run.watch.seconds, **columns}
    return seconds, {name: value / run.stats.packets * 1e9 for name, value in stages.items()}


def groups(path: Path, runs: int) -> None:
    """Every group beside the others, all on."""
    from flowgauge.schema import GROUPS

    taken = [metered(path, GROUPS) for _ in range(runs + 1)][1:]
    packets = int(path.stem.split("-")[1])
    print(f"\nAll groups: {packets / Spread.of([s for s, _ in taken]).median / 1e6:.2f} million packets/s to Arrow")
    print(f"{'group':14}{'kernel':>10}{'columns':>10}  ns/packet")
    for name in GROUPS:
        values = (Spread.of([stages[key] for _, stages in taken]).median for key in (name, f"{name} columns"))
        print(f"{name:14}" + "".join(f"{value:10.1f}" for value in values))


def filters(path: Path, runs: int) -> None:
    """A run without a filter and one with each, in turn: the best of each, and how many packets were metered."""
    from flowgauge.run import profile
    from flowgauge.sources import libpcap

    if not libpcap.is_installed():
        print("\nlibpcap is not installed")
        return
    taken = [{one: profile(str(path), filter=one) for one in (None, *FILTERS)} for _ in range(runs + 1)][1:]
    packets = taken[0][None]["packets"]
    print(f"\n{'filter':46}{'filter':>10}{'all':>10}  ns/packet")
    for one in taken[0]:
        stage, total = (min(run[one].get(key, 0.0) for run in taken) / packets * 1e9 for key in ("filter", "total"))
        print(f"{'none' if one is None else repr(one):46}{stage:10.1f}{total:10.1f}")


def first_run() -> None:
    """A process that has never compiled anything, with all groups."""
    code = "import flowgauge as fg, sys; from flowgauge.schema import GROUPS; fg.read(sys.argv[1], features=GROUPS)"
    with tempfile.TemporaryDirectory() as cache:
        variables = {**os.environ, "FLOWGAUGE_CACHE_DIR": cache}
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, str(trace(1000))], check=True, env=variables)
        print(f"\nFirst run ever with all groups, one core: {time.perf_counter() - begin:.1f} s")


def feature(path: Path, runs: int) -> None:
    """Default groups without and with a user's feature, in turn; then NFStream with the same as a plugin."""
    import flowgauge as fg
    from flowgauge.config import DEFAULT_FEATURES
    from flowgauge.custom.load import load_feature

    one = str(trace(1000))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tiny.py"
        file.write_text(TINY.replace("{made}", str(time.time_ns())))  # so that nothing of it is in the cache
        tiny = load_feature(f"{file}:tiny")
        fg.read(one)
        begin = time.perf_counter()
        fg.read(one, features=[*DEFAULT_FEATURES, tiny])
        print(f"\nA user's feature: {time.perf_counter() - begin:.2f} s with compiling,", end=" ")
        code = (
            "import sys, time, flowgauge as fg; fg.read(sys.argv[1]); begin = time.perf_counter();"
            "fg.read(sys.argv[1], features=['core', sys.argv[2]]); print(time.perf_counter() - begin)"
        )
        command = [sys.executable, "-c", code, one, f"{file}:tiny"]
        seconds = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(2)]
        print(f"{seconds[-1]:.2f} s from the cache, in another process")
        pairs = [(metered(path, DEFAULT_FEATURES)[0], metered(path, [*DEFAULT_FEATURES, tiny])[0]) for _ in range(runs)]
        ratio = Spread.of([after / before for before, after in pairs])
        print(f"time with it / without: {ratio.median:.3f} ({ratio.smallest:.3f}–{ratio.largest:.3f})")
        own = int(path.stem.split("-")[1]) / min(after for _, after in pairs)
    if importlib.util.find_spec("nfstream") is None:
        print("NFStream is not installed")
        return
    command = [sys.executable, str(HERE / "nfplugin_run.py"), str(trace(PEER_PACKETS))]
    peer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    rate = peer["packets"] / peer["seconds"]
    print(f"{own / 1e6:.2f} million packets/s to Arrow; NFStream with the plugin {rate:,.0f}: {own / rate:.0f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description="What feature groups, filters and users' features cost, on one core.")
    parser.add_argument("--packets", type=int, default=2_000_000, help="packets of the mix (default: 2,000,000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement (default: 5)")
    args = parser.parse_args()
    with one_core():
        path = trace(args.packets)
        groups(path, args.runs)
        filters(path, args.runs)
        feature(path, args.runs)
        first_run()


if __name__ == "__main__":
    main()
