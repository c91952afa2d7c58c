"""Labels at positions of a separated name: `_:2:4` reads `id_os_app_version_action_n.pcap`."""

from __future__ import annotations

from flowgauge.errors import ConfigError
from flowgauge.labels.paths import parts, stem
from flowgauge.schema import LABEL_COLUMNS

_FORM = "SEPARATOR:APP:ACTION, e.g. _:2:4 (positions from 0)"


class SplitLabeller:
    """Takes `app` and `action` from positions of the base name without its extensions.

    The positions are behind the last two colons, so that the separator may be any text, a colon
    too (`::0:1`), but no path separator.
    """

    fields = LABEL_COLUMNS

    def __init__(self, rule: str) -> None:
        pieces = rule.rsplit(":", len(LABEL_COLUMNS))
        if len(pieces) != 1 + len(LABEL_COLUMNS):
            raise ConfigError(f"label_split {rule!r} is not {_FORM}")
        self._separator = pieces[0]
        if not self._separator or set(self._separator) & set("/\\"):
            raise ConfigError(f"label_split {rule!r}: the separator is empty or separates folders; it takes {_FORM}")
        self._positions = tuple(_position(rule, piece) for piece in pieces[1:])
        if len(set(self._positions)) != len(self._positions):
            raise ConfigError(f"label_split {rule!r} names position {self._positions[0]} twice")

    def match(self, path: str) -> dict[str, str] | None:
        """Both labels, or None where the name has too few pieces or an empty one in their place."""
        pieces = stem(parts(path)[-1]).split(self._separator)
        if len(pieces) <= max(self._positions):
            return None
        values = [pieces[position] for position in self._positions]
        return dict(zip(self.fields, values, strict=True)) if all(values) else None


def _position(rule: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"label_split {rule!r}: position {text!r} is no whole number; it takes {_FORM}")
    return int(text)
