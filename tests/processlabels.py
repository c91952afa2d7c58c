"""Captures whose packets say which process they are of, written by the layouts that their programs publish.

Imports nothing of the package. A packet is (seconds since START, an IP packet, what is said of it).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from captures import block, enhanced, interface, section, write_pcap
from packets import RAW_IP, START, Layer

PKTAP, USER2 = 258, 149
CUSTOM, DARWIN = 0x0BAD, 0x80000001
COMMENT, THREAD, DARWIN_INDEX, DARWIN_SERVICE, DARWIN_EFFECTIVE = 1, 8, 0x8001, 0x8002, 0x8003
PEN_PCAPDROID, PEN_WIRESHARK = 62652, 32622
Options = Sequence[tuple[int, bytes]]


def nanoseconds(seconds: float) -> int:
    return START + round(seconds * 1_000_000_000)


def ticks(seconds: float) -> int:
    """In the microseconds of an interface that says nothing of its resolution."""
    return nanoseconds(seconds) // 1000


def comments(*texts: str) -> list[tuple[int, bytes]]:
    return [(COMMENT, text.encode()) for text in texts]


# PCAPdroid


class App(NamedTuple):
    """An app of a phone."""

    uid: int
    name: str
    package: str = ""


def trailer(record: bytes, app: App, *, checksum: int | None = None) -> bytes:
    """The 32 bytes that PCAPdroid puts behind a record's bytes; `checksum` overrides the right one."""
    said = struct.pack(">Ii20s", 0x01072021, app.uid, app.name.encode()[:19])
    right = zlib.crc32(record + said)
    return said + struct.pack("<I", right if checksum is None else checksum)


def made_up_frame(packet: Layer, app: App | None, *, checksum: int | None = None) -> bytes:
    """A record of PCAPdroid's dump extensions: an Ethernet header of zeros, the packet, padding, the trailer."""
    frame = bytes(12) + struct.pack(">H", packet.number) + packet.data
    frame += bytes(-len(frame) % 4)
    return frame + (b"" if app is None else trailer(frame, app, checksum=checksum))


def pcapdroid_pcap(rows: Iterable[tuple[float, Layer, App | None]], order: str = "<") -> bytes:
    """What PCAPdroid writes as pcap with its extensions on."""
    frames = [(nanoseconds(seconds), made_up_frame(packet, app)) for seconds, packet, app in rows]
    return write_pcap(frames, order=order)


def user_map(app: App, order: str = "<", *, version: int = 1, kind: int = 1) -> bytes:
    """The custom block that names the app of a user id."""
    package, name = app.package.encode(), app.name.encode()
    head = struct.pack(order + "IHBBiBB", PEN_PCAPDROID, version, kind, 0, app.uid, len(package), len(name))
    return block(CUSTOM, head + package + name, order)


def pcapdroid_pcapng(rows: Iterable[tuple[float, Layer, App]], order: str = "<") -> bytes:
    """What PCAPdroid writes as pcapng: a map before the first packet of each user id, which packets name."""
    blocks, known = [section(order), interface(RAW_IP, order)], set()
    for seconds, packet, app in rows:
        if app.uid not in known:
            known.add(app.uid)
            blocks.append(user_map(app, order))
        said = [*comments(f"u-{app.uid}"), (2, struct.pack(order + "I", 2))]
        blocks.append(enhanced(ticks(seconds), packet.data, order=order, pairs=said))
    return b"".join(blocks)


# Comments


def commented(rows: Iterable[tuple[float, Layer, Options]], order: str = "<", link: int = RAW_IP) -> bytes:
    """A pcapng capture of packets with these options."""
    packets = [enhanced(ticks(seconds), packet.data, order=order, pairs=said) for seconds, packet, said in rows]
    return b"".join([section(order), interface(link, order), *packets])


def ptcpdump(pid: int, command: str, uid: int | None = None, thread: int | None = None) -> Options:
    """The comments of ptcpdump, each a set of lines."""
    texts = [f"PID: {pid}\nCmd: {command}\nArgs: {command} -x PID: 1"]
    texts += [] if thread is None else [f"ThreadId: {thread}\nThreadName: worker"]
    texts += [] if uid is None else [f"UserId: {uid}"]
    texts += [f"ParentPID: {pid - 1}\nParentCmd: /usr/bin/bash\nParentArgs: -bash"]
    return [*comments(*texts), (2, struct.pack("<I", 1))]


# Apple


class Task(NamedTuple):
    """A process of a Mac: pid and command."""

    pid: int
    command: str


NOBODY = Task(-1, "")


def pktap_header(
    task: Task, effective: Task = NOBODY, *, link: int = RAW_IP, length: int = 108, kind: int = 1
) -> bytes:
    """Apple's packet tap header, little-endian."""
    head = struct.pack("<III24sIIII", length, kind, link, b"en0", 0, 2, 0, 0)
    first = struct.pack("<i20sIHH", task.pid, task.command.encode()[:20], 0, 6, 0)
    second = struct.pack("<i20s", effective.pid, effective.command.encode()[:20])
    return (head + first + second).ljust(length, b"\0")


def pktap_pcap(rows: Iterable[tuple[float, Layer, tuple[Task, ...]]], link: int = PKTAP, length: int = 108) -> bytes:
    """A packet tap capture."""
    frames = [
        (nanoseconds(seconds), pktap_header(*tasks, length=length) + packet.data) for seconds, packet, tasks in rows
    ]
    return write_pcap(frames, link=link)


def darwin_process(task: Task, order: str = "<") -> bytes:
    """Apple's process block, which packets name by its number in the section."""
    said = [(2, task.command.encode()), (4, bytes(16))]
    return block(DARWIN, struct.pack(order + "I", task.pid) + _options(said, order), order)


def darwin_options(order: str, process: int, effective: int | None = None) -> Options:
    """A packet's references to such blocks."""
    said = [(DARWIN_INDEX, struct.pack(order + "I", process)), (DARWIN_SERVICE, struct.pack(order + "I", 0))]
    return said if effective is None else [*said, (DARWIN_EFFECTIVE, struct.pack(order + "I", effective))]


# Process information


class Process(NamedTuple):
    """What a process information block says; `start` is seconds since START."""

    pid: int
    name: str = ""
    path: str = ""
    uid: int | None = None
    start: float | None = None


def process_information(process: Process, order: str = "<", *, entry: int = 3) -> bytes:
    """Wireshark's custom block; its entry is little-endian in every section."""
    said = [(2, process.name.encode())] if process.name else []
    said += [(3, process.path.encode())] if process.path else []
    said += [(4, b"a\0b\0"), (5, struct.pack("<I", 1))]
    said += [] if process.uid is None else [(6, struct.pack("<I", process.uid))]
    said += [] if process.start is None else [(9, struct.pack("<Q", nanoseconds(process.start)))]
    data = struct.pack("<I", process.pid) + _options(said, "<")
    head = struct.pack(order + "I", PEN_WIRESHARK) + struct.pack("<II", entry, len(data))
    return block(CUSTOM, head + data, order)


def thread(order: str, pid: int, tid: int = 7) -> Options:
    """The option epb_processid_threadid."""
    return [(THREAD, struct.pack(order + "II", pid, tid))]


def _options(pairs: Iterable[tuple[int, bytes]], order: str) -> bytes:
    encoded = (struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in pairs)
    return b"".join(encoded) + bytes(4)
