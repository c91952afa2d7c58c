"""Kernels as they are compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowgauge.kernels._jit import JIT

pytestmark = [pytest.mark.compiled, pytest.mark.skipif(not JIT, reason="not compiled")]

BYTES_OF = ("ssh_session_01.pcap", "ping_echo_01.pcapng", "chat_messages_01.pcap", "browser_http-fetch_02.pcap.gz")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "captures"

# Runs what warming up runs, then captures with all kinds of options, and counts signatures before and after.
COUNT = """
import importlib, io, json, pkgutil, sys
import flowgauge, flowgauge.features, flowgauge.kernels
from flowgauge.kernels._jit import Kernel
from flowgauge.run import extract, warmup

def counts():
    found = {}
    for package in (flowgauge.kernels, flowgauge.features):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Kernel) and value.__module__ == module.name:
                    found[module.name + "." + name] = len(value.signatures)
    return found

warmup()
warm = counts()
for output, options in (
    ("csv", {}),
    ("jsonl", {"key": "hosts", "idle_timeout": 1}),
    ("parquet", {"max_flows": 3, "join": True, "active_timeout": 1}),
    ("csv", {"dedup": 0.001, "reorder": 0.001}),
    ("csv", {"filter": "tcp"}),
    ("csv", {"schema": "basic", "no_tcp_end": True, "vlan_in_key": True}),
):
    extract(sys.argv[1], io.BytesIO(), format=output, **options)
flowgauge.packets(sys.argv[1], io.BytesIO(), format="csv")
flowgauge.packets(sys.argv[1], dedup="1ms", tunnels="outer").read_all()
print(json.dumps([warm, counts()]))
"""


@pytest.fixture(scope="module")
def signatures() -> list[dict[str, int]]:
    """Signatures of every kernel that Python calls: after warming up, and after captures with all kinds of options."""
    command = [sys.executable, "-c", COUNT, str(EXAMPLES)]
    variables = {**os.environ, "NUMBA_BOUNDSCHECK": "1"}  # else only the first call is dispatched by its types
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=variables)
    return json.loads(done.stdout)


def test_every_kernel_has_one_signature(signatures: list[dict[str, int]]) -> None:
    """A second signature is an argument of another type: a second compilation, in the middle of a run."""
    _, after = signatures
    assert len(after) > 25
    assert {name: count for name, count in after.items() if count > 1} == {}


def test_warming_up_leaves_nothing_to_compile(signatures: list[dict[str, int]]) -> None:
    """What metering calls was compiled ahead."""
    warm, after = signatures
    assert {name for name, count in after.items() if count > warm[name]} == set()


@pytest.mark.slow
def test_compiled_and_uncompiled_write_the_same_bytes(tmp_path: Path) -> None:
    """The same code, compiled and in plain Python, gives the same table to the last bit."""
    written, captures = [], [str(EXAMPLES / name) for name in BYTES_OF]
    for disabled in ("0", "1"):
        output = tmp_path / f"{disabled}.csv"
        command = [sys.executable, "-m", "flowgauge", "extract", *captures, "-o", str(output), "--quiet"]
        subprocess.run(command, check=True, timeout=600, env={**os.environ, "NUMBA_DISABLE_JIT": disabled})
        written.append(output.read_bytes())
    assert written[0].count(b"\n") > len(BYTES_OF)
    assert written[0] == written[1]
