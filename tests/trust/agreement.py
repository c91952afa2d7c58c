"""What a comparison with another tool has found, field by field and cause by cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

OTHER = "other"


class Cause(NamedTuple):
    """Why two tools differ: which is right, and the fewest packets that show it (a test of this project)."""

    name: str
    right: str  # "flowgauge", the other tool, or "both": the definitions differ
    text: str
    packets: str


CAUSES: dict[str, Cause] = {}
"""Every named cause, over all tools."""


def cause(name: str, right: str, text: str, packets: str) -> str:
    """Register a cause; its name."""
    CAUSES[name] = Cause(name, right, text, packets)
    return name


KEYS = cause(
    "keys",
    "both",
    "What packets of a flow share. Arkime has one session for all ICMP between two hosts, one for all IGMP and for all "
    "PIM, DHCP by the client's MAC address, ARP in VXLAN by the addresses around it, and takes VLANs of its "
    "configuration as one; nDPI has one flow for all ICMP between two hosts.",
    "ICMP echo request one way, port unreachable the other way",
)


@dataclass
class Agreement:
    """A comparison with one tool. Rows without a counterpart on either side agree in no field."""

    tool: str
    fields: tuple[str, ...]
    compared: int = 0
    equal: Counter[str] = field(default_factory=Counter)  # by field
    told: Counter[str] = field(default_factory=Counter)  # rows in which the other tool tells the field
    whole: int = 0  # rows equal in every field
    causes: Counter[str] = field(default_factory=Counter)  # of rows that are not
    excluded: Counter[str] = field(default_factory=Counter)  # rows out of the comparison, by rule
    examples: dict[str, list[str]] = field(default_factory=dict)  # by cause

    def pair(self, theirs: Mapping[str, Any], same: Mapping[str, bool], why: str, example: str) -> None:
        """Count a row that both have. `same` says of each field that the other tool tells whether it is equal."""
        self.compared += 1
        for name, equal in same.items():
            self.told[name] += 1
            self.equal[name] += equal
        if all(same.values()):
            self.whole += 1
        else:
            self._blame(why, example)

    def alone(self, why: str, example: str) -> None:
        """Count a row that only one side has."""
        self.compared += 1
        self.told.update(self.fields)
        self._blame(why, example)

    def exclude(self, rule: str, rows: int = 1) -> None:
        """Leave rows out of the comparison by a rule."""
        self.excluded[rule] += rows

    def _blame(self, why: str, example: str) -> None:
        self.causes[why] += 1
        self.examples.setdefault(why, []).append(example)

    def share(self, name: str) -> float:
        """The part of the rows that agree in a field."""
        return self.equal[name] / self.told[name] if self.told[name] else 1.0

    @property
    def excluded_share(self) -> float:
        rows = self.excluded.total()
        return rows / (rows + self.compared) if rows else 0.0

    def unexplained(self) -> Iterable[str]:
        """Examples of rows whose difference has no named cause."""
        return self.examples.get(OTHER, [])
