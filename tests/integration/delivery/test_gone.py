"""A receiver that is removed from the configuration: its messages become visible dead letters and can be sent elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.alerts.routes import Route
from actionwatch.base.delivery import ESCALATION, DeliveryStatus
from actionwatch.base.model import Escalation, Event, Level
from actionwatch.delivery import dead_letters
from actionwatch.delivery.attempt import LEASE
from actionwatch.delivery.leader import HEALTH_EVERY
from actionwatch.store import delivery_transitions, outbox, receivers, self_alerts, silences
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.text.crontab import parse_crontab
from tests.integration.delivery.kit import NIGHTS, Desk, Rule, at, is_self_alert, summaries
from tests.integration.kit import DOWN, REFUSED, Sender, settle

NOT_CONFIGURED = "no longer configured"
EIGHT = parse_crontab("0 8 * * *")
DEAD, SUPPRESSED = DeliveryStatus.DEAD, DeliveryStatus.SUPPRESSED


def rename(desk: Desk, new: str = "new") -> None:
    """Configure the hook under another name, with other options."""
    desk.senders = {new: Sender()}
    desk.policies = {}
    desk.route = None


def in_a_digest(desk: Desk) -> None:
    """Hold an opened message for a digest."""
    desk.policies["hook"] = ReceiverPolicy(digest=EIGHT)
    desk.match_records()
    desk.deliver()


def in_a_digest_when_over(desk: Desk) -> None:
    """Hold an opened message for a digest, and resolve its alert."""
    in_a_digest(desk)
    desk.operator.resolve(desk.rows()[0].alert_id, "sam")


def in_a_storm(desk: Desk) -> None:
    """Collapse opened messages into the summary of a storm."""
    desk.policies["hook"] = ReceiverPolicy(storm=Storm(1, timedelta(minutes=1)))
    for user in ("eve", "bob", "amy"):
        desk.match_records(user_name=user)
    desk.deliver()


def in_a_silence(desk: Desk) -> None:
    """Silence an opened message."""
    desk.silence('userName="eve"', hours=2)
    desk.match_records(user_name="eve")
    desk.deliver()


def in_a_mute(desk: Desk) -> None:
    """Mute an opened message."""
    desk.global_policy = GlobalPolicy(intervals={"nights": NIGHTS})
    desk.route = Route(("hook",), mutes=("nights",))
    desk.clock.now = at("23:00")
    desk.match_records()
    desk.deliver()


def below_min_level(desk: Desk) -> None:
    """Suppress an opened message that no summary will report."""
    desk.policies["hook"] = ReceiverPolicy(min_level=Level.CRITICAL)
    desk.match_records()
    desk.deliver()


def never_tried(desk: Desk) -> None:
    """Leave an opened message pending."""
    desk.match_records()


def tried(desk: Desk) -> None:
    """Leave an opened message pending that was attempted, and therefore is frozen."""
    desk.hook.answer = lambda message: DOWN
    desk.match_records()
    desk.deliver()


def leased(desk: Desk) -> None:
    """Lease an opened message to a process that then dies."""
    desk.match_records()
    (row,) = desk.rows()
    with desk.database.write() as connection:
        delivery_transitions.claim(connection, [row], desk.clock() + LEASE, "sender")


def an_update(desk: Desk) -> None:
    """Leave an update pending after its opened message was sent."""
    desk.match_records()
    desk.deliver()
    desk.match_records()


def a_resolve(desk: Desk) -> None:
    """Leave a resolve pending after its opened message was sent."""
    desk.match_records()
    desk.deliver()
    desk.operator.resolve(desk.rows()[0].alert_id, "sam")


def an_acknowledgement(desk: Desk) -> None:
    """Leave the update about an acknowledgement pending."""
    desk.match_records()
    desk.deliver()
    desk.operator.acknowledge(desk.rows()[0].alert_id, "sam")


def an_escalation(desk: Desk) -> None:
    """Leave an escalation pending that is not due yet."""
    desk.senders["other"] = Sender()
    desk.route = Route(("other",))
    desk.match_records(Rule(escalation=Escalation(timedelta(hours=1), "hook")))
    desk.deliver()


def an_escalation_of_an_acknowledged_alert(desk: Desk) -> None:
    """Leave an escalation pending whose alert is acknowledged."""
    an_escalation(desk)
    desk.operator.acknowledge(desk.rows()[0].alert_id, "sam")


def a_copy(desk: Desk) -> None:
    """Leave a fallback delivery to the hook pending."""
    desk.senders["other"] = Sender(answer=lambda message: REFUSED)
    desk.policies["other"] = ReceiverPolicy(fallback="hook")
    desk.route = Route(("other",))
    desk.hook.answer = lambda message: DOWN
    desk.match_records()
    desk.deliver()


def a_summary(desk: Desk) -> None:
    """Leave a summary pending."""
    in_a_digest(desk)
    desk.hook.answer = lambda message: DOWN
    desk.clock.now = at("23:59")
    desk.later(hours=9)


def a_dead_letter(desk: Desk) -> None:
    """Give a message up."""
    desk.hook.answer = lambda message: REFUSED
    desk.match_records()
    desk.deliver()


def sent(desk: Desk) -> None:
    """Send a message."""
    desk.match_records()
    desk.deliver()


# Every state of a row, and how many dead letters it becomes when its receiver is removed.
STATES: Mapping[Callable[[Desk], None], int] = {
    in_a_digest: 1,
    in_a_digest_when_over: 1,
    in_a_storm: 2,
    in_a_silence: 1,
    in_a_mute: 1,
    below_min_level: 0,
    never_tried: 1,
    tried: 1,
    leased: 1,
    an_update: 1,
    a_resolve: 1,
    an_acknowledgement: 1,
    an_escalation: 1,
    an_escalation_of_an_acknowledged_alert: 0,
    a_copy: 1,
    a_summary: 1,
    a_dead_letter: 1,
    sent: 0,
}


@pytest.mark.parametrize("reach", STATES, ids=lambda reach: reach.__name__)
def test_every_row_of_a_removed_receiver_ends(desk: Desk, reach: Callable[[Desk], None]) -> None:
    """After a start and a drain, each row of a removed receiver has ended, and lost messages are reported."""
    reach(desk)
    rename(desk)
    desk.deliver()
    rows = [row for row in desk.all_rows() if row.receiver == "hook"]
    assert [row for row in rows if row.status is DeliveryStatus.PENDING or row.awaits is not None] == []
    dead = [row for row in desk.rows() if row.receiver == "hook" and row.status is DEAD]
    assert len(dead) == STATES[reach]
    with desk.database.read() as connection:
        assert outbox.count_queues(connection).get("hook", outbox.Queue()).dead >= len(dead)
        assert "hook" not in receivers.read_all(connection)
    assert ("dead_letters hook" in desk.open_troubles()) is bool(dead)
    for row in dead:
        if row.why == NOT_CONFIGURED and row.event is not Event.SUMMARY:
            assert any(NOT_CONFIGURED in line for line in desk.history(row.alert_id))
    notified = [message for message in desk.senders["new"].sent if message.data.get("group") == {"subject": "hook"}]
    assert len(notified) == (bool(dead) and reach is not a_dead_letter)  # that self-alert was already open


@pytest.mark.parametrize("reach", [reach for reach, count in STATES.items() if count], ids=lambda reach: reach.__name__)
def test_every_dead_letter_can_be_sent_to_another_receiver(desk: Desk, reach: Callable[[Desk], None]) -> None:
    """Each dead letter is sent once to the other receiver, under its id, and the self-alert resolves."""
    reach(desk)
    rename(desk)
    desk.deliver()
    letters = {row.id for row in desk.all_rows() if row.status is DEAD}
    assert readdress(desk) == len(letters)
    desk.deliver()
    desk.later(minutes=30)
    got = desk.senders["new"].sent
    assert letters <= {message.id for message in got}
    assert len({message.id for message in got}) == len(got)
    assert desk.open_troubles() == []
    assert [row for row in desk.all_rows() if row.status is DeliveryStatus.PENDING] == []


def readdress(desk: Desk, to: str = "new", wanted: DeliveryFilter = DeliveryFilter()) -> int:  # noqa: B008 - a frozen value
    """Send dead letters to another receiver."""
    with desk.database.write() as connection:
        return dead_letters.readdress(connection, wanted, to, "sam", desk.clock())


def test_summary_of_suppressed_messages_becomes_the_dead_letter(desk: Desk) -> None:
    """A silenced message is never sent. Its summary becomes the dead letter, and is complete at any receiver."""
    in_a_silence(desk)
    (hidden,) = desk.rows()
    rename(desk)
    desk.deliver()
    assert desk.rows(hidden.alert_id)[0].status is SUPPRESSED
    assert any(
        f"to hook: silence: its summary is a dead letter: {NOT_CONFIGURED}" in line
        for line in desk.history(hidden.alert_id)
    )
    readdress(desk)
    desk.deliver()
    (summary,) = summaries(desk.senders["new"].sent)
    assert (summary.data["reason"], summary.data["count"], summary.data["receiver"]) == ("silence", 1, "hook")


def test_readdressed_messages_pass_the_gates_of_the_new_receiver(desk: Desk) -> None:
    """The storm limit and the digest of the new receiver apply. The operator's request overrides `min_level`."""
    in_a_storm(desk)
    rename(desk)
    desk.policies["new"] = ReceiverPolicy(storm=Storm(1), min_level=Level.CRITICAL)
    desk.deliver()
    desk.clock.advance(minutes=5)
    assert readdress(desk) == 2
    desk.deliver()
    assert desk.received("new").count("opened x1") + len(desk.gated()) >= 2
    assert any("new opened collapsed by storm" in line for line in desk.gated())
    assert not any("min_level" in line for line in desk.gated())


