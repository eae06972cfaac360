"""A receiver that is no longer configured: whatever waited for it ends where people see it, and can be sent elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.alerts.routes import Route
from actionwatch.base.delivery import ESCALATION, DeliveryStatus
from actionwatch.base.model import Escalation, Event, Level
from actionwatch.delivery import replay
from actionwatch.delivery.claiming import LEASE
from actionwatch.delivery.worker import HEALTH_EVERY
from actionwatch.store import delivery_transitions, outbox, receivers, self_alerts, silences
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.text.crontab import parse_crontab
from tests.integration.delivery.kit import NIGHTS, Desk, Rule, at, is_self_alert, summaries
from tests.integration.kit import DOWN, REFUSED, Sender, settle

NOT_CONFIGURED = "no longer configured"
EIGHT = parse_crontab("0 8 * * *")
DEAD, SUPPRESSED = DeliveryStatus.DEAD, DeliveryStatus.SUPPRESSED


def rename(desk: Desk, new: str = "new") -> None:
    """Have the hook be configured under another name, with other wishes."""
    desk.senders = {new: Sender()}
    desk.policies = {}
    desk.route = None


def in_a_digest(desk: Desk) -> None:
    """Hold an opening for a digest."""
    desk.policies["hook"] = ReceiverPolicy(digest=EIGHT)
    desk.match_records()
    desk.deliver()


def in_a_digest_when_over(desk: Desk) -> None:
    """Hold an opening for a digest; the alert is over by then."""
    in_a_digest(desk)
    desk.operator.resolve(desk.rows()[0].alert_id, "sam")


def in_a_storm(desk: Desk) -> None:
    """Collapse an opening into a storm's summary."""
    desk.policies["hook"] = ReceiverPolicy(storm=Storm(1, timedelta(minutes=1)))
    for user in ("eve", "bob", "amy"):
        desk.match_records(user_name=user)
    desk.deliver()


def in_a_silence(desk: Desk) -> None:
    """Silence an opening."""
    desk.silence('userName="eve"', hours=2)
    desk.match_records(user_name="eve")
    desk.deliver()


def in_a_mute(desk: Desk) -> None:
    """Mute an opening."""
    desk.global_policy = GlobalPolicy(intervals={"nights": NIGHTS})
    desk.route = Route(("hook",), mutes=("nights",))
    desk.clock.now = at("23:00")
    desk.match_records()
    desk.deliver()


def inhibited_below_its_level(desk: Desk) -> None:
    """Suppress an opening that nothing is to tell of."""
    desk.policies["hook"] = ReceiverPolicy(min_level=Level.CRITICAL)
    desk.match_records()
    desk.deliver()


def never_tried(desk: Desk) -> None:
    """Owe an opening."""
    desk.match_records()


def tried(desk: Desk) -> None:
    """Owe an opening that was tried: it is frozen."""
    desk.hook.answer = lambda message: DOWN
    desk.match_records()
    desk.deliver()


def under_way(desk: Desk) -> None:
    """Lease an opening to a process that then dies."""
    desk.match_records()
    (row,) = desk.rows()
    with desk.database.write() as connection:
        delivery_transitions.claim(connection, [row], desk.clock() + LEASE)


def an_update(desk: Desk) -> None:
    """Owe an update after an opening that was sent."""
    desk.match_records()
    desk.deliver()
    desk.match_records()


def an_end(desk: Desk) -> None:
    """Owe the end of an alert whose opening was sent."""
    desk.match_records()
    desk.deliver()
    desk.operator.resolve(desk.rows()[0].alert_id, "sam")


def an_acknowledgement(desk: Desk) -> None:
    """Owe the news that somebody took an alert on."""
    desk.match_records()
    desk.deliver()
    desk.operator.acknowledge(desk.rows()[0].alert_id, "sam")


def an_escalation(desk: Desk) -> None:
    """Owe an escalation that is not due yet."""
    desk.senders["other"] = Sender()
    desk.route = Route(("other",))
    desk.match_records(Rule(escalation=Escalation(timedelta(hours=1), "hook")))
    desk.deliver()


def an_escalation_that_is_not_needed(desk: Desk) -> None:
    """Owe an escalation of an alert that somebody took on."""
    an_escalation(desk)
    desk.operator.acknowledge(desk.rows()[0].alert_id, "sam")


def a_copy(desk: Desk) -> None:
    """Owe the hook what it is to take in another's place."""
    desk.senders["other"] = Sender(answer=lambda message: REFUSED)
    desk.policies["other"] = ReceiverPolicy(fallback="hook")
    desk.route = Route(("other",))
    desk.hook.answer = lambda message: DOWN
    desk.match_records()
    desk.deliver()


def a_summary(desk: Desk) -> None:
    """Owe a summary."""
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


