"""The mock cluster of librdkafka: one broker that speaks the protocol, in a thread of this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.integration.streams.end import End, Fault, Received

_TOPIC = "actionwatch"


class KafkaMockEnd(End):
    """The mock cluster of a producer that sends nothing."""

    type_name = "kafka"
    secrets = ()
    too_large_bytes = 1_000_000
    cannot: Mapping[str, str] = {
        "stop": "the mock cluster of librdkafka keeps nothing when it stops",
        "hang": "the mock cluster of librdkafka is a thread of this process",
    }
    faults: Mapping[str, Callable[[], Fault]] = {}  # it has no users, no TLS, and creates every topic

    def __init__(self, folder: Path) -> None:
        self._cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored", "log_level": 0})
        (broker,) = self._cluster.list_topics(timeout=30).brokers.values()
        self._broker = f"{broker.host}:{broker.port}"

    def options(self) -> Mapping[str, Any]:
        return {"brokers": self._broker, "tls": False, "topic": _TOPIC}

    def received(self) -> list[Received]:
        consumer = Consumer(
            {"bootstrap.servers": self._broker, "group.id": "contract", "fetch.wait.max.ms": 10, "log_level": 0}
        )
        try:
            return read(consumer, _TOPIC)
        finally:
            consumer.close()

    def close(self) -> None:
        self._cluster.close()


def read(consumer: Consumer, topic: str) -> list[Received]:
    """Return all messages of a topic, in the order of each partition."""
    partitions = [TopicPartition(topic, n, 0) for n in consumer.list_topics(topic, timeout=30).topics[topic].partitions]
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
