"""How long alerts take is stamped, counted, and told when it is too long."""

from __future__ import annotations

from datetime import timedelta

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.store import delivery_latency
from tests.builders import NOON
from tests.integration.delivery.kit import Desk, Rule
from tests.integration.kit import DOWN

MINUTE = ReceiverPolicy(objective=timedelta(seconds=60))
SINGLE = Rule(realert=None)


def test_stamps_and_histogram(desk: Desk) -> None:
    """Happened, seen, matched, first delivered: each alert has them, and each arrival is counted once from each."""
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


def test_an_objective_that_burns(desk: Desk) -> None:
    """More than one in a hundred too late is a trouble of ours, what still waits included; it is over after a good hour."""
    desk.policies["hook"] = MINUTE
    desk.match_records(SINGLE, count=100)
    desk.later(seconds=30)
    assert desk.open_troubles() == []
    desk.hook.answer = lambda message: DOWN
    desk.match_records(SINGLE, count=2)
    desk.deliver()
    assert desk.open_troubles() == []
    desk.later(seconds=90)
    assert desk.open_troubles() == ["slo_burning hook"]
    desk.hook.answer = lambda message: None
    desk.later(minutes=11)
    assert desk.open_troubles() == ["slo_burning hook"]
    desk.later(hours=1, minutes=1)
    assert desk.open_troubles() == []


def test_late_records_burn_nothing(desk: Desk) -> None:
    """What the upstream brought late was not our delay."""
    desk.policies["hook"] = MINUTE
    desk.match_records(SINGLE, late_by=timedelta(hours=2))
    desk.later(minutes=10)
    assert desk.open_troubles() == []