# Every state that a row can be in, and how many dead letters come of it where its receiver is gone.
STATES: Mapping[Callable[[Desk], None], int] = {
    in_a_digest: 1,
    in_a_digest_when_over: 1,
    in_a_storm: 2,
    in_a_silence: 1,
    in_a_mute: 1,
    inhibited_below_its_level: 0,
    never_tried: 1,
    tried: 1,
    under_way: 1,
    an_update: 1,
    an_end: 1,
    an_acknowledgement: 1,
    an_escalation: 1,
    an_escalation_that_is_not_needed: 0,
    a_copy: 1,
    a_summary: 1,
    a_dead_letter: 1,
    sent: 0,
}


@pytest.mark.parametrize("reach", STATES, ids=lambda reach: reach.__name__)
def test_no_row_stays_where_nobody_moves_it_on(desk: Desk, reach: Callable[[Desk], None]) -> None:
    """After a start and a drain each row of a receiver that is gone has ended, and what was lost is reported."""
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
    told = [message for message in desk.senders["new"].sent if message.data.get("group") == {"subject": "hook"}]
    assert len(told) == (bool(dead) and reach is not a_dead_letter)  # that trouble was open before


@pytest.mark.parametrize("reach", [reach for reach, count in STATES.items() if count], ids=lambda reach: reach.__name__)
def test_all_of_it_can_be_sent_elsewhere(desk: Desk, reach: Callable[[Desk], None]) -> None:
    """Each dead letter goes to another receiver under the id it had, once, and the trouble is over."""
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
        return replay.readdress(connection, wanted, to, desk.clock())


def test_the_summary_of_what_was_hidden_is_what_is_lost(desk: Desk) -> None:
    """What a silence hid is never sent; its summary is the dead letter, and says what was hidden, wherever it goes."""
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


def test_what_was_held_goes_through_the_gates_of_its_new_receiver(desk: Desk) -> None:
    """A storm of letters is a storm at the other receiver, a digest holds them; who asked for them overrides `min_level`."""
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


def test_what_was_tried_says_the_same_under_the_same_id(desk: Desk) -> None:
    """A message that its receiver may have got goes on word for word."""
    tried(desk)
    first = desk.hook.sent[0]
    desk.match_records()
    rename(desk)
    desk.deliver()
    readdress(desk, wanted=DeliveryFilter([first.id]))
    desk.deliver()
    (again,) = [message for message in desk.senders["new"].sent if message.id == first.id]
    assert again.data == first.data


def test_order_and_ordinals(desk: Desk) -> None:
    """Beginning and end arrive in order, beside what the other receiver was told already; numbers are used once."""
    desk.senders["other"] = Sender()
    desk.hook.answer = lambda message: DOWN
    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    told = len(desk.senders["other"].sent)
    del desk.senders["hook"]
    desk.deliver()
    assert readdress(desk, "other") == 2
    desk.deliver()
    mine = [message for message in desk.senders["other"].sent if message.data.get("id") == alert_id]
    assert [message.type for message in mine][told:] == ["alert.opened", "alert.resolved"]
    places = [(row.alert_id, row.receiver, row.ordinal) for row in desk.all_rows()]
    assert len(places) == len(set(places))


def test_one_who_knows_the_alert_gets_an_update(desk: Desk) -> None:
    """An opening that nobody got is news to a receiver that was told the alert, not another opening."""
    desk.senders["other"] = Sender()
    desk.policies["hook"] = ReceiverPolicy(digest=EIGHT)
    desk.match_records()
    desk.deliver()
    del desk.senders["hook"]
    desk.deliver()
    readdress(desk, "other")
    desk.deliver()
    assert desk.received("other") == ["opened x1", "updated x1"]


def test_the_end_of_a_page_reaches_the_renamed_pager(desk: Desk) -> None:
    """An alert that was told under the old name is ended under the new one, though that one was told nothing."""
    alert_id = desk.match_records()
    desk.deliver()
    rename(desk)
    desk.deliver()
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    (letter,) = [row for row in desk.rows(alert_id) if row.status is DEAD]
    assert (letter.event, letter.receiver, letter.why) == (Event.RESOLVED, "hook", NOT_CONFIGURED)
    readdress(desk)
    desk.deliver()
    assert desk.received("new") == ["resolved x1"]


def test_news_is_not_owed_to_one_that_is_gone(desk: Desk) -> None:
    """Further matches go to whom the routes lead now; one who is gone gets no dead letter of each."""
    desk.match_records()
    desk.deliver()
    rename(desk)
    desk.deliver()
    for _ in range(3):
        desk.match_records()
        desk.later(minutes=1)
    assert desk.received("new") == ["opened x2", "updated x3", "updated x4"]
    assert [row for row in desk.all_rows() if row.status is DEAD] == []


def test_the_end_of_what_was_never_told(desk: Desk) -> None:
    """An alert that the old receiver was not told of ends without another dead letter."""
    in_a_digest(desk)
    rename(desk)
    desk.deliver()
    desk.operator.resolve(desk.rows()[0].alert_id, "sam")
    desk.deliver()
    assert len([row for row in desk.rows() if row.status is DEAD]) == 1


