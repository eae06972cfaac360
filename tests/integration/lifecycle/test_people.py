"""What people decide: take an alert on, end it, silence it by a button; and who else is told if nobody does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.alerts.policy import Policy
from actionwatch.alerts.routes import Route
from actionwatch.errors import ActionwatchError
from actionwatch.model import Escalation, Level, Status
from actionwatch.pipeline.addressing import Destination
from actionwatch.store import silences
from tests.integration.lifecycle.kit import Desk, Rule
from tests.integration.pipeline.kit import Sender

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
    desk.destinations["mail"] = Destination("mail", is_updated_last=True)
    alert_id = desk.happen()
    desk.deliver()
    assert desk.people.acknowledge(alert_id, "sam").acked_by == "sam"
    assert desk.people.acknowledge(alert_id, "bob").acked_by == "sam"
    desk.later(seconds=11)
    desk.later(minutes=1)
    assert desk.told() == ["opened x1", "updated x1"]
    assert desk.told("mail") == ["opened x1"]
    assert (desk.hook.sent[-1].data["status"], desk.hook.sent[-1].data["acked_by"]) == ("acked", "sam")
    desk.happen()
    desk.later(seconds=11)
    assert desk.told()[-1] == "updated x2"
    assert desk.hook.sent[-1].data["status"] == "acked"


def test_an_acknowledgement_before_the_first_attempt(desk: Desk) -> None:
    """A message that was not tried yet says it, and no other is needed."""
    alert_id = desk.happen()
    desk.people.acknowledge(alert_id, "sam")
    desk.later(minutes=1)
    assert desk.told() == ["opened x1"]
    assert desk.hook.sent[0].data["acked_by"] == "sam"


def test_the_end(desk: Desk) -> None:
    """`resolve` is told to those told; the next match opens a new alert at once; nothing goes back."""
    alert_id = desk.happen()
    desk.deliver()
    assert desk.people.resolve(alert_id, "sam").status is Status.RESOLVED
    assert desk.people.resolve(alert_id, "bob").resolved_by == "sam"
    assert desk.people.acknowledge(alert_id, "bob").status is Status.RESOLVED
    other = desk.happen()
    desk.deliver()
    assert other != alert_id
    assert sorted(desk.told()) == ["opened x1", "opened x1", "resolved x1"]


def test_nobody_takes_it_on(escalating: Desk) -> None:
    """After its time an open alert is told to who it escalates to, who hears of it from then on."""
    alert_id = escalating.happen(ESCALATING)
    escalating.deliver()
    escalating.happen(ESCALATING)
    escalating.later(minutes=14, seconds=59)
    assert escalating.told("boss") == []
    escalating.later(seconds=1)
    assert escalating.told("boss") == ["opened x2"]
    escalating.people.resolve(alert_id, "sam")
    escalating.later(seconds=11)
    assert escalating.told("boss") == ["opened x2", "resolved x2"]
    assert escalating.told() == ["opened x1", "updated x2", "resolved x2"]


@pytest.mark.parametrize("decision", ["acknowledge", "resolve"])
def test_somebody_takes_it_on(escalating: Desk, decision: str) -> None:
    """Taking on, or ending, stops the escalation, and the story says by whom."""
    alert_id = escalating.happen(ESCALATING)
    escalating.deliver()
    escalating.later(minutes=10)
    escalating.people.act(decision, alert_id, "sam")
    escalating.later(minutes=10)
    assert escalating.told("boss") == []
    assert any("no escalation" in line and "sam" in line for line in escalating.why(alert_id))


def test_an_escalation_waits_for_nobody(escalating: Desk) -> None:
    """It stands outside the order: neither do messages wait for it, nor it for them."""
    escalating.route = Route(("hook", "boss"))
    escalating.happen(ESCALATING)
    escalating.deliver()
    escalating.happen(ESCALATING)
    escalating.later(seconds=11)
    assert escalating.told("boss") == ["opened x1", "updated x2"]
    escalating.later(minutes=15)
    assert escalating.told("boss") == ["opened x1", "updated x2", "updated x2"]


def test_an_escalation_passes_the_gates(escalating: Desk) -> None:
    """Under a silence nobody is told, whoever it is."""
    escalating.silence("userName=eve", hours=1)
    escalating.happen(ESCALATING)
    escalating.deliver()
    escalating.later(minutes=15)
    assert escalating.told("boss") == []
    escalating.later(hours=1)
    assert escalating.told("boss") == ["silence: 1"]


def test_a_level_that_rises_after_the_escalation_was_owed(escalating: Desk) -> None:
    """A receiver that is routed to later is told at once, not when its escalation would be due."""
    rule = Rule(escalation=ESCALATING.escalation, level=lambda record: Level[record.severity.upper()])
    from actionwatch.alerts.routes import parse_matcher

    escalating.route = Route(("hook",), routes=(Route(("boss",), (parse_matcher("level=critical"),)),))
    escalating.happen(rule, severity="low")
    escalating.deliver()
    escalating.happen(rule, severity="critical")
    escalating.deliver()
    assert escalating.told("boss") == ["opened x2"]


def test_the_silence_button(desk: Desk) -> None:
    """It silences the alert's rule and group for an hour, in the name of who pressed it."""
    alert_id = desk.happen()
    desk.deliver()
    said = desk.people.act("silence", alert_id, "sam")
    assert said == 'sam silenced rule="cluster_deleted" userName="eve" for 1h'
    with desk.database.read() as connection:
        (made,) = silences.read_active(connection, desk.clock())
    assert (made.author, made.ends_at - made.starts_at) == ("sam", timedelta(hours=1))
    desk.happen()
    desk.happen(user_name="bob")
    desk.later(seconds=11)
    assert desk.told() == ["opened x1", "opened x1"]


def test_buttons_that_cannot_be(desk: Desk) -> None:
    """An unknown alert or action is an error that can be shown."""
    with pytest.raises(ActionwatchError, match="no alert has the id x"):
        desk.people.act("acknowledge", "x", "sam")
    with pytest.raises(ActionwatchError, match="no action 'dance'"):
        desk.people.act("dance", "x", "sam")
    desk.policies["hook"] = Policy()
