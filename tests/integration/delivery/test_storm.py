"""Storms: what a person cannot read becomes one updating alert, or a few summaries; nothing is lost, and the counts add up."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from actionwatch.alerts.policy import ReceiverPolicy, Storm
from actionwatch.base.model import Level
from tests.integration.delivery.kit import Desk, Rule, summaries
from tests.integration.kit import DOWN, Sender, settle

STORM = ReceiverPolicy(storm=Storm(30, timedelta(minutes=1)))
SINGLE = Rule(realert=None)


def counted(desk: Desk, name: str = "hook") -> int:
    """Count the alerts a receiver was told of, by themselves or in summaries."""
    sent = desk.senders[name].sent
    opened = [message for message in sent if message.type == "alert.opened"]
    return len(opened) + sum(int(message.data["count"]) for message in summaries(sent))


@pytest.mark.parametrize("count", [500, 5_000])
def test_one_grouped_alert(desk: Desk, count: int) -> None:
    """Many matches of one group are one alert that is updated, and the last update has them all."""
    desk.policies["hook"] = STORM
    for _ in range(5):
        alert_id = desk.match_records(count=count // 5)
        desk.later(seconds=11)
    assert desk.received()[0] == f"opened x{count // 5}"
    assert desk.received()[-1] == f"updated x{count}"
    assert len(desk.received()) == 5
    assert {message.data["id"] for message in desk.hook.sent} == {alert_id}


@pytest.mark.parametrize("count", [500, 5_000])
def test_many_alerts(desk: Desk, count: int) -> None:
    """Past the limit they collapse into summaries that name and count them; a webhook gets each of them."""
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
    assert counted(desk) == len(desk.all_rows()) - 1 == count
    desk.later(hours=1)
    assert counted(desk) == count


def test_a_webhook_gets_every_alert(desk: Desk) -> None:
    """Where a storm is off, every alert is a message."""
    desk.match_records(SINGLE, count=500)
    desk.deliver()
    assert desk.received() == ["opened x1"] * 500


def test_one_summary_a_minute(desk: Desk) -> None:
    """While a storm lasts, a summary comes at most once in `per`, and what follows the storm is told by itself."""
    desk.policies["hook"] = STORM
    at: list[float] = []
    began = desk.clock()
    for _ in range(150):  # two alerts a second
        desk.match_records(SINGLE, count=2)
        before = len(summaries(desk.hook.sent))
        desk.later(seconds=1)
        if len(summaries(desk.hook.sent)) > before:
            at.append((desk.clock() - began).total_seconds())
    assert at
    assert all(later - earlier >= 60 for earlier, later in pairwise(at))
    desk.later(minutes=2)
    assert counted(desk) == 300
    alert_id = desk.match_records(SINGLE)
    desk.deliver()
    assert desk.hook.sent[-1].data["id"] == alert_id


def test_collapsed_alerts_get_no_updates_and_no_end(desk: Desk) -> None:
    """What went into a summary is told of no more; what was told goes on."""
    desk.policies["hook"] = ReceiverPolicy(storm=Storm(1, timedelta(minutes=1)))
    first = desk.match_records(user_name="eve")
    desk.deliver()
    second = desk.match_records(user_name="bob")
    desk.deliver()
    desk.later(seconds=10)
    desk.match_records(user_name="bob")
    desk.match_records(user_name="eve")
    desk.later(seconds=10)
    desk.operator.resolve(first, "sam")
    desk.operator.resolve(second, "sam")
    desk.later(minutes=5)
    assert desk.received() == ["opened x1", "storm: 1", "updated x2", "resolved x2"]


def test_what_is_under_way_counts(desk: Desk) -> None:
    """Messages that hang count as sent: the limit is of what a person gets to read."""
    desk.policies["hook"] = ReceiverPolicy(storm=Storm(3))
    desk.hook.gate.clear()
    desk.match_records(SINGLE, count=10)
    with desk.delivering() as worker:
        worker.run_once()
        worker.run_once()
        assert len([row for row in desk.rows() if row.status == "collapsed"]) == 7
        desk.hook.gate.set()
        settle(worker)
    assert desk.received() == ["opened x1"] * 3


def test_an_hour_down_in_a_storm(desk: Desk) -> None:
    """What waits for a receiver counts too: when it comes back, a person gets what a person can read."""
    desk.policies["hook"] = STORM
    desk.hook.answer = lambda message: DOWN
    for _ in range(60):
        desk.match_records(SINGLE, count=10)
        desk.later(minutes=1)
    desk.hook.answer = lambda message: None
    desk.hook.sent.clear()
    for _ in range(5):
        desk.later(minutes=11)
    assert len([text for text in desk.received() if text.startswith("opened")]) == 30
    assert len(summaries(desk.hook.sent)) == 2
    assert counted(desk) == 600 + 1  # and the trouble that it kept failing


def test_the_worst_come_first(desk: Desk) -> None:
    """A summary names the highest levels, and counts the others."""
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


def test_restarts_between_everything(desk: Desk) -> None:
    """Claiming a few rows at a time, each by a process of its own, changes nothing."""
    desk.policies["hook"] = ReceiverPolicy(storm=Storm(5))
    desk.channel = {"concurrency": 1}
    desk.senders["other"] = Sender()
    desk.match_records(SINGLE, count=40)
    for _ in range(60):
        with desk.delivering() as worker:
            worker.run_once()
    desk.later(seconds=10)
    assert desk.received() == ["opened x1"] * 5 + ["storm: 35"]
    assert desk.received("other") == ["opened x1"] * 40
