"""Process labels: which program sent a packet, as captures and rules say it.

A label has a number, by which packets and flow records carry it; equal labels have the same one. Numbers from
FIRST_RULE on are those of rules, which win over what packets say.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from flowgauge.kernels.packet import FIRST_RULE

# Who says so, in the column `label_by`: the capture of a packet, a rule, or the label of a whole capture.
PCAPDROID, PTCPDUMP, PKTAP, PROCESS_BLOCK, PCAPML = "pcapdroid", "ptcpdump", "pktap", "process_block", "pcapml"
RULE = "rule"
INSIDE, NAME = "inside", "name"

MOST_BYTES = 1 << 29
"""Memory of all labels; what would need more is left out."""
_LABEL_BYTES = 300  # of a label without its texts
_MOST_TEXT = 1024  # characters
_MOST_COMMENT = 8192
_MOST_ID = 0xFFFFFFFF


class ProcessLabel(NamedTuple):
    """What is said of a packet: `process` is its command or package, `app` the name to show, `sample` pcapML's id."""

    by: str
    app: str | None = None
    process: str | None = None
    pid: int | None = None
    uid: int | None = None
    sample: str | None = None

    @property
    def says_nothing(self) -> bool:
        return all(value is None for value in self[1:])


class ProcessLabels:
    """The labels of a run by their numbers; 0 is none. `left_out` counts those that there was no room for."""

    def __init__(self) -> None:
        self.left_out = 0
        self._room = MOST_BYTES
        self._numbers: dict[ProcessLabel, int] = {}
        self._labels: list[ProcessLabel] = []
        self._rules: list[ProcessLabel] = []

    def number(self, label: ProcessLabel | None) -> int:
        """The number of a label, the same one for an equal label."""
        if label is None or label.says_nothing:
            return 0
        known = self._numbers.get(label)
        if known is not None:
            return known
        size = _LABEL_BYTES + sum(map(sys.getsizeof, label))
        if size > self._room:
            self.left_out += 1
            return 0
        self._room -= size
        of_rule = label.by == RULE
        labels = self._rules if of_rule else self._labels
        labels.append(label)
        number = len(labels) + (int(FIRST_RULE) - 1 if of_rule else 0)
        self._numbers[label] = number
        return number

    @property
    def listed(self) -> tuple[ProcessLabel, ...]:
        """Those that packets said, in the order of their numbers."""
        return tuple(self._labels)

    def snapshot(self) -> dict[str, Any]:
        """All labels."""
        return {"labels": [list(label) for label in self._labels], "rules": [list(label) for label in self._rules]}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Have the labels of a snapshot, with their numbers."""
        self._labels, self._rules, self._numbers, self._room = [], [], {}, MOST_BYTES
        for values in (*snapshot["labels"], *snapshot["rules"]):
            self.number(ProcessLabel(*values))

    def of(self, number: int) -> ProcessLabel | None:
        """The label with this number."""
        if number >= FIRST_RULE:
            return self._rules[number - int(FIRST_RULE)]
        return self._labels[number - 1] if number else None


def clean(text: bytes | str | None) -> str | None:
    """A name as it can be shown: up to the first NUL, without control characters; None where nothing is left."""
    if isinstance(text, bytes):
        text = text.split(b"\0", 1)[0].decode("utf-8", "replace")
    if text is None:
        return None
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_MOST_TEXT].strip())
    return shown or None


def base_name(command: str | None) -> str | None:
    """The last part of a command's path: the name by which it is known."""
    if command is None:
        return None
    return command.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or command


def identity(text: str) -> int | None:
    """A process or user id written in digits; None for anything else, and for what cannot be one."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    number = int(text)
    return number if number <= _MOST_ID else None


def of_comments(comments: Iterable[str]) -> ProcessLabel | None:
    """What the comments of a packet say, in the ways of pcapML and ptcpdump; None where they do not."""
    texts = [comment[:_MOST_COMMENT] for comment in comments]
    for text in texts:
        if label := of_pcapml(text):
            return label
    return _of_ptcpdump(texts)


_PCAPDROID_USER = re.compile(r"u-(-?\d{1,10})")


def pcapdroid_user(comments: Iterable[str]) -> int | None:
    """The user id of a comment `u-<uid>`, as PCAPdroid writes it."""
    for text in comments:
        if found := _PCAPDROID_USER.fullmatch(text.strip()):
            return identity(found[1])
    return None


_POSITIONAL = re.compile(r"\d+,[^,=]+(,[^,=]+=[^,]*)*")


def of_pcapml(text: str) -> ProcessLabel | None:
    """`s=<id>,proc=<name>,…`, or the older `<id>,<label>[,key=value…]`."""
    if text.startswith("s="):
        values = _pairs(text)
        name = clean(values.get("proc"))
        return ProcessLabel(PCAPML, app=name, process=name, sample=clean(values["s"]))
    if _POSITIONAL.fullmatch(text.strip()):
        sample, label = text.strip().split(",")[:2]
        return ProcessLabel(PCAPML, app=clean(label), sample=clean(sample))
    return None


def _pairs(text: str) -> dict[str, str]:
    """The first value of each key; a piece without `=` belongs to the value before, which has a comma in it."""
    found: dict[str, str] = {}
    last = ""
    for piece in text.split(","):
        key, separator, value = piece.partition("=")
        if not separator:
            found[last] += "," + piece
        elif key not in found:
            found[key], last = value, key
    return found


_PTCPDUMP_KEYS = {
    "PID": "pid",
    "Cmd": "command",
    "Command": "command",
    "UserId": "uid",
}


def _of_ptcpdump(comments: Iterable[str]) -> ProcessLabel | None:
    """`Key: value` lines; those of parents, threads and containers are passed over."""
    found: dict[str, str] = {}
    for key, value in _lines(comments):
        if name := _PTCPDUMP_KEYS.get(key):
            found.setdefault(name, value)
    process = clean(found.get("command"))
    pid, uid = identity(found.get("pid", "")), identity(found.get("uid", ""))
    label = ProcessLabel(PTCPDUMP, base_name(process), process, pid or None, uid)
    return None if label.says_nothing else label


def _lines(comments: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in comments:
        for line in text.split("\n"):
            key, separator, value = line.partition(": ")
            if separator:
                yield key.strip(), value.strip()