def test_an_end_that_falls_due_while_it_drains(desk: Desk) -> None:
    """A trouble that the old receiver was told of, and that is over now, leaves nothing waiting when a run ends."""
    desk.senders["other"] = Sender(answer=lambda message: REFUSED)
    desk.match_records()
    desk.deliver()
    with desk.database.write() as connection:
        delivery_transitions.drop(connection, DeliveryFilter(), "sam")
    desk.senders = {"new": Sender(), "other": Sender()}
    desk.deliver()
    ended = [row for row in desk.all_rows() if row.receiver == "hook" and row.event is Event.RESOLVED]
    assert [(row.status, row.why) for row in ended] == [(DEAD, NOT_CONFIGURED)]


def test_the_remedy_follows(desk: Desk) -> None:
    """A trouble that was open before says what can be done now that the receiver is gone."""
    a_dead_letter(desk)
    rename(desk)
    desk.deliver()
    with desk.database.read() as connection:
        (opened,) = [each for each in self_alerts.read_all(connection) if each.trouble == "dead_letters"]
    assert "--receiver hook --to NAME" in opened.remedy


def test_one_that_comes_back(desk: Desk) -> None:
    """Under its old name it can have its letters, gets what follows, and no number is used twice."""
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
        assert replay.replay(connection, DeliveryFilter(receiver="hook"), {"hook"}, desk.clock()) == 1
    desk.deliver()
    assert [message.data["id"] for message in hook.sent if not is_self_alert(message)] == [second]
    desk.match_records(user_name="eve")
    desk.deliver()
    assert [message.data["id"] for message in hook.sent if not is_self_alert(message)] == [second, first]
    assert len({row.id for row in desk.all_rows()}) == len(desk.all_rows())


def test_the_end_follows_what_was_over_meanwhile(desk: Desk) -> None:
    """Who is told an alert that is over is told its end, though a digest was to say so."""
    in_a_digest_when_over(desk)
    rename(desk)
    desk.deliver()
    readdress(desk)
    desk.deliver()
    assert desk.received("new") == ["opened x1", "resolved x1"]


def test_a_letter_whose_copy_was_taken(desk: Desk) -> None:
    """Sending the original elsewhere leaves the fallback what it is: it is told the end still."""
    desk.senders["mail"] = Sender()
    desk.senders["other"] = Sender()
    desk.policies["hook"] = ReceiverPolicy(fallback="mail")
    desk.route = Route(("hook",))
    desk.hook.answer = lambda message: REFUSED
    alert_id = desk.match_records()
    desk.deliver()
    readdress(desk, "other")
    desk.deliver()
    desk.hook.answer = lambda message: None
    desk.operator.resolve(alert_id, "sam")
    desk.later(minutes=1)
    assert desk.received("other") == ["opened x1", "resolved x1"]
    assert desk.received("mail")[0] == "opened x1"


def test_while_it_runs(desk: Desk) -> None:
    """What is owed to a receiver that is gone while the process runs, an escalation too, ends within moments."""
    rename(desk)
    desk.policies = {"hook": ReceiverPolicy()}
    with desk.delivering() as worker:
        settle(worker)
        desk.match_records(Rule(escalation=Escalation(timedelta(hours=1), "nobody")))
        desk.clock.advance(seconds=HEALTH_EVERY.total_seconds())
        settle(worker)
    rows = [row for row in desk.rows() if row.ordinal == ESCALATION]
    assert [(row.receiver, row.status, row.why) for row in rows] == [("nobody", DEAD, NOT_CONFIGURED)]


def test_no_longer_routed(desk: Desk) -> None:
    """A receiver that is configured and no longer routed gets what was owed: the digest, the summary of a silence."""
    desk.senders["other"] = Sender()
    desk.policies["hook"] = ReceiverPolicy(digest=EIGHT)
    desk.match_records(user_name="bob")
    desk.deliver()
    desk.route = Route(("other",))
    desk.clock.now = at("23:59")
    desk.later(hours=9)
    assert desk.received() == ["digest: 1"]


def test_a_silence_that_is_gone(desk: Desk) -> None:
    """Taken out of its file, or expired, its summary is made."""
    made = desk.silence('userName="eve"', hours=2)
    desk.match_records(user_name="eve")
    desk.deliver()
    with desk.database.write() as connection:
        silences.write(connection, replace(made, file="planned.yml"))
        silences.replace_of_files(connection, [], set(), desk.clock())
    desk.later(seconds=1)
    assert desk.received() == ["silence: 1"]


def test_an_interval_that_is_gone(desk: Desk) -> None:
    """A mute interval that is no longer configured holds nothing back."""
    in_a_mute(desk)
    desk.global_policy, desk.route = GlobalPolicy(), None
    desk.deliver()
    assert desk.received() == ["mute: 1"]