def test_readdressed_message_that_was_attempted_is_unchanged(desk: Desk) -> None:
    """A message that its first receiver may have accepted is sent on unchanged."""
    tried(desk)
    first = desk.hook.sent[0]
    desk.match_records()
    rename(desk)
    desk.deliver()
    readdress(desk, wanted=DeliveryFilter([first.id]))
    desk.deliver()
    (again,) = [message for message in desk.senders["new"].sent if message.id == first.id]
    assert again.data == first.data


def test_readdressed_messages_keep_their_order(desk: Desk) -> None:
    """Opened and resolved arrive in order, after the receiver's other messages, and ordinals are used once."""
    desk.senders["other"] = Sender()
    desk.hook.answer = lambda message: DOWN
    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    notified = len(desk.senders["other"].sent)
    del desk.senders["hook"]
    desk.deliver()
    assert readdress(desk, "other") == 2
    desk.deliver()
    mine = [message for message in desk.senders["other"].sent if message.data.get("id") == alert_id]
    assert [message.type for message in mine][notified:] == ["alert.opened", "alert.resolved"]
    places = [(row.alert_id, row.receiver, row.ordinal) for row in desk.all_rows()]
    assert len(places) == len(set(places))


def test_resolve_that_becomes_due_during_a_drain_ends(desk: Desk) -> None:
    """If a self-alert of the removed receiver is resolved during a run, no row is left pending at its end."""
    desk.senders["other"] = Sender(answer=lambda message: REFUSED)
    desk.match_records()
    desk.deliver()
    with desk.database.write() as connection:
        delivery_transitions.drop(connection, DeliveryFilter(), "sam")
    desk.senders = {"new": Sender(), "other": Sender()}
    desk.deliver()
    ended = [row for row in desk.all_rows() if row.receiver == "hook" and row.event is Event.RESOLVED]
    assert [(row.status, row.why) for row in ended] == [(DEAD, NOT_CONFIGURED)]


