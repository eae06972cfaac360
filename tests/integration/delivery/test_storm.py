"""Storms: many alerts become one alert with updates, or a few summaries. Nothing is lost, and the counts add up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from actionwatch.alerts.policy import ReceiverPolicy, Storm
from actionwatch.alerts.routes import Route
from actionwatch.base.model import Event, Level
from actionwatch.delivery.rounds import ROWS_AT_ONCE
from actionwatch.store.tables import DELIVERY
from actionwatch.text.crontab import parse_crontab
from tests.integration.delivery.kit import Desk, Rule, summaries
from tests.integration.kit import DOWN, REFUSED, Sender, settle
from tests.statements import count_rows, questions

STORM = ReceiverPolicy(storm=Storm(30, timedelta(minutes=1)))
SINGLE = Rule(realert=None)


@pytest.fixture
def backed(desk: Desk) -> Desk:
    """Make mail the fallback of the hook, which has a limit for storms."""
    desk.senders["mail"] = Sender()
    desk.policies["hook"] = ReceiverPolicy(storm=Storm(20, timedelta(minutes=1)), fallback="mail")
    desk.route = Route(("hook",))
    return desk


def count_alerts(desk: Desk, name: str = "hook") -> int:
    """Count the alerts that a receiver was notified of, in single messages or in summaries."""
    sent = desk.senders[name].sent
    opened = [message for message in sent if message.type == "alert.opened"]
    return len(opened) + sum(int(message.data["count"]) for message in summaries(sent))


@pytest.mark.parametrize(
    ("channel", "wait", "at_once"),
    [
        ({"rate_per_second": 10 / 60}, 6, 1),  # a storm that counted what was sent would never begin
        ({"rate_per_second": 50.0}, 0.1, 5),  # as many as the rate allows until the next round
    ],
)
def test_storm_counts_what_is_due(desk: Desk, channel: dict[str, Any], wait: float, at_once: int) -> None:
    """Alerts beyond the limit collapse at once, however slowly the rate lets the others through."""
    desk.channel = channel
    desk.policies["hook"] = STORM
    desk.match_records(SINGLE, count=300)
    with desk.delivering() as worker:
        for number in range(1, 30 // at_once + 1):
            settle(worker)
            assert desk.received() == ["opened x1"] * (number * at_once)
            assert desk.gated() == ["hook opened collapsed by storm"] * 270
            desk.clock.advance(seconds=wait)
        desk.clock.advance(minutes=1)
        settle(worker)
    assert desk.received()[30:] == ["storm: 270"]


VERSION = "SELECT id, alert_id, receiver, event, "
"""The beginning of the statement that reads what was written, for its history."""


def test_claim_without_a_storm_reads_only_what_it_has_slots_for(desk: Desk) -> None:
    """What is due and is no opening, such as the ends of many alerts, makes a claim no larger."""
    desk.channel = {"rate_per_second": 1.0}
    desk.policies["hook"] = STORM
    names = [f"a{number}" for number in range(200)]
    desk.open_alerts(*names)
    with desk.database.write() as connection:
        connection.execute(DELIVERY.update().values(event=Event.RESOLVED.value))
    worker = desk.worker()
    worker.recover()
    with questions() as asked:
        worker.run_once()
    worker.finish()
    with desk.database.read() as connection:
        assert count_rows(connection, [each for each in asked if not each[0].startswith(VERSION)]) < 50


def test_storm_counts_no_alert_that_is_not_for_the_receiver(desk: Desk) -> None:
    """What a silence keeps from a receiver is no part of a storm, though it is due too."""
    desk.channel = {"rate_per_second": 1.0}
    desk.policies["hook"] = STORM
    desk.silence('userName="bob"', hours=1)
    desk.match_records(SINGLE, count=40, user_name="bob")
    desk.match_records(SINGLE, count=30)
    with desk.delivering() as worker:
        settle(worker)
    assert "hook opened collapsed by storm" not in desk.gated()


def test_alerts_above_the_limit_collapse_into_a_summary(desk: Desk) -> None:
    """Alerts above the limit collapse into a summary that names and counts them, also if no round can take all of them."""
    count = 2 * ROWS_AT_ONCE + 100
    desk.policies["hook"] = STORM
    desk.match_records(SINGLE, count=count)
    desk.deliver()
    assert desk.received() == ["opened x1"] * 30
    desk.later(seconds=9)
    assert len(desk.received()) == 30
    desk.later(seconds=1)
    assert desk.received()[30:] == [f"storm: {count - 30}"]
    summary = desk.hook.sent[-1].data
    assert len(summary["alerts"]) == 50
    assert summary["omitted"] == count - 80
    assert summary["levels"] == {"high": count - 30}
    assert count_alerts(desk) == len(desk.all_rows()) - 1 == count
    desk.later(hours=1)
    assert count_alerts(desk) == count


def test_receiver_that_recovers_gets_a_limited_number_of_messages(desk: Desk) -> None:
    """Pending messages count too: when the receiver recovers, it gets only as many messages as a person can read."""
    desk.policies["hook"] = STORM
    desk.hook.answer = lambda message: DOWN
    for _ in range(30):
        desk.match_records(SINGLE, count=20)
        desk.later(minutes=1)
    desk.hook.answer = lambda message: None
    desk.hook.sent.clear()
    for _ in range(5):
        desk.later(minutes=11)
    assert len([text for text in desk.received() if text.startswith("opened")]) == 30
    assert len(summaries(desk.hook.sent)) == 2
    assert count_alerts(desk) == 600 + 1  # the self-alert that the receiver was failing


def test_fallback_gets_each_alert_of_a_long_outage(backed: Desk) -> None:
    """Alerts that are no storm reach the fallback as single messages, however many the receiver has missed by then."""
    backed.hook.answer = lambda message: DOWN
    for _ in range(25):  # more than the limit of a storm
        backed.match_records(SINGLE)
        backed.later(minutes=1)
    backed.later(seconds=6)
    assert backed.received("mail") == ["opened x1"] * 25


def test_fallback_gets_the_summaries_of_storms_during_an_outage(backed: Desk) -> None:
    """In each storm of an outage the fallback gets as many messages as a person can read, and a summary of the others."""
    backed.hook.answer = lambda message: DOWN
    backed.match_records(SINGLE)
    backed.later(minutes=1)
    backed.later(minutes=10)
    backed.later(minutes=2)
    for _ in range(2):
        before = len(backed.received("mail"))
        backed.match_records(SINGLE, count=50)
        for _ in range(6):
            backed.later(seconds=6)
        assert backed.received("mail")[before:] == ["opened x1"] * 20 + ["storm: 30"]
        backed.later(minutes=5)
    (first, _) = summaries(backed.senders["mail"].sent)
    assert first.data["receiver"] == "hook"
    backed.hook.answer = lambda message: None
    backed.hook.sent.clear()
    backed.later(hours=1)
    assert sorted(backed.received()) == ["opened x1"] * 41 + ["storm: 30"] * 2


def test_fallback_gets_a_summary_that_was_refused(backed: Desk) -> None:
    """A summary that becomes a dead letter is copied once, under its own id. A digest receiver gets the copy at its time."""
    backed.policies["mail"] = ReceiverPolicy(digest=parse_crontab("0 * * * *"))
    backed.hook.answer = lambda message: REFUSED if message.type == "alerts.summary" else None
    backed.match_records(SINGLE, count=50)
    backed.deliver()
    backed.later(seconds=10)
    backed.deliver()
    assert summaries(backed.senders["mail"].sent) == []
    for _ in range(2):
        backed.later(hours=1)
    assert backed.received("mail").count("storm: 30") == 1
    assert not set(backed.senders["mail"].ids) & set(backed.hook.ids)


def test_storm_summary_names_the_highest_levels(desk: Desk) -> None:
    """A summary names the alerts with the highest levels, and counts the others."""
    desk.policies["hook"] = ReceiverPolicy(storm=Storm(1))
    rule = Rule(realert=None, level=lambda record: Level[record.severity.upper()])
    desk.match_records(rule)
    desk.deliver()
    desk.match_records(rule, count=60, severity="low")
    desk.match_records(rule, count=2, severity="critical")
    desk.deliver()
    desk.later(seconds=10)
    data = desk.hook.sent[-1].data
    assert [alert["level"] for alert in data["alerts"]] == ["critical"] * 2 + ["low"] * 48
    assert data["levels"] == {"critical": 2, "low": 60}
    assert list(data["levels"]) == ["critical", "low"]
    assert data["omitted"] == 12
