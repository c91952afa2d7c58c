"""Checkpoints: a run over one trace that goes on behind one gives what an undisturbed run gives, wherever that is."""

from __future__ import annotations

import gc
import io
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import flowgauge as fg
import flowgauge.run
import strategies
from flowgauge import decode, fragments
from flowgauge.config import DEFAULT_FEATURES
from flowgauge.dataset import MANIFESTS
from flowgauge.dataset.checkpoint import CheckpointError, pack, restore, unpack
from flowgauge.errors import ConfigError
from flowgauge.privacy import Seal
from flowgauge.run import Hooks, Run
from flowgauge.schema import GROUPS
from manyfiles import contents, write_captures
from meters import LIBRARY
from packets import capture, eth, ip4, sent, udp

FEATURES = tuple(group for group in GROUPS if group != "where") if LIBRARY else DEFAULT_FEATURES


@pytest.fixture(autouse=True, scope="module")
def _each_capture_is_a_chunk() -> Iterator[None]:
    """So that there is a border behind each of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flowgauge.run, "_TOGETHER", 1)
        yield


def new_run(captures: list[bytes], threads: int = 1, **options: Any) -> Run:
    """A run over these captures, each of them a chunk, that shares nothing with one in another process."""
    seed = np.array([secrets.randbits(64) for _ in range(len(fragments.SEED))], np.uint64)
    fragments.SEED = decode.SEED = seed
    spelled = {name: "off" if value is None else value for name, value in options.items()}
    given_ = {"features": FEATURES, **spelled}
    return Run([io.BytesIO(content) for content in captures], Hooks(), join=True, threads=threads, **given_)


def undisturbed(captures: list[bytes], **options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    run = new_run(captures, **options)
    rows = [row for batch in run.batches() for row in batch.to_pylist()]
    return rows, run.stats.results()


def interrupted(captures: list[bytes], threads: list[int], **options: Any) -> Any:
    """The same where another run goes on behind each capture, by what its checkpoint says."""
    rows: list[dict[str, Any]] = []
    counted, data = [], b""
    for number in range(len(captures)):
        run = new_run(captures, threads[number % len(threads)], **options)
        if data:
            restore(run, unpack(data, None))
        chunks = run.chunks(number, len(rows), cut=True)
        chunk = next(chunks)
        rows += [row for batch in chunk.batches for row in batch.to_pylist()]
        counted.append(chunk.counted)
        if number < len(captures) - 1:
            data = pack(run.snapshot(), None)
        chunks.close()
    run.recount(counted)
    return rows, run.stats.results()


@st.composite
def cut_traces(draw: st.DrawFn) -> list[bytes]:
    """Captures of one trace, cut at places that do not care for flows, datagrams or times."""
    kinds = (
        strategies.fragments(),
        strategies.disturbed(strategies.anything()),
        strategies.clocks(),
        strategies.streams(),
        strategies.exchanges(),
    )
    frames = draw(st.one_of(kinds))
    places = sorted(draw(st.sets(st.integers(1, max(1, len(frames) - 1)), max_size=3)))
    pieces = [frames[begin:stop] for begin, stop in zip([0, *places], [*places, len(frames)], strict=True)]
    return [capture(piece) for piece in pieces if piece]


@pytest.mark.slow
@pytest.mark.compiled  # all groups as plain Python take minutes
@strategies.examples(30)
@given(cut_traces(), strategies.options(), st.sampled_from([[1], [2], [3, 1]]))
def test_a_checkpoint_at_every_border_changes_nothing(
    captures: list[bytes], options: dict[str, Any], threads: list[int]
) -> None:
    """Rows, their order and all counts are those of an undisturbed run: with flows, streams, fragments, late packets
    and copies across the border, for one meter and for shards."""
    expected = undisturbed(captures, **options)
    found = interrupted(captures, threads, **options)
    assert found == expected
    gc.collect()  # tables with all groups are large


def test_fragments_wait_across_the_border() -> None:
    """The tail of a datagram before the border has the ports of the head behind it."""
    fields = {"identification": 7}
    head = ip4(udp(50000, 53, bytes(16))._replace(data=udp(50000, 53, bytes(16)).data[:16]), more=True, **fields)
    tail = ip4(udp(50000, 53, bytes(16))._replace(data=bytes(8)), offset=2, **fields)
    captures = [capture([sent(0, eth(tail))]), capture([sent(1, eth(head))])]
    rows, stats = interrupted(captures, [1])
    assert [(row["packets"], row["client_port"]) for row in rows] == [(2, 50000)]
    assert (rows, stats) == undisturbed(captures)


def test_an_eviction_takes_the_same_flow_behind_a_checkpoint() -> None:
    """The queues of the least recently used keys go on, too."""
    frames = [sent(n * 0.5, eth(ip4(udp(50000 + n % 11, 53)))) for n in range(200)]
    captures = [capture(frames[at : at + 20]) for at in range(0, 200, 20)]
    assert interrupted(captures, [1], max_flows=7) == undisturbed(captures, max_flows=7)


@pytest.mark.parametrize("threads", [[1], [2]])
def test_random_files_with_all_groups(tmp_path: Path, threads: list[int]) -> None:
    """Connections of many packets, over many files, with copies left out and packets put into order."""
    paths = write_captures(tmp_path, 6, 60)
    captures = [Path(path).read_bytes() for path in paths]
    options = {"dedup": 0.001, "reorder": 2.0}
    assert interrupted(captures, threads, **options) == undisturbed(captures, **options)


# What a checkpoint holds


def a_run(**options: Any) -> Run:
    run = new_run([capture([sent(n, eth(ip4(udp(50000 + n, 53))))]) for n in range(3)], **options)
    chunk = next(run.chunks(cut=True))
    assert list(chunk.batches) == []
    return run


def test_only_what_is_in_use_is_written() -> None:
    """A checkpoint of one flow takes some kilobytes, however large the tables are."""
    assert len(pack(a_run().snapshot(), None)) < 60_000


def test_a_damaged_checkpoint_is_refused() -> None:
    """Whatever byte is another one, or missing."""
    data = pack(a_run().snapshot(), None)
    for place in (0, 30, 60, 500, len(data) - 1):
        torn = bytearray(data)
        torn[place] ^= 1
        with pytest.raises(CheckpointError, match="damaged"):
            unpack(bytes(torn), None)
    for length in (0, 10, 40, len(data) - 1):
        with pytest.raises(CheckpointError, match="damaged"):
            unpack(data[:length], None)


def test_a_checkpoint_of_another_run_is_refused() -> None:
    """Groups and layouts have to be the same."""
    snapshot = unpack(pack(a_run(features="core,size").snapshot(), None), None)
    with pytest.raises(CheckpointError, match="not one of this run"):
        restore(new_run([b""], features="core,tcp"), snapshot)


def test_a_sealed_checkpoint_needs_the_key() -> None:
    """Nothing of it can be read or changed without the key."""
    snapshot = a_run().snapshot()
    data = pack(snapshot, Seal(bytes(32)))
    assert b"values" in pack(snapshot, None) and b"values" not in data
    assert unpack(data, Seal(bytes(32)))["threads"] == 1
    for seal, bytes_ in ((Seal(b"1" * 32), data), (Seal(bytes(32)), data[:-1]), (None, data)):
        with pytest.raises(CheckpointError, match="damaged"):
            unpack(bytes_, seal)


# In a data set


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint of a run that was stopped behind its first chunk."""
    monkeypatch.setattr(flowgauge.run, "_TOGETHER", 1 << 23)
    monkeypatch.setattr(flowgauge.run, "_MOST_TOGETHER", 4)
    write_captures(tmp_path / "in", 10)
    asked = iter(range(6))
    write(tmp_path, should_stop=lambda: next(asked, None) is None)
    (checkpoint,) = (tmp_path / "flows" / MANIFESTS).glob("*/checkpoint-000000.bin")
    return checkpoint


