"""`flowgauge live` with a destination: a real collector that dies and comes back, and runs that are killed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from livelab import THERE, LiveRun, Wire, wire
from netlab import until
from sinks.delivery.ipfix_messages import cut, decode

pytestmark = [pytest.mark.netns, pytest.mark.slow]

PORT = 4739
# Each connection of its life to a file of its own.
COLLECTOR = """
import pathlib, socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    for number in range(100):
        connection, _ = listener.accept()
        with connection, open(f"{sys.argv[2]}.{number}", "wb", buffering=0) as file:
            while data := connection.recv(65536):
                file.write(data)
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wire(tmp_path_factory.mktemp("wire")) as built:
        yield built


class Collector:
    """What collectors of one test have received, each under a name of its own."""

    def __init__(self, net: Wire, folder: Path) -> None:
        self._net, self._folder = net, folder

    def start(self, name: str) -> None:
        self._process = self._net.here.start(sys.executable, "-c", COLLECTOR, str(PORT), str(self._folder / name))
        until(lambda: self._net.here.listens(PORT), "collector")

    def stop(self) -> None:
        self._net.here.stop(self._process)

    def ports(self, name: str) -> list[int]:
        """Of the flows to the other host that this collector has, in order of arrival."""
        found = []
        for path in sorted(self._folder.glob(f"{name}.*"), key=lambda path: int(path.suffix[1:])):
            messages = decode(cut_whole(path.read_bytes()))
            found += [record for message in messages for record in message.records]
        return [record["destination_port"] for record in found if record["destination"] == THERE]


def cut_whole(stream: bytes) -> list[bytes]:
    """Messages of which the last may not be complete yet."""
    messages = cut(stream)
    return messages[:-1] if messages and len(messages[-1]) < int.from_bytes(messages[-1][2:4], "big") else messages


@pytest.fixture
def collector(net: Wire, tmp_path: Path) -> Collector:
    return Collector(net, tmp_path)


def begun(net: Wire, tmp_path: Path) -> LiveRun:
    """Live, with flows that end in a second."""
    url = f"ipfix://127.0.0.1:{PORT}?transport=tcp&spool={tmp_path / 'spool'}"
    return net.live("-o", url, "--features", "core", "--idle-timeout", "1", "-f", "udp")


def waits(folder: Path) -> bool:
    return any(path.stat().st_size > 100 for path in (folder / "spool").rglob("*.arrows"))


def test_flows_of_an_outage_and_of_a_killed_run_arrive(net: Wire, collector: Collector, tmp_path: Path) -> None:
    """The collector dies, the run is killed, and both begin anew: every flow that had left the meter arrives, in order.

    Metering goes on all the while; one line says that the collector is down.
    """
    collector.start("first")
    run = begun(net, tmp_path)
    collector.stop()
    net.send(7001)
    until(lambda: waits(tmp_path) and " is down (" in run.said, "a flow on disk, and a line", 60)
    run.process.kill()
    run.process.wait()
    run = begun(net, tmp_path)
    assert "rows that earlier runs have left in" in run.said and " is down (" in run.said
    net.send(7002)
    time.sleep(0.5)
    collector.start("second")
    until(lambda: collector.ports("second")[:1] == [7001], "the flow of the first run", 60)
    assert run.end() == 0, run.said
    assert collector.ports("second") == [7001, 7002]
    assert collector.ports("first") == [] and not waits(tmp_path)
    assert (run.said.count(" is down ("), run.said.count(" is back; ")) == (1, 1)
    collector.stop()


def test_what_waits_at_the_end_is_said(net: Wire, collector: Collector, tmp_path: Path) -> None:
    """The exit code is that of an output that could not be written, and the line names the folder."""
    run = begun(net, tmp_path)
    net.send(7004)
    time.sleep(0.5)
    assert run.end() == 3
    assert f"wait in {tmp_path / 'spool'}" in run.said and "the next run with this output" in run.said
    collector.start("late")
    run = begun(net, tmp_path)
    assert run.end() == 0
    assert collector.ports("late") == [7004]
    collector.stop()
