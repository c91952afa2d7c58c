"""Features that users write: what they see, what they keep, and when their code is compiled."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

import flowgauge as fg
from flowgauge.kernels._jit import JIT
from flowgauge.sample import sample_capture
from meters import by_package
from packets import A, B, capture, eth, ip4, sent, tcp, udp

ROOT = Path(__file__).resolve().parents[2]
CAPTURES = ROOT / "examples" / "captures"


def rows(content: bytes, *features: Any, **options: Any) -> list[dict[str, Any]]:
    return by_package(content, features=["core", *features], **options).rows


def conversation() -> bytes:
    """Five datagrams, two of them answers, with payloads of 1 to 5 bytes."""
    ends = ((1024, 53, A, B), (53, 1024, B, A))
    frames = []
    for number, side in enumerate((0, 1, 0, 0, 1)):
        port, to, source, destination = ends[side]
        payload = bytes(range(10 * number, 11 * number + 1))
        frames.append(sent(number, eth(ip4(udp(port, to, payload), source, destination))))
    return capture(frames)


@fg.feature(columns={"bytes_so_far": fg.u64[5]}, state={"n": fg.u32})
def so_far(flow, core):
    """payload bytes of the record at each packet"""
    flow.bytes_so_far[flow.n] = core.payload_bytes[0] + core.payload_bytes[1]
    flow.n += 1


def test_core_counts_up_to_the_packet() -> None:
    """What a function sees of its flow is what was counted up to this packet, whatever the size of batches."""
    (row,) = rows(conversation(), so_far)
    assert row["bytes_so_far"] == [1, 3, 6, 10, 15]
    assert row["payload_bytes"] == 15
    for size in (1, 2, 3):
        assert by_package(conversation(), rows=64 * size, features=["core", so_far]).rows == [row]


@fg.feature(columns={"first": fg.i16, "last": fg.i16, "length": fg.u32}, per_direction=True)
def ends(flow, pkt, payload):
    """first and last byte of payloads"""
    if flow.first < 0:
        flow.first = payload[0]
    flow.last = payload[len(payload) - 1]
    flow.length += len(payload)


@ends.init
def _begin(flow):
    flow.first = -1


def test_payload_is_that_of_the_packet_in_each_direction() -> None:
    """A direction has its own fields, begun by `init`; payload is the bytes that were captured."""
    (row,) = rows(conversation(), ends)
    assert [row[f"up_{name}"] for name in ("first", "last", "length")] == [0, 33, 1 + 3 + 4]
    assert [row[f"down_{name}"] for name in ("first", "last", "length")] == [10, 44, 2 + 5]


@fg.feature(columns={"over": fg.u32, "share": fg.f32}, params={"limit": 2, "scale": 1.0})
def over(flow, pkt, params):
    """packets with more payload than a limit"""
    if pkt.payload_len > params.limit:
        flow.over += 1


@over.expire
def _share(flow, core, params):
    flow.share = params.scale * flow.over / (core.packets[0] + core.packets[1])


def test_parameters_and_the_end_of_a_record() -> None:
    """Parameters are given by calling the feature; `expire` sees the whole record."""
    (row,) = rows(conversation(), over)
    assert (row["over"], row["share"]) == (3, pytest.approx(0.6))
    (row,) = rows(conversation(), over(limit=4, scale=10.0))
    assert (row["over"], row["share"]) == (1, 2.0)
    with pytest.raises(fg.ConfigError, match="feature 'over' has no parameter 'most'; it has limit, scale"):
        over(most=3)


def test_a_later_part_begins_anew() -> None:
    """Every record has its own fields: a part that the active timeout begins starts at zero."""
    frames = [sent(second, eth(ip4(udp(1024, 53, b"abc")))) for second in (0, 1, 2, 3)]
    found = rows(capture(frames), over(limit=0), active_timeout=1.5)
    assert [(row["part"], row["over"]) for row in found] == [(0, 2), (1, 2)]


def test_several_features_are_one_group() -> None:
    """Features of one run see the same packets, in the order given."""
    (row,) = rows(conversation(), over, so_far, ends)
    assert list(row)[-10:][0] == "over" or "over" in row
    assert [row["over"], row["bytes_so_far"][-1], row["down_last"]] == [3, 15, 44]
    table = fg.read(io.BytesIO(conversation()), features=["core", over, so_far, ends])
    assert table.schema.names[-9:] == [
        *("over", "share", "bytes_so_far"),
        *(f"{view}_{name}" for view in ("up", "down") for name in ("first", "last", "length")),
    ]


def test_columns_say_what_they_are() -> None:
    """The docstring is the definition, the feature's name the group."""
    columns = {column.name: column for column in fg.columns(features=["core", ends, so_far])}
    assert columns["up_last"].definition == "first and last byte of payloads, client to server"
    assert columns["up_last"].group == "ends"
    assert (columns["bytes_so_far"].type, columns["bytes_so_far"].length) == ("list<uint64>", 5)
    field = fg.read(io.BytesIO(conversation()), features=["core", so_far]).schema.field("bytes_so_far")
    assert field.metadata[b"definition"] == b"payload bytes of the record at each packet"


