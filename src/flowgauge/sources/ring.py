"""Ring: the frames of a network interface, mapped from the system (Linux, AF_PACKET with TPACKET_V3).

Opening the socket needs privileges (:mod:`flowgauge.capture.privilege`), mapping and binding it does not: they can be
given up between the two. The socket is open for no protocol, and so receives nothing before it is bound.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import select
import socket
import struct
import time
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.errors import SourceError
from flowgauge.kernels.ring import BLOCK_FIRST, BLOCK_PACKETS, BLOCK_STATUS
from flowgauge.sources.interfaces import is_up

# linux/if_packet.h, linux/if_ether.h, asm-generic/socket.h
_SOL_PACKET = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION, _RESERVE, _FANOUT = 1, 5, 6, 10, 12, 18
_TIMES = 35  # SO_TIMESTAMPNS
_TPACKET_V3, _PROMISCUOUS, _FANOUT_HASH, _FANOUT_DEFRAG = 2, 1, 0, 0x8000
_ALL_PROTOCOLS = 0x0003
_STATUS_KERNEL, _STATUS_USER = 0, 1
_FRAME = 2048  # only says how many frames there could be; blocks are filled byte by byte
_RESERVED = 4  # bytes in front of each frame, for its VLAN tag

BLOCK_BYTES = 1 << 20
RING_BYTES = 64 << 20
BLOCK_SECONDS = 0.1
"""A block that is not full is handed over after this time."""


class Drops(NamedTuple):
    """Counted by the system since the last look: frames that passed the filter, and those among them that were lost."""

    frames: int
    lost: int


def _bind_to(sock: socket.socket, index: int) -> None:
    """Receive from an interface, 0: from all, for which Python's own bind has no word. Raises OSError."""
    family, protocol = int(socket.AF_PACKET), socket.htons(_ALL_PROTOCOLS)
    address = struct.pack("HHiHBB8x", family, protocol, index, 0, 0, 0)  # struct sockaddr_ll
    if ctypes.CDLL(None, use_errno=True).bind(sock.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Ring:
    """The ring of one interface (None: of all), by an open socket, which it closes.

    :meth:`start` maps the memory and begins to receive; attach filters to `handle` before. Blocks are taken one after
    another with :meth:`take`, and returned with :meth:`give_back` when nothing reads their bytes any more. `data`
    is the memory as bytes, `words` the same as 32-bit words. `fanout` is the number that rings share which divide
    the flows of an interface among them, both directions of a flow to the same ring; such a ring ends with its
    interface, as the system lets it not be bound again.
    """

    def __init__(
        self,
        handle: socket.socket,
        interface: str | None,
        *,
        size: int = RING_BYTES,
        promiscuous: bool = False,
        fanout: int | None = None,
    ) -> None:
        self.handle = handle
        self.interface = interface
        self.blocks = max(2, size // BLOCK_BYTES)
        self.promiscuous = promiscuous
        self.fanout = fanout
        self.down = False
        self.data: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.words: NDArray[np.uint32] = np.zeros(0, np.uint32)
        self._map: mmap.mmap | None = None
        self._index = 0
        self._next = 0
        self._taken = False

    def start(self) -> None:
        """Map the memory and begin to receive. Raises SourceError."""
        try:
            self._configure(self.handle)
            self._bind(self.handle)
        except OSError as error:
            name = self.interface or "any"
            raise SourceError(f"{name}: the system gives no packet ring ({error.strerror or error})") from error

    def _configure(self, sock: socket.socket) -> None:
        # A frame's time is that of its arrival, for whoever looks; else each socket takes that of its own copy.
        sock.setsockopt(socket.SOL_SOCKET, _TIMES, 1)
        sock.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
        sock.setsockopt(_SOL_PACKET, _RESERVE, _RESERVED)
        size = self.blocks * BLOCK_BYTES
        milliseconds = int(BLOCK_SECONDS * 1000)
        # struct tpacket_req3: block size, blocks, frame size, frames, timeout of a block, private bytes, features
        request = struct.pack("7I", BLOCK_BYTES, self.blocks, _FRAME, size // _FRAME, milliseconds, 0, 0)
        sock.setsockopt(_SOL_PACKET, _RX_RING, request)
        self._map = mmap.mmap(sock.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.data = np.frombuffer(self._map, np.uint8)
        self.words = self.data.view(np.uint32)

    def _bind(self, sock: socket.socket) -> None:
        self._index = socket.if_nametoindex(self.interface) if self.interface else 0
        _bind_to(sock, self._index)
        if self.promiscuous and self._index:
            request = struct.pack("IHH8s", self._index, _PROMISCUOUS, 0, b"")
            sock.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, request)
        if self.fanout is not None:
            sock.setsockopt(_SOL_PACKET, _FANOUT, struct.pack("HH", self.fanout, _FANOUT_HASH | _FANOUT_DEFRAG))

    def take(self, seconds: float) -> tuple[int, int] | None:
        """The next block that is full or timed out, as (offset of its first frame, frames); None after `seconds`
        of waiting. While the interface is down there is none; `down` says so.
        """
        if not self._is_ready() and not self._wait(seconds):
            return None
        begin = self._next * BLOCK_BYTES
        frames, first = (int(self.words[(begin + at) // 4]) for at in (BLOCK_PACKETS, BLOCK_FIRST))
        self._taken = True
        return begin + first, frames

    def _is_ready(self) -> bool:
        return bool(self.words[(self._next * BLOCK_BYTES + BLOCK_STATUS) // 4] & _STATUS_USER)

    def _wait(self, seconds: float) -> bool:
        """Wait for a block; whether there is one now."""
        poll = select.poll()
        poll.register(self.handle, select.POLLIN | select.POLLERR)
        if self.down:
            time.sleep(seconds)
            self._look_for_interface()
        elif any(events & select.POLLERR for _, events in poll.poll(seconds * 1000)):
            self.down = self.handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        return self._is_ready()

    def _look_for_interface(self) -> None:
        """Receive again: of an interface that is up again the system does so by itself, of a new one with the same name
        it has to be asked."""
        try:
            index = socket.if_nametoindex(self.interface) if self.interface else 0
            if index != self._index:
                self._bind(self.handle)
            self.down = self.handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0 or not (
                self.interface is None or is_up(self.interface)
            )
        except OSError:
            self.down = True

    def give_back(self) -> None:
        """The block that was taken is for the system to fill again."""
        if self._taken:
            self.words[(self._next * BLOCK_BYTES + BLOCK_STATUS) // 4] = _STATUS_KERNEL
            self._next = (self._next + 1) % self.blocks
            self._taken = False

    def drops(self) -> Drops:
        """What the system has counted since this was last asked."""
        if self._map is None:
            return Drops(0, 0)
        frames, lost, _ = struct.unpack("III", self.handle.getsockopt(_SOL_PACKET, _STATISTICS, 12))
        return Drops(frames, lost)

    def close(self) -> None:
        """Give back memory and socket."""
        self.data, self.words = np.zeros(0, np.uint8), np.zeros(0, np.uint32)
        if self._map is not None:
            with contextlib.suppress(BufferError):  # somebody still holds an array of it, which keeps it mapped
                self._map.close()
            self._map = None
        self.handle.close()

    def __enter__(self) -> Ring:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
