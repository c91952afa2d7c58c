"""Record: takes of an app's traffic, as captures that hold their own labels, and a manifest of them."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import platform
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from flowgauge import __version__
from flowgauge.capture.android import App, foreground
from flowgauge.capture.names import TEMPLATE, Names
from flowgauge.capture.pcapng import Description
from flowgauge.capture.pieces import Piece, PieceLimits, Pieces
from flowgauge.capture.recording import Recording
from flowgauge.capture.rotation import Manifest
from flowgauge.errors import ConfigError, SinkError, SourceError
from flowgauge.labels.background import COLUMNS, Background
from flowgauge.labels.inside import from_comments, to_comment
from flowgauge.sources.filters import Filter
from flowgauge.sources.interfaces import link_of, mac_of

_MOST_FILTER = 4000  # characters: they are in a comment, with much else
_BASELINE = "baseline_{n}.pcapng"
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", re.IGNORECASE)


class Status(NamedTuple):
    """Where a take is: `bytes` are those on the wire, `flows` None where nothing is metered."""

    seconds: float
    packets: int
    bytes: int
    lost: int
    flows: int | None
    down: bool


class Take(NamedTuple):
    """What a take has become: the captures that are there, their label, and all counts."""

    files: list[Path]
    label: dict[str, str]
    packets: int
    bytes: int
    lost: int
    seconds: float
    flows: Path | None


class _Plan(NamedTuple):
    """What is to be recorded, for how many seconds; `idle`: it is the baseline."""

    names: Names
    label: dict[str, str]
    session: dict[str, Any]
    seconds: float | None
    idle: bool


Tell = Callable[[Status], None]


def _ignore(status: Status) -> None:
    pass


class Options(NamedTuple):
    """How takes are recorded: `duration` in s, `flows` meters them at the same time, `baseline` notes which flows are
    not of a take."""

    folder: Path
    template: str = TEMPLATE
    client: str | None = None
    filter: str | None = None
    duration: float | None = None
    limits: PieceLimits = PieceLimits()
    flows: bool = False
    baseline: bool = False


def expression(client: str | None, filter: str | None) -> str | None:
    """The filter for the packets of a client, an IP or MAC address, and those of them that a filter selects.

    Raises ConfigError.
    """
    if filter is not None and len(filter) > _MOST_FILTER:
        raise ConfigError(f"a filter of {len(filter):,} characters is too long for a capture to note: {_MOST_FILTER:,}")
    if filter is not None:
        Filter(filter)  # a mistake is marked in what the user wrote
    if client is None:
        return filter
    host = f"ether host {client}" if _MAC.fullmatch(client) else f"host {_address(client)}"
    return host if filter is None else f"{host} and ({filter})"


def _address(client: str) -> str:
    try:
        return str(ipaddress.ip_address(client))
    except ValueError:
        raise ConfigError(
            f"client {client!r} is neither an IP address nor a MAC address like 02:00:5e:00:53:01"
        ) from None


class Recorder:
    """Records takes from an interface: enter it to begin to receive, then :meth:`take` for each of them.

    Raises ConfigError, SourceError, SinkError.
    """

    def __init__(self, recording: Recording, options: Options) -> None:
        self.recording, self.options = recording, options
        self.manifest = Manifest(options.folder)
        self._background = Background() if options.baseline else None
        self._expression = expression(options.client, options.filter)
        link = link_of(recording.name)
        if link is None:
            raise SourceError(f"{recording.name}: a capture cannot say what frames of this interface are")
        self._description = Description(
            recording.name,
            link,
            recording.snaplen,
            self._expression,
            mac_of(recording.name),
            platform.machine(),
            platform.platform(),
            f"flowgauge {__version__}",
        )

    def __enter__(self) -> Recorder:
        try:
            self.options.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self.options.folder}: {error.strerror or error}; choose another folder") from error
        self.recording.open(None if self._expression is None else Filter(self._expression))
        return self

    def __exit__(self, *_: object) -> None:
        self.recording.release()

    @property
    def _meters(self) -> bool:
        return self.options.flows or self._background is not None

    def warm(self, notify: Callable[[str], None] | None = None) -> None:
        """Compile what is needed: a capture that waits for the compiler loses frames."""
        from flowgauge.run import Hooks, Run
        from flowgauge.warmup import compile_recording, load_metering

        compile_recording()
        if self._meters:
            Run(self.recording, Hooks()).warm(notify)  # type: ignore[arg-type]
            load_metering(format="parquet")

    def baseline(self, seconds: float, should_stop: Callable[[], bool], tell: Tell = _ignore) -> Take:
        """Record the idle client; flows of later takes that are open by then, or with the same servers, are marked."""
        assert self._background is not None, "the options say that there is no baseline"
        names = Names(self.options.folder, _BASELINE, {"baseline": "true"})
        plan = _Plan(names, {"baseline": "true"}, self._session(), seconds, idle=True)
        return self._record(plan, should_stop, tell)

    def take(
        self, label: Mapping[str, str], should_stop: Callable[[], bool], tell: Tell = _ignore, **session: Any
    ) -> Take:
        """Record until `should_stop`, or for the time that options say; `session` is written beside the label."""
        names = Names(self.options.folder, self.options.template, label)
        plan = _Plan(names, dict(label), self._session() | session, self.options.duration, idle=False)
        return self._record(plan, should_stop, tell)

    def _record(self, plan: _Plan, should_stop: Callable[[], bool], tell: Tell) -> Take:
        background = None if plan.idle or self._background is None else self._background.listed()
        files: dict[Path, None] = {}

        def comment(piece: int | None) -> str:
            return to_comment(plan.label, plan.session | _numbered(piece), background)

        def done(piece: Piece) -> None:
            files[piece.path] = None
            self._note(piece, plan)

        def removed(path: Path) -> None:
            del files[path]
            self.manifest.add("removed", file=self._named(path))

        limits = self.options.limits
        pieces = Pieces(self.recording, plan.names, limits, self._description, comment, done, removed)
        table = None
        self.recording.part(pieces.keep, from_comments([comment(None)]))
        with pieces:
            stops = self._watched(plan, pieces, should_stop, tell)
            if self.options.flows:
                table = plan.names.path(pieces.take).with_suffix(".parquet")
            if self._meters:
                self._meter(stops, table, plan.idle)
            else:
                self.recording.drain(lambda: stops(None))
        begin, end = self.recording.span
        lost = self.recording.lost
        return Take(list(files), plan.label, pieces.packets, pieces.bytes, lost, (end - begin) / 1e9, table)

    def _watched(
        self, plan: _Plan, pieces: Pieces, should_stop: Callable[[], bool], tell: Tell
    ) -> Callable[[int | None], bool]:
        """What to ask now and then whether a take ends: it tells where the take is."""
        begun = time.monotonic()

        def stops(flows: int | None) -> bool:
            seconds = time.monotonic() - begun
            self.recording.look_at_drops()
            lost, down = self.recording.lost, self.recording.ring.down
            tell(Status(seconds, pieces.packets, pieces.bytes, lost, flows, down))
            return should_stop() or (plan.seconds is not None and seconds >= plan.seconds)

        return stops

    def wait(self, seconds: float, should_stop: Callable[[], bool]) -> None:
        """Record nothing for so long."""
        end = time.monotonic() + seconds
        self._pass_by(lambda: should_stop() or time.monotonic() >= end)

    def _pass_by(self, should_stop: Callable[[], bool]) -> None:
        """Empty the ring until then; with a baseline, flows that begin are noted."""
        self.recording.part()
        if self._background is None:
            self.recording.drain(should_stop)
        else:
            self._meter(lambda _: should_stop(), None, idle=False)

    def _meter(self, stops: Callable[[int], bool], table: Path | None, idle: bool) -> None:
        """Meter the part while it is recorded, and write its flows where there is a table for them."""
        from flowgauge.run import Hooks, Progress, Run
        from flowgauge.sinks import open_sink

        flows = 0

        def look(progress: Progress) -> None:
            nonlocal flows
            flows = progress.flows

        run = Run(self.recording, Hooks(progress=look, should_stop=lambda: stops(flows)))  # type: ignore[arg-type]
        with contextlib.ExitStack() as stack:
            sink = None
            if table is not None:
                sink = stack.enter_context(open_sink(table, schema=run.output_schema()))
            for batch in run.batches():
                if self._background is not None:
                    self._background.look(batch.select(COLUMNS).to_pydict(), idle)
                if sink is not None:
                    sink.write(run.schema.convert(batch))

    def foreground(self) -> App:
        """The app in front of the phone, by adb; the ring is emptied meanwhile. Raises AdbError."""
        with ThreadPoolExecutor(1) as beside:
            asked = beside.submit(foreground)
            self._pass_by(asked.done)
            return asked.result()

    def _session(self) -> dict[str, Any]:
        options = self.options
        given = {
            "host": platform.node(),
            "interface": self.recording.name,
            "client": options.client,
            "filter": options.filter,
            "started": _utc(time.time_ns()),
        }
        return {name: value for name, value in given.items() if value is not None}

    def _note(self, piece: Piece, plan: _Plan) -> None:
        self.manifest.add(
            "capture",
            file=self._named(piece.path),
            label=plan.label,
            packets=piece.packets,
            bytes=piece.bytes,
            lost=piece.lost,
            **{"from": _utc(piece.started), "to": _utc(piece.ended)},
            session=plan.session | _numbered(piece.number),
        )

    def _named(self, path: Path) -> str:
        return path.relative_to(self.options.folder).as_posix()


def _numbered(piece: int | None) -> dict[str, Any]:
    return {} if piece is None else {"piece": piece}


def _utc(time_ns: int) -> str:
    moment = datetime.datetime.fromtimestamp(time_ns // 1000 / 1e6, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
