"""URLs: which texts are some, what their parts are, and that nothing secret in them is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowgauge import storage
from flowgauge.errors import ConfigError, MissingDependency
from flowgauge.storage.urls import Location, split


@pytest.mark.parametrize("name", ["x.pcap", "/a/b", "C:\\a", "C:/a", "a:b/c", "-", "://x", "1s://x"])
def test_paths_are_no_urls(name: str) -> None:
    """Only a scheme with :// behind it begins a URL; everything else is a path, and its own name."""
    assert not storage.is_url(name)
    assert (storage.local_path(name), storage.shown(name)) == (name, name)


@pytest.mark.parametrize(
    ("url", "parts", "shown"),
    [
        ("s3://b/k/x y%20#1.pcap", ("s3", "", "b", "k/x y%20#1.pcap", ""), "s3://b/k/x y%20#1.pcap"),
        ("S3://id:se@cret@b/k", ("s3", "id:se@cret", "b", "k", ""), "s3://b/k"),
        ("s3://b/a?region=x&scheme=http", ("s3", "", "b", "a", "region=x&scheme=http"), "s3://b/a"),
        ("s3://b/day-?.pcap", ("s3", "", "b", "day-?.pcap", ""), "s3://b/day-?.pcap"),
        ("s3://b/?.pcap?endpoint_override=http://h:1", ("s3", "", "b", "?.pcap", "endpoint_override=http://h:1"), "s3://b/?.pcap"),
        ("https://u:p@h:8/x?X-Signature=s", ("https", "u:p", "h:8", "x", "X-Signature=s"), "https://h:8/x"),
        ("s3://b", ("s3", "", "b", "", ""), "s3://b"),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart_and_shown_without_what_is_secret(url: str, parts: tuple[str, ...], shown: str) -> None:
    """Users, passwords, options and signatures are used, and never shown; names are taken as they are written."""
    assert split(url) == Location(*parts)
    assert storage.shown(url) == shown
    assert split(split(url).at(parts[3])) == split(url)


def test_what_is_in_a_folder_is_named_with_what_opens_the_folder(tmp_path: Path) -> None:
    """A name joined to a URL keeps user and options; a local one is a path."""
    assert storage.join("s3://u:p@b/a/?region=x", "c", "d.pq") == "s3://u:p@b/a/c/d.pq?region=x"
    assert storage.join("gs://b", "d.pq") == "gs://b/d.pq"
    assert storage.join(f"file://{tmp_path}", "d.pq") == storage.join(str(tmp_path), "d.pq") == str(tmp_path / "d.pq")
    assert storage.name_of("https://h/a/x.pcap?y=/z") == "x.pcap"


def test_file_urls_are_paths_of_this_machine(tmp_path: Path) -> None:
    """A file URL is decoded to the path that it names; one of another machine is refused."""
    (tmp_path / "a b.pcap").write_bytes(b"abc")
    assert storage.read((tmp_path / "a b.pcap").as_uri()) == b"abc"
    with pytest.raises(ConfigError, match="a file of the machine other"):
        storage.local_path("file://other/x")


@pytest.mark.parametrize("url", ["s3:///x", "https:///x"])
def test_a_url_without_a_bucket_or_host_is_refused(url: str) -> None:
    """What cannot be a place is said before anything is asked."""
    with pytest.raises(ConfigError, match="names no"):
        storage.open_input(url)


def test_storages_that_are_not_known_or_not_installed_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown scheme lists those that are known; one that needs a package says how to install it."""
    pytest.importorskip("fsspec")
    with pytest.raises(ConfigError, match="no storage is known by zzz://; there are s3, gs, hdfs"):
        storage.open_input("zzz://b/x")
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(MissingDependency, match=r"yyy:// needs fsspec: pip install 'flowgauge\[url\]'"):
        storage.open_input("yyy://b/x")


def test_web_pages_cannot_be_written() -> None:
    """Web servers give files and take none, which is said before a run begins."""
    with pytest.raises(ConfigError, match="can only be read"):
        storage.open_output("https://host/flows.parquet")


def test_an_option_that_a_storage_does_not_know_is_refused() -> None:
    """A mistyped option is an error with those that there are."""
    with pytest.raises(ConfigError, match=r"no option 'endpont'.*anonymous, endpoint_override, region, scheme"):
        storage.open_input("s3://b/x?endpont=y")


def test_a_storage_that_cannot_be_used_says_what_it_needs() -> None:
    """HDFS is used through Java; without it the message says so, and holds no password."""
    with pytest.raises((MissingDependency, OSError)) as raised:
        storage.open_input("hdfs://me:geheim@127.0.0.1:1/x")
    assert "geheim" not in str(raised.value)
