"""Deliveries to another system that is slow, down, gone for good, or back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from flowgauge.errors import SinkError
from flowgauge.sinks.delivery import link, spool
from flowgauge.sinks.delivery.delivery import Delivery, LiveDelivery
from flowgauge.sinks.delivery.spool import Spool
from sinks.delivery.far_end import SCHEMA, FarEnd, Said, batch, limits


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(link, "_LONGEST_PAUSE", 0.05)


def until(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def later(seconds: float, far: FarEnd) -> threading.Timer:
    timer = threading.Timer(seconds, lambda: setattr(far, "down", False))
    timer.start()
    return timer


def test_rows_are_delivered_in_order_and_in_batches(tmp_path: Path) -> None:
    """Each delivery has as many rows as the destination takes, but for the last one; nothing is left on disk."""
    far = FarEnd(rows=10)
    with Delivery(far, SCHEMA, Said().terms(), limits(tmp_path)) as sink:
        for begin in range(0, 35, 7):
            sink.write(batch(*range(begin, begin + 7)))
        assert far.numbers == list(range(30))
    assert far.numbers == list(range(35))
    assert [len(table) for table in far.deliveries] == [10, 10, 10, 5]
    assert files(tmp_path) == []


def test_a_flush_delivers_what_there_is(tmp_path: Path) -> None:
    """Also less than the destination takes at a time."""
    far = FarEnd(rows=10)
    with Delivery(far, SCHEMA, Said().terms(), limits(tmp_path)) as sink:
        sink.write(batch(1, 2))
        sink.flush()
        assert far.numbers == [1, 2]


def test_a_batch_with_other_columns_is_refused(tmp_path: Path) -> None:
    """By both sinks, as by those of files."""
    other = pa.RecordBatch.from_pydict({"name": ["x"]})
    for kind in (Delivery, LiveDelivery):
        with (
            pytest.raises(SinkError, match="columns other than the output"),
            kind(FarEnd(), SCHEMA, Said().terms(), limits(tmp_path)) as sink,
        ):
            sink.write(other)


def test_a_delivery_waits_while_the_other_end_is_down(tmp_path: Path) -> None:
    """It is tried again and again; a line says that it is down and one that it is back, no row is lost or doubled."""
    far, said = FarEnd(rows=10), Said()
    with Delivery(far, SCHEMA, said.terms(), limits(tmp_path)) as sink:
        sink.write(batch(*range(10)))
        far.down = True
        timer = later(0.2, far)
        sink.write(batch(*range(10, 30)))
        timer.join()
    assert far.numbers == list(range(30))
    assert far.attempts > 6
    assert said == [
        "memory://far is down (nobody answers); it is tried again for 300 s",
        "memory://far is back; what has waited is delivered",
    ]
    assert files(tmp_path) == []


def test_at_most_one_delivery_is_there_twice(tmp_path: Path) -> None:
    """The other end keeps rows and dies before it says so: these, and no others, come again."""
    far = FarEnd(rows=10)
    with Delivery(far, SCHEMA, Said().terms(), limits(tmp_path)) as sink:
        sink.write(batch(*range(10)))
        far.dies_behind = True
        timer = later(0.1, far)
        sink.write(batch(*range(10, 40)))
        timer.join()
    assert far.numbers == [*range(10), *range(10, 20), *range(10, 20), *range(20, 40)]


def test_beyond_the_time_to_wait_the_rest_is_kept_on_disk(tmp_path: Path) -> None:
    """The error says how many rows are there and how many wait where; the next run delivers them first, in order."""
    far, said = FarEnd(rows=10), Said()
    with (
        pytest.raises(SinkError) as raised,
        Delivery(far, SCHEMA, said.terms(), limits(tmp_path, wait=0.1)) as sink,
    ):
        sink.write(batch(*range(20)))
        far.down = True
        sink.write(batch(*range(20, 45)))
    folder = Spool(tmp_path, far.name).folder
    assert str(raised.value) == (
        f"memory://far is down (nobody answers); 20 rows have been delivered, 25 wait in {folder}: "
        "the next run with this output delivers them first"
    )
    assert said[-1] == f"memory://far is still down; flows are kept in {folder}"
    far.down, said = False, Said()
    with Delivery(far, SCHEMA, said.terms(), limits(tmp_path)) as sink:
        assert far.numbers == list(range(45))
        sink.write(batch(45))
    assert far.numbers == list(range(46))
    assert said == [f"25 rows that earlier runs have left in {folder} are delivered first"]
    assert files(tmp_path) == []


def test_what_was_kept_is_delivered_at_the_end_where_the_other_end_is_back(tmp_path: Path) -> None:
    """Then the run has ended well, whatever happened in its course."""
    far = FarEnd(rows=10)
    with Delivery(far, SCHEMA, Said().terms(), limits(tmp_path, wait=0.05)) as sink:
        far.down = True
        sink.write(batch(*range(25)))
        assert far.numbers == [] and files(tmp_path)
        far.down = False
    assert far.numbers == list(range(25))
    assert files(tmp_path) == []


def test_a_run_that_shall_stop_does_not_wait(tmp_path: Path) -> None:
    """Ctrl-C while the other end is down: the rows are kept on disk at once."""
    far, said = FarEnd(rows=10), Said()
    sink = Delivery(far, SCHEMA, said.terms(), limits(tmp_path))
    sink.__enter__()
    far.down = said.stop = True
    begin = time.monotonic()
    sink.write(batch(*range(25)))
    with pytest.raises(SinkError, match="0 rows have been delivered, 25 wait in"):
        sink.close()
    assert time.monotonic() - begin < 5


def test_nothing_is_read_where_the_other_end_is_down_from_the_start(tmp_path: Path) -> None:
    """Then there is nothing to keep, and the error says so."""
    said = Said()
    with (
        pytest.raises(SinkError, match=r"memory://far is down \(nobody answers\); nothing was read"),
        Delivery(FarEnd(down=True), SCHEMA, said.terms(), limits(tmp_path, wait=0.05)),
    ):
        pytest.fail("entered")
    assert len(said) == 1
    assert files(tmp_path) == []


@pytest.mark.parametrize("kind", [Delivery, LiveDelivery])
def test_what_will_not_pass_ends_the_run_before_it_begins(kind: type[Delivery], tmp_path: Path) -> None:
    """A table that is not there is not tried again."""
    far = FarEnd()
    far.refuses = True
    with pytest.raises(SinkError, match="there is no such table"), kind(far, SCHEMA, Said().terms(), limits(tmp_path)):
        pytest.fail("entered")
    assert far.attempts == 1


def test_what_will_not_pass_says_what_is_there(tmp_path: Path) -> None:
    """In the middle of a run, too."""
    far = FarEnd(rows=10)
    with (
        pytest.raises(SinkError, match="there is no such table; 10 rows have been delivered"),
        Delivery(far, SCHEMA, Said().terms(), limits(tmp_path)) as sink,
    ):
        sink.write(batch(*range(10)))
        far.refuses = True
        sink.write(batch(*range(10, 20)))


def test_an_error_of_the_run_is_the_one_that_is_told(tmp_path: Path) -> None:
    """What is raised inside the context comes out of it, whatever the destination does."""
    for kind in (Delivery, LiveDelivery):
        far = FarEnd()
        with pytest.raises(ZeroDivisionError), kind(far, SCHEMA, Said().terms(), limits(tmp_path)) as sink:
            sink.write(batch(1))
            far.down = True
            raise ZeroDivisionError


def test_live_rows_are_delivered_in_order_within_seconds(tmp_path: Path) -> None:
    """They need no full delivery to leave; what is delivered leaves the disk."""
    far = FarEnd(rows=10)
    with LiveDelivery(far, SCHEMA, Said().terms(live=True), limits(tmp_path)) as sink:
        sink.write(batch(*range(25)))
        end = time.monotonic() + 5
        while len(far.numbers) < 25 and time.monotonic() < end:
            sink.flush()
            time.sleep(0.05)
        assert far.numbers == list(range(25))
    assert all(len(table) <= 10 for table in far.deliveries)
    assert files(tmp_path) == []


def test_live_never_waits_for_the_other_end(tmp_path: Path) -> None:
    """Rows are taken while a delivery hangs, and while the destination is down, and all arrive in order."""
    far, said = FarEnd(rows=10), Said()
    with LiveDelivery(far, SCHEMA, said.terms(live=True), limits(tmp_path)) as sink:
        far.blocked.clear()
        begin = time.monotonic()
        for number in range(300):
            sink.write(batch(number))
            sink.flush()
        assert time.monotonic() - begin < 5
        assert far.numbers == []
        far.down = True
        far.blocked.set()
        until(lambda: sink.flush() or len(said) == 1)
        sink.write(batch(*range(300, 320)))
        far.down = False
        until(lambda: sink.flush() or len(far.numbers) == 320)
    assert far.numbers == list(range(320))
    assert said == [
        "memory://far is down (nobody answers); flows are kept on disk until it is back",
        "memory://far is back; what has waited is delivered",
    ]


def test_a_live_run_begins_where_the_other_end_is_down(tmp_path: Path) -> None:
    """A capture must not wait for a server; what is left at the end is named, and found by the next run."""
    far, said = FarEnd(rows=10, down=True), Said()
    with (
        pytest.raises(SinkError, match="0 rows have been delivered, 25 wait in"),
        LiveDelivery(far, SCHEMA, said.terms(live=True), limits(tmp_path)) as sink,
    ):
        assert said == ["memory://far is down (nobody answers); flows are kept on disk until it is back"]
        sink.write(batch(*range(25)))
    far.down = False
    with LiveDelivery(far, SCHEMA, said.terms(live=True), limits(tmp_path)) as sink:
        sink.write(batch(25))
    assert far.numbers == list(range(26))
    assert files(tmp_path) == []


def test_a_full_spool_ends_a_live_run(tmp_path: Path) -> None:
    """At the limit, or where the disk has little left: nothing that was taken is lost, and the error says where."""
    for size, match in ((20_000, "of the 20,000 bytes of spool_size"), (None, "are free on its disk")):
        far = FarEnd(rows=10, down=True)
        free = spool.KEPT_FREE
        spool.KEPT_FREE = free if size else 10**18
        try:
            with (
                pytest.raises(SinkError, match=match) as raised,
                LiveDelivery(far, SCHEMA, Said().terms(live=True), limits(tmp_path / match[-4:], size=size)) as sink,
            ):
                for number in range(10_000):
                    taken = number + 1
                    sink.write(batch(number))
        finally:
            spool.KEPT_FREE = free
        assert f"{taken:,} wait in" in str(raised.value)
        far.down = False
        with Delivery(far, SCHEMA, Said().terms(), limits(tmp_path / match[-4:])):
            assert far.numbers == list(range(taken))


def test_a_defect_of_a_destination_is_told(tmp_path: Path) -> None:
    """The thread that delivers does not end in silence."""
    far = FarEnd(rows=1)
    far.deliver = lambda table: 1 / 0  # type: ignore[assignment, return-value]
    sink = LiveDelivery(far, SCHEMA, Said().terms(live=True), limits(tmp_path))
    sink.__enter__()
    sink.write(batch(1, 2, 3))
    with pytest.raises(SinkError, match=r"ZeroDivisionError.*3 wait in"):
        until(lambda: sink.flush())


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from flowgauge.sinks.delivery.delivery import LiveDelivery
from sinks.delivery.far_end import SCHEMA, FarEnd, Said, batch, limits
with LiveDelivery(FarEnd(10, down=True), SCHEMA, Said().terms(True), limits(Path(sys.argv[1]))) as sink:
    for number in range(int(sys.argv[2])):
        sink.write(batch(number))
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system kills in another way")
def test_what_a_killed_run_has_taken_is_delivered_by_the_next(tmp_path: Path) -> None:
    """All of it, the delivery that it was writing at too; and not while it lives."""
    tests = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", KILLED, str(tmp_path), "25", tests]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"written\n"
            far, said = FarEnd(rows=10), Said()
            with Delivery(far, SCHEMA, said.terms(), limits(tmp_path)):
                assert far.numbers == [] and said == []
        finally:
            process.kill()
    with Delivery(far, SCHEMA, said.terms(), limits(tmp_path)):
        assert far.numbers == list(range(25))
    assert files(tmp_path) == []


def test_a_file_that_breaks_off_is_read_up_to_there(tmp_path: Path) -> None:
    """Wherever a killed run was: whole batches before are delivered, and the file does not stay."""
    written = Spool(tmp_path, "x")
    for begin in (0, 10):
        written.append(batch(*range(begin, begin + 10)))
    written.close()
    [path] = [path for path in files(tmp_path) if path.suffix == ".arrows"]
    whole = path.read_bytes()
    seen = set()
    for size in range(0, len(whole), 61):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole[:size])
        found = Spool(tmp_path, "x")
        seen.add(found.find())
        segment = found.next()
        assert segment is not None
        table = found.read(segment)
        assert (0 if table is None else len(table)) == found.rows
        found.drop(segment)
        found.close()
        assert files(tmp_path) == []
    assert seen == {0, 10, 20}


def test_rows_of_an_earlier_run_may_have_other_columns(tmp_path: Path) -> None:
    """They are delivered with their own ones, before those of this run."""
    other = pa.schema([("label", SCHEMA.field("label").type), ("number", pa.int64())])
    left = Spool(tmp_path, FarEnd.name)
    left.append(batch(1, 2, schema=other))
    left.close()
    far = FarEnd()
    with Delivery(far, SCHEMA, Said().terms(), limits(tmp_path)) as sink:
        sink.write(batch(3))
    assert [schema.names for schema in far.schemas] == [SCHEMA.names, other.names, SCHEMA.names]
    assert far.numbers == [1, 2, 3]


def test_a_spool_holds_no_values_of_other_rows(tmp_path: Path) -> None:
    """A dictionary that has grown over weeks is not written again with each batch."""
    values = pa.array([f"name {number}" for number in range(100_000)])
    column = pa.DictionaryArray.from_arrays(pa.array([7], pa.int32()), values)
    row = pa.RecordBatch.from_arrays([pa.array([1], pa.int64()), column], schema=SCHEMA)
    written = Spool(tmp_path, "x")
    written.append(row)
    written.cut()
    segment = written.next()
    assert segment is not None and segment.size < 5000
    table = written.read(segment)
    assert table is not None and table["label"].to_pylist() == ["name 7"]
    written.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"Not a directory; name a folder for flows that wait: \?spool=FOLDER"):
        Spool(tmp_path / "file", "x").append(batch(1))


def test_pauses_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as long each time up to a bound, and each up to a half shorter than that."""
    monkeypatch.setattr(link, "_FIRST_PAUSE", 0.5)
    monkeypatch.setattr(link, "_LONGEST_PAUSE", 30.0)
    runs = [[pause for pause, _ in zip(link.pauses(), range(12), strict=False)] for _ in range(20)]
    for number, bound in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]):
        found = [run[number] for run in runs]
        assert bound / 2 <= min(found) < max(found) <= bound
