"""Kafka: what its driver promises beside the contract of all drivers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import KafkaError

from actionwatch.base.errors import TransientDeliveryError
from tests.integration.streams.ends.kafka import KafkaEnd
from tests.integration.streams.kit import driver
from tests.integration.streams.messages import batch, received


@pytest.fixture(scope="module")
def end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaEnd]:
    """A cluster for the tests of this module."""
    with closing(KafkaEnd(tmp_path_factory.mktemp("kafka"))) as opened:
        yield opened


def test_refused_part_of_a_batch_is_reported_and_comes_with_the_repeat(end: KafkaEnd) -> None:
    """If the brokers refuse a part of a batch, `send` raises with what to do, and the repeat brings every message.

    Real brokers then refuse the parts after it, whose sequence has a gap; the mock cluster stores them.
    """
    sent = [dataclasses.replace(message, key="one") for message in batch(6, 400_000)]
    with closing(driver(end)) as opened:
        opened.open()
        opened.send(batch(1))
        end.refuse_next(KafkaError.MSG_SIZE_TOO_LARGE)
        with pytest.raises(TransientDeliveryError, match=r"Message size too large.*: max_message_bytes \(1000000\)"):
            opened.send(sent)
        opened.close()
        opened.open()
        assert not opened.send(sent)
    assert {each.id for each in received(end, sent)} == {each.id for each in sent}
