"""Threads change nothing but the time: captures side by side, and the flows of one capture in shards."""

from __future__ import annotations

import gc
import io
import itertools
import json
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import flowgauge as fg
import strategies
from meters import by_package, by_package_joined
from packets import SECOND, START, Sent, capture, eth, ip4, ip6, sent, tcp, udp
from talks import asked, dns_query, dns_response
from talks import datagram as udp_frame

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples" / "captures"
LIBRARY = "core,size,iat,flags,tcp,ip,splt,activity,bulk,payload,distribution,raw,process,where,names,nfstream,cic"
SERVER = "198.51.100.7"


def written(source: Any, threads: int, format: str = "parquet", **options: Any) -> bytes:
    output = io.BytesIO()
    fg.extract(source, output, format=format, threads=threads, **options)
    return output.getvalue()


def shard_of(source: str, destination: str, shards: int) -> int:
    """The shard of a packet between two addresses."""
    import ipaddress

    from flowgauge.kernels.packet import METERED, make_batch
    from flowgauge.kernels.sharding import TRACE, choose_shards

    batch = make_batch(1)
    for side, text in (("src", source), ("dst", destination)):
        number = int(ipaddress.ip_address(text))
        batch.packets[0][f"{side}_hi"], batch.packets[0][f"{side}_lo"] = number >> 64, number & (2**64 - 1)
    batch.packets.reason[0] = METERED
    owner, told = np.zeros(1, np.int32), np.zeros(1, np.uint8)
    choose_shards(batch, 1, shards, False, np.zeros(1, TRACE).view(np.recarray), owner, told)
    return int(owner[0])


def busy(packets: int = 400, hosts: int = 9) -> bytes:
    """A capture of many hosts over several boundary intervals, with connections that close, and fragments."""
    frames: list[Sent] = []
    whole = udp(50000, 53, bytes(64))
    for number in range(packets):
        seconds = number * 0.31
        a, b = f"10.0.{number % hosts}.1", f"10.1.0.{number % 7 + 1}"
        frames.append(sent(seconds, eth(ip4(tcp(40000 + number % 5, 443, "SAFRP"[number % 4], number), a, b))))
        if number % 3 == 0:
            piece = (whole._replace(data=whole.data[:16]), whole._replace(data=whole.data[16:]))
            head = eth(ip4(piece[0], a, b, identification=number, more=True))
            tail = eth(ip4(piece[1], a, b, identification=number, offset=2))
            frames += [sent(seconds, part) for part in ((tail, head) if number % 2 else (head, tail))]
        if number % 5 == 0:
            frames.append(sent(seconds - 0.2, eth(ip6(udp(50000, 53)))))
    return capture(frames)


@pytest.mark.compiled  # as plain Python, threads wait for each other
@given(
    frames=st.one_of(strategies.anything(), strategies.fragments(), strategies.tunnelled_conversations()),
    options=strategies.options(),
    threads=st.sampled_from([2, 3, 8]),
    rows=st.sampled_from([16, 8192]),
)
@strategies.examples(60)
def test_any_number_of_threads_makes_the_same_records(
    frames: strategies.Frames, options: dict[str, Any], threads: int, rows: int
) -> None:
    """Records, their order, reasons and counters are those of one thread, wherever batches of packets begin."""
    content = capture(frames)
    assert by_package(content, threads=threads, rows=rows, **options) == by_package(content, threads=1, **options)


@pytest.mark.compiled
@given(
    parts=st.lists(st.one_of(strategies.connections(), strategies.fragments()), min_size=1, max_size=3),
    threads=st.sampled_from([2, 5]),
)
@strategies.examples(20)
def test_a_trace_in_several_captures_too(parts: list[strategies.Frames], threads: int) -> None:
    """With join, flows and fragments go on over captures in each shard."""
    contents = [capture(frames) for frames in parts]
    assert by_package_joined(contents, threads=threads) == by_package_joined(contents, threads=1)


@pytest.mark.compiled
@pytest.mark.parametrize("format", ["csv", "parquet", "arrow", "jsonl"])
def test_the_bytes_are_the_same_in_every_format(format: str) -> None:
    """The output of 1, 2, 3 and 8 threads is equal byte by byte, with the counts in its footer."""
    content = busy()
    expected = written(io.BytesIO(content), 1, format)
    assert all(written(io.BytesIO(content), threads, format) == expected for threads in (2, 3, 8))


@pytest.mark.slow
def test_the_bytes_are_the_same_with_all_groups_and_real_captures() -> None:
    """All groups, over captures of real programs, one by one and as one trace."""
    for join in (False, True):
        made = {written(str(EXAMPLES), threads, features=LIBRARY, join=join) for threads in (1, 2, 3, 8)}
        assert len(made) == 1


@pytest.mark.compiled
def test_the_schemas_of_other_tools_too() -> None:
    """A column that numbers all records counts over all threads."""
    for schema in ("nfstream", "zeek", "cic"):
        made = {written([io.BytesIO(busy(60)), io.BytesIO(busy(90))], n, "csv", schema=schema) for n in (1, 2, 5)}
        assert len(made) == 1


