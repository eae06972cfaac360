"""The mock cluster of librdkafka: one broker that speaks the protocol, in threads of this process.

Its functions are public, in `rdkafka_mock.h`, but not in Python: they are called in the library of the package. It has no users
and no TLS, so that what the driver says about wrong credentials and certificates is not tested here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.integration.streams.end import End, Fault, Received

TOPIC = "actionwatch"
_BROKER = 1
_PARTITIONS = 4
_PRODUCER = 0  # `RD_KAFKA_PRODUCER`
_PRODUCE = 0  # the number of this request in the protocol
_HANGS_MS = 10_000


class KafkaEnd(End):
    """One cluster for all tests. A broker that is down keeps its messages."""

    type_name = "kafka"
    secrets = ()
    too_large_bytes = 1_000_000
    cannot: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self._library = _library()
        text = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        self._library.rd_kafka_conf_set(conf, b"log_level", b"0", text, len(text))
        self._client = ctypes.c_void_p(self._library.rd_kafka_new(_PRODUCER, conf, text, len(text)))
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._client, 1))
        self._broker = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        for name in (TOPIC, "missing"):
            assert self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), _PARTITIONS, 1) == 0
        self._library.rd_kafka_mock_topic_set_error(self._cluster, b"missing", KafkaError.UNKNOWN_TOPIC_OR_PART)
        self.faults = {
            "missing destination": lambda: Fault({**self.options(), "topic": "missing"}, "kafka-topics.sh --create"),
            "wrong topic limit": self._refusing,
        }

    def options(self) -> Mapping[str, Any]:
        return {"brokers": self._broker, "tls": False, "topic": TOPIC}

    def received(self) -> list[Received]:
        settings = {"bootstrap.servers": self._broker, "group.id": "contract", "fetch.wait.max.ms": 10, "log_level": 0}
        consumer = Consumer(settings)
        try:
            return _read(consumer)
        finally:
            consumer.close()

    def stop(self) -> None:
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, _BROKER) == 0

    def start(self) -> None:
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, _BROKER) == 0

    def hang(self) -> None:
        assert self._library.rd_kafka_mock_broker_set_rtt(self._cluster, _BROKER, _HANGS_MS) == 0

    def resume(self) -> None:
        assert self._library.rd_kafka_mock_broker_set_rtt(self._cluster, _BROKER, 0) == 0

    def close(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def refuse_next(self, code: int) -> None:
        """Answer the next request to produce with an error."""
        self._library.rd_kafka_mock_push_request_errors(self._cluster, _PRODUCE, ctypes.c_size_t(1), code)

    def _refusing(self) -> Fault:
        self.refuse_next(KafkaError.MSG_SIZE_TOO_LARGE)
        return Fault(self.options(), "max_message_bytes")


def _library() -> Any:
    """Load the library of the package, which it has loaded already."""
    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    (path,) = folder.glob("librdkafka-*")
    library = ctypes.CDLL(str(path))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


def _read(consumer: Consumer) -> list[Received]:
    """Return all messages of the topic, in the order of each partition."""
    partitions = [TopicPartition(TOPIC, number, 0) for number in range(_PARTITIONS)]
    ends = [consumer.get_watermark_offsets(each, timeout=30)[1] for each in partitions]
    consumer.assign(partitions)
    found: list[Received] = []
    while len(found) < sum(ends):
        message = consumer.poll(30)
        assert message is not None, "no message"
        assert message.error() is None, message.error()
        found.append(_received(message))
    return found


def _received(message: Any) -> Received:
    headers = {name: value.decode() for name, value in message.headers()}
    return Received(headers["id"], headers["kind"], int(headers["offset"]), message.key().decode(), message.value())
