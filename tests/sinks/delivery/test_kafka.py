"""Flows as messages of Kafka: the real client, and librdkafka's own mock cluster at the other end."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from flowgauge.errors import ConfigError, MissingDependency, SinkError
from flowgauge.sinks import Terms, open_sink
from flowgauge.sinks.delivery import kafka, open_delivery
from flowgauge.sinks.delivery.kafka import Kafka
from flowgauge.sinks.delivery.url import parse_url
from native_rows import SCHEMA, batch_of, native_batch
from services_here import needs
from sinks.delivery.mock_kafka import MockCluster, mock_cluster

pytestmark = [pytest.mark.slow, needs("confluent_kafka")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    with mock_cluster() as built:
        yield built


@pytest.fixture(autouse=True)
def _spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWGAUGE_SPOOL_DIR", str(tmp_path / "spool"))


def rows_of(batch: pa.RecordBatch, omit_null: bool = False) -> list[bytes]:
    """The lines that they are in a JSON Lines file."""
    out = io.BytesIO()
    with open_sink(out, format="jsonl", schema=batch.schema, omit_null=omit_null) as sink:
        sink.write(batch)
    return out.getvalue().splitlines()


def test_a_message_is_the_line_of_a_json_lines_file(cluster: MockCluster) -> None:
    """Each flow is one message with the same text, more of them than one delivery; its key tells copies."""
    batch = native_batch(12_345).select(["flow_id", "part", "start", "client_ip", "source"])
    with open_sink(f"kafka://{cluster.address}/lines", schema=batch.schema) as sink:
        sink.write(batch)
    messages = cluster.messages("lines")
    lines = rows_of(batch)
    assert sorted(message.value() for message in messages) == sorted(lines)
    row = batch.slice(0, 1).to_pylist()[0]
    start = batch["start"].cast(pa.int64())[0].as_py()
    values = [row["flow_id"], row["part"], start, row["source"]]
    expected = ":".join("" if value is None else str(value) for value in values).encode()
    assert {message.key() for message in messages if message.value() == lines[0]} == {expected}
    assert len({message.partition() for message in messages}) > 1


def test_flows_of_zeek_have_its_uid_as_their_key(cluster: MockCluster) -> None:
    """And tables without a name of their own for flows have no key."""
    for name, key in (("zeek", "uid"), ("nfstream", None)):
        batch = batch_of(name, 20)
        with open_sink(f"kafka://{cluster.address}/{name}", schema=batch.schema) as sink:
            sink.write(batch)
        keys = {message.key() for message in cluster.messages(name)}
        assert keys == ({None} if key is None else {text.encode() for text in batch[key].to_pylist()})


def test_nulls_are_left_out_where_json_lines_leaves_them_out(cluster: MockCluster) -> None:
    """As schema zeek asks for."""
    batch = native_batch(20)
    with open_sink(f"kafka://{cluster.address}/nulls", schema=SCHEMA, omit_null=True) as sink:
        sink.write(batch)
    messages = cluster.messages("nulls")
    assert sorted(message.value() for message in messages) == sorted(rows_of(batch, omit_null=True))


def test_a_message_of_arrow_is_a_stream_of_as_many_rows_as_fit(cluster: MockCluster) -> None:
    """All rows come back, with types and dictionaries, in messages within the limit."""
    batch = native_batch(3000)
    url = f"kafka://{cluster.address}/arrow?format=arrow&message.max.bytes=200000"
    with open_sink(url, schema=SCHEMA) as sink:
        sink.write(batch)
    messages = cluster.messages("arrow")
    assert 1 < len(messages) < 100
    assert all(len(message.value()) <= 200_000 for message in messages)
    tables = [pa.ipc.open_stream(message.value()).read_all() for message in messages]
    assert all(table.schema.equals(SCHEMA) for table in tables)
    found = [row for table in tables for row in table.to_pylist()]
    key = lambda row: (row["start"], repr(row))  # noqa: E731
    assert [repr(row) for row in sorted(found, key=key)] == [repr(row) for row in sorted(batch.to_pylist(), key=key)]


def test_a_flow_that_no_message_holds_is_an_error(cluster: MockCluster) -> None:
    """In either format, with the option that says how large a message may be."""
    wide = pa.schema([("text", pa.string())])
    batch = pa.RecordBatch.from_pydict({"text": [random.Random(1).randbytes(9000).hex()]}, wide)
    for form in ("json", "arrow"):
        url = f"kafka://{cluster.address}/wide?format={form}&message.max.bytes=2000"
        with pytest.raises(SinkError, match=r"see message\.max\.bytes"), open_sink(url, schema=wide) as sink:
            sink.write(batch)


def test_flows_wait_for_a_broker_that_is_down(cluster: MockCluster) -> None:
    """Every row is there when it is back, at most one delivery twice, and the lines say what happened."""
    said: list[str] = []
    batch = native_batch(200)
    url = f"kafka://{cluster.address}/outage?message.timeout.ms=1500&socket.timeout.ms=1000"
    with open_sink(url, schema=SCHEMA, terms=Terms(said.append)) as sink:
        sink.write(batch.slice(0, 100))
        sink.flush()
        cluster.down()
        timer = threading.Timer(3, cluster.up)
        timer.start()
        sink.write(batch.slice(100))
        sink.flush()
        timer.join()
    found = [message.value() for message in cluster.messages("outage")]
    lines = rows_of(batch)
    assert {*found} == {*lines}
    assert len(found) <= len(lines) + 100
    assert said[0].startswith(f"kafka://{cluster.address}/outage is down (")
    assert said[1:] == [f"kafka://{cluster.address}/outage is back; what has waited is delivered"]


def test_a_broker_that_never_was_there_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told after the time to wait, with the reason that the client gives."""
    monkeypatch.setattr(kafka, "_CONNECT", 0.5)
    with (
        pytest.raises(SinkError, match=r"kafka://127\.0\.0\.1:9/flows is down \(.*(refused|down).*; nothing was read"),
        open_sink("kafka://127.0.0.1:9/flows?wait=1", schema=SCHEMA),
    ):
        pytest.fail("entered")


