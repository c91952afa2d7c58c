"""Many small captures of one trace, and what is in a data set, for tests of runs that are stopped."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

from captures import write_pcap
from packets import SECOND, START, eth, ip4, tcp, udp

DAY = 86_400 * SECOND


def write_captures(folder: Path, files: int, packets: int = 40, *, seed: int = 1, start: int = START) -> list[str]:
    """Captures chat_000.pcap, mail_001.pcap and so on, each going on where the one before ends: connections and
    datagrams, some in fragments, of hosts that meet again in later files."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    time, paths = start, []
    for number in range(files):
        frames = []
        for _ in range(packets):
            time += rng.randrange(1, 4 * SECOND)
            frames.append((time, eth(_packet(rng))))
        path = folder / f"{('chat', 'mail')[number % 2]}_{number:03}.pcap"
        path.write_bytes(write_pcap(frames, ns=True))
        paths.append(str(path))
    return paths


def _packet(rng: random.Random) -> Any:
    client, server = f"10.0.0.{rng.randrange(1, 9)}", f"10.1.0.{rng.randrange(1, 5)}"
    back = rng.random() < 0.4
    ends = (server, client) if back else (client, server)
    port = rng.randrange(50_000, 50_004)
    ports = (443, port) if back else (port, 443)
    if rng.random() < 0.2:  # a piece of a datagram, whose other pieces may come in another file
        fields = {"identification": rng.randrange(3), "offset": rng.randrange(3), "more": rng.random() < 0.6}
        body = udp(*ports, rng.randbytes(16))
        return ip4(body._replace(data=body.data[:8]), *ends, **fields)
    flags = rng.choice(["S", "SA", "PA", "A", "FA", "R"])
    return ip4(tcp(*ports, flags, rng.randrange(2000), payload=rng.randbytes(rng.randrange(80))), *ends)


def contents(dataset: Path) -> dict[str, Any]:
    """Every file of a data set by its name: its bytes, or what a manifest says but for times."""
    found: dict[str, Any] = {}
    for place, _, names in os.walk(dataset):
        for name in names:
            path = Path(place, name)
            data = path.read_bytes()
            found[str(path.relative_to(dataset))] = _without_times(json.loads(data)) if path.suffix == ".json" else data
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(inner) for name, inner in value.items() if name != "seconds"}
    return value
