"""The latency of alerts is stored, counted, and reported if it is too high."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.model import Escalation
from actionwatch.store import delivery_latency
from tests.builders import NOON
from tests.integration.delivery.kit import Desk, Rule
from tests.integration.kit import DOWN, Sender

MINUTE = ReceiverPolicy(objective=timedelta(seconds=60))
SINGLE = Rule(realert=None)


def test_latency_is_stored_and_counted_once(desk: Desk) -> None:
    """Each alert stores when it occurred, was seen, was matched and was first delivered. Each delivery is counted once."""
    alert_id = desk.match_records(SINGLE, seen_at=NOON + timedelta(seconds=3))
    desk.later(seconds=7)
    alert = desk.alerts()[alert_id]
    assert (alert.first_at, alert.seen_at, alert.first_sent_at) == (NOON, NOON + timedelta(seconds=3), desk.clock())
    with desk.database.read() as connection:
        found = {histogram.since: histogram for histogram in delivery_latency.read_all(connection)}
    assert {since: histogram.buckets for since, histogram in found.items()} == {
        "happened": {10: 1}, "seen": {5: 1}, "matched": {10: 1},
    }  # fmt: skip
    assert found["seen"].total == timedelta(seconds=4)
    desk.later(hours=1)
    with desk.database.read() as connection:
        assert sum(sum(histogram.buckets.values()) for histogram in delivery_latency.read_all(connection)) == 3


@pytest.mark.parametrize("failure_count", [0, 2])
def test_escalation_counts_from_when_it_is_due(desk: Desk, failure_count: int) -> None:
    """An escalation that arrives on time raises nothing, one that arrives late does. Neither is in the histogram."""
    desk.senders["oncall"] = Sender(
        answer=lambda message: DOWN if len(desk.senders["oncall"].sent) <= failure_count else None
    )
    desk.policies["oncall"] = MINUTE
    desk.route = Route(("hook",))
    alert_id = desk.match_records(Rule(realert=None, escalation=Escalation(timedelta(minutes=15), "oncall")))
    desk.later(minutes=15)
    for _ in range(failure_count):
        desk.later(minutes=5)
    assert [message.data["id"] for message in desk.senders["oncall"].sent] == [alert_id] * (1 + failure_count)
    assert desk.open_troubles() == (["slo_burning oncall"] if failure_count else [])
    with desk.database.read() as connection:
        assert {histogram.receiver for histogram in delivery_latency.read_all(connection)} == {"hook"}


def test_late_record_does_not_count_against_the_objective(desk: Desk) -> None:
    """A record that the upstream listed late does not count as delay of a delivery."""
    desk.policies["hook"] = MINUTE
    desk.match_records(SINGLE, late_by=timedelta(hours=2))
    desk.later(minutes=10)
    assert desk.open_troubles() == []