def test_a_shard_has_both_directions_of_a_pair_of_hosts() -> None:
    """The shard depends on the unordered pair alone, and is the same on every machine."""
    pairs = [("10.0.0.1", "10.0.0.2"), ("192.0.2.1", "203.0.113.9"), ("2001:db8::1", "2001:db8::ffff")]
    assert [shard_of(*pair, 64) for pair in pairs] == [shard_of(*pair[::-1], 64) for pair in pairs]
    assert [shard_of(*pair, 64) for pair in pairs] == [8, 14, 11]
    many = [shard_of("10.0.0.1", f"10.9.{n // 256}.{n % 256}", 8) for n in range(2000)]
    assert min(np.bincount(many, minlength=8)) > 180


@pytest.mark.parametrize("rest", [{}, {"first_packets": 1}])
def test_names_that_dns_tells_are_known_in_every_shard(rest: dict[str, Any]) -> None:
    """A flow is named by an answer that another shard meters, also where no more of the answer's flow counts."""
    client = next(
        f"10.0.1.{n}"
        for n in range(1, 250)
        if shard_of(f"10.0.1.{n}", "10.0.0.53", 3) != shard_of(f"10.0.1.{n}", SERVER, 3)
    )
    frames = [*asked(0, "www.example.org", [SERVER], client), udp_frame(1, b"x" * 20, client, SERVER)]
    content = capture(frames)
    tables = [fg.read(io.BytesIO(content), features="core,names", threads=n, **rest) for n in (1, 3)]
    assert tables[0].to_pylist() == tables[1].to_pylist()
    assert tables[0]["server_name"].to_pylist() == [None, "www.example.org"]


def test_answers_behind_the_packets_that_count_name_flows() -> None:
    """What DNS tells is learned from all packets, those that `first_packets` leaves out among them."""
    frames = [
        *[udp_frame(n / 10, dns_query(f"q{n}.example.org"), "10.0.0.9", "10.0.0.53", (50000, 53)) for n in range(3)],
        udp_frame(1, dns_response("www.example.org", [SERVER]), "10.0.0.53", "10.0.0.9", (53, 50000)),
        udp_frame(2, b"x" * 20, "10.0.0.9", SERVER),
    ]
    table = fg.read(io.BytesIO(capture(frames)), features="core,names", first_packets=1)
    assert table["server_name"].to_pylist() == [None, "www.example.org"]


def files(folder: Path, number: int) -> list[Path]:
    made = []
    for place in range(number):
        made.append(folder / f"{place:02}.pcap")
        made[-1].write_bytes(busy(40 + place, 5))
    return made


def test_captures_side_by_side_keep_their_order_and_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come in the order of the captures; a capture that cannot be read keeps its number and is named."""
    monkeypatch.setattr("flowgauge.run._TOGETHER", 1)  # each is a piece of work of its own
    paths = files(tmp_path, 7)
    paths[2].write_bytes(b"no capture at all")
    paths[4].write_bytes(paths[4].read_bytes()[:-5])
    outputs = []
    for threads in (1, 2, 7):
        stats = fg.extract(paths, tmp_path / "flows.jsonl", threads=threads)
        assert list(stats.failed) == [paths[2].as_posix()]
        assert list(stats.damaged) == [paths[4].as_posix()]
        outputs.append(((tmp_path / "flows.jsonl").read_bytes(), stats.results()))
    assert outputs[0] == outputs[1] == outputs[2]
    numbers = [json.loads(line)["flow_id"] >> 40 for line in outputs[0][0].splitlines()]
    assert list(dict.fromkeys(numbers)) == [0, 1, 3, 4, 5, 6]


def test_a_label_table_is_shared_by_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a truth table match, and are counted, as with one thread."""
    monkeypatch.setattr("flowgauge.run._TOGETHER", 1)
    paths = files(tmp_path, 4)
    table = tmp_path / "truth.csv"
    table.write_text("source_ip,app\n10.0.1.1,one\n10.0.2.1,two\n")
    from flowgauge.run import collect

    tables = [collect(paths, truth=table, threads=n) for n in (1, 2, 4)]
    assert tables[0][1].truth == tables[1][1].truth == tables[2][1].truth
    assert tables[0][1].labels == tables[1][1].labels == tables[2][1].labels != {}
    assert tables[0][0].to_pylist() == tables[1][0].to_pylist() == tables[2][0].to_pylist()


