"""Retention deletes old rows that are finished. An alert with an outstanding message stays until that is sent."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.alerts.ledger import open_test_alert
from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.model import Event, Level
from actionwatch.delivery.dead_letters import DeadLetters
from actionwatch.service import prune
from actionwatch.settings import Retention
from actionwatch.store import alert_history, alerts
from actionwatch.store.outbox import DeliveryFilter
from tests.integration.delivery.kit import Desk, Rule
from tests.integration.kit import REFUSED, Sender, enqueue_test

RETENTION = Retention(records=timedelta(days=400), deliveries=timedelta(days=90))
PRUNED_EVERY = 10  # days


def pass_days(desk: Desk, days: int) -> None:
    """Let days pass with several prunes, the last one on the last day."""
    for day in range(0, days, PRUNED_EVERY):
        desk.clock.advance(days=min(PRUNED_EVERY, days - day))
        prune.run_once(desk.database, RETENTION, desk.clock())


def test_resolve_of_an_old_self_alert_is_still_sent(desk: Desk) -> None:
    """A receiver of an old self-alert gets its resolve, with an id that was never used before; then all rows are deleted."""
    desk.troubles.report("key_refused", "acme", "401", "replace it")
    desk.deliver()
    pass_days(desk, 500)
    desk.troubles.settle_trouble("key_refused", "acme")
    desk.later(seconds=11)
    assert [message.type for message in desk.hook.sent] == ["alert.opened", "alert.resolved"]
    assert len(set(desk.hook.ids)) == 2
    assert desk.hook.sent[0].data["id"] == desk.hook.sent[1].data["id"]
    pass_days(desk, 91)
    assert desk.all_rows() == []
    with desk.database.read() as connection:
        assert alerts.read(connection, desk.hook.sent[0].data["id"]) is None


def test_what_awaits_a_summary_stays(desk: Desk) -> None:
    """A message that a silence holds back for longer than the retention stays until the summary has reported it."""
    desk.silence('userName="eve"', days=200)
    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    assert "hook opened suppressed by silence" in desk.gated()
    pass_days(desk, 120)
    assert "hook opened suppressed by silence" in desk.gated()
    desk.clock.advance(days=81)
    desk.deliver()
    assert [message.type for message in desk.hook.sent] == ["alerts.summary"]


@pytest.mark.parametrize("kept_days", [91, 399])
def test_old_alert_can_still_be_resolved(desk: Desk, kept_days: int) -> None:
    """An operator can resolve an alert as long as it is stored, so that an incident elsewhere does not stay open."""
    alert_id = desk.match_records()
    desk.deliver()
    desk.match_records()
    desk.later(seconds=11)
    pass_days(desk, kept_days)
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    assert desk.received() == ["opened x1", "updated x2", "resolved x2"]
    assert len(set(desk.hook.ids)) == 3


@pytest.mark.parametrize("is_dead", [False, True])
def test_end_that_waits_when_its_opening_is_old_is_sent(desk: Desk, is_dead: bool) -> None:
    """The end of an old alert waits for a receiver that is down, or is a dead letter: retention leaves it its opening."""
    alert_id = desk.match_records()
    desk.deliver()
    desk.clock.advance(days=91)
    if is_dead:
        hook = desk.senders.pop("hook")
        desk.senders["other"] = Sender()
        desk.operator.resolve(alert_id, "sam")
        desk.deliver()
        desk.senders["hook"] = hook
    else:
        desk.operator.resolve(alert_id, "sam")
    prune.run_once(desk.database, RETENTION, desk.clock())
    DeadLetters(desk.database, ["hook"], desk.clock).retry(DeliveryFilter(receiver="hook"), "sam")
    desk.deliver()
    assert desk.received() == ["opened x1", "resolved x1"]
    pass_days(desk, 91)
    assert desk.rows(alert_id) == []


def test_message_bodies_are_deleted_on_time(desk: Desk) -> None:
    """A row that stays only because of its resolve loses its body, and an alert about records is deleted with its records."""
    alert_id = desk.match_records()
    desk.deliver()
    pass_days(desk, 91)
    (row,) = desk.rows(alert_id)
    assert row.body is None
    pass_days(desk, 310)
    assert desk.all_rows() == []
    assert desk.alerts() == {}


def test_suppressed_message_stays_suppressed_after_retention(desk: Desk) -> None:
    """A receiver that was not notified gets no resolve, however old the row is."""
    desk.policies["hook"] = ReceiverPolicy(min_level=Level.CRITICAL)
    alert_id = desk.match_records()
    desk.deliver()
    pass_days(desk, 91)
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    assert desk.hook.sent == []


def test_late_resolve_reaches_the_fallback(desk: Desk) -> None:
    """A fallback that was notified gets the resolve, however late it is."""
    desk.senders["mail"] = Sender()
    desk.policies["hook"] = ReceiverPolicy(fallback="mail")
    desk.route = Route(("hook",))
    desk.hook.answer = lambda message: REFUSED
    alert_id = desk.match_records()
    desk.deliver()
    pass_days(desk, 91)
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    assert desk.received("mail") == ["opened x1", "resolved x1"]


def test_summary_of_a_silence_longer_than_retention_is_complete(desk: Desk) -> None:
    """The summary of a long silence contains everything that the silence suppressed."""
    desk.silence("userName=eve", days=180)
    for _ in range(3):
        desk.match_records(Rule(realert=None))
        desk.deliver()
        pass_days(desk, 50)
    desk.later(days=31)
    assert desk.received() == ["silence: 3"]


def test_history_of_a_summary_is_deleted_with_its_row(desk: Desk) -> None:
    """When the row of a summary is deleted, nothing else of it is left."""
    desk.silence("userName=eve", hours=1)
    desk.match_records()
    desk.deliver()
    desk.later(hours=2)
    (summary,) = [row for row in desk.all_rows() if row.event is Event.SUMMARY]
    with desk.database.read() as connection:
        assert alert_history.read(connection, summary.alert_id)
    pass_days(desk, 91)
    with desk.database.read() as connection:
        assert alert_history.read(connection, summary.alert_id) == []


def test_test_alerts_are_deleted(desk: Desk) -> None:
    """A test alert is never resolved, and is deleted anyway."""
    alert = open_test_alert("hook", desk.clock())
    with desk.database.write() as connection:
        alerts.insert_new(connection, [(alert, "test")])
        enqueue_test(connection, alert, "hook", desk.clock())
    desk.deliver()
    pass_days(desk, 91)
    assert desk.all_rows() == []
    pass_days(desk, 310)
    with desk.database.read() as connection:
        assert alerts.read(connection, alert.id) is None
