"""Operator actions (acknowledge, resolve, silence with a button), and escalation if nobody acts."""

from __future__ import annotations

import functools
from datetime import timedelta

import pytest

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.errors import ActionwatchError
from actionwatch.base.model import Decision, Escalation, Level, Status
from actionwatch.store import silences
from tests.integration.delivery.kit import Desk, Rule
from tests.integration.kit import DOWN, REFUSED, Sender
from tests.waiting import all_at_once

ESCALATING = Rule(escalation=Escalation(timedelta(minutes=15), "boss"))


@pytest.fixture
def escalating(desk: Desk) -> Desk:
    """Add a receiver that only escalations reach."""
    desk.senders["boss"] = Sender()
    desk.route = Route(("hook",))
    return desk


def test_acknowledgement_sends_one_update(desk: Desk) -> None:
    """`ack` sends one update to receivers that can update their message, none by email, and counting continues."""
    desk.senders["mail"] = Sender()
    desk.policies["mail"] = ReceiverPolicy(is_updated_last=True)
    alert_id = desk.match_records()
    desk.deliver()
    assert desk.operator.acknowledge(alert_id, "sam")[0].acked_by == "sam"
    assert desk.operator.acknowledge(alert_id, "bob")[0].acked_by == "sam"
    desk.later(seconds=11)
    desk.later(minutes=1)
    assert desk.received() == ["opened x1", "updated x1"]
    assert desk.received("mail") == ["opened x1"]
    assert (desk.hook.sent[-1].data["status"], desk.hook.sent[-1].data["acked_by"]) == ("acked", "sam")
    desk.match_records()
    desk.later(seconds=11)
    assert desk.received()[-1] == "updated x2"
    assert desk.hook.sent[-1].data["status"] == "acked"


def test_acknowledgement_before_the_first_attempt_is_in_the_opened_message(desk: Desk) -> None:
    """A message that was not attempted yet contains the acknowledgement, and no other message is needed."""
    alert_id = desk.match_records()
    desk.operator.acknowledge(alert_id, "sam")
    desk.later(minutes=1)
    assert desk.received() == ["opened x1"]
    assert desk.hook.sent[0].data["acked_by"] == "sam"


def test_acknowledgement_during_retries_follows_in_an_update(desk: Desk) -> None:
    """A message is frozen at its first attempt, so an acknowledgement after that follows in an update."""
    desk.hook.answer = lambda message: DOWN
    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.acknowledge(alert_id, "sam")
    desk.hook.answer = lambda message: None
    desk.hook.sent.clear()
    desk.later(seconds=11)
    desk.later(seconds=11)
    assert desk.received() == ["opened x1", "updated x1"]
    assert [message.data["acked_by"] for message in desk.hook.sent] == [None, "sam"]


def test_receiver_that_was_not_notified_gets_no_acknowledgement(desk: Desk) -> None:
    """A receiver whose opened message was suppressed or refused is not notified of the acknowledgement."""
    desk.senders["other"] = Sender(answer=lambda message: REFUSED)
    desk.policies["hook"] = ReceiverPolicy(min_level=Level.CRITICAL)
    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.acknowledge(alert_id, "sam")
    desk.later(minutes=1)
    assert (desk.received(), desk.received("other")) == ([], ["opened x1"])


def test_resolve_is_final_and_the_next_match_opens_a_new_alert(desk: Desk) -> None:
    """`resolve` reaches the notified receivers. The next match opens a new alert, and no status moves backward."""
    alert_id = desk.match_records()
    desk.deliver()
    assert desk.operator.resolve(alert_id, "sam")[0].status is Status.RESOLVED
    assert desk.operator.resolve(alert_id, "bob")[0].resolved_by == "sam"
    assert desk.operator.acknowledge(alert_id, "bob")[0].status is Status.RESOLVED
    other = desk.match_records()
    desk.deliver()
    assert other != alert_id
    assert sorted(desk.received()) == ["opened x1", "opened x1", "resolved x1"]


