"""Retention takes what is old and done with; whatever an alert still owes anybody stays until it is paid."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.model import Event, Level
from actionwatch.matching.self_alerts import marked_alert
from actionwatch.service import prune
from actionwatch.service.prune import Retention
from actionwatch.store import alert_history, alerts
from tests.integration.delivery.kit import Desk, Rule
from tests.integration.kit import REFUSED, Sender

RETENTION = Retention(records=timedelta(days=400), deliveries=timedelta(days=90))
PRUNED_EVERY = 10  # days


def pass_days(desk: Desk, days: int) -> None:
    """Let days pass, with several prunings, the last one on the last day."""
    for day in range(0, days, PRUNED_EVERY):
        desk.clock.advance(days=min(PRUNED_EVERY, days - day))
        prune.run_once(desk.database, RETENTION, desk.clock())


def test_the_end_of_a_trouble_that_lasts_for_years(desk: Desk) -> None:
    """Who was told of a trouble is told its end, however long it lasted, under an id never used before; then all of it goes."""
    desk.troubles.report("key_refused", "acme", "401", "mend it")
    desk.deliver()
    pass_days(desk, 500)
    desk.troubles.settle("key_refused", "acme")
    desk.later(seconds=11)
    assert [message.type for message in desk.hook.sent] == ["alert.opened", "alert.resolved"]
    assert len(set(desk.hook.ids)) == 2
    assert desk.hook.sent[0].data["id"] == desk.hook.sent[1].data["id"]
    pass_days(desk, 91)
    assert desk.all_rows() == []
    with desk.database.read() as connection:
        assert alerts.read(connection, desk.hook.sent[0].data["id"]) is None


@pytest.mark.parametrize("kept_days", [91, 399])
def test_the_end_of_an_alert_that_nobody_took_on(desk: Desk, kept_days: int) -> None:
    """A person may resolve an alert as long as it is kept: an incident that it opened elsewhere does not stay for ever."""
    alert_id = desk.match_records()
    desk.deliver()
    desk.match_records()
    desk.later(seconds=11)
    pass_days(desk, kept_days)
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    assert desk.received() == ["opened x1", "updated x2", "resolved x2"]
    assert len(set(desk.hook.ids)) == 3


def test_what_was_said_goes_in_its_time(desk: Desk) -> None:
    """Of what stays only for the sake of an end, the words go; and an alert of records goes with its records."""
    alert_id = desk.match_records()
    desk.deliver()
    pass_days(desk, 91)
    (row,) = desk.rows(alert_id)
    assert row.body is None
    pass_days(desk, 310)
    assert desk.all_rows() == []
    assert desk.alerts() == {}


def test_who_was_never_told_is_not_told_the_end(desk: Desk) -> None:
    """What was stopped stays stopped, however old."""
    desk.policies["hook"] = ReceiverPolicy(min_level=Level.CRITICAL)
    alert_id = desk.match_records()
    desk.deliver()
    pass_days(desk, 91)
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    assert desk.hook.sent == []


def test_the_end_follows_to_the_fallback(desk: Desk) -> None:
    """Who was told in another's place is told the end, however late."""
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


def test_a_silence_longer_than_retention(desk: Desk) -> None:
    """What a long silence kept quiet is in its summary, all of it."""
    desk.silence("userName=eve", days=180)
    for _ in range(3):
        desk.match_records(Rule(realert=None))
        desk.deliver()
        pass_days(desk, 50)
    desk.later(days=31)
    assert desk.received() == ["silence: 3"]


def test_summaries_go_with_their_stories(desk: Desk) -> None:
    """Nothing is left of a summary when its row goes."""
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


def test_tests_go(desk: Desk) -> None:
    """A marked test is never over and owes nobody anything."""
    alert = marked_alert("hook", desk.clock())
    with desk.database.write() as connection:
        alerts.insert_new(connection, [(alert, "test")])
        desk.addressing.test(connection, alert, "hook", desk.clock())
    desk.deliver()
    pass_days(desk, 91)
    assert desk.all_rows() == []
    pass_days(desk, 310)
    with desk.database.read() as connection:
        assert alerts.read(connection, alert.id) is None
