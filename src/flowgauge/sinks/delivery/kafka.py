"""Kafka: flow records as messages of a topic, one a flow (JSON) or one a batch (Arrow), by librdkafka.

`acks=all` and an idempotent producer: what a delivery returns from is on all replicas, in order and once; only a
delivery that is tried again after an outage can be there twice.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flowgauge.errors import ConfigError, DestinationDown, MissingDependency, SinkError
from flowgauge.sinks.delivery.delivery import KEY, UID
from flowgauge.sinks.delivery.url import Url

_PORT = 9092
_CONNECT = 10.0  # s
_SLACK = 5.0  # s beyond the time in which librdkafka gives up on a message
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_ROWS = {"json": 10_000, "arrow": 4096}
_ENVELOPE = 512  # bytes of a message around its value, at most
_SETTINGS = {
    "acks": "all",
    "enable.idempotence": "true",
    "message.timeout.ms": "30000",
    "message.max.bytes": "1000000",
    "queue.buffering.max.kbytes": "65536",
    "linger.ms": "5",
}
# Errors that a broker or the client gives again and again until somebody changes something there.
_LASTING = (
    *("TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "SASL_AUTHENTICATION_FAILED", "_AUTHENTICATION"),
    *("MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "TOPIC_EXCEPTION", "UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"),
    *("UNSUPPORTED_VERSION", "POLICY_VIOLATION", "_INVALID_ARG"),
)
_SILENT = logging.getLogger(f"{__name__}.librdkafka")  # the sink says what is wrong, once
_SILENT.disabled = True


class Kafka:
    """The topic of a URL `kafka://[user:password@]broker[:9092][,broker…]/topic?format=json|arrow`.

    Options whose names have a dot are librdkafka's. The key of a JSON message is that of copies, `flow_id:part:start:
    source`: a compacted topic, and an upsert by key, then leave just one of them, and partitions get equal shares.
    """

    def __init__(self, url: Url, omit_null: bool = False) -> None:
        url.check_options({"format", *(name for name in url.options if "." in name)})
        self._format = url.one_of("format", ("json", "arrow"))
        self._topic = url.path
        if not _TOPIC.fullmatch(self._topic):
            raise ConfigError(f"{url.shown}: name the topic, of letters, digits and . _ -: kafka://broker:9092/flows")
        self.rows = _ROWS[self._format]
        self.name = url.shown
        self._settings = _settings(url)
        self._omit_null = omit_null
        self._client = _client()
        self._producer: Any = None
        self._encoder: Any = None
        self._key: tuple[str, ...] = ()
        self._trouble: Any = None  # the last error of a connection

    def connect(self, schema: pa.Schema) -> None:
        """Find the topic, which brokers make by themselves where they are set up so."""
        self.close()
        self._key = next((key for key in (KEY, UID) if set(key) <= set(schema.names)), ())
        self._encoder = _Lines(schema, self._omit_null) if self._format == "json" else _Streams(schema, self._most)
        try:
            self._producer = self._client.Producer(self._settings, logger=_SILENT, error_cb=self._note)
        except self._client.KafkaException as error:
            raise ConfigError(f"{self.name}: {error.args[0].str()}") from None
        self._find_topic()

    @property
    def _most(self) -> int:
        return int(self._settings["message.max.bytes"]) - _ENVELOPE

    def _note(self, error: Any) -> None:
        if self._trouble is None or self._trouble.code() not in self._codes(*_LASTING):
            self._trouble = error

    def _find_topic(self) -> None:
        error, end = None, time.monotonic() + _CONNECT
        while (left := end - time.monotonic()) > 0:
            try:
                topic = self._producer.list_topics(self._topic, timeout=left).topics[self._topic]
            except self._client.KafkaException as failure:
                raise self._error(failure.args[0]) from None
            error = topic.error
            if error is None or not (error.retriable() or error.code() in self._codes("UNKNOWN_TOPIC_OR_PART")):
                break
            time.sleep(0.2)  # it is just being made
        if error is not None:
            raise self._error(error)

    def _codes(self, *names: str) -> set[int]:
        return {getattr(self._client.KafkaError, name) for name in names if hasattr(self._client.KafkaError, name)}

    def _error(self, error: Any) -> SinkError:
        """What to raise: DestinationDown where it may pass."""
        if self._producer is not None:
            self._producer.poll(0)  # for what `_note` is to hear
        vague = error.code() in self._codes("_TRANSPORT", "_TIMED_OUT", "_MSG_TIMED_OUT")
        known = self._trouble if vague and self._trouble is not None else error
        text = known.str() or known.name()
        if known.code() in self._codes("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"):
            text = f"there is no topic {self._topic!r}, and the brokers make none by themselves; create it first"
        elif known.code() in self._codes("MSG_SIZE_TOO_LARGE", "INVALID_MSG_SIZE"):
            text = f"a message is larger than the topic takes ({text}); see message.max.bytes"
        lasting = known.code() in self._codes(*_LASTING) or known.fatal()
        return SinkError(f"{self.name}: {text}") if lasting else DestinationDown(text)

    def deliver(self, table: pa.Table) -> None:
        """Hand over the messages, and wait until all of them are acknowledged."""
        keys = _keys(table, self._key) if self._format == "json" and self._key else None
        reports = _Reports()
        deadline = time.monotonic() + int(self._settings["message.timeout.ms"]) / 1000 + _SLACK
        for number, value in enumerate(self._encoder.messages(table)):
            self._produce(value, None if keys is None else keys[number], reports)
            if not number % 1000:
                self._producer.poll(0)
        while reports.missing and reports.error is None and time.monotonic() < deadline:
            self._producer.poll(0.1)
        if reports.error is not None:
            raise self._error(reports.error)
        if reports.missing:
            raise DestinationDown(f"{reports.missing:,} messages were not acknowledged")

    def _produce(self, value: bytes, key: str | None, reports: _Reports) -> None:
        reports.missing += 1
        while reports.error is None:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=reports.take)
                return
            except BufferError:  # the queue is full: its messages have a time-out, and make room
                self._producer.poll(0.1)
            except self._client.KafkaException as error:
                raise self._error(error.args[0]) from None

    def close(self) -> None:
        """Forget what is on its way: it is delivered again, or has been acknowledged."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(self._client.KafkaException):
                producer.purge()
                producer.flush(1.0)
        self._trouble = None


class _Reports:
    """How many messages have no report yet, and the first error."""

    def __init__(self) -> None:
        self.missing = 0
        self.error: Any = None

    def take(self, error: Any, message: Any) -> None:
        self.missing -= 1
        self.error = self.error or error


class _Lines:
    """One message a row: the line that the same row is in a JSON Lines file, without its end."""

    def __init__(self, schema: pa.Schema, omit_null: bool) -> None:
        from flowgauge.sinks.flat import check_lists
        from flowgauge.sinks.lines import LineFormatter
        from flowgauge.sinks.text import JSON

        check_lists(schema)
        self._formatter = LineFormatter(schema, JSON._replace(omits_null=omit_null))

    def messages(self, table: pa.Table) -> Iterator[bytes]:
        for batch in table.to_batches():
            for piece in self._formatter.format(batch):
                yield from bytes(piece).split(b"\n")[:-1]


class _Streams:
    """One message for as many rows as fit: an Arrow IPC stream, compressed inside, with columns but not what they are
    said to mean, which would be in each message."""

    def __init__(self, schema: pa.Schema, most: int) -> None:
        self._schema = pa.schema([pa.field(field.name, field.type, field.nullable) for field in schema])
        self._options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._most = most

    def messages(self, table: pa.Table) -> Iterator[bytes]:
        message = self._encoded(table)
        if len(message) <= self._most:
            yield message
        elif len(table) > 1:
            half = len(table) // 2
            yield from self.messages(table.slice(0, half))
            yield from self.messages(table.slice(half))
        else:
            raise SinkError(f"a flow takes {len(message):,} bytes, and a message {self._most:,}: see message.max.bytes")

    def _encoded(self, table: pa.Table) -> bytes:
        out = pa.BufferOutputStream()
        with pa.ipc.new_stream(out, self._schema, options=self._options) as writer:
            writer.write_table(table.cast(self._schema))
        return bytes(out.getvalue())


def _keys(table: pa.Table, key: tuple[str, ...]) -> list[str]:
    """`flow_id:part:start:source` of each row, the start in ns since 1970; of schema zeek the `uid`."""
    texts = [_text(table[name]) for name in (*key[1:], key[0])]
    return list(pc.binary_join_element_wise(*texts, ":", null_handling="replace").to_pylist())


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return column.cast(pa.string())


def _settings(url: Url) -> dict[str, str]:
    """What librdkafka is told: brokers, who this is, how messages are sent, and what the URL says over that."""
    servers = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in url.addresses(_PORT)]
    if not servers:
        raise ConfigError(f"{url.shown}: name a broker: kafka://broker:9092/flows")
    chosen = {"bootstrap.servers": ",".join(servers), "client.id": "flowgauge", **_SETTINGS}
    if url.user is not None:
        chosen |= {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}
        chosen |= {"sasl.username": url.user, "sasl.password": url.password or ""}
    chosen |= {name: value for name, value in url.options.items() if "." in name}
    for name in ("message.max.bytes", "message.timeout.ms"):
        if not chosen[name].isdigit():
            raise ConfigError(f"{url.shown}: {name} is a whole number, not {chosen[name]!r}")
    if chosen.get("compression.type") is None and url.options.get("format") != "arrow":
        chosen["compression.type"] = "lz4"
    return chosen


def _client() -> Any:
    try:
        import confluent_kafka
    except ImportError as error:
        raise MissingDependency("kafka:// needs its client: pip install 'flowgauge[kafka]'") from error
    return confluent_kafka
