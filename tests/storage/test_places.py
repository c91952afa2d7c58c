"""The same functions do the same on this machine, in an object storage and in one of fsspec."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowgauge import storage
from services_here import needs

FILES = ["top.pcap", "b/10.pcap", "b/2.pcap", "b/d/e.pcap.gz", "a-c/x", "a b%20#1.pcap", "a/z"]
HIDDEN = [".x.pcap", "b/.git/y.pcap"]

here = pytest.param("here")
fsspec = pytest.param("memory", marks=needs("fsspec"))
objects = pytest.param("objects", marks=[pytest.mark.slow, needs("moto", "boto3")])


@pytest.fixture(params=[here, fsspec, objects])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder with nothing in it."""
    if request.param == "here":
        return str(tmp_path)
    if request.param == "memory":
        return f"memory://place/{tmp_path.name}"
    return storage.join(request.getfixturevalue("bucket"), "sub")


def fill(place: str, *names: str) -> None:
    for name in names:
        url = storage.join(place, name)
        storage.make_folder(url.rpartition("/")[0])
        storage.put(url, name.encode())


def below(place: str, entries: list[storage.Entry]) -> list[str]:
    return [entry.url.removeprefix(place).lstrip("/") for entry in entries]


@pytest.mark.parametrize("name", ["x.bin", "x.gz"])
def test_what_is_put_is_read(place: str, name: str) -> None:
    """Bytes come back as they are, at once, in pieces, from the begin and from anywhere, whatever the name says."""
    fill(place, f"a/{name}")
    url = storage.join(place, "a", name)
    data = os.urandom(300_000)
    storage.put(url, data)
    assert storage.read(url) == data
    assert storage.head(url, 1000) == data[:1000]
    with storage.open_input(url) as file:
        assert (file.size, file.readall(), file.retries) == (len(data), data, 0)
    with storage.open_random(url) as random:
        assert random.read_at(10, 200_000) == data[200_000:200_010]
    assert storage.look(url) == storage.Entry(url, len(data), False)


def test_folders_are_listed_in_the_order_of_path_components(place: str) -> None:
    """A listing comes sorted by path components, without what is hidden; without recursion folders are in it."""
    fill(place, *FILES, *HIDDEN)
    order = ["a/z", "a b%20#1.pcap", "a-c/x", "b/10.pcap", "b/2.pcap", "b/d/e.pcap.gz", "top.pcap"]
    assert below(place, storage.listing(place)) == order
    flat = storage.listing(place, recursive=False)
    assert below(place, flat) == ["a", "a b%20#1.pcap", "a-c", "b", "top.pcap"]
    assert [entry.is_folder for entry in flat] == [True, False, True, True, False]
    assert [entry.size for entry in storage.listing(storage.join(place, "b"), recursive=False)] == [9, 8, None]
    with pytest.raises(FileNotFoundError):
        storage.listing(storage.join(place, "none"))


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*.pcap", ["a b%20#1.pcap", "top.pcap"]),
        ("**/*.pcap", ["a b%20#1.pcap", "b/10.pcap", "b/2.pcap", "top.pcap"]),
        ("b/[0-9].pcap", ["b/2.pcap"]),
        ("b/??.pcap", ["b/10.pcap"]),
        ("?/*", ["a/z", "b/10.pcap", "b/2.pcap", "b/d"]),
        ("b/**", ["b/10.pcap", "b/2.pcap", "b/d/e.pcap.gz"]),
        ("**/d", ["b/d/e.pcap.gz"]),
        ("**/d/**/*.gz", ["b/d/e.pcap.gz"]),
        ("a*", ["a", "a b%20#1.pcap", "a-c"]),
        ("none/*", []),
        ("*/none", []),
    ],
)
def test_patterns_match_names_as_a_shell_does(place: str, pattern: str, matches: list[str]) -> None:
    """One name is matched by *, ? and […], any number of folders by **; hidden ones never are."""
    fill(place, *FILES, *HIDDEN)
    assert storage.has_magic(storage.join(place, pattern))
    assert below(place, storage.glob(storage.join(place, pattern))) == matches


