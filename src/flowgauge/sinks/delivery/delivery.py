"""Sinks that deliver flow records to another system, at least once.

Every row is at the other end when the sink is closed, or waits in a spool on disk, which an error names; at most one
delivery is there twice after a failure. The same row has the same values in KEY, so that copies can be told.

:class:`Delivery` is for captures, which can wait: it delivers as rows come, and holds one delivery in memory.
:class:`LiveDelivery` is for what passes and does not wait: rows go to the spool, and from there to the other end in a
thread of its own.
"""

from __future__ import annotations

import abc
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import pyarrow as pa

from flowgauge.errors import SinkError
from flowgauge.sinks.delivery.destination import Destination
from flowgauge.sinks.delivery.link import Link, pauses
from flowgauge.sinks.delivery.spool import Spool, default_folder
from flowgauge.sinks.sink import check_columns

KEY = ("source", "flow_id", "part", "start")
"""Columns that are the same in copies of a row, and in no two rows, whatever runs they are of."""

UID = ("uid",)
"""The same of schema zeek, whose `uid` is made of these."""

WAIT = 300.0
"""Seconds that a run over captures waits for a destination that is down."""

_LINGER = 1.0  # s: a delivery of a live run holds what came in this time
_LOOK = 0.1  # s between looks at whether the run shall stop


class Terms(NamedTuple):
    """Whom a delivery tells what happens, how it learns that the run shall stop, and whether rows come live."""

    tell: Callable[[str], None] = lambda line: None
    should_stop: Callable[[], bool] = lambda: False
    live: bool = False


class Limits(NamedTuple):
    """Seconds to wait, folder of spools, and bytes that may wait there (None: what the disk has free)."""

    wait: float = WAIT
    spool: Path | None = None
    spool_size: int | None = None


