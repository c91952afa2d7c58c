"""Options of feature groups, as users give them."""

from __future__ import annotations

import pytest

import flowgauge as fg
from flowgauge.schema import GROUPS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splt": 0}, "splt is a whole number from 1 to 65535, not 0"),
        ({"splt": True}, "splt is a whole number from 1 to 65535, not True"),
        ({"payload_head": 513}, "payload_head is a whole number from 0 to 512, not 513"),
        ({"activity_gap": 0}, "activity_gap is seconds above 0 or 'off', not 0"),
        ({"activity_gap": "off"}, "activity_gap is seconds above 0, not 'off'"),
        ({"splt_data": 1}, "splt_data is True or False, not 1"),
        ({"features": "entropy"}, "feature group 'entropy' is not one of core, size"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    """A value that cannot be is named with the option and what it takes."""
    with pytest.raises(fg.ConfigError, match=message):
        fg.columns(**options)


def test_a_head_of_no_bytes_is_no_column() -> None:
    """Without payload heads there is no column of them; the other columns of the group stay."""
    names = [column.name for column in fg.columns(features="payload", payload_head=0)]
    assert "up_payload_entropy" in names and "up_payload_head" not in names


def test_groups_are_in_one_order() -> None:
    """Columns are in the order of the groups, however these are named."""
    names = ",".join(reversed(GROUPS))
    assert fg.columns(features=names) == fg.columns()