@pytest.mark.parametrize(
    ("code", "match"),
    [(29, "Topic authorization failed"), (3, "there is no topic 'refused3', and the brokers make none by themselves")],
)
def test_a_topic_that_is_refused_ends_the_run(
    code: int, match: str, cluster: MockCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried again for minutes."""
    monkeypatch.setattr(kafka, "_CONNECT", 1.0)
    cluster.refuse(f"refused{code}", code)
    with pytest.raises(SinkError, match=match), open_sink(f"kafka://{cluster.address}/refused{code}", schema=SCHEMA):
        pytest.fail("entered")


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("kafka://host:9092", r"name the topic, .*: kafka://broker:9092/flows"),
        ("kafka://host/a/b", "name the topic"),
        ("kafka:///flows", "name a broker"),
        ("kafka://host:port/flows", "'port' is no port; write kafka://host:9092"),
        ("kafka://host/flows?format=xml", "format is json or arrow, not 'xml'"),
        ("kafka://host/flows?formt=json", "there is no option 'formt'; there are format, spool, spool_size, wait"),
        ("kafka://host/flows?wait=soon", "wait is a time above 0"),
        ("kafka://host/flows?spool_size=much", "spool_size is a size above 0"),
        ("kafka://host/flows?message.max.bytes=many", r"message\.max\.bytes is a whole number"),
    ],
)
def test_urls_that_cannot_be(url: str, match: str) -> None:
    """The message says what is allowed, before anything is opened."""
    with pytest.raises(ConfigError, match=match):
        open_delivery(url, SCHEMA, Terms())


@pytest.mark.parametrize(
    ("option", "match"),
    [("no.such=1", 'No such configuration property: "no.such"'), ("acks=1&a.b=1", "no option 'acks'")],
)
def test_options_of_the_client_that_cannot_be(option: str, match: str, cluster: MockCluster) -> None:
    """Its own words for them; what would weaken the promise is no option."""
    with (
        pytest.raises(ConfigError, match=match),
        open_sink(f"kafka://{cluster.address}/flows?{option}", schema=SCHEMA),
    ):
        pytest.fail("entered")


def test_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the URL, nor of the environment, nor of an option; they reach the client as they are."""
    found = Kafka(parse_url("kafka://me:s%40cret@[::1]:9093,other/flows?ssl.key.password=hidden"))
    assert found.name == "kafka://[::1]:9093,other/flows"
    assert found._settings["sasl.password"] == "s@cret" and found._settings["security.protocol"] == "SASL_SSL"
    assert found._settings["bootstrap.servers"] == "[::1]:9093,other:9092"
    monkeypatch.setenv("FLOWGAUGE_PASSWORD", "of the environment")
    assert Kafka(parse_url("kafka://me@host/flows"))._settings["sasl.password"] == "of the environment"
    assert "sasl.username" not in Kafka(parse_url("kafka://host/flows"))._settings


def test_a_missing_client_is_told_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, before anything is read."""
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka", None)
    with pytest.raises(MissingDependency, match=r"pip install 'flowgauge\[kafka\]'"):
        open_delivery("kafka://host/flows", SCHEMA, Terms())
