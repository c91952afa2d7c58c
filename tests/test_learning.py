"""What models are trained on: columns, arrays and splits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import flowgauge as fg
from native_rows import native_batch
from packets import capture, eth, ip4, sent, tcp, udp

TABLE = pa.Table.from_batches([native_batch(200)])


def test_features_leave_out_identity_and_labels() -> None:
    """No address, port of a client, time, file, label, text or list is among the columns to learn from."""
    found = fg.features_of(TABLE)
    roles = {column.name: column.role for column in fg.columns()}
    assert {roles[name] for name in found.schema.names} == {"feature"}
    assert {"duration_s", "packets", "tcp_state", "up_sack_permitted"} <= set(found.schema.names)
    assert not {"client_ip", "server_port", "start", "flow_id", "source", "app", "tcp_history"} & set(
        found.schema.names
    )
    assert not any(pa.types.is_list(field.type) or pa.types.is_string(field.type) for field in found.schema)
    assert len(found) == len(TABLE)


def test_roles_outlive_a_file(tmp_path: object) -> None:
    """A table that was written and read again still says which columns to learn from; one without roles is refused."""
    path = f"{tmp_path}/flows.parquet"
    fg.write(TABLE, path)
    assert fg.features_of(pq.read_table(path)).schema.names == fg.features_of(TABLE).schema.names
    with pytest.raises(fg.ConfigError, match="the columns have no roles"):
        fg.features_of(pa.table({"packets": [1]}))


def test_sequences_are_padded_and_masked() -> None:
    """Packets are in order behind each other; what a flow does not have is 0 and not in the mask."""
    import io

    frames = [
        sent(0, eth(ip4(tcp(1024, 80, "S")))),
        sent(1, eth(ip4(tcp(1024, 80, "A", 1, payload=b"abc")))),
        sent(2, eth(ip4(udp(9, 9, b"x")))),
    ]
    table = fg.read(io.BytesIO(capture(frames)), features="splt", splt=3)
    found = fg.sequences(table)
    assert found.channels == ("splt_direction", "splt_ip_len", "splt_payload_len", "splt_iat_s", "splt_flags")
    rows = {row["protocol"]: number for number, row in enumerate(table.to_pylist())}
    assert found.values[rows[6]].tolist() == [[0, 40, 0, 0, 2], [0, 43, 3, 1, 16], [0] * 5]
    assert found.mask[rows[6]].tolist() == [True, True, False]
    assert found.mask[rows[17]].tolist() == [True, False, False]
    assert fg.sequences(table, ["splt_ip_len"]).values.shape == (2, 3, 1)
    assert found.values.dtype == np.float32
    with pytest.raises(fg.ConfigError, match="there are no sequences"):
        fg.sequences(table.select(["packets"]))
    with pytest.raises(fg.ConfigError, match="'packets' holds int64 and no lists"):
        fg.sequences(table, ["packets"])


def test_sequences_of_lists_in_pieces() -> None:
    """A table of several chunks, some of them sliced, gives the arrays of the whole."""
    whole = fg.sequences(TABLE)
    pieces = pa.concat_tables([TABLE.slice(0, 50), TABLE.slice(50, 1), TABLE.slice(51)])
    assert np.array_equal(fg.sequences(pieces, whole.channels).values, whole.values)


@pytest.mark.parametrize("by", ["source", "day", ("app", "action")])
def test_a_split_shares_no_group(by: str | tuple[str, ...]) -> None:
    """No value of the columns is on both sides; every row is on one; the same seed gives the same sides."""
    days = pa.array([1_700_000_000 + 40_000 * row for row in range(len(TABLE))], pa.timestamp("s", "UTC"))
    place = TABLE.schema.get_field_index("start")
    table = TABLE.set_column(place, TABLE.schema.field("start"), days.cast(TABLE.schema.field("start").type))
    train, test = fg.split(table, by)
    assert len(train) + len(test) == len(table)

    def groups(table: pa.Table) -> set[object]:
        if by == "day":
            return {start.date() for start in table["start"].to_pylist()}
        names = [by] if isinstance(by, str) else by
        return {tuple(row.values()) for row in table.select(names).to_pylist()}

    assert groups(train) and groups(test) and not groups(train) & groups(test)
    assert fg.split(table, by)[1].equals(test)
    assert any(not fg.split(table, by, seed=seed)[1].equals(test) for seed in range(1, 9))


def test_a_split_that_cannot_be_is_refused() -> None:
    """One group, a column that is not there and a share that is none are said."""
    with pytest.raises(fg.ConfigError, match="all rows have the same 'ip_version': there is nothing to split by"):
        fg.split(TABLE.set_column(12, "ip_version", pa.array([4] * len(TABLE))), "ip_version")
    with pytest.raises(fg.ConfigError, match="there is no column 'capture' to split by"):
        fg.split(TABLE, "capture")
    with pytest.raises(fg.ConfigError, match="test is a share of the rows between 0 and 1, not 20"):
        fg.split(TABLE, test=20)