@pytest.mark.parametrize("batch_rows", [64, 8192])
def test_examples_compute_what_they_say(batch_rows: int) -> None:
    """The features of examples/features, on a name looked up and a page fetched."""
    names = ("tiny_packets.py:tiny", "first_second.py:first_second", "turns.py:turns", "first_bytes.py:first_bytes")
    references = [f"{ROOT}/examples/features/{name}" for name in (*names, "burstiness.py:burstiness")]
    lookup, page = rows(sample_capture(), *references, rows=batch_rows)
    assert [page["up_tiny_packets"], page["down_tiny_packets"], lookup["up_tiny_packets"]] == [6, 2, 1]
    assert [page["up_early_packets"], page["down_early_bytes"]] == [6, page["down_ip_bytes"]]
    assert [page["turns"], page["longest_turn"], lookup["turns"]] == [2, page["down_payload_bytes"], 2]
    assert [bytes(page["first_bytes"]), page["is_tls"]] == [b"GET ", False]
    assert page["burstiness"] == pytest.approx(-1.0)
    assert lookup["burstiness"] == pytest.approx(-1.0)


MINE = """
import flowgauge as fg
import {sibling}

STEP = {step}


def double(number):
    return {factor} * number


@fg.feature(columns={{"total": fg.u32}}, params={{"most": {most}}})
def mine(flow, pkt, params):
    "made at {made}"
    if flow.total < params.most:
        flow.total += double(STEP) + {sibling}.extra(pkt.payload_len)
"""
RUN = """
import sys, json
import flowgauge as fg
from numba.core import event

compiled = []
class Listener(event.Listener):
    def on_start(self, event): compiled.append(str(event.data["dispatcher"].py_func.__module__))
    def on_end(self, event): pass
event.register("numba:compile", Listener())
table = fg.read(sys.argv[1], features=["core", sys.argv[2]])
print(json.dumps([table["total"].to_pylist(), sum("flowgauge_features" in name for name in compiled)]))
"""


@pytest.mark.compiled
@pytest.mark.skipif(not JIT, reason="not compiled")
def test_code_is_compiled_once_and_again_when_it_changes(tmp_path: Path) -> None:
    """The second run compiles nothing; an edited helper, constant, parameter or imported file gives the new result."""
    content, parts = tmp_path / "a.pcap", {"sibling": "beside", "step": 1, "factor": 2, "most": 1000}
    parts["made"] = time.time_ns()  # so that nothing of it is in the cache
    content.write_bytes(conversation())
    file, sibling = tmp_path / "mine.py", tmp_path / "beside.py"

    def run() -> list[Any]:
        file.write_text(MINE.format(**parts))
        command = [sys.executable, "-c", RUN, str(content), f"{file}:mine"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    sibling.write_text("def extra(number):\n    return 0\n")
    total, compiled = run()
    assert (total, compiled > 0) == ([10], True)
    assert run() == [[10], 0]
    parts["factor"] = 3
    assert run()[0] == [15]
    parts["step"] = 2
    assert run()[0] == [30]
    parts["most"] = 7
    assert run()[0] == [12]
    sibling.write_text("def extra(number):\n    return number\n")
    parts["most"] = 1000
    assert run()[0] == [45]


def test_a_function_of_a_shell_works_uncached(tmp_path: Path) -> None:
    """Functions whose source is in no file, as in a notebook, are compiled for the process alone."""
    text = """
    import io, sys
    import flowgauge as fg
    source = '''
    @fg.feature(columns={"n": fg.u32})
    def counted(flow):
        flow.n += 1
    '''
    import textwrap
    exec(textwrap.dedent(source))
    print(fg.read(sys.argv[1], features=["core", counted])["n"].to_pylist())
    """
    content = tmp_path / "a.pcap"
    content.write_bytes(conversation())
    command = [sys.executable, "-c", textwrap.dedent(text), str(content)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=dict(os.environ))
    assert (done.stdout, done.returncode) == ("[5]\n", 0), done.stderr


def test_tcp_fields_are_there() -> None:
    """Every field of a packet can be read."""

    @fg.feature(columns={"numbers": fg.u32[4]}, state={"n": fg.u32})
    def numbers(flow, pkt):
        flow.numbers[0] = pkt.tcp_seq
        flow.numbers[1] = pkt.tcp_window
        flow.numbers[2] = pkt.ttl
        flow.numbers[3] = pkt.header_len
        flow.n += 1

    frame = eth(ip4(tcp(1024, 80, "A", seq=77, window=99)))
    (row,) = rows(capture([sent(0, frame)]), numbers)
    assert row["numbers"] == [77, 99, 64, 20]
