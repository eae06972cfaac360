"""What people decide: take an alert on, end it, silence it by a button; and who else is told if nobody does."""

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
    """Make room for a receiver that only escalations reach."""
    desk.senders["boss"] = Sender()
    desk.route = Route(("hook",))
    return desk


def test_an_acknowledgement_is_told_once(desk: Desk) -> None:
    """`ack` sends one update to those who can bring theirs up to date, none by mail, and counting goes on."""
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


def test_an_acknowledgement_before_the_first_attempt(desk: Desk) -> None:
    """A message that was not tried yet says it, and no other is needed."""
    alert_id = desk.match_records()
    desk.operator.acknowledge(alert_id, "sam")
    desk.later(minutes=1)
    assert desk.received() == ["opened x1"]
    assert desk.hook.sent[0].data["acked_by"] == "sam"


def test_an_acknowledgement_while_the_first_message_is_tried_again(desk: Desk) -> None:
    """What a message says is fixed at its first attempt: who took the alert on is told after it, in an update."""
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


def test_an_acknowledgement_is_not_told_to_who_heard_nothing(desk: Desk) -> None:
    """A receiver that a gate spared, or that refused the opening, does not learn that somebody took it on."""
    desk.senders["other"] = Sender(answer=lambda message: REFUSED)
    desk.policies["hook"] = ReceiverPolicy(min_level=Level.CRITICAL)
    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.acknowledge(alert_id, "sam")
    desk.later(minutes=1)
    assert (desk.received(), desk.received("other")) == ([], ["opened x1"])


def test_the_end(desk: Desk) -> None:
    """`resolve` is told to those told; the next match opens a new alert at once; nothing goes back."""
    alert_id = desk.match_records()
    desk.deliver()
    assert desk.operator.resolve(alert_id, "sam")[0].status is Status.RESOLVED
    assert desk.operator.resolve(alert_id, "bob")[0].resolved_by == "sam"
    assert desk.operator.acknowledge(alert_id, "bob")[0].status is Status.RESOLVED
    other = desk.match_records()
    desk.deliver()
    assert other != alert_id
    assert sorted(desk.received()) == ["opened x1", "opened x1", "resolved x1"]


def test_nobody_takes_it_on(escalating: Desk) -> None:
    """After its time an open alert is told to who it escalates to, who hears of it from then on."""
    alert_id = escalating.match_records(ESCALATING)
    escalating.deliver()
    escalating.match_records(ESCALATING)
    escalating.later(minutes=14, seconds=59)
    assert escalating.received("boss") == []
    escalating.later(seconds=1)
    assert escalating.received("boss") == ["opened x2"]
    assert escalating.senders["boss"].sent[0].fields[0] == ("escalated", "nobody took it on within 15m")
    escalating.operator.resolve(alert_id, "sam")
    escalating.later(seconds=11)
    assert escalating.received("boss") == ["opened x2", "resolved x2"]
    assert escalating.received() == ["opened x1", "updated x2", "resolved x2"]


@pytest.mark.parametrize("decision", ["ack", "resolve"])
def test_somebody_takes_it_on(escalating: Desk, decision: str) -> None:
    """Taking on, or ending, stops the escalation, and the story says by whom."""
    alert_id = escalating.match_records(ESCALATING)
    escalating.deliver()
    escalating.later(minutes=10)
    escalating.operator.act(decision, alert_id, "sam")
    escalating.later(minutes=10)
    assert escalating.received("boss") == []
    assert any("no escalation" in line and "sam" in line for line in escalating.history(alert_id))


def test_an_escalation_waits_for_nobody(escalating: Desk) -> None:
    """It stands outside the order: neither do messages wait for it, nor it for them."""
    escalating.route = Route(("hook", "boss"))
    escalating.match_records(ESCALATING)
    escalating.deliver()
    escalating.match_records(ESCALATING)
    escalating.later(seconds=11)
    assert escalating.received("boss") == ["opened x1", "updated x2"]
    escalating.later(minutes=15)
    assert escalating.received("boss") == ["opened x1", "updated x2", "updated x2"]


