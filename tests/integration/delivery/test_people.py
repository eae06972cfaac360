"""Operator actions (acknowledge, resolve, silence with a button), and escalation if nobody acts."""

from __future__ import annotations

import functools
from datetime import timedelta

import pytest

from actionwatch.base.errors import ActionwatchError
from actionwatch.base.model import Decision, Status
from actionwatch.store import silences
from tests.integration.delivery.kit import Desk, Rule
from tests.waiting import all_at_once


def test_silence_button_silences_rule_and_group_for_an_hour(desk: Desk) -> None:
    """The button silences the rule and the group of the alert for an hour, with the user of the button as author."""
    alert_id = desk.match_records()
    desk.deliver()
    decision = desk.operator.act("silence", alert_id, "sam")
    assert decision == Decision('Silenced until 13:00 UTC by sam: rule="cluster_deleted" userName="eve"', is_new=True)
    with desk.database.read() as connection:
        (made,) = silences.read_active(connection, desk.clock())
    assert (made.author, made.ends_at - made.starts_at) == ("sam", timedelta(hours=1))
    desk.match_records()
    desk.match_records(user_name="bob")
    desk.later(seconds=11)
    assert desk.received() == ["opened x1", "opened x1"]


def test_unknown_alert_or_action_is_an_error(desk: Desk) -> None:
    """An unknown alert or action is an error with a message that can be shown."""
    with pytest.raises(ActionwatchError, match="no alert has the id x"):
        desk.operator.act("ack", "x", "sam")
    with pytest.raises(ActionwatchError, match="no action 'dance'"):
        desk.operator.act("dance", "x", "sam")


@pytest.mark.parametrize("second", ["sam", "bob"])
def test_button_pressed_twice_acts_once(desk: Desk, second: str) -> None:
    """A second press shows who acted first. It changes nothing and sends no second message."""
    alert_id = desk.match_records()
    desk.deliver()
    for action, expected_text in (
        ("silence", "Silenced until 13:00 UTC by sam: "),
        ("ack", "Acknowledged by sam"),
        ("resolve", "Resolved by sam"),
    ):
        first, again = desk.operator.act(action, alert_id, "sam"), desk.operator.act(action, alert_id, second)
        assert (first.is_new, again.is_new) == (True, False)
        assert first.text == again.text
        assert first.text.startswith(expected_text)
        desk.later(seconds=11)
    over = desk.operator.act("ack", alert_id, second)
    assert over == Decision("Resolved by sam", is_new=False)
    desk.later(minutes=1)
    assert desk.received() == ["opened x1", "updated x1", "resolved x1"]
    with desk.database.read() as connection:
        assert len(silences.read_all(connection)) == 1


def test_later_press_of_the_silence_button_extends_the_silence(desk: Desk) -> None:
    """Only presses at about the same time create one silence. A quarter of an hour later, a press adds a new hour."""
    alert_id = desk.match_records()
    desk.operator.act("silence", alert_id, "sam")
    desk.clock.advance(minutes=15)
    assert desk.operator.act("silence", alert_id, "bob").text.startswith("Silenced until 13:15 UTC by bob")


@pytest.mark.parametrize("action", ["ack", "resolve", "silence"])
def test_simultaneous_actions_name_one_operator(desk: Desk, action: str) -> None:
    """If several operators act at the same moment, the replies, the store and the message all name the same one."""
    alert_id = desk.match_records()
    desk.deliver()
    decisions: list[Decision] = []

    def press(who: str) -> None:
        decisions.append(desk.operator.act(action, alert_id, who))

    all_at_once(*(functools.partial(press, f"person-{number}") for number in range(8)))
    assert sum(decision.is_new for decision in decisions) == 1
    assert len({decision.text for decision in decisions}) == 1
    desk.later(seconds=11)
    expected = {"ack": ["opened x1", "updated x1"], "resolve": ["opened x1", "resolved x1"], "silence": ["opened x1"]}
    assert desk.received() == expected[action]
    stages = [line for line in desk.history(alert_id) if line.startswith(("acknowledged", "resolved", "silenced"))]
    assert len(stages) == 1


def test_simultaneous_acknowledge_and_resolve_end_resolved(desk: Desk) -> None:
    """In either order the alert ends resolved, and an acknowledgement after the end is rejected."""
    for _ in range(10):
        alert_id = desk.match_records(Rule(realert=None))
        desk.deliver()
        found: dict[str, Decision] = {}

        def press(action: str, alert_id: str = alert_id, found: dict[str, Decision] = found) -> None:
            found[action] = desk.operator.act(action, alert_id, action)

        all_at_once(functools.partial(press, "ack"), functools.partial(press, "resolve"))
        taken, ended = found["ack"], found["resolve"]
        assert ended == Decision("Resolved by resolve", is_new=True)
        assert taken in (Decision("Acknowledged by ack", is_new=True), Decision("Resolved by resolve", is_new=False))
        desk.later(seconds=11)
        alert = desk.alerts()[alert_id]
        assert (alert.status, alert.acked_by) == (Status.RESOLVED, "ack" if taken.is_new else None)
        assert desk.received()[-1] == "resolved x1"