def test_remedy_of_an_open_self_alert_is_updated(desk: Desk) -> None:
    """A self-alert that was already open shows the remedy for a removed receiver."""
    a_dead_letter(desk)
    rename(desk)
    desk.deliver()
    with desk.database.read() as connection:
        (opened,) = [each for each in self_alerts.read_all(connection) if each.trouble == "dead_letters"]
    assert "--receiver hook --to NAME" in opened.remedy


def test_receiver_that_is_configured_again_gets_its_dead_letters(desk: Desk) -> None:
    """Under its old name it gets its dead letters by a replay, then new messages, and no ordinal is used twice."""
    desk.policies["hook"] = ReceiverPolicy(digest=EIGHT)
    first = desk.match_records(user_name="eve")
    second = desk.match_records(user_name="bob")
    desk.deliver()
    hook = desk.hook
    rename(desk)
    desk.deliver()
    readdress(desk, wanted=DeliveryFilter([row.id for row in desk.rows(first) if row.status is DEAD]))
    desk.deliver()
    desk.senders, desk.policies = {"hook": hook}, {}
    desk.deliver()
    with desk.database.write() as connection:
        assert dead_letters.replay(connection, DeliveryFilter(receiver="hook"), {"hook"}, "sam", desk.clock()) == 1
    desk.deliver()
    assert [message.data["id"] for message in hook.sent if not is_self_alert(message)] == [second]
    desk.match_records(user_name="eve")
    desk.deliver()
    assert [message.data["id"] for message in hook.sent if not is_self_alert(message)] == [second, first]
    assert len({row.id for row in desk.all_rows()}) == len(desk.all_rows())


def test_rows_of_a_removed_receiver_end_while_the_process_runs(desk: Desk) -> None:
    """Rows for a removed receiver that are created while the process runs, also escalations, end within seconds."""
    rename(desk)
    desk.policies = {"hook": ReceiverPolicy()}
    with desk.delivering() as worker:
        settle(worker)
        desk.match_records(Rule(escalation=Escalation(timedelta(hours=1), "nobody")))
        desk.clock.advance(seconds=HEALTH_EVERY.total_seconds())
        settle(worker)
    rows = [row for row in desk.rows() if row.ordinal == ESCALATION]
    assert [(row.receiver, row.status, row.why) for row in rows] == [("nobody", DEAD, NOT_CONFIGURED)]


def test_silence_removed_from_its_file_is_summarised(desk: Desk) -> None:
    """A silence that is removed from its file is expired, and its summary is sent."""
    made = desk.silence('userName="eve"', hours=2)
    desk.match_records(user_name="eve")
    desk.deliver()
    with desk.database.write() as connection:
        silences.write(connection, replace(made, file="planned.yml"))
        silences.replace_of_files(connection, [], set(), desk.clock())
    desk.later(seconds=1)
    assert desk.received() == ["silence: 1"]
