"""Label balance counts flows, and separability ranks what tells labels apart."""

from __future__ import annotations

import math
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from flow_tables import generated
from flowgauge.report.flows import NONE, Flows
from flowgauge.report.labels import QUANTILE_BINS, SAMPLE, balance, information, separability


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return generated(4000, seed=3)


def put(table: pa.Table, name: str, values: object) -> pa.Table:
    """The table with other values in a column."""
    place = table.schema.get_field_index(name)
    field = table.schema.field(name)
    return table.set_column(place, field, pa.array(values, field.type, from_pandas=True))


def test_balance_counts_every_label(table: pa.Table) -> None:
    """Each app and action has its flows, packets, bytes, files and share; the one with most flows comes first."""
    rows = table.to_pylist()
    names = [(row["app"] or NONE, row["action"] or NONE) for row in rows]
    counts = Counter(names)
    found = balance(Flows(table)).to_pylist()
    assert {(row["app"], row["action"]): row["flows"] for row in found} == counts
    assert [row["flows"] for row in found] == sorted(counts.values(), reverse=True)
    for row in found[:20]:
        own = [flow for flow, name in zip(rows, names, strict=True) if name == (row["app"], row["action"])]
        assert row["packets"] == sum(flow["packets"] for flow in own)
        assert row["bytes"] == sum(flow["frame_bytes"] for flow in own)
        assert row["files"] == len({flow["source"] for flow in own})
        assert math.isclose(row["share"], len(own) / len(rows))


def test_balance_of_one_label_alone(table: pa.Table) -> None:
    """Actions without apps have their balance."""
    found = balance(Flows(put(table, "app", [None] * len(table))))
    assert set(found["app"].to_pylist()) == {NONE} and len(found) == 4


codes = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(codes)
def test_mutual_information(pairs: list[tuple[int, int]]) -> None:
    """Information is Σ p(x,y) log₂(p(x,y) / p(x) p(y)), less (cells − rows − columns + 1) / 2n ln 2, not below 0."""
    count, joint = len(pairs), Counter(pairs)
    first, second = Counter(x for x, _ in pairs), Counter(y for _, y in pairs)
    plain = sum(n / count * math.log2(n * count / (first[x] * second[y])) for (x, y), n in joint.items())
    bias = (len(joint) - len(first) - len(second) + 1) / (2 * count * math.log(2))
    entropy = -sum(n / count * math.log2(n / count) for n in second.values())
    bits, whole = information(*(np.array(values, np.int64) for values in zip(*pairs, strict=True)))
    assert math.isclose(bits, max(plain - bias, 0), abs_tol=1e-9) and math.isclose(whole, entropy, abs_tol=1e-9)


@pytest.mark.parametrize("name", ["up_iat_max_s", "ack_packets", "down_ip_len_mean", "icmp_type"])
def test_a_planted_feature_is_first(name: str, table: pa.Table) -> None:
    """A number that is another one for each app tells more than all others, and nearly all there is to tell."""
    apps = Flows(table).names("app").codes
    planted = put(table, name, np.where(apps < 0, 0, apps % 12 * 7 + 1))
    first = separability(Flows(planted)).to_pylist()[0]
    assert first["feature"] == name and first["share"] > 0.75


def test_a_planted_category_is_first(table: pa.Table) -> None:
    """So is a category that names the app in other words."""
    apps = Flows(table).names("app")
    names = [None if code < 0 else f"x{code}" for code in apps.codes.tolist()]
    first = separability(Flows(put(table, "end_reason", names))).to_pylist()[0]
    assert first["feature"] == "end_reason" and first["share"] > 0.99


def test_noise_tells_nothing(table: pa.Table) -> None:
    """A feature that is independent of the label has less than a hundredth of its entropy, and so has a constant."""
    noise = put(table, "up_iat_min_s", np.random.default_rng(5).random(len(table)))
    found = {row["feature"]: row for row in separability(Flows(put(noise, "ip_version", [4] * len(table)))).to_pylist()}
    assert found["up_iat_min_s"]["share"] < 0.01 and found["ip_version"]["bits"] == 0


def test_only_features_are_judged(table: pa.Table) -> None:
    """Every column of role feature with one value a flow is judged; none that names a flow, its ends or its label."""
    judged = separability(Flows(table))["feature"].to_pylist()
    roles = {field.name: field.metadata[b"role"] for field in table.schema}
    assert sorted(judged) == sorted(name for name, role in roles.items() if role == b"feature")
    assert not {"client_ip", "server_port", "source", "start", "flow_id", "app", "action"} & set(judged)


def test_roles_are_known_without_metadata(table: pa.Table) -> None:
    """A table whose schema says nothing, as one from pandas, has the roles of the native columns."""
    bare = pa.table({name: table[name] for name in table.schema.names})
    found = separability(Flows(bare))
    assert found.equals(separability(Flows(table))) and found["definition"][0].as_py()


def test_null_is_a_value_of_its_own(table: pa.Table) -> None:
    """A feature that is null for one app and 1 for all others tells that app from them."""
    app = Flows(table).names("app").codes == 0
    found = separability(Flows(put(table, "up_iat_std_s", np.where(app, np.nan, 1.0)))).to_pylist()
    row = next(row for row in found if row["feature"] == "up_iat_std_s")
    labelled = Flows(table).names("app").codes >= 0
    share = app[labelled].mean()
    assert row["flows"] == int((labelled & ~app).sum())
    assert math.isclose(row["bits"], -share * math.log2(share) - (1 - share) * math.log2(1 - share), rel_tol=0.05)


def test_the_order_of_a_number_does_not_matter(table: pa.Table) -> None:
    """Quantile bins see ranks alone: the logarithm of a feature tells as much."""
    values = Flows(table).numbers("packets")
    found = separability(Flows(put(table, "up_iat_max_s", np.log(values)))).to_pylist()
    bits = {row["feature"]: row["bits"] for row in found}
    assert math.isclose(bits["up_iat_max_s"], bits["packets"], rel_tol=1e-9) and QUANTILE_BINS == 16


def test_one_label_cannot_be_told_apart(table: pa.Table) -> None:
    """With a single app the actions are told apart, and with a single action nothing is."""
    one = put(table, "app", ["mail"] * len(table))
    assert len(separability(Flows(one))) > 50
    assert len(separability(Flows(put(one, "action", ["read"] * len(table))))) == 0


def test_many_flows_are_sampled() -> None:
    """Of more flows than SAMPLE, evenly spaced ones are judged; the planted feature stays first."""
    table = generated(2 * SAMPLE + 10, features=("core",))
    apps = Flows(table).names("app").codes
    found = separability(Flows(put(table, "fragments", np.where(apps < 0, 0, apps)))).to_pylist()
    assert found[0]["feature"] == "fragments" and 0 < found[0]["flows"] <= SAMPLE