def test_nothing_there_is_told_from_a_file_and_a_folder(place: str) -> None:
    """What is not there is None, or FileNotFoundError where it is opened; deleting it is no error."""
    fill(place, "a/x")
    assert [storage.exists(storage.join(place, name)) for name in ("a", "a/x", "a/y", "b")] == [
        True,
        True,
        False,
        False,
    ]
    found = storage.look(storage.join(place, "a"))
    assert found is not None and found.is_folder
    with pytest.raises(FileNotFoundError):
        storage.open_input(storage.join(place, "a/y"))
    storage.delete(storage.join(place, "a/x"))
    storage.delete(storage.join(place, "a/x"))
    assert not storage.exists(storage.join(place, "a/x"))


def test_an_output_appears_when_it_is_complete(place: str) -> None:
    """Before commit readers see what was there before; after it, all that is new, and nothing beside it."""
    fill(place, "x", "y")
    url = storage.join(place, "x")
    output = storage.open_output(url)
    output.write(b"new " * 3_000_000)
    output.flush()
    assert storage.read(url) == b"x"
    assert below(place, storage.listing(place)) == ["x", "y"]
    output.commit()
    assert storage.read(url) == b"new " * 3_000_000
    assert below(place, storage.listing(place)) == ["x", "y"]


def test_an_output_that_is_given_up_leaves_what_was_there(place: str) -> None:
    """After abort, and after a stream that nobody holds any more, nothing of it is seen."""
    fill(place, "x")
    for data in (b"few", b"many " * 3_000_000):
        for name in ("x", "new"):
            output = storage.open_output(storage.join(place, name))
            output.write(data)
            output.abort()
            del output
    gc.collect()
    assert below(place, storage.listing(place)) == ["x"]
    assert storage.read(storage.join(place, "x")) == b"x"


def test_a_table_is_written_and_read_in_place(place: str) -> None:
    """What Arrow writes to an output, it reads from the same place by pieces."""
    table = pa.table({"a": list(range(100_000))})
    url = storage.join(place, "t.parquet")
    storage.make_folder(place)
    output = storage.open_output(url)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    output.write(sink.getvalue())
    output.commit()
    with storage.open_random(url) as file:
        assert pq.read_table(file).equals(table)


# --- only of object storages ----------------------------------------------------------------------

_ENDS = """
import os, sys, time
from flowgauge import storage
output = storage.open_output(sys.argv[1])
output.write(b"half " * 5_000_000)
if sys.argv[2] == "raise":
    raise SystemExit(3)
if sys.argv[2] == "wait":
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@needs("moto", "boto3")
@pytest.mark.parametrize("how", ["end", "raise", "wait"])
def test_a_process_that_ends_or_is_killed_before_commit_leaves_no_object(bucket: str, s3: Any, how: str) -> None:
    """However a process ends, an upload that was not committed makes no object."""
    program = [sys.executable, "-c", _ENDS, f"{bucket}/flows.parquet", how]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if how == "wait":
            assert process.stdout is not None and process.stdout.readline() == b"written\n"
            process.send_signal(signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == {"end": 0, "raise": 3, "wait": -signal.SIGKILL}[how]
    assert said == b""
    time.sleep(0.2)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket.removeprefix("s3://"))


@pytest.mark.slow
@needs("moto", "boto3")
def test_errors_of_an_object_storage_say_what_to_do(bucket: str, s3_server: str) -> None:
    """No such bucket, nothing of this name and no connection are each one reason with advice."""
    with pytest.raises(FileNotFoundError, match=r"there is no bucket 'no-such'; check its name and the endpoint"):
        storage.open_output("s3://no-such/x")
    with pytest.raises(FileNotFoundError, match="there is no bucket 'no-such'"):
        storage.listing("s3://no-such")
    with pytest.raises(FileNotFoundError, match="there is nothing of this name"):
        storage.open_input(f"{bucket}/x")
    with pytest.raises(ConnectionRefusedError, match=r"no connection \(.*\); check the network and the endpoint"):
        storage.open_input(f"{bucket}/x?endpoint_override=http://127.0.0.1:1")
    assert storage.listing(bucket) == []


@pytest.mark.slow
@needs("moto", "boto3")
def test_an_endpoint_and_keys_in_a_url_are_used(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a URL says wins over the environment."""
    storage.put(f"{bucket}/x", b"abc")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    url = f"{bucket.replace('://', '://somebody:geheim@')}/x?endpoint_override={s3_server}&region=us-east-1"
    assert storage.read(url) == b"abc"
    (entry,) = storage.listing(url.replace("/x?", "?"))
    assert storage.read(entry.url) == b"abc"
    assert storage.shown(entry.url) == f"{bucket}/x"