@pytest.mark.parametrize("is_taken", [True, False])
def test_the_end_follows_an_escalation_that_is_tried_again(escalating: Desk, is_taken: bool) -> None:
    """Who may have been woken up is told when it is over, after the escalation and never before it."""
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


def test_an_escalation_passes_the_gates(escalating: Desk) -> None:
    """Under a silence nobody is told, whoever it is."""
    escalating.silence("userName=eve", hours=1)
    escalating.match_records(ESCALATING)
    escalating.deliver()
    escalating.later(minutes=15)
    assert escalating.received("boss") == []
    escalating.later(hours=1)
    assert escalating.received("boss") == ["silence: 1"]


def test_a_level_that_rises_after_the_escalation_was_owed(escalating: Desk) -> None:
    """A receiver that is routed to later is told at once, not when its escalation would be due."""
    rule = Rule(escalation=ESCALATING.escalation, level=lambda record: Level[record.severity.upper()])
    from actionwatch.alerts.routes import parse_matcher

    escalating.route = Route(("hook",), routes=(Route(("boss",), (parse_matcher("level=critical"),)),))
    escalating.match_records(rule, severity="low")
    escalating.deliver()
    escalating.match_records(rule, severity="critical")
    escalating.deliver()
    assert escalating.received("boss") == ["opened x2"]


def test_the_silence_button(desk: Desk) -> None:
    """It silences the alert's rule and group for an hour, in the name of who pressed it."""
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


def test_buttons_that_cannot_be(desk: Desk) -> None:
    """An unknown alert or action is an error that can be shown."""
    with pytest.raises(ActionwatchError, match="no alert has the id x"):
        desk.operator.act("ack", "x", "sam")
    with pytest.raises(ActionwatchError, match="no action 'dance'"):
        desk.operator.act("dance", "x", "sam")


@pytest.mark.parametrize("second", ["sam", "bob"])
def test_a_button_that_is_pressed_twice(desk: Desk, second: str) -> None:
    """Whoever presses what has been done learns who did it; nothing is done, and nobody told, a second time."""
    alert_id = desk.match_records()
    desk.deliver()
    for action, said in (
        ("silence", "Silenced until 13:00 UTC by sam: "),
        ("ack", "Acknowledged by sam"),
        ("resolve", "Resolved by sam"),
    ):
        first, again = desk.operator.act(action, alert_id, "sam"), desk.operator.act(action, alert_id, second)
        assert (first.is_new, again.is_new) == (True, False)
        assert first.text == again.text
        assert first.text.startswith(said)
        desk.later(seconds=11)
    over = desk.operator.act("ack", alert_id, second)
    assert over == Decision("Resolved by sam", is_new=False)
    desk.later(minutes=1)
    assert desk.received() == ["opened x1", "updated x1", "resolved x1"]
    with desk.database.read() as connection:
        assert len(silences.read_all(connection)) == 1


def test_a_silence_is_pressed_again_when_it_nears_its_end(desk: Desk) -> None:
    """Only who presses together means one silence: a quarter of an hour later somebody wants another hour."""
    alert_id = desk.match_records()
    desk.operator.act("silence", alert_id, "sam")
    desk.clock.advance(minutes=15)
    assert desk.operator.act("silence", alert_id, "bob").text.startswith("Silenced until 13:15 UTC by bob")


@pytest.mark.parametrize("action", ["ack", "resolve", "silence"])
def test_two_persons_at_once(desk: Desk, action: str) -> None:
    """Of those who decide in one instant one is named, by all of them, in the store and in the message."""
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


def test_taken_on_and_ended_at_once(desk: Desk) -> None:
    """Whichever comes first, it ends resolved, and who took it on is not told that it is theirs when it is over."""
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