class _Base(abc.ABC):
    """What both sinks share: columns, the spool, and how they begin and end."""

    def __init__(self, destination: Destination, schema: pa.Schema, terms: Terms, limits: Limits, waiting: str) -> None:
        self.schema = schema
        self.written = 0  # bytes of rows taken
        self._destination, self._terms, self._limits = destination, terms, limits
        self._spool = Spool(limits.spool or default_folder(), destination.name, limits.spool_size)
        self._link = Link(destination, self._tell, waiting)
        self._entered = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._entered:
            self._let_go()

    @abc.abstractmethod
    def close(self) -> None:
        """Hand over what is left."""

    def note(self, name: str, text: str) -> None:  # noqa: B027 (what a sink has, and this one does not need)
        """Nothing: a destination has rows only."""

    def _tell(self, line: str) -> None:
        self._terms.tell(line)

    def _pieces(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        """The rows of a batch, in pieces that are no larger than a delivery."""
        check_columns(batch, self.schema)
        self.written += batch.nbytes
        rows = self._destination.rows
        return [batch.slice(begin, rows) for begin in range(0, len(batch), rows)]

    def _find(self) -> None:
        if found := self._spool.find():
            self._tell(f"{found:,} rows that earlier runs have left in {self._spool.folder} are delivered first")

    def _settle(self, error: SinkError | None = None) -> None:
        """Let go of everything. Raises SinkError where there is one, or rows are left: it says what is where."""
        self._let_go()
        left, name = self._spool.rows, self._destination.name
        if error is None and not left:
            return
        reason = str(error or f"{name} is down ({self._link.reason})")
        text = f"{reason}; {self._link.rows:,} rows have been delivered"
        if left:
            text += f", {left:,} wait in {self._spool.folder}: the next run with this output delivers them first"
        raise SinkError(text) from error

    def _let_go(self) -> None:
        self._entered = False
        for close in (self._spool.close, self._link.close):
            with contextlib.suppress(SinkError, pa.ArrowException, OSError):  # there is a first one, and it is told
                close()


class Delivery(_Base):
    """Delivers rows as they come, and waits where the other end is down; a context manager, as Sink is.

    Beyond the time to wait, or when the run shall stop, the rest goes to the spool. Raises SinkError.
    """

    def __init__(self, destination: Destination, schema: pa.Schema, terms: Terms, limits: Limits) -> None:
        waiting = f"it is tried again for {limits.wait:,g} s"
        super().__init__(destination, schema, terms, limits, waiting)
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0
        self._gave_up = False

    def __enter__(self) -> Delivery:
        try:
            self._find()
            if not (self._in_time(lambda: self._link.connect(self.schema)) and self._in_time(self._deliver_spool)):
                raise SinkError(f"{self._destination.name} is down ({self._link.reason}); nothing was read")
        except BaseException:
            self._let_go()
            raise
        self._entered = True
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of a batch, whose columns are those of `schema`."""
        for piece in self._pieces(batch):
            self._pending.append(piece)
            self._rows += len(piece)
            if self._rows >= self._destination.rows:
                self._deliver(self._destination.rows)

    def _deliver(self, rows: int) -> None:
        table = pa.Table.from_batches(self._pending, self.schema)
        self._pending, self._rows = table.slice(rows).to_batches(), self._rows - rows
        table = table.slice(0, rows)
        try:
            if self._gave_up or not self._in_time(lambda: self._link.deliver(table)):
                self._keep(table)
        except SinkError as error:
            self._settle(error)

    def _keep(self, table: pa.Table) -> None:
        if not self._gave_up:
            self._gave_up = True
            self._tell(f"{self._destination.name} is still down; flows are kept in {self._spool.folder}")
        for batch in table.unify_dictionaries().combine_chunks().to_batches():
            self._spool.append(batch)
        self._spool.cut()

    def _deliver_spool(self) -> bool:
        """Deliver what waits in the spool; whether nothing is left there."""
        while (segment := self._spool.next()) is not None:
            table = self._spool.read(segment)
            if table is not None and not self._link.deliver(table):
                return False
            self._spool.drop(segment)
        return True

    def _in_time(self, attempt: Callable[[], bool]) -> bool:
        """Whether an attempt succeeds before the time to wait is over or the run shall stop."""
        end = time.monotonic() + self._limits.wait
        for pause in pauses():
            if attempt():
                return True
            if time.monotonic() >= end or not self._pause(min(time.monotonic() + pause, end)):
                break
        return False

    def _pause(self, until: float) -> bool:
        """Wait; whether the run shall go on."""
        while not (stop := self._terms.should_stop()) and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK))
        return not stop

    def flush(self) -> None:
        """Deliver all rows now."""
        if self._rows:
            self._deliver(self._rows)

    def close(self) -> None:
        """Deliver the rest, what has gone to the spool too if the other end is back by now."""
        if not self._entered:
            return
        try:
            self.flush()
            self._deliver_spool()
        except SinkError as error:
            if self._entered:
                self._settle(error)
            raise
        self._settle()


class LiveDelivery(_Base):
    """Keeps rows in the spool at once, and delivers them from there without keeping who writes; a context manager.

    What a killed run leaves is whole up to the last :meth:`write`. Raises SinkError where the spool is full, and
    what has ended the deliveries.
    """

    def __init__(self, destination: Destination, schema: pa.Schema, terms: Terms, limits: Limits) -> None:
        super().__init__(destination, schema, terms, limits, "flows are kept on disk until it is back")
        self._lines: deque[str] = deque()
        self._failure: SinkError | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def _tell(self, line: str) -> None:
        self._lines.append(line)  # said by the thread that writes, not in the middle of what that says

    def _say(self) -> None:
        while self._lines:
            self._terms.tell(self._lines.popleft())

    def __enter__(self) -> LiveDelivery:
        try:
            self._find()
            self._link.connect(self.schema)  # what will not pass is told before metering begins
            self._say()
        except BaseException:
            self._let_go()
            raise
        self._entered = True
        self._thread.start()
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Keep the rows of a batch, whose columns are those of `schema`."""
        rows = self._destination.rows
        try:
            for piece in self._pieces(batch):
                if self._spool.gathered + len(piece) > rows:
                    self._spool.cut()
                self._spool.append(piece)
        except SinkError as error:
            self._end(error)

    def flush(self) -> None:
        """Let what came in the last second be delivered, and say what has happened."""
        if self._spool.age() >= _LINGER:
            self._spool.cut()
        self._say()
        if self._failure is not None:
            self._end()

    def close(self) -> None:
        """Deliver what waits, as long as the other end takes it."""
        if self._entered:
            self._end()

    def _end(self, error: SinkError | None = None) -> None:
        """End deliveries and raise what has gone wrong."""
        self._entered = False
        with contextlib.suppress(SinkError):  # a full disk, of which `error` tells
            self._spool.cut()
        self._join()
        self._settle(error or self._failure)

    def _let_go(self) -> None:
        self._join()
        super()._let_go()

    def _join(self) -> None:
        self._ending.set()
        while self._thread.is_alive():
            self._thread.join(_LOOK)
            self._say()
        self._say()

    def _run(self) -> None:
        """What the thread does. A defect of a destination must not end it in silence."""
        try:
            self._deliver_all()
        except SinkError as error:
            self._failure = error
        except Exception as error:
            self._failure = SinkError(f"{self._destination.name}: {error!r}")

    def _deliver_all(self) -> None:
        """One delivery after another, until it is to end and nothing more can be delivered."""
        waits = pauses()
        while (segment := self._spool.next(_LOOK)) is not None or not self._ending.is_set():
            if segment is None:
                continue
            table = self._spool.read(segment)
            if table is None or self._link.deliver(table):
                self._spool.drop(segment)
                waits = pauses()
            elif self._ending.is_set():
                return
            else:
                self._ending.wait(next(waits))
