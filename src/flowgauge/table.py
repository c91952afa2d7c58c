"""FlowTable: owns the arrays of keys and records, grows them, and hands out the records that have ended."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.config import NANOSECONDS, MeterConfig, Timeout
from flowgauge.features import Layout
from flowgauge.features import Left as LeftStates
from flowgauge.growing import Growing
from flowgauge.kernels import lifetime
from flowgauge.kernels import state as st
from flowgauge.kernels.header import TCP
from flowgauge.kernels.packet import PacketBatch
from flowgauge.kernels.rows import take_rows
from flowgauge.memory import Memory
from flowgauge.snapshot import Snapshot, fill, in_use, restored, rows_at

FIRST_CAPACITY = 1 << 17  # rows that are never touched cost no memory
FIRST_STACKS = 1 << 10
# What grows: by keys, by slots of records (states of features do, too), and by stacks.
_OF_KEYS = ("keys", "free_keys", "closing")
_OF_SLOTS = ("flows", "free_slots", "ended")
_OF_STACKS = ("stacks", "free_stacks")
_RECORDS = {"keys": st.KEY, "flows": st.FLOW, "stacks": st.STACK}  # the others are numbers of rows
_SERVICE_BITS = {"tcp": 1, "udp": 2, "sctp": 4}


def load_services() -> NDArray[np.uint8]:
    """By port: a bit for each protocol whose port is in the shipped list of services."""
    table = np.zeros(65536, np.uint8)
    text = resources.files("flowgauge").joinpath("services.csv").read_text("utf-8")
    rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    for port, protocol, *_ in rows[1:]:
        table[int(port)] |= _SERVICE_BITS[protocol.lower()]
    return table


class Left(NamedTuple):
    """Slots of records that have left, in output order, and what that order is by: the boundary at which they left,
    their end, flow_id and part."""

    slots: NDArray[np.int32]
    leave: NDArray[np.int64]
    end: NDArray[np.int64]
    flow_id: NDArray[np.int64]
    part: NDArray[np.int32]


def _nanoseconds(timeout: Timeout) -> int:
    return int(st.NEVER) if timeout is None else round(timeout * NANOSECONDS)


class FlowTable:
    """Keys, records and the state of the chosen feature groups.

    `states` are the arrays of the features, of these layouts, row-parallel to the records; they grow with them.
    """

    def __init__(self, config: MeterConfig, layouts: Sequence[Layout]) -> None:
        self._layouts = tuple(layouts)
        self._clean = [layout.clean for layout in layouts]
        keys = min(FIRST_CAPACITY, config.max_flows)
        self._make_rooms(keys, FIRST_CAPACITY, FIRST_STACKS)
        self.arrays: Any = st.Table(
            state=np.zeros(1, st.STATE).view(np.recarray),
            config=self._config(config),
            index=np.zeros(_index_length(keys), np.uint64),
            buckets=np.full(st.BUCKETS, -1, np.int32),
            oldest=np.zeros(1, np.int32),
            unanswered=np.zeros(1, np.int32),
            services=load_services(),
            **{name: room.array for name, room in self._rooms.items()},
        )
        self._state = self.arrays.state.view(np.ndarray)
        self.state.source_epoch = -1
        self.state.snapshot_clock = -(2**62)

    def _make_rooms(self, keys: int, slots: int, stacks: int) -> None:
        """Zeroed arrays of so many rows, for all that grows."""
        rows = ((_OF_KEYS, keys), (_OF_SLOTS, slots), (_OF_STACKS, stacks))
        self._rooms = {name: Growing(count, _RECORDS.get(name, np.int32)) for names, count in rows for name in names}
        self._state_rooms = [
            Growing(slots, layout.dtype, () if layout.width is None else (layout.width,)) for layout in self._layouts
        ]
        self.states = [room.array for room in self._state_rooms]

    @staticmethod
    def _config(config: MeterConfig) -> np.recarray:
        record = np.zeros(1, st.CONFIG).view(np.recarray)
        record[0].seed[:] = [secrets.randbits(64) for _ in range(11)]
        record[0].idle[:] = [_nanoseconds(timeout) for timeout in config.idle_timeout]
        record[0].active = _nanoseconds(config.active_timeout)
        record[0].attempt = _nanoseconds(config.attempt_timeout)
        record[0].forget = config.forget
        record[0].first_packets = int(st.NEVER) if config.first_packets is None else config.first_packets
        record[0].first_time = _nanoseconds(config.first_seconds)
        record[0].window = _nanoseconds(config.window)
        record[0].limits = config.first_packets is not None or config.first_seconds is not None
        record[0].services_only = config.services_only
        record[0].max_keys = config.max_flows
        record[0].hosts = config.key == "hosts"
        record[0].vlan_in_key = config.vlan_in_key
        record[0].tcp_end = not config.no_tcp_end and config.key != "hosts"
        record[0].first_is_client = config.first_is_client
        return record

    @property
    def state(self) -> Any:
        return self.arrays.state[0]

    def count(self, name: str) -> int:
        """A field of the state; ten times faster than the attribute."""
        return int(self._state[name][0])

    @property
    def flows(self) -> Any:
        return self.arrays.flows

    @property
    def open_records(self) -> int:
        """Records that are open or wait to leave."""
        return int(self.state.fresh_slot - self.state.free_slots)

    @property
    def record_bytes(self) -> int:
        """What a record and its states take."""
        return int(self.flows.itemsize + sum(array.nbytes // len(array) for array in self.states))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays that grow with the number of flows."""
        queues = (self.arrays.index, self.arrays.oldest, self.arrays.unanswered)
        growing = (room.array for room in (*self._rooms.values(), *self._state_rooms))
        return sum(array.nbytes for array in (*queues, *growing))

    @property
    def bytes_per_slot(self) -> float:
        return self.nbytes / len(self.flows)

    def make_room(self) -> None:
        """Grow whatever `assign` found full; doubling, one array at a time."""
        s = self.state
        if s.free_keys == 0 and s.fresh_key == len(self.arrays.keys):
            self._grow_keys()
        if s.free_slots == 0 and s.fresh_slot == len(self.arrays.flows):
            self._grow_slots()

    def _replace(self, name: str, array: Any) -> None:
        self.arrays = self.arrays._replace(**{name: array})

    def _grow_keys(self) -> None:
        rows = min(2 * len(self.arrays.keys), int(self.arrays.config[0].max_keys))
        self._grow(_OF_KEYS, rows)
        if _index_length(rows) > len(self.arrays.index):
            self._replace("index", np.zeros(_index_length(rows), np.uint64))
            lifetime.rebuild_index(self.arrays)

    def _grow(self, names: Sequence[str], rows: int) -> None:
        for name in names:
            self._replace(name, None)  # what is held could not be moved
            self._replace(name, self._rooms[name].grow(rows))

    def _grow_slots(self) -> None:
        rows = 2 * len(self.arrays.flows)
        self._grow(_OF_SLOTS, rows)
        for number, room in enumerate(self._state_rooms):
            self.states[number] = None
            self.states[number] = room.grow(rows)

    def keep_stacks(self, batch: PacketBatch, rows: int) -> None:
        """Keep what is around the packets, of a batch just assigned, that opened records."""
        if not self.count("without_stack"):
            return
        s = self.state
        while s.free_stacks + len(self.arrays.stacks) - s.fresh_stack < s.without_stack:
            self._grow(_OF_STACKS, 2 * len(self.arrays.stacks))
        lifetime.keep_stacks(batch, rows, self.arrays)

    def rank_by_use(self) -> None:
        """Rebuild the queues from which the least recently used keys are evicted."""
        s, keys = self.state, self.arrays.keys.view(np.ndarray)[: self.state.fresh_key]
        active = np.flatnonzero(keys["marks"] & st.ACTIVE)
        ranked = active[np.argsort(keys["used"][active], kind="stable")].astype(np.int32)
        chosen = keys[ranked]
        tcp = chosen["ports"] >> np.uint64(8) & np.uint64(0xFF) == np.uint64(TCP)
        waiting = tcp & (chosen["slot"] >= 0) & (chosen["marks"] & (st.PROGRESSED | st.CLOSED) == 0)
        self._replace("oldest", ranked)
        self._replace("unanswered", np.ascontiguousarray(ranked[waiting]))
        s.oldest, s.oldest_stop = 0, len(ranked)
        s.unanswered, s.unanswered_stop = 0, int(waiting.sum())
        s.snapshot, s.snapshot_clock = s.ordinal, s.clock

    def ended(self) -> Left:
        """The records that have left, in output order; they stay in use until :meth:`take`."""
        s = self.state
        ended = self.arrays.ended[: s.ended]
        leave = self.flows.leave[ended]
        left = leave <= s.epoch
        slots = ended[left]
        kept = ended[~left]
        self.arrays.ended[: len(kept)] = kept
        s.ended = len(kept)
        return self.in_order(slots)

    def in_order(self, slots: NDArray[np.int32]) -> Left:
        """These records that have left, in output order."""
        f = self.flows
        leave, end, flow_id, part = f.leave[slots], f.end[slots], f.flow_id[slots], f.part[slots]
        order = order_of(leave, end, flow_id, part)
        return Left(slots[order], leave[order], end[order], flow_id[order], part[order])

    def take(self, slots: NDArray[np.int32], memory: Memory) -> tuple[NDArray[Any], list[Any], NDArray[Any]]:
        """The records in these slots, their feature states, and the stacks of those with a tunnel, in their order.

        Slots and stacks are free from here on; states that are not clean stay as they are until the next packet.
        """
        s = self.state
        flows = _take(self.flows, slots, memory)
        states = [
            _take(array, slots, memory) if clean else LeftStates(array, slots)
            for array, clean in zip(self.states, self._clean, strict=True)
        ]
        self.arrays.free_slots[s.free_slots : s.free_slots + len(slots)] = slots
        s.free_slots += len(slots)
        tunnels = flows["tunnel"]
        rows = tunnels[tunnels > 0] - 1
        self.arrays.free_stacks[s.free_stacks : s.free_stacks + len(rows)] = rows
        s.free_stacks += len(rows)
        return flows, states, self.arrays.stacks.view(np.ndarray)[rows]

    def snapshot(self) -> Snapshot:
        """Of the rows in use alone; a free record has nothing that its next owner is told."""
        a, s = self.arrays, self.state
        slots = in_use(a.free_slots[: s.free_slots], int(s.fresh_slot))
        return {
            "capacity": [len(a.keys), len(a.flows), len(a.stacks)],
            "state": a.state,
            "config": a.config,
            "keys": a.keys[: s.fresh_key],
            "stacks": a.stacks[: s.fresh_stack],
            "buckets": a.buckets,
            "free_keys": a.free_keys[: s.free_keys],
            "free_slots": a.free_slots[: s.free_slots],
            "free_stacks": a.free_stacks[: s.free_stacks],
            "closing": a.closing[: s.closing],
            "ended": a.ended[: s.ended],
            "oldest": a.oldest,
            "unanswered": a.unanswered,
            "slots": slots,
            "flows": rows_at(a.flows, slots),
            **{f"state_{number}": rows_at(array, slots) for number, array in enumerate(self.states)},
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Be as at the snapshot, by a table of the same configuration."""
        keys, slots, stacks = snapshot["capacity"]
        a = self.arrays
        fill(a.state, snapshot, "state")
        fill(a.config, snapshot, "config")
        self._make_rooms(keys, slots, stacks)
        self.arrays = a = a._replace(
            index=np.zeros(_index_length(keys), np.uint64),
            oldest=restored(snapshot, "oldest", np.int32).copy(),
            unanswered=restored(snapshot, "unanswered", np.int32).copy(),
            **{name: room.array for name, room in self._rooms.items()},
        )
        for name in ("keys", "stacks", "buckets", "free_keys", "free_slots", "free_stacks", "closing", "ended"):
            fill(getattr(a, name), snapshot, name)
        used = restored(snapshot, "slots", np.int64)
        a.flows[used] = restored(snapshot, "flows", st.FLOW)
        for number, array in enumerate(self.states):
            array[used] = restored(snapshot, f"state_{number}", array.dtype)
        lifetime.rebuild_index(a)


def order_of(leave: Any, end: Any, flow_id: Any, part: Any) -> NDArray[np.intp]:
    """The rows by when they leave, then by their end, then by flow_id and part.

    All of a row that matters, but for the last two, fits into one word: sorting words takes a tenth of the time that
    sorting rows takes.
    """
    count = len(end)
    leave, end = leave - leave.min(initial=2**62), end - end.min(initial=2**62)
    width, shift = int(end.max(initial=0)).bit_length(), count.bit_length()
    if int(leave.max(initial=0)).bit_length() + width + shift > 63:
        return np.lexsort((part, flow_id, end, leave))
    words = np.sort(leave << (width + shift) | end << shift | np.arange(count))
    order, words = words & ((1 << shift) - 1), words >> shift
    same = words[1:] == words[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if len(tied):
        rows = order[tied]
        order[tied] = rows[np.lexsort((part[rows], flow_id[rows], words[tied]))]
    return order


def _take(table: NDArray[Any], slots: NDArray[np.int32], memory: Memory) -> NDArray[Any]:
    out = memory.empty((len(slots), *table.shape[1:]), table.dtype)
    take_rows(_words(table), table.strides[0] // 8, slots, _words(out))
    return out


def _words(records: NDArray[Any]) -> NDArray[np.uint64]:
    return records.view(np.ndarray).reshape(-1).view(np.uint64)


def _index_length(keys: int) -> int:
    """Power of two that `keys` fill by half at most."""
    return 1 << (2 * keys - 1).bit_length()