def write(folder: Path, output: str = "flows", **options: Any) -> None:
    fg.extract(folder / "in", f"{folder / output}/", **{"join": True, "threads": 1, **options})


def test_a_run_goes_on_with_the_threads_of_its_checkpoint(stopped: Path, tmp_path: Path) -> None:
    """The flows of a checkpoint are shared out already: another number of threads changes nothing."""
    write(tmp_path, resume=True, threads=3)
    write(tmp_path, "whole", threads=2)
    assert contents(tmp_path / "flows") == contents(tmp_path / "whole")


def test_what_is_wrong_with_a_checkpoint_is_said(stopped: Path, tmp_path: Path) -> None:
    """Its name, what is wrong, and how to begin anew."""
    data = stopped.read_bytes()
    stopped.chmod(0o666)
    with pytest.raises(ConfigError, match=r"others can write to it"):
        write(tmp_path, resume=True)
    stopped.chmod(0o600)
    stopped.write_bytes(data[:-1])
    with pytest.raises(ConfigError, match=r"checkpoint-000000.bin: the checkpoint is damaged; to begin it anew"):
        write(tmp_path, resume=True)


def test_without_its_checkpoint_a_run_begins_with_the_first_capture(stopped: Path, tmp_path: Path) -> None:
    """Nothing of a trace can be gone on with that is not remembered."""
    stopped.unlink()
    write(tmp_path, resume=True)
    write(tmp_path, "whole")
    assert contents(tmp_path / "flows") == contents(tmp_path / "whole")