def test_a_failure_in_a_thread_reaches_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception while metering is raised where records are taken, no thread stays, and no output."""
    monkeypatch.setattr("flowgauge.run._TOGETHER", 1)
    paths = files(tmp_path, 5)

    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("of this test")

    monkeypatch.setattr("flowgauge.meter.Meter.end_capture", broken)
    monkeypatch.setattr("flowgauge.meter.Meter.end_placed", broken)
    before = set(threading.enumerate())
    for source, threads in ((paths, 3), (paths[0], 3)):
        with pytest.raises(ZeroDivisionError, match="of this test"):
            fg.extract(source, tmp_path / "flows.csv", threads=threads)
    assert set(threading.enumerate()) == before
    assert not list(tmp_path.glob("*flows*"))


def test_an_output_that_fails_stops_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written any more, nothing more is read."""
    monkeypatch.setattr("flowgauge.run._TOGETHER", 1)
    before = set(threading.enumerate())

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, os.strerror(28))

    with pytest.raises(fg.SinkError, match=os.strerror(28)):
        fg.extract(files(tmp_path, 6), Full(), format="csv", threads=3)
    assert set(threading.enumerate()) == before


def test_a_stream_that_is_not_read_to_its_end_leaves_no_thread(tmp_path: Path) -> None:
    """Closing a stream of records ends what was at work for it."""
    before = set(threading.enumerate())
    for source in (files(tmp_path, 4), files(tmp_path, 4)[0]):
        batches = fg.stream(source, threads=3)
        next(batches)
        batches.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_interrupt_writes_what_was_metered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Flows that are open when a run is stopped are written with the end reason `stop`."""
    monkeypatch.setattr("flowgauge.run._TOGETHER", 1)
    asks = itertools.count()
    stats = fg.extract(
        files(tmp_path, 12), tmp_path / "flows.jsonl", threads=threads, rows=16, should_stop=lambda: next(asks) > 12
    )
    rows = [json.loads(line) for line in (tmp_path / "flows.jsonl").read_text().splitlines()]
    assert stats.interrupted
    assert len(rows) == stats.rows > 0
    assert any(row["end_reason"] == "stop" for row in rows)
    assert stats.files < 12


def test_threads_out_of_range_are_refused() -> None:
    """A number that is none is answered with the range."""
    for wrong in (0, -1, 257):
        with pytest.raises(fg.ConfigError, match="threads is a number from 1 to 256"):
            fg.read(io.BytesIO(busy(5)), threads=wrong)


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 2}, {"threads": 2, "join": True}])
def test_the_memory_of_a_run_is_free_at_once(options: dict[str, Any]) -> None:
    """No cycle keeps a run and its tables until somebody looks for garbage."""
    from flowgauge.run import Hooks, Run

    run = Run(str(EXAMPLES), Hooks(), features="core", **options)
    kept = weakref.ref(run.lanes[0])
    gc.disable()
    try:
        for _ in run.batches():
            pass
        del run
        assert kept() is None
    finally:
        gc.enable()


def test_packets_stay_where_they_are_for_as_long_as_they_are_kept() -> None:
    """The bytes of a batch are still there when so many batches have been read after it."""
    from flowgauge.kernels.packet import make_batch
    from flowgauge.sources.capture import open_capture
    from flowgauge.sources.window import Buffers

    frames = [Sent(START + n * SECOND, bytes([n % 251]) * 1000, 1000) for n in range(100)]
    with open_capture(io.BytesIO(capture(frames)), buffers=Buffers(1 << 14, 3)) as reader:
        seen: list[tuple[Any, Any]] = []
        batches = [make_batch(16) for _ in range(3)]
        for batch in itertools.cycle(batches):
            rows = reader.read(batch)
            if not rows:
                break
            seen.append((reader.buffer, batch.packets[:rows].copy()))
            for buffer, packets in seen[-3:]:
                assert all(
                    (buffer[int(p.offset) : int(p.offset) + 1000] == (int(p.number) - 1) % 251).all() for p in packets
                )
    assert sum(len(packets) for _, packets in seen) == 100


# The building blocks


def counted(number: int) -> Iterator[tuple[int, int]]:
    yield from ((number, place) for place in range(3))


def test_results_of_workers_come_in_order() -> None:
    """Whatever worker makes them, the results of a number come before those of the next."""
    from flowgauge.threads import in_order

    workers: list[Callable[[int], Iterator[tuple[int, int]]]] = [counted] * 4
    found = [list(results) for _, results in in_order(workers, range(5, 25), 1, lambda: True)]
    assert found == [[(number, place) for place in range(3)] for number in range(5, 25)]


def test_numbers_that_nobody_takes_are_left_out() -> None:
    """When workers do not go on, what they have begun is given and the rest is not waited for."""
    from flowgauge.threads import in_order

    begun: list[int] = []

    def work(number: int) -> Iterator[int]:
        begun.append(number)
        yield number

    found = [
        number for number, results in in_order([work, work], range(100), 2, lambda: len(begun) < 5) if list(results)
    ]
    assert found == sorted(begun)
    assert 5 <= len(found) < 10


def test_what_is_made_ahead_is_bounded() -> None:
    """No more results are made than may wait, and one."""
    from flowgauge.threads import ahead

    made: list[int] = []

    def results() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    taken = ahead(results(), 4)
    for number in range(10):
        assert next(taken) == number
        assert len(made) <= number + 1 + 4 + 2
    taken.close()
