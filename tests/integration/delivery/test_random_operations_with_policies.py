"""Random operations with a restart after each: every alert is reported, in order, and the counts add up."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest

from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.alerts.routes import Route
from actionwatch.base.model import Status
from actionwatch.text.timeintervals import Period, TimeInterval
from tests.integration.delivery.kit import Desk, Rule, is_self_alert, summaries
from tests.integration.kit import DOWN

USERS = ("abe", "bob", "eve")
SEEDS = (0, 2, 6, 3, 5, 7)  # each of the storms, without and with the mute
SIESTA = TimeInterval("siesta", (Period(times=((13 * 60, 14 * 60), (15 * 60, 15 * 60 + 30))),))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_operations_lose_and_reorder_nothing(desk: Desk, seed: int) -> None:
    """Each alert is sent or is in a summary, and no receiver gets a message before `opened` or after `resolved`."""
    random = Random(seed)
    desk.policies["hook"] = ReceiverPolicy(storm=Storm(random.choice((1, 2, 30))), updates=timedelta(seconds=10))
    if seed % 2:
        desk.global_policy, desk.route = GlobalPolicy((), {"siesta": SIESTA}), Route(("hook",), mutes=("siesta",))
    for _ in range(40):
        _step(desk, random)
        desk.later(seconds=random.choice((0, 1, 11, 61, 600)))
    desk.hook.answer = lambda message: None
    for _ in range(6):
        desk.later(hours=2)
    _check(desk)


def _step(desk: Desk, random: Random) -> None:
    match random.randrange(8):
        case 0 | 1 | 2:
            rule = Rule(realert=random.choice((None, timedelta(minutes=15))))
            desk.match_records(rule, count=random.randint(1, 4), user_name=random.choice(USERS))
        case 3:
            desk.silence(f"userName={random.choice(USERS)}", minutes=random.randint(1, 30))
        case 4 | 5:
            known = sorted(desk.alerts())
            if known:
                desk.operator.act(random.choice(("ack", "resolve", "silence")), random.choice(known), "sam")
        case 6:
            desk.hook.answer = lambda message: DOWN
        case 7:
            desk.hook.answer = lambda message: None


def _check(desk: Desk) -> None:
    alerts = desk.alerts()
    assert sum(alert.count for alert in alerts.values()) == desk.number
    taken = {row.id for row in desk.all_rows() if row.status == "sent"}
    messages = {message.id: message for message in desk.hook.sent if message.id in taken and not is_self_alert(message)}
    reported = sum(message.data["count"] for message in summaries(list(messages.values())))
    stopped = {row.alert_id for row in desk.rows() if row.status in ("suppressed", "collapsed")}
    notified: set[str] = set()
    for alert_id, alert in alerts.items():
        rows = [row for row in desk.rows(alert_id) if row.status == "sent"]
        events = [row.event.value for row in rows]
        assert events[:1] in ([], ["opened"]), events
        assert "resolved" not in events[:-1], events
        assert events.count("opened") <= 1, events
        if rows:
            notified.add(alert_id)
            assert [row.ordinal for row in rows] == sorted(row.ordinal for row in rows)
            assert (events[-1] == "resolved") == (alert.status is Status.RESOLVED and len(events) > 1) or len(
                events
            ) == 1
            if alert.status is not Status.OPEN:
                assert messages[rows[-1].id].data["status"] == alert.status or len(events) == 1
            if alert.status is Status.ACKED:
                assert messages[rows[-1].id].data["acked_by"] == "sam"
            if alert_id not in stopped:
                assert messages[rows[-1].id].data["count"] == alert.count
    assert notified | stopped == set(alerts)
    assert reported >= len(set(alerts) - notified)
    assert {row.awaits for row in desk.all_rows()} == {None}
    assert not [row for row in desk.rows() if row.status == "pending"]
