"""What people change about an alert besides its end: they reopen it, assign it to somebody, and write notes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.model import Decision, Escalation, Status
from actionwatch.store import alerts, retention, self_alerts
from tests.builders import NOON
from tests.integration.delivery.kit import Desk, Rule
from tests.integration.kit import DOWN, REFUSED, Sender

ESCALATING = Rule(escalation=Escalation(timedelta(minutes=15), "boss"))


@pytest.fixture
def escalating(desk: Desk) -> Desk:
    """Add a receiver that only escalations reach."""
    desk.senders["boss"] = Sender()
    desk.route = Route(("hook",))
    return desk


def escalations(desk: Desk) -> list[str]:
    """Describe the escalations, those of the first opening first."""
    rows = [row for row in desk.all_rows() if row.is_escalation]
    return [f"{row.ordinal} {row.status} {row.why or ''}".strip() for row in sorted(rows, key=lambda row: -row.ordinal)]


@pytest.mark.parametrize("decision", ["ack", "resolve"])
def test_a_reopened_alert_goes_to_its_receivers_as_a_new_one(desk: Desk, decision: str) -> None:
    """The same alert is open again, and its receivers get `opened` with its id, also by mail, and who reopened it."""
    desk.senders["mail"] = Sender()
    desk.policies["mail"] = ReceiverPolicy(is_updated_last=True)
    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.act(decision, alert_id, "sam")
    desk.later(seconds=11)
    alert, is_new = desk.operator.reopen(alert_id, "kim", "not fixed")
    assert (alert.status, alert.acked_by, alert.resolved_by, alert.reopened_by) == (Status.OPEN, None, None, "kim")
    assert is_new
    desk.later(seconds=11)
    for name in ("hook", "mail"):
        last = desk.senders[name].sent[-1]
        assert (last.type, last.data["id"], last.data["status"]) == ("alert.opened", alert_id, "open")
        assert last.data["reopened_by"] == "kim"
    assert "reopened: by kim: not fixed" in desk.history(alert_id)
    assert desk.operator.act("reopen", alert_id, "bob") == Decision("Reopened by kim", is_new=False)
    desk.operator.resolve(alert_id, "bob")
    desk.later(seconds=11)
    assert desk.received()[-1] == "resolved x1"
    ids = [message.id for message in desk.hook.sent]
    assert len(ids) == len(set(ids)), "each message has an id"


@pytest.mark.parametrize("decision", ["ack", "resolve"])
@pytest.mark.parametrize("is_undo", [True, False])
def test_an_undone_decision_that_nobody_was_told_of_is_only_an_update(desk: Desk, is_undo: bool, decision: str) -> None:
    """A decision that is undone before its message was attempted notifies nobody again."""
    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.act(decision, alert_id, "sam")
    desk.operator.reopen(alert_id, "sam", is_undo=is_undo)
    desk.later(seconds=11)
    desk.later(minutes=1)
    assert desk.received() == ["opened x1", "updated x1"]
    assert desk.hook.sent[-1].data["status"] == "open"


def test_an_undone_decision_before_the_first_message_leaves_it_as_it_was(desk: Desk) -> None:
    """An opening that was not attempted yet is sent once, and shows the alert as open."""
    alert_id = desk.match_records()
    desk.operator.acknowledge(alert_id, "sam")
    desk.operator.reopen(alert_id, "sam")
    desk.later(minutes=1)
    assert desk.received() == ["opened x1"]
    assert desk.hook.sent[0].data["status"] == "open"


@pytest.mark.parametrize("decision", ["ack", "resolve"])
@pytest.mark.parametrize("wait", [1, 20])
def test_a_reopened_alert_escalates_from_then_on(escalating: Desk, decision: str, wait: int) -> None:
    """The time of the escalation begins with the reopening, whether the one of the opening was due before or not."""
    alert_id = escalating.match_records(ESCALATING)
    escalating.deliver()
    escalating.operator.act(decision, alert_id, "sam")
    escalating.later(minutes=wait)
    escalating.operator.reopen(alert_id, "kim")
    escalating.later(minutes=14, seconds=59)
    assert escalating.received("boss") == []
    escalating.later(seconds=1)
    assert escalating.received("boss") == ["opened x1"]
    assert escalating.senders["boss"].sent[0].fields[0] == ("escalated", "nobody acknowledged it within 15m")
    why = {"ack": "acked", "resolve": "resolved"}[decision]
    assert escalations(escalating) == [f"-1 suppressed {why}", "-2 sent"]


def test_an_alert_escalates_each_time_that_it_is_reopened(escalating: Desk) -> None:
    """Each reopening has an escalation with its own id, also for a receiver that was notified before."""
    alert_id = escalating.match_records(ESCALATING)
    escalating.later(minutes=15)
    for _ in range(2):
        escalating.operator.acknowledge(alert_id, "sam")
        escalating.later(minutes=1)
        escalating.operator.reopen(alert_id, "sam")
        escalating.later(minutes=15)
    assert escalations(escalating) == ["-1 sent", "-2 sent", "-3 sent"]
    boss = escalating.senders["boss"].sent
    assert len({message.id for message in boss}) == len(boss)


def test_matches_join_a_reopened_alert(desk: Desk) -> None:
    """A record within `realert` joins the reopened alert, as it would have without the decision."""
    alert_id = desk.match_records()
    desk.operator.resolve(alert_id, "sam")
    desk.operator.reopen(alert_id, "sam")
    assert desk.match_records() == alert_id


def test_a_reopened_self_alert_ends_with_its_trouble(desk: Desk) -> None:
    """A self-alert that a person resolved and reopened is that of its trouble again, unless another one opened."""
    trouble, subject = "dead_letters", "hook"
    reporter = desk.troubles
    reporter.report(trouble, subject, "1 dead letter", "retry it")
    with desk.database.read() as connection:
        (opened,) = self_alerts.read_all(connection)
    desk.operator.resolve(opened.alert_id, "sam")
    desk.operator.reopen(opened.alert_id, "sam")
    reporter.report(trouble, subject, "1 dead letter", "retry it")
    with desk.database.read() as connection:
        assert [each.alert_id for each in self_alerts.read_all(connection)] == [opened.alert_id]
    reporter.settle_trouble(trouble, subject)
    with desk.database.read() as connection:
        alert = alerts.read(connection, opened.alert_id)
    assert alert is not None
    assert alert.status is Status.RESOLVED


def test_an_assignment_is_an_update(desk: Desk) -> None:
    """Receivers learn to whom an alert is assigned, and the history has who did it; the same again changes nothing."""
    alert_id = desk.match_records()
    desk.deliver()
    for is_new in (True, False):
        alert, changed = desk.operator.assign(alert_id, "sam", "kim", "her cluster")
        assert (alert.assigned_to, alert.status, changed) == ("kim", Status.OPEN, is_new)
    desk.later(seconds=11)
    assert desk.received() == ["opened x1", "updated x1"]
    assert desk.hook.sent[-1].data["assigned_to"] == "kim"
    desk.operator.assign(alert_id, "kim", None)
    desk.later(seconds=11)
    assert desk.hook.sent[-1].data["assigned_to"] is None
    lines = [line for line in desk.history(alert_id) if line.startswith("assigned")]
    assert lines == ["assigned: to kim by sam: her cluster", "assigned: to nobody by kim"]


def test_a_note_is_an_update_without_a_decision(desk: Desk) -> None:
    """Receivers get the newest note with its author, and the history has all of them; mail is not sent for it."""
    desk.senders["mail"] = Sender()
    desk.policies["mail"] = ReceiverPolicy(is_updated_last=True)
    alert_id = desk.match_records()
    desk.deliver()
    for who, text in (("sam", "looking"), ("kim", "it is the pipeline"), ("kim", "it is the pipeline")):
        alert, _ = desk.operator.note(alert_id, who, text)
    assert (alert.note, alert.noted_by, alert.status) == ("it is the pipeline", "kim", Status.OPEN)
    desk.later(seconds=11)
    assert (desk.received(), desk.received("mail")) == (["opened x1", "updated x1"], ["opened x1"])
    assert desk.hook.sent[-1].data["note"] == "it is the pipeline"
    lines = [line for line in desk.history(alert_id) if line.startswith("noted")]
    assert lines == ["noted: by sam: looking", "noted: by kim: it is the pipeline"]


def test_a_note_about_a_resolved_alert_sends_nothing(desk: Desk) -> None:
    """An update about an alert that is over would open an incident again; the history keeps the note."""
    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.resolve(alert_id, "sam")
    desk.later(seconds=11)
    desk.operator.note(alert_id, "sam", "cause: a test")
    desk.operator.assign(alert_id, "sam", "kim")
    desk.later(minutes=1)
    assert desk.received() == ["opened x1", "resolved x1"]
    assert "noted: by sam: cause: a test" in desk.history(alert_id)


def test_a_reopening_is_no_late_message(desk: Desk) -> None:
    """The time from an action to its message does not count a message about an alert that a person reopened hours later."""
    from actionwatch.store import delivery_latency

    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.resolve(alert_id, "sam")
    desk.later(hours=5)
    with desk.database.read() as connection:
        before = delivery_latency.read_all(connection)
    desk.operator.reopen(alert_id, "sam")
    desk.later(seconds=11)
    assert desk.received()[-1] == "opened x1"
    with desk.database.read() as connection:
        assert delivery_latency.read_all(connection) == before
        counts = delivery_latency.count_slow(connection, "hook", NOON, desk.clock(), timedelta(minutes=10))
    assert counts[1] == 0


@pytest.fixture
def mailed(desk: Desk) -> Desk:
    """Add a receiver that shows an alert as it was when it was sent."""
    desk.senders["mail"] = Sender()
    desk.policies["mail"] = ReceiverPolicy(is_updated_last=True)
    return desk


@pytest.mark.parametrize("wait", [0, 11])
def test_an_undone_acknowledgement_sends_no_mail(mailed: Desk, wait: int) -> None:
    """Mail is not sent for an acknowledgement, and so not for its Undo; who got it gets the alert again."""
    alert_id = mailed.match_records()
    mailed.deliver()
    mailed.operator.acknowledge(alert_id, "sam")
    mailed.clock.advance(seconds=wait)
    if wait:
        mailed.deliver()
    mailed.operator.reopen(alert_id, "sam", is_undo=True)
    for _ in range(3):
        mailed.later(hours=1)
    assert mailed.received("mail") == ["opened x1"]
    assert mailed.received()[1:] == (["updated x1", "opened x1"] if wait else ["updated x1"])


def test_an_undone_acknowledgement_that_only_an_opening_showed_is_an_update(mailed: Desk) -> None:
    """A receiver whose opening shows the acknowledgement learns of the Undo in place, also if it got another one before."""
    alert_id = mailed.match_records()
    mailed.deliver()
    mailed.operator.acknowledge(alert_id, "sam")
    mailed.later(seconds=11)
    mailed.operator.reopen(alert_id, "sam")
    mailed.operator.acknowledge(alert_id, "sam")
    mailed.later(seconds=11)
    assert mailed.hook.sent[-1].data["status"] == "acked"
    mailed.operator.reopen(alert_id, "sam", is_undo=True)
    mailed.later(seconds=11)
    assert mailed.received() == ["opened x1", "updated x1", "opened x1", "updated x1"]
    assert mailed.hook.sent[-1].data["status"] == "open"
    assert mailed.received("mail") == ["opened x1", "opened x1"]


def test_an_undone_resolve_that_was_not_sent_sends_no_mail(mailed: Desk) -> None:
    """The resolution is never sent, also not as an update; the next one is."""
    alert_id = mailed.match_records()
    mailed.deliver()
    mailed.operator.resolve(alert_id, "sam")
    mailed.operator.reopen(alert_id, "sam", is_undo=True)
    for _ in range(3):
        mailed.later(hours=1)
    assert mailed.received("mail") == ["opened x1"]
    mailed.operator.resolve(alert_id, "sam")
    mailed.later(seconds=11)
    assert mailed.received("mail") == ["opened x1", "resolved x1"]


def test_an_undone_resolve_leaves_the_update_that_mail_waits_for(mailed: Desk) -> None:
    """What the resolution replaced is sent at its time, when no more matches can join."""
    alert_id = mailed.match_records()
    mailed.deliver()
    mailed.match_records()
    mailed.clock.advance(minutes=1)
    mailed.operator.resolve(alert_id, "sam")
    mailed.operator.reopen(alert_id, "sam", is_undo=True)
    mailed.later(minutes=13, seconds=59)
    assert mailed.received("mail") == ["opened x1"]
    mailed.later(seconds=1)
    assert mailed.received("mail") == ["opened x1", "updated x2"]


def test_an_undone_resolve_of_an_acknowledged_alert_is_acknowledged(escalating: Desk) -> None:
    """The acknowledgement stays, nobody gets `opened`, and nothing escalates; who got the end learns that it is not over."""
    alert_id = escalating.match_records(ESCALATING)
    escalating.deliver()
    escalating.operator.acknowledge(alert_id, "alice")
    escalating.later(seconds=11)
    escalating.operator.resolve(alert_id, "bob")
    escalating.later(seconds=11)
    alert, is_new = escalating.operator.reopen(alert_id, "bob", is_undo=True)
    assert (alert.status, alert.acked_by, alert.resolved_by, is_new) == (Status.ACKED, "alice", None, True)
    for _ in range(3):
        escalating.later(minutes=15)
    assert escalating.received() == ["opened x1", "updated x1", "resolved x1", "updated x1"]
    assert escalating.hook.sent[-1].data["status"] == "acked"
    assert escalating.received("boss") == []
    assert "undone: by bob" in escalating.history(alert_id)
    alert, _ = escalating.operator.reopen(alert_id, "alice", is_undo=True)
    assert (alert.status, alert.acked_by) == (Status.OPEN, None)


def test_a_reopened_alert_does_not_escalate_to_a_removed_receiver(escalating: Desk) -> None:
    """The history says that the escalation has no receiver; no dead letter is made."""
    alert_id = escalating.match_records(ESCALATING)
    escalating.deliver()
    escalating.operator.acknowledge(alert_id, "sam")
    del escalating.senders["boss"]
    escalating.operator.reopen(alert_id, "sam")
    escalating.later(minutes=15)
    assert [row for row in escalating.all_rows() if row.ordinal < -1] == []
    assert "escalation: none: boss is no longer configured" in escalating.history(alert_id)


def test_a_message_of_a_reopened_alert_has_an_id_of_its_own(escalating: Desk) -> None:
    """Retention deletes the messages of a resolved alert, with their numbers: no later message has the id of one of them."""
    alert_id = escalating.match_records(ESCALATING)
    escalating.later(minutes=15)
    escalating.operator.resolve(alert_id, "sam")
    escalating.later(seconds=11)
    before = {row.id for row in escalating.all_rows()}
    escalating.clock.advance(days=40)
    now = escalating.clock()
    with escalating.database.write() as connection:
        retention.delete_deliveries(connection, now, now, now, 1000)
    assert escalating.all_rows() == []
    escalating.operator.reopen(alert_id, "sam")
    escalating.later(minutes=15)
    escalating.operator.resolve(alert_id, "sam")
    escalating.later(seconds=11)
    after = {row.id for row in escalating.all_rows()}
    assert (len(before), len(after), before & after) == (4, 4, set())


@pytest.fixture
def backed(desk: Desk) -> Desk:
    """Make mail the fallback of the hook, which refuses all."""
    desk.senders["mail"] = Sender()
    desk.policies["hook"] = ReceiverPolicy(fallback="mail")
    desk.route = Route(("hook",))
    desk.hook.answer = lambda message: REFUSED
    return desk


@pytest.mark.parametrize("decision", ["ack", "resolve"])
def test_a_reopened_alert_reaches_the_fallback(backed: Desk, decision: str) -> None:
    """The fallback gets it as a new one, once for each time, and its end."""
    alert_id = backed.match_records()
    backed.deliver()
    expected = ["opened x1"]
    for _ in range(2):
        backed.operator.act(decision, alert_id, "sam")
        backed.later(seconds=11)
        backed.operator.reopen(alert_id, "sam")
        for _ in range(2):
            backed.later(hours=1)
        expected += ["resolved x1", "opened x1"] if decision == "resolve" else ["opened x1"]
        assert backed.received("mail") == expected
    backed.operator.resolve(alert_id, "sam")
    backed.later(seconds=11)
    assert backed.received("mail") == [*expected, "resolved x1"]
    mail = backed.senders["mail"].sent
    assert len({message.id for message in mail}) == len(mail)
    assert {message.fields[0] for message in mail} == {("in place of", "hook")}


def test_a_reopened_alert_that_waits_reaches_the_fallback(backed: Desk) -> None:
    """What waits for a failing receiver is copied again, once, if the alert was reopened since the first copy."""
    alert_id = backed.match_records()
    backed.deliver()
    backed.operator.acknowledge(alert_id, "sam")
    backed.later(hours=1)
    backed.hook.answer = lambda message: DOWN
    backed.operator.reopen(alert_id, "sam")
    for _ in range(6):
        backed.later(minutes=5)
    assert backed.received("mail") == ["opened x1", "opened x1"]


def test_a_reopened_alert_reaches_a_fallback_whose_receiver_has_its_opening_in_hand(backed: Desk) -> None:
    """The receiver fails, and its old message waits on: only the fallback has got the end, and the alert again."""
    backed.hook.answer = lambda message: DOWN
    alert_id = backed.match_records()
    for _ in range(3):
        backed.later(minutes=5)
    backed.operator.resolve(alert_id, "sam")
    backed.later(seconds=11)
    assert backed.received("mail") == ["opened x1", "resolved x1"]
    backed.operator.reopen(alert_id, "sam", is_undo=True)
    for _ in range(3):
        backed.later(minutes=5)
    assert backed.received("mail") == ["opened x1", "resolved x1", "opened x1"]


@pytest.mark.parametrize("is_undo", [True, False])
def test_a_fallback_gets_no_end_of_an_alert_that_is_open_again(backed: Desk, is_undo: bool) -> None:
    """A copy of the end that was not sent yet is withdrawn."""
    alert_id = backed.match_records()
    backed.deliver()
    backed.operator.resolve(alert_id, "sam")
    backed.operator.reopen(alert_id, "sam", is_undo=is_undo)
    backed.later(seconds=11)
    assert backed.received("mail") == ["opened x1"]
    backed.operator.resolve(alert_id, "sam")
    backed.later(seconds=11)
    assert backed.received("mail") == ["opened x1", "resolved x1"]
