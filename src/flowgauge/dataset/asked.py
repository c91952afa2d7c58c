"""What a run was asked for: where its captures are, the options that change results, and the versions of what does it.

Its id is made of inputs and options alone: the same command has the same one, and goes on where it was stopped. Nothing
of it names a capture, a person or a machine in the clear where the run hides names.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flowgauge import __version__, storage
from flowgauge.custom.declare import UserFeature
from flowgauge.errors import ConfigError
from flowgauge.privacy import Anonymizer, read_key
from flowgauge.schema import VERSION as COLUMNS_VERSION
from flowgauge.sources.discover import CaptureInput, listed_inputs

if TYPE_CHECKING:
    from flowgauge.run import Run

FORM = 1
"""Version of what a manifest and a checkpoint look like."""

_ID_DIGITS = 12
_OF_NAMES = ("skipped", "unlabelled")  # of stats: lists of names
_BY_NAME = ("failed", "damaged")  # names and messages
_SHOWN = 3  # differences of captures that are listed


class Names:
    """The names of captures as a manifest has them: hidden, where the run hides them."""

    def __init__(self, captures: Iterable[str], key: str | None) -> None:
        self._hide: Callable[[str], str] = str if key is None else Anonymizer(read_key(key)).name
        self._shown = {self._hide(name): name for name in captures} if key is not None else {}

    def hidden(self, name: str) -> str:
        """As the manifest has it."""
        return self._hide(name)

    def shown(self, name: str) -> str:
        """As it is."""
        return self._shown.get(name, name)

    def hide(self, stats: Mapping[str, Any]) -> dict[str, Any]:
        """Stats for the manifest."""
        return _renamed(stats, self.hidden)

    def show(self, stats: Mapping[str, Any]) -> dict[str, Any]:
        """Stats of the manifest."""
        return _renamed(stats, self.shown)


def _renamed(stats: Mapping[str, Any], name_of: Callable[[str], str]) -> dict[str, Any]:
    made = dict(stats)
    for field in _OF_NAMES:
        made[field] = [name_of(name) for name in stats[field]]
    for field in _BY_NAME:
        made[field] = {name_of(name): text.replace(name, name_of(name)) for name, text in stats[field].items()}
    return made


class Asked:
    """What this run is asked for. Raises ConfigError for inputs that cannot be read again."""

    def __init__(self, run: Run, inputs: Any, partition_by: list[str]) -> None:
        captures = [job.capture for jobs in run.planned for job in jobs]
        self.names = Names((capture.name for capture in captures), run.config.anonymize)
        self.chunks = len(run.planned)
        self.inputs = [self.names.hidden(_absolute(source)) for source in listed_inputs(inputs)]
        self.options: dict[str, Any] = json.loads(json.dumps(_options(run, self.names), default=str))
        self.options["partition_by"] = partition_by
        self.captures = [[self.names.hidden(capture.name), *_state(capture)] for capture in captures]

    @functools.cached_property
    def id(self) -> str:
        """Of inputs and options."""
        text = json.dumps([self.inputs, self.options], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]

    def as_dict(self) -> dict[str, Any]:
        """For the manifest; JSON-ready."""
        return {
            "form": FORM,
            "flowgauge": __version__,
            "columns": COLUMNS_VERSION,
            "inputs": self.inputs,
            "options": self.options,
            "chunks": self.chunks,
            "captures": self.captures,
        }

    def differences(self, before: Mapping[str, Any]) -> list[str]:
        """What differs from a run that was asked for this before, in words."""
        return [*self._other_options(before), *self._other_captures(before["captures"])]

    def _other_options(self, before: Mapping[str, Any]) -> Iterator[str]:
        own = self.as_dict()
        for name in ("form", "flowgauge", "columns"):
            if own[name] != before[name]:
                yield f"version of {name if name == 'flowgauge' else f'its {name}'}: {before[name]}, now {own[name]}"
        if self.inputs != before["inputs"]:
            yield f"inputs: {', '.join(before['inputs'])}, now {', '.join(self.inputs)}"
        then = before["options"]
        for name in sorted({*then, *self.options}):
            if then.get(name) != self.options.get(name):
                yield f"{name}: {_short(then.get(name))}, now {_short(self.options.get(name))}"

    def _other_captures(self, before: list[list[Any]]) -> Iterator[str]:
        then, now = ({str(name): state for name, *state in listed} for listed in (before, self.captures))
        found = [f"{self.names.shown(name)} is new" for name in now if name not in then]
        found += [f"{self.names.shown(name)} is gone" for name in then if name not in now]
        found += [
            f"{self.names.shown(name)} has changed ({_sizes(then[name][0], now[name][0])})"
            for name in now
            if name in then and then[name] != now[name]
        ]
        if not found and before != self.captures:
            found = ["the captures are in another order"]
        yield from found[:_SHOWN]
        if len(found) > _SHOWN:
            yield f"and {len(found) - _SHOWN} more captures"


def _sizes(then: Any, now: Any) -> str:
    return f"{then} bytes, now {now}" if then != now else "its time of change is another"


def _short(value: Any) -> str:
    return "not given" if value is None else json.dumps(value, ensure_ascii=False)


def _absolute(source: Any) -> str:
    if not isinstance(source, (str, os.PathLike)) or source == "-":
        raise ConfigError(
            "a data set is made of captures that have names, so that a run can go on where it was stopped; "
            "write what comes through a pipe to one file: -o flows.parquet"
        )
    name = os.fsdecode(os.fspath(source))
    path = storage.local_path(name)
    return storage.shown(name) if path is None else os.path.abspath(path)


def _state(capture: CaptureInput) -> tuple[int | None, int | None]:
    """Size and time of change, where they are known."""
    source = capture.source
    if not isinstance(source, (str, os.PathLike)) or storage.local_path(os.fspath(source)) is None:
        return capture.size, None
    with contextlib.suppress(OSError):
        if not os.path.isfile(source):
            raise ConfigError(f"{capture.name} is no file: a data set is made of files, which can be read again")
        status = os.stat(source)
        return status.st_size, status.st_mtime_ns
    return None, None


def _options(run: Run, names: Names) -> dict[str, Any]:
    """All that changes results; files are told by what is in them."""
    config, given = run.config, dict(run.given)
    options = config.results() | given
    for name in ("rules", "truth"):
        options[name] = None if given[name] is None else _digest(given[name])
    for name in ("catalogue", "mmdb"):
        options[name] = [_digest(path) for path in getattr(config, name)]
    options["features"] = [_feature(feature) for feature in config.features]
    if config.anonymize is not None:  # told apart all the same
        options["anonymize"] = names.hidden("the key of this run")
        for name in ("filter", "local_net", "label", "label_split"):
            value = getattr(config, name, given.get(name))
            options[name] = None if value is None else names.hidden(str(value))
    return options


def _feature(feature: str | UserFeature) -> str:
    """The name of a group; of a feature of users', also what its functions are."""
    if not isinstance(feature, UserFeature):
        return feature
    texts = [f"{role}\n{_source(function)}" for role, function in sorted(feature.functions.items())]
    return f"{feature!r} {hashlib.sha256(''.join(texts).encode()).hexdigest()[:_ID_DIGITS]}"


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except OSError:  # it was not read from a file
        return function.__code__.co_code.hex()


def _digest(source: Any) -> str:
    """Of what is in a file, or in a table of Arrow."""
    if isinstance(source, (str, os.PathLike)):
        with storage.open_input(os.fspath(source)) as file:
            digest = hashlib.sha256()
            while part := file.read(1 << 20):
                digest.update(part)
        return digest.hexdigest()[:_ID_DIGITS]
    table = source if isinstance(source, pa.Table) else pa.table(source)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()[:_ID_DIGITS]
