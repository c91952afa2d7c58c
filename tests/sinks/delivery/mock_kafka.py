"""A Kafka cluster for tests: the mock one that librdkafka brings along, in this process, which real clients connect to.

It speaks the protocol, keeps the last five megabytes of a partition, and its brokers can go down and come back; it has
no disk, no replicas and no access rights, so what these would do is not tested with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import time
from collections.abc import Iterator
from typing import Any

PARTITIONS = 4


class MockCluster:
    """One broker."""

    def __init__(self) -> None:
        self._lib = _library()
        text = ctypes.create_string_buffer(512)
        configuration = self._lib.rd_kafka_conf_new()
        self._lib.rd_kafka_conf_set(configuration, b"log_level", b"0", text, 512)
        self._handle = self._lib.rd_kafka_new(0, configuration, text, 512)
        assert self._handle, text.value
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._handle, 1)
        self.address = self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def down(self) -> None:
        """Connections break off, and new ones are refused."""
        assert self._lib.rd_kafka_mock_broker_set_down(self._cluster, 1) == 0

    def up(self) -> None:
        assert self._lib.rd_kafka_mock_broker_set_up(self._cluster, 1) == 0

    def refuse(self, topic: str, error: int) -> None:
        """Every question for this topic is answered by this error."""
        self._lib.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), error)

    def close(self) -> None:
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._handle)

    def messages(self, topic: str, seconds: float = 15.0) -> list[Any]:
        """All messages of a topic, partition by partition."""
        from confluent_kafka import KafkaError, TopicPartition

        consumer = _consumer(self.address)
        found, ended, end = [], 0, time.monotonic() + seconds
        try:
            consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
            while ended < PARTITIONS:
                assert time.monotonic() < end, "it takes too long"
                message = consumer.poll(0.1)
                if message is not None and message.error() is None:
                    found.append(message)
                elif message is not None:
                    assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                    ended += 1
        finally:
            consumer.close()
        return found


def _consumer(address: str) -> Any:
    from confluent_kafka import Consumer

    settings = {"group.id": "test", "enable.partition.eof": True, "auto.offset.reset": "earliest", "log_level": 0}
    return Consumer({"bootstrap.servers": address, **settings})


def _library() -> Any:
    """The librdkafka that the Python client has brought; the same functions, called from outside."""
    import confluent_kafka

    package = os.path.dirname(confluent_kafka.__file__)
    [path] = glob.glob(os.path.join(package, os.pardir, "confluent_kafka.libs", "librdkafka*")) or ["librdkafka.so.1"]
    library = ctypes.CDLL(path)
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    for name, result, *arguments in (
        ("conf_new", pointer),
        ("conf_set", ctypes.c_int, pointer, text, text, text, size),
        ("new", pointer, ctypes.c_int, pointer, text, size),
        ("destroy", None, pointer),
        ("mock_cluster_new", pointer, pointer, ctypes.c_int),
        ("mock_cluster_bootstraps", text, pointer),
        ("mock_cluster_destroy", None, pointer),
        ("mock_broker_set_down", ctypes.c_int, pointer, ctypes.c_int32),
        ("mock_broker_set_up", ctypes.c_int, pointer, ctypes.c_int32),
        ("mock_topic_set_error", None, pointer, text, ctypes.c_int),
    ):
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    return library


@contextlib.contextmanager
def mock_cluster() -> Iterator[MockCluster]:
    """A cluster while inside."""
    cluster = MockCluster()
    try:
        yield cluster
    finally:
        cluster.close()
