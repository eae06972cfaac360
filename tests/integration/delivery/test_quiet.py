"""Silences, mute intervals, inhibition and levels: they suppress messages, and a summary reports what was suppressed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.alerts.inhibition import InhibitRule
from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.model import Escalation, Event, RuleName
from actionwatch.delivery.summary import Summaries
from actionwatch.store import alerts, delivery_transitions, outbox
from actionwatch.store.database import Database
from actionwatch.store.delivery_transitions import Suppression
from actionwatch.store.tables import SILENCE
from actionwatch.text.links import Links
from actionwatch.text.matchers import parse_matcher
from tests.builders import NOON, make_alert, make_delivery
from tests.integration.delivery.kit import NIGHTS, Desk, Rule, at
from tests.integration.kit import Sender
from tests.statements import statements, transactions

BIG_INHIBITS_SMALL = GlobalPolicy(
    (InhibitRule((parse_matcher("rule=big"),), (parse_matcher("rule=small"),), ("userName",)),)
)


def test_silenced_message_is_reported_once_in_a_summary(desk: Desk) -> None:
    """A silenced message is never sent later. One summary reports it at the end, with the full count of the alert."""
    made = desk.silence("userName=eve", hours=1)
    alert_id = desk.match_records()
    desk.deliver()
    desk.match_records(count=2)
    desk.later(minutes=1)
    assert desk.received() == []
    assert set(desk.gated()) == {"hook opened suppressed by silence"}
    assert any(made.id in line and "planned" in line and "sam" in line for line in desk.history(alert_id))
    desk.later(hours=1)
    assert desk.received() == ["silence: 1"]
    summary = desk.hook.sent[-1].data
    assert {name: summary[name] for name in ("reason", "receiver", "count", "levels", "omitted")} == {
        "reason": "silence", "receiver": "hook", "count": 1, "levels": {"high": 1}, "omitted": 0,
    }  # fmt: skip
    assert summary["causes"] == [
        {"ref": made.id, "author": "sam", "comment": "planned", "count": 1, "rules": {"cluster_deleted": 1}}
    ]
    assert summary["alerts"][0]["id"] == alert_id
    assert summary["alerts"][0]["count"] == 3
    assert "records" not in summary["alerts"][0]
    desk.later(hours=1)
    assert desk.received() == ["silence: 1"]


def test_messages_have_the_link_of_their_page(desk: Desk) -> None:
    """A message leads to the page of its alert, a summary to the list and to those of its alerts; without the key, nowhere."""
    desk.match_records(user_name="amy")
    desk.deliver()
    assert "url" not in desk.hook.sent[-1].data
    desk.global_policy = GlobalPolicy(links=Links("https://watch.example.com"))
    desk.silence("userName=eve", hours=1)
    hidden, shown = desk.match_records(), desk.match_records(user_name="bob")
    desk.deliver()
    assert desk.hook.sent[-1].data["url"] == f"https://watch.example.com/alerts/{shown}"
    desk.later(hours=2)
    summary = desk.hook.sent[-1].data
    assert summary["url"] == "https://watch.example.com/alerts"
    assert [each["url"] for each in summary["alerts"]] == [f"https://watch.example.com/alerts/{hidden}"]


def test_open_self_alert_is_delivered_after_the_silence(desk: Desk) -> None:
    """A self-alert that is still open after a silence is delivered; a resolved one is only in the summary."""
    desk.silence("rule=actionwatch_self", hours=1)
    desk.troubles.report("key_refused", "acme", "401", "replace it")
    desk.troubles.report("clock_skew", "acme", "late", "set it")
    desk.deliver()
    desk.troubles.settle_trouble("clock_skew", "acme")
    desk.later(minutes=10)
    assert desk.hook.sent == []
    desk.later(hours=1)
    desk.later(seconds=1)
    types = [message.type for message in desk.hook.sent]
    assert types == ["alerts.summary", "alert.opened"]
    assert desk.hook.sent[0].data["count"] == 2
    assert desk.hook.sent[1].data["labels"] == {"trouble": "key_refused"}


def test_mute_interval_ends_with_one_summary(desk: Desk) -> None:
    """What a route mutes at night arrives as one message in the morning. Routes without mutes notify at once."""
    desk.senders["loud"] = Sender()
    desk.global_policy = GlobalPolicy((), {"nights": NIGHTS})
    desk.route = Route(
        ("hook",), routes=(Route(("hook",), is_continued=True, mutes=("nights",)), Route(("hook", "loud")))
    )
    desk.clock.now = at("23:00")
    for user in ("eve", "bob", "amy"):
        desk.match_records(user_name=user)
    desk.deliver()
    assert desk.received() == []
    assert desk.received("loud") == ["opened x1"] * 3
    desk.later(hours=6, minutes=59)
    assert desk.received() == []
    desk.later(minutes=1)
    assert desk.received() == ["mute: 3"]
    assert desk.hook.sent[-1].data["causes"] == [
        {"ref": "nights", "author": None, "comment": None, "count": 3, "rules": {"cluster_deleted": 3}}
    ]
    desk.match_records(user_name="zoe")
    desk.deliver()
    assert desk.received() == ["mute: 3", "opened x1"]


@pytest.mark.parametrize("is_source_first", [True, False])
def test_source_inhibits_a_target_of_the_same_batch(desk: Desk, is_source_first: bool) -> None:
    """A source inhibits a target of the same batch, in either order, and no summary reports the target."""
    desk.global_policy = BIG_INHIBITS_SMALL
    rules = [Rule(name="big"), Rule(name="small")]
    desk.match_records(*(rules if is_source_first else rules[::-1]))
    desk.deliver()
    assert [message.data["rule"]["name"] for message in desk.hook.sent] == ["big"]
    assert desk.gated() == ["hook opened suppressed by inhibition"]
    (page,) = desk.hook.sent
    (named,) = page.data["inhibits"]["alerts"]
    assert page.data["inhibits"]["count"] == 1
    assert named["rule"] == "small"
    assert ("also open", f"small {named['id'][:8]}") in page.fields
    desk.later(days=1)
    assert len(desk.hook.sent) == 1


@pytest.mark.parametrize("is_acked", [True, False])
def test_source_whose_escalation_is_not_sent_does_not_inhibit(desk: Desk, is_acked: bool) -> None:
    """A receiver that would get the source only by an escalation gets the target, whether it is escalated later or not."""
    desk.senders["boss"] = Sender()
    desk.route = Route(("hook",), routes=(Route(("boss",), (parse_matcher("rule=small"),)),))
    desk.global_policy = BIG_INHIBITS_SMALL
    source = desk.match_records(Rule(name="big", escalation=Escalation(timedelta(minutes=10), "boss")))
    desk.later(seconds=20)
    if is_acked:
        desk.operator.acknowledge(source, "sam")
    desk.match_records(Rule(name="small"))
    desk.later(minutes=1)
    desk.later(minutes=10)
    escalated = [] if is_acked else ["big"]
    assert [message.data["rule"]["name"] for message in desk.senders["boss"].sent] == ["small", *escalated]
    desk.match_records(Rule(name="small", realert=None))
    desk.later(minutes=1)
    assert ("boss opened suppressed by inhibition" in desk.gated()) is not is_acked


def test_absence_can_be_matched_by_its_cluster(desk: Desk) -> None:
    """A silence, route or inhibition can match an absence by its cluster, although no record names the cluster."""
    gone = [
        make_alert(f"absence-{name}", rule=RuleName("r", "no_backup", "No backup"), group={"clusterId": name}, count=0)
        for name in ("c-1", "c-2")
    ]
    desk.silence("rule=no_backup", "cluster=c-1", hours=1)
    with desk.database.write() as connection:
        alerts.insert_new(connection, [(alert, alert.id) for alert in gone])
        desk.addressing.open(connection, [[(alert, None)] for alert in gone], desk.clock())
    desk.deliver()
    assert [message.data["id"] for message in desk.hook.sent] == ["absence-c-2"]
    desk.later(hours=1)
    desk.later(seconds=1)
    assert desk.received() == ["opened x0", "silence: 1", "opened x0"]


def test_silences_that_end_together_make_one_summary(desk: Desk) -> None:
    """One summary reports both silences: each alert once, with counts, author and comment of each silence."""
    eves = desk.silence("userName=eve", hours=1)
    bobs = desk.silence("userName=bob", hours=1)
    desk.match_records(user_name="eve")
    for rule in (Rule(), Rule(name="other"), Rule(name="other", realert=None)):
        desk.match_records(rule, user_name="bob")
    desk.deliver()
    desk.later(hours=1)
    assert desk.received() == ["silence: 4"]
    (message,) = desk.hook.sent
    assert [(cause["ref"], cause["count"], cause["rules"]) for cause in message.data["causes"]] == [
        (bobs.id, 3, {"other": 2, "cluster_deleted": 1}),
        (eves.id, 1, {"cluster_deleted": 1}),
    ]
    assert message.causes == [
        f"2 other, 1 cluster_deleted suppressed by silence {bobs.id[:8]} of sam: planned",
        f"1 cluster_deleted suppressed by silence {eves.id[:8]} of sam: planned",
    ]


def test_cause_that_the_store_no_longer_has_is_named_by_its_id(desk: Desk) -> None:
    """A summary also reports a silence that was deleted from the store."""
    made = desk.silence("userName=eve", hours=1)
    desk.match_records()
    desk.deliver()
    with desk.database.write() as connection:
        connection.execute(SILENCE.delete())
    desk.later(hours=1)
    assert desk.hook.sent[-1].causes == [f"1 cluster_deleted suppressed by silence {made.id[:8]}"]


def test_causes_of_a_summary_are_bounded(desk: Desk) -> None:
    """A summary contains a limited number of silences, those with the most alerts first, and of rules for each."""
    kept = [desk.silence(f"userName=user-{number}", hours=1) for number in range(30)]
    for number in range(30):
        desk.match_records(
            *(Rule(name=f"rule-{n}") for n in range(12 if number == 29 else 1)), user_name=f"user-{number}"
        )
    desk.deliver()
    desk.later(hours=1)
    (message,) = desk.hook.sent
    causes = message.data["causes"]
    assert len(causes) == 20
    assert (causes[0]["ref"], causes[0]["count"], len(causes[0]["rules"])) == (kept[29].id, 12, 10)
    assert ", 2 more suppressed by silence" in message.causes[0]
    assert message.data["count"] == 41


def test_end_of_a_silence_takes_few_statements(database: Database) -> None:
    """A summary of 200 alerts that still last takes as many statements as one of one alert, in its own transaction."""
    counts: dict[int, int] = {}
    for count in (1, 200):
        names = [f"alert-{count}-{number}" for number in range(count)]
        rows = [make_delivery(name) for name in names]
        others = [make_delivery(name, "other") for name in names]
        with database.write() as connection:
            alerts.insert_new(connection, [(make_alert(name), name) for name in names])
            delivery_transitions.enqueue(connection, [*rows, *others])
            silenced = [Suppression(row, "silence", "s1", "silence") for row in (*rows, *others)]
            delivery_transitions.suppress(connection, silenced)
        policies = {"hook": ReceiverPolicy(), "other": ReceiverPolicy()}
        with statements() as found, transactions() as begun:
            Summaries(database, GlobalPolicy(), policies).make_due(NOON + timedelta(seconds=count))
        counts[count] = len(found)
        assert begun == ["read", "write", "write"]
        with database.read() as connection:
            again = [row for row in outbox.find(connection, limit=9999) if row.status is DeliveryStatus.PENDING]
        assert len([row for row in again if row.event is Event.OPENED and row.alert_id in names]) == 2 * count
    assert counts[1] == counts[200]
