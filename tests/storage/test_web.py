"""Files of web servers: all their bytes whatever happens to the connection, or one clear reason."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from flowgauge import storage
from flowgauge.storage import retries, web
from webservers import Site, web_server

DATA = random.Random(5).randbytes(700_001)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def site() -> Iterator[Site]:
    with web_server({"/d/x.pcap": DATA, "/empty": b""}) as found:
        yield found


def test_a_file_is_read_by_one_request(site: Site) -> None:
    """A file is its bytes, asked for once, with its size known."""
    with storage.open_input(f"{site.url}/d/x.pcap") as file:
        assert (file.size, file.readall(), file.retries) == (len(DATA), DATA, 0)
    assert site.asked == [("/d/x.pcap", "")]


@pytest.mark.parametrize("breaks", [[1], [400_000, 70_000], [0, 5, 0], [699_999]])
def test_a_broken_connection_is_gone_on_with_at_the_byte_where_it_broke(site: Site, breaks: list[int]) -> None:
    """Each break is one request more, for exactly the bytes that are missing, and is counted."""
    site.breaks = list(breaks)
    with storage.open_input(f"{site.url}/d/x.pcap") as file:
        assert file.readall() == DATA
        assert file.retries == len(breaks)
    begins = [sum(breaks[: count + 1]) for count in range(len(breaks))]
    assert [wanted for _, wanted in site.asked] == ["", *(f"bytes={begin}-" if begin else "" for begin in begins)]


def test_a_server_without_ranges_begins_anew_and_what_was_read_is_passed_over(site: Site) -> None:
    """Where a server gives all bytes again, those that were there already are dropped."""
    site.ranges, site.breaks = False, [300_000, 650_000]
    with storage.open_input(f"{site.url}/d/x.pcap") as file:
        assert file.readall() == DATA


def test_a_connection_that_stays_broken_is_given_up_after_a_bounded_number_of_attempts(site: Site) -> None:
    """Without a byte more, attempts end with the reason and the byte."""
    site.breaks = [10, *[0] * 100]
    with storage.open_input(f"{site.url}/d/x.pcap") as file:
        assert file.read(100) == DATA[:10]
        with pytest.raises(OSError, match="closed after byte 10 of 700001"):
            file.read(100)
    assert len(site.asked) == 1 + len(retries.PAUSES)


def test_bytes_that_come_begin_the_attempts_anew(site: Site) -> None:
    """Many breaks are no reason to give up, as long as each attempt brings bytes."""
    site.breaks = [50_000] * 13
    with storage.open_input(f"{site.url}/d/x.pcap") as file:
        assert file.readall() == DATA
        assert file.retries == 13


def test_a_file_that_changes_while_it_is_read_is_an_error(site: Site) -> None:
    """Bytes of two states of a file are never put together."""
    site.breaks = [1000]
    with storage.open_input(f"{site.url}/d/x.pcap") as file:
        assert len(file.read(1000)) == 1000
        site.files["/d/x.pcap"] = DATA[::-1]
        with pytest.raises(OSError, match="it was changed on the server while it was read"):
            file.read(1000)


def test_a_file_of_unknown_size_is_read_to_its_end(site: Site) -> None:
    """A server need not say how long a file is."""
    site.sizes = False
    with storage.open_input(f"{site.url}/d/x.pcap") as file:
        assert (file.size, file.readall()) == (None, DATA)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_look_takes_a_piece(site: Site, ranges: bool) -> None:
    """A look at the begin asks for its first piece only, and goes on where more is wanted."""
    site.ranges = ranges
    assert storage.head(f"{site.url}/d/x.pcap", 100) == DATA[:100]
    assert site.asked == [("/d/x.pcap", f"bytes=0-{web._LOOK_BYTES - 1}")]
    with storage.open_input(f"{site.url}/d/x.pcap", ahead=False) as file:
        assert file.readall() == DATA
        assert (file.size, file.retries) == (len(DATA), 0)
    assert storage.read(f"{site.url}/empty") == b""


def test_a_busy_server_is_asked_again(site: Site) -> None:
    """What the server calls passing is tried again, also for the first byte."""
    site.codes = [503, 429]
    assert storage.read(f"{site.url}/d/x.pcap") == DATA


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (404, FileNotFoundError, "nothing of this name"),
        (403, PermissionError, "no permission"),
        (401, PermissionError, "wants a user and a password"),
        (418, OSError, "the server answers 418"),
    ],
)
def test_an_answer_that_is_no_file_is_one_reason(site: Site, code: int, kind: type[OSError], reason: str) -> None:
    """What another attempt does not mend is asked once."""
    site.codes = [code, code]
    with pytest.raises(kind, match=reason):
        storage.open_input(f"{site.url}/d/x.pcap")
    assert len(site.asked) == 1


def test_no_server_is_one_reason() -> None:
    """Nobody at the other end, and no such host, are errors that name the host."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(
        ConnectionRefusedError, match=rf"no connection \(.*\); check the network and the host 127.*{port}"
    ):
        storage.open_input(f"http://127.0.0.1:{port}/x.pcap")


def test_a_password_opens_and_is_not_sent_on_to_another_server(site: Site) -> None:
    """User and password of a URL are for its server, not for where that one leads."""
    with web_server({"/d/x.pcap": b"moved"}) as other:
        site.password = "me:geheim word"
        url = site.url.replace("://", "://me:geheim%20word@") + "/d/x.pcap"
        assert storage.read(url) == DATA
        site.moved_to = other.url
        assert storage.read(url) == b"moved"
        assert other.authorizations == [""]


def test_a_page_of_links_is_a_folder(site: Site) -> None:
    """A folder is what its page has links to below it: names in order, no parents, sorting links or other servers."""
    site.files |= {"/d/sub/b.pcap": b"b", "/d/a b.pcap": b"a", "/d/.hidden.pcap": b"", "/e.pcap": b""}
    below = [entry.url.removeprefix(site.url) for entry in storage.listing(f"{site.url}/d/")]
    assert below == ["/d/a b.pcap", "/d/sub/b.pcap", "/d/x.pcap"]
    here = storage.listing(f"{site.url}/d/", recursive=False)
    assert [entry.url for entry in here if entry.is_folder] == [f"{site.url}/d/sub/"]
    assert [entry.url.removeprefix(site.url) for entry in storage.glob(f"{site.url}/d/**/*x.pcap")] == ["/d/x.pcap"]
    with pytest.raises(FileNotFoundError):
        storage.listing(f"{site.url}/none/")
    assert storage.look(f"{site.url}/none") is None