def test_unacknowledged_alert_escalates(escalating: Desk) -> None:
    """An alert that is still open after its time is sent to the escalation receiver, which then gets its updates."""
    alert_id = escalating.match_records(ESCALATING)
    escalating.deliver()
    escalating.match_records(ESCALATING)
    escalating.later(minutes=14, seconds=59)
    assert escalating.received("boss") == []
    escalating.later(seconds=1)
    assert escalating.received("boss") == ["opened x2"]
    assert escalating.senders["boss"].sent[0].fields[0] == ("escalated", "nobody acknowledged it within 15m")
    escalating.operator.resolve(alert_id, "sam")
    escalating.later(seconds=11)
    assert escalating.received("boss") == ["opened x2", "resolved x2"]
    assert escalating.received() == ["opened x1", "updated x2", "resolved x2"]


@pytest.mark.parametrize("decision", ["ack", "resolve"])
def test_acknowledged_or_resolved_alert_does_not_escalate(escalating: Desk, decision: str) -> None:
    """An acknowledgement or a resolve stops the escalation, and the history shows who did it."""
    alert_id = escalating.match_records(ESCALATING)
    escalating.deliver()
    escalating.later(minutes=10)
    escalating.operator.act(decision, alert_id, "sam")
    escalating.later(minutes=10)
    assert escalating.received("boss") == []
    assert any("no escalation" in line and "sam" in line for line in escalating.history(alert_id))


def test_escalation_is_exempt_from_the_order(escalating: Desk) -> None:
    """Messages do not wait for an escalation, and an escalation does not wait for messages."""
    escalating.route = Route(("hook", "boss"))
    escalating.match_records(ESCALATING)
    escalating.deliver()
    escalating.match_records(ESCALATING)
    escalating.later(seconds=11)
    assert escalating.received("boss") == ["opened x1", "updated x2"]
    escalating.later(minutes=15)
    assert escalating.received("boss") == ["opened x1", "updated x2", "updated x2"]


@pytest.mark.parametrize("is_taken", [True, False])
def test_resolve_follows_a_retried_escalation(escalating: Desk, is_taken: bool) -> None:
    """A receiver that may have got the escalation is notified of the resolve, after the escalation and never before it."""
    boss = escalating.senders["boss"]
    boss.answer = lambda message: DOWN
    alert_id = escalating.match_records(ESCALATING)
    escalating.later(minutes=15)
    for _ in range(8):
        escalating.later(minutes=1)
    escalating.operator.resolve(alert_id, "sam")
    escalating.deliver()
    boss.sent.clear()
    boss.answer = lambda message: None if is_taken else REFUSED
    for _ in range(3):
        escalating.later(minutes=11)
    assert escalating.received("boss") == (["opened x1", "resolved x1"] if is_taken else ["opened x1"])


def test_silence_suppresses_an_escalation(escalating: Desk) -> None:
    """A silence also suppresses escalations."""
    escalating.silence("userName=eve", hours=1)
    escalating.match_records(ESCALATING)
    escalating.deliver()
    escalating.later(minutes=15)
    assert escalating.received("boss") == []
    escalating.later(hours=1)
    assert escalating.received("boss") == ["silence: 1"]


def test_route_added_by_a_higher_level_does_not_wait_for_the_escalation(escalating: Desk) -> None:
    """A receiver that the route adds later is notified at once, not when its escalation is due."""
    rule = Rule(escalation=ESCALATING.escalation, level=lambda record: Level[record.severity.upper()])
    from actionwatch.alerts.routes import parse_matcher

    escalating.route = Route(("hook",), routes=(Route(("boss",), (parse_matcher("level=critical"),)),))
    escalating.match_records(rule, severity="low")
    escalating.deliver()
    escalating.match_records(rule, severity="critical")
    escalating.deliver()
    assert escalating.received("boss") == ["opened x2"]


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
