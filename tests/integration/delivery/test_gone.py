"""A receiver that is removed from the configuration: its messages become visible dead letters and can be sent elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from actionwatch.alerts.policy import ReceiverPolicy, Storm
from actionwatch.base.delivery import ESCALATION, DeliveryStatus
from actionwatch.base.model import Escalation, Event, Level
from actionwatch.delivery import dead_letters
from actionwatch.delivery.leader import HEALTH_EVERY
from actionwatch.store import delivery_transitions, outbox, receivers, self_alerts, silences
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.text.crontab import parse_crontab
from tests.integration.delivery.kit import Desk, Rule, is_self_alert, summaries
from tests.integration.delivery.scenarios import Play
from tests.integration.kit import DOWN, REFUSED, Sender, settle

NOT_CONFIGURED = "no longer configured"
EIGHT = parse_crontab("0 8 * * *")
DEAD, SUPPRESSED = DeliveryStatus.DEAD, DeliveryStatus.SUPPRESSED


IN_A_DIGEST = "hook has a digest at 8, match, send"
IN_A_STORM = "hook has a storm of 1, match by eve, match by bob, match by amy, send"
IN_A_SILENCE = "silence userName=eve for 2h, match, send"
TRIED = "hook is down, match, send"
REFUSED_LETTER = "hook refuses, match, send"
ESCALATION_WAITS = "with other, routed to other, rule escalating to hook, match, send"
STATES: Mapping[str, int] = {
    IN_A_DIGEST: 1,
    f"{IN_A_DIGEST}, resolve": 1,
    IN_A_STORM: 2,
    IN_A_SILENCE: 1,
    "night lasts from 22 to 6, hook is muted at night, at 23:00, match, send": 1,
    "hook wants critical, match, send": 0,
    "match": 1,
    TRIED: 1,
    "match, a process leases it and dies": 1,
    "match, send, match": 1,
    "match, send, resolve": 1,
    "match, send, ack": 1,
    ESCALATION_WAITS: 1,
    f"{ESCALATION_WAITS}, ack": 0,
    "with other, hook backs other, routed to other, other refuses, hook is down, match, send": 1,
    f"{IN_A_DIGEST}, hook is down, at 23:59, 9h": 1,
    REFUSED_LETTER: 1,
    "match, send": 0,
}
"""What leads to every state of a row, and how many dead letters it becomes when its receiver is removed."""


@pytest.mark.parametrize("state", STATES)
def test_every_row_of_a_removed_receiver_ends(desk: Desk, state: str) -> None:
    """After a start and a drain, each row of a removed receiver has ended, and lost messages are reported."""
    Play(desk).happen(f"{state}, hook becomes new, send")
    rows = [row for row in desk.all_rows() if row.receiver == "hook"]
    assert [row for row in rows if row.status is DeliveryStatus.PENDING or row.awaits is not None] == []
    dead = [row for row in desk.rows() if row.receiver == "hook" and row.status is DEAD]
    assert len(dead) == STATES[state]
    with desk.database.read() as connection:
        assert outbox.count_queues(connection).get("hook", outbox.Queue()).dead >= len(dead)
        assert "hook" not in receivers.read_all(connection)
    assert ("dead_letters hook" in desk.open_troubles()) is bool(dead)
    for row in dead:
        if row.why == NOT_CONFIGURED and row.event is not Event.SUMMARY:
            assert any(NOT_CONFIGURED in line for line in desk.history(row.alert_id))
    notified = [message for message in desk.senders["new"].sent if message.data.get("group") == {"subject": "hook"}]
    assert len(notified) == (bool(dead) and state != REFUSED_LETTER)  # that self-alert was already open


@pytest.mark.parametrize("state", [state for state, count in STATES.items() if count])
def test_every_dead_letter_can_be_sent_to_another_receiver(desk: Desk, state: str) -> None:
    """Each dead letter is sent once to the other receiver, under its id, and the self-alert resolves."""
    Play(desk).happen(f"{state}, hook becomes new, send")
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
    play = Play(desk).happen(IN_A_SILENCE)
    (hidden,) = desk.rows()
    play.happen("hook becomes new, send")
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
    Play(desk).happen(f"{IN_A_STORM}, hook becomes new")
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
    play = Play(desk).happen(TRIED)
    first = desk.hook.sent[0]
    play.happen("match, hook becomes new, send")
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
    Play(desk).happen(f"{REFUSED_LETTER}, hook becomes new, send")
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
    Play(desk).happen("hook becomes new, send")
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
    Play(desk).happen("hook becomes new")
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
