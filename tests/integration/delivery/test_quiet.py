"""Silences, mute intervals, inhibition and levels: nobody is disturbed, nothing is forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actionwatch.alerts.inhibition import InhibitRule
from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.alerts.routes import Route, parse_matcher
from actionwatch.base.model import Level, RuleName
from actionwatch.store import alerts, silences
from actionwatch.store.tables import SILENCE
from actionwatch.text.timeintervals import Period, TimeInterval
from tests.builders import make_alert
from tests.integration.delivery.kit import NIGHTS, Desk, Rule, at, summaries
from tests.integration.kit import DOWN, Sender

BIG_INHIBITS_SMALL = GlobalPolicy(
    (InhibitRule((parse_matcher("rule=big"),), (parse_matcher("rule=small"),), ("userName",)),)
)


def _silence(desk: Desk) -> None:
    desk.silence("userName=eve", hours=1)


def _mute(desk: Desk) -> None:
    """Have the interval of the route begin now, for messages that are owed already too."""
    desk.global_policy = GlobalPolicy((), {"nights": TimeInterval("nights", (Period(times=((12 * 60, 13 * 60),)),))})


QUIET = [("silence", _silence), ("mute", _mute)]


def test_a_silence_from_its_beginning_to_its_end(desk: Desk) -> None:
    """Suppressed, never sent later, reported once at the end, and told with the full count at the next match."""
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


def test_the_next_match_tells_the_full_count(desk: Desk) -> None:
    """After the silence, a match of the same alert is an opening to who was never told."""
    desk.silence("userName=eve", minutes=5)
    desk.match_records(count=3)
    desk.deliver()
    desk.later(minutes=6)
    desk.match_records()
    desk.deliver()
    assert desk.received() == ["silence: 1", "opened x4"]


@pytest.mark.parametrize(("reason", "hide"), QUIET)
def test_decisions_go_to_those_told(desk: Desk, reason: str, hide: Callable[[Desk], None]) -> None:
    """Who was told hears who took it on, and the end, whatever hides news; who was not, does not."""
    desk.route = Route(("hook",), mutes=("nights",))
    alert_id = desk.match_records()
    desk.deliver()
    hide(desk)
    other = desk.match_records(Rule(name="other"))
    desk.later(seconds=20)
    for decide in (desk.operator.acknowledge, desk.operator.resolve):
        decide(alert_id, "sam")
        decide(other, "sam")
        desk.later(seconds=20)
    assert desk.received() == ["opened x1", "updated x1", "resolved x1"]
    assert [message.data["status"] for message in desk.hook.sent] == ["open", "acked", "resolved"]
    desk.later(hours=8)
    assert desk.received()[-1] == f"{reason}: 1"
    assert [alert["id"] for alert in desk.hook.sent[-1].data["alerts"]] == [other]


@pytest.mark.parametrize(("reason", "hide"), QUIET)
def test_news_that_waits_becomes_the_acknowledgement(desk: Desk, reason: str, hide: Callable[[Desk], None]) -> None:
    """An update not tried yet tells who took the alert on, at its time; what matches after that is hidden again."""
    desk.route = Route(("hook",), mutes=("nights",))
    alert_id = desk.match_records()
    desk.deliver()
    desk.match_records()
    hide(desk)
    desk.operator.acknowledge(alert_id, "sam")
    desk.later(seconds=9)
    assert desk.received() == ["opened x1"]
    desk.later(seconds=1)
    desk.match_records()
    desk.later(seconds=20)
    assert desk.received() == ["opened x1", "updated x2"]
    assert desk.hook.sent[-1].data["acked_by"] == "sam"
    assert desk.gated() == [f"hook updated suppressed by {reason}"]
    desk.operator.resolve(alert_id, "sam")
    desk.later(seconds=20)
    assert desk.received() == ["opened x1", "updated x2", "resolved x3"]


def test_an_early_end(desk: Desk) -> None:
    """A silence that is expired by hand reports at once."""
    made = desk.silence("userName=eve", hours=9)
    desk.match_records()
    desk.deliver()
    with desk.database.write() as connection:
        silences.expire(connection, [made.id], desk.clock())
    desk.later(seconds=2)
    assert desk.received() == ["silence: 1"]


def test_a_trouble_that_lasts_is_delivered_at_the_end(desk: Desk) -> None:
    """Self alerts still open after a silence are told by themselves; those that are over are in the summary only."""
    desk.silence("rule=actionwatch_self", hours=1)
    desk.troubles.report("key_refused", "acme", "401", "mend it")
    desk.troubles.report("clock_skew", "acme", "late", "set it")
    desk.deliver()
    desk.troubles.settle("clock_skew", "acme")
    desk.later(minutes=10)
    assert desk.hook.sent == []
    desk.later(hours=1)
    desk.later(seconds=1)
    types = [message.type for message in desk.hook.sent]
    assert types == ["alerts.summary", "alert.opened"]
    assert desk.hook.sent[0].data["count"] == 2
    assert desk.hook.sent[1].data["labels"] == {"trouble": "key_refused"}


def test_a_match_is_not_reported_at_the_end(desk: Desk) -> None:
    """An alert of records is in the summary only: what it tells of has happened already."""
    desk.silence("userName=eve", hours=1)
    desk.match_records()
    desk.deliver()
    desk.later(hours=2)
    desk.later(hours=2)
    assert desk.received() == ["silence: 1"]


def test_mute_intervals(desk: Desk) -> None:
    """What a route mutes at night is one message in the morning; routes that do not mute tell at once."""
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


def test_what_opens_and_ends_while_it_is_mute_is_reported_as_over(desk: Desk) -> None:
    """An alert that nobody was told of is in the morning's message, resolved."""
    desk.global_policy = GlobalPolicy((), {"nights": NIGHTS})
    desk.route = Route(("hook",), mutes=("nights",))
    desk.clock.now = at("23:00")
    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    desk.later(hours=8)
    assert desk.received() == ["mute: 1"]
    assert desk.hook.sent[-1].data["alerts"][0]["status"] == "resolved"


def test_the_report_of_a_silence_waits_for_the_morning(desk: Desk) -> None:
    """A silence that ends while its route is mute disturbs nobody."""
    desk.global_policy = GlobalPolicy((), {"nights": NIGHTS})
    desk.route = Route(("hook",), mutes=("nights",))
    desk.clock.now = at("21:00")
    desk.silence("userName=eve", hours=2)
    desk.match_records()
    desk.deliver()
    desk.later(hours=3)
    assert desk.received() == []
    desk.later(hours=7)
    assert desk.received() == ["silence: 1"]


@pytest.mark.parametrize("is_source_first", [True, False])
def test_inhibition_in_one_batch(desk: Desk, is_source_first: bool) -> None:
    """A source that comes in the same batch inhibits, before or after its target; nobody reports it later."""
    desk.global_policy = BIG_INHIBITS_SMALL
    rules = [Rule(name="big"), Rule(name="small")]
    desk.match_records(*(rules if is_source_first else rules[::-1]))
    desk.deliver()
    assert [message.data["rule"]["name"] for message in desk.hook.sent] == ["big"]
    assert desk.gated() == ["hook opened suppressed by inhibition"]
    desk.later(days=1)
    assert len(desk.hook.sent) == 1


def test_inhibition_ends_with_its_source(desk: Desk) -> None:
    """A source that is resolved inhibits no longer; nor one that is far away in time."""
    desk.global_policy = BIG_INHIBITS_SMALL
    source = desk.match_records(Rule(name="big"))
    desk.operator.resolve(source, "sam")
    desk.match_records(Rule(name="small"))
    desk.deliver()
    assert not desk.gated()
    desk.match_records(Rule(name="big"))
    desk.clock.advance(minutes=16)
    desk.match_records(Rule(name="small"))
    desk.deliver()
    assert not desk.gated()


def test_after_its_source_the_next_match_is_told(desk: Desk) -> None:
    """An alert that was inhibited is told, with its full count, at the next match after its source is over."""
    desk.global_policy = BIG_INHIBITS_SMALL
    source = desk.match_records(Rule(name="big"))
    desk.match_records(Rule(name="small"))
    desk.deliver()
    desk.match_records(Rule(name="small"))
    desk.later(seconds=11)
    desk.operator.resolve(source, "sam")
    desk.later(minutes=1)
    assert {message.data["rule"]["name"] for message in desk.hook.sent} == {"big"}
    desk.match_records(Rule(name="small"))
    desk.deliver()
    assert desk.received()[-1] == "opened x3"


def test_an_absence_of_one_cluster_is_silenced_alone(desk: Desk) -> None:
    """What did not happen to a cluster can be silenced, routed and inhibited by that cluster, though no record names it."""
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


def test_levels(desk: Desk) -> None:
    """A receiver hears nothing below its level, and `opened` with the full count once the level reaches it."""
    desk.policies["hook"] = ReceiverPolicy(min_level=Level.HIGH)
    rule = Rule(level=lambda record: Level[record.severity.upper()])
    desk.match_records(rule, severity="low")
    desk.deliver()
    desk.match_records(rule, severity="low")
    desk.later(minutes=1)
    assert desk.received() == []
    assert desk.gated() == ["hook opened suppressed by min_level"]
    alert_id = desk.match_records(rule, severity="high")
    desk.deliver()
    assert desk.received() == ["opened x3"]
    assert any("below its min_level high" in line for line in desk.history(alert_id))


def test_two_silences_that_end_together(desk: Desk) -> None:
    """One message tells of both, each alert once, and says which of them hid how many of what, who made it and why."""
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


def test_a_storm_and_a_digest_have_no_causes(desk: Desk) -> None:
    """Nobody asked for quiet there."""
    desk.policies["hook"] = ReceiverPolicy(storm=Storm(1))
    desk.match_records(Rule(realert=None), count=3)
    desk.deliver()
    desk.later(seconds=10)
    assert desk.received() == ["opened x1", "storm: 2"]
    assert desk.hook.sent[-1].data["causes"] == []


def test_a_silence_that_is_gone_is_named_by_its_id(desk: Desk) -> None:
    """A cause that the store no longer knows is told all the same."""
    made = desk.silence("userName=eve", hours=1)
    desk.match_records()
    desk.deliver()
    with desk.database.write() as connection:
        connection.execute(SILENCE.delete())
    desk.later(hours=1)
    assert desk.hook.sent[-1].causes == [f"1 cluster_deleted suppressed by silence {made.id[:8]}"]


def test_more_causes_than_a_message_holds(desk: Desk) -> None:
    """Many silences that end together are bounded, those that hid most first; so are the rules of each."""
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


def test_a_receiver_without_updates_is_notified_at_once(desk: Desk) -> None:
    """Mail, which waits for the last update, still hears of an alert by the first match after a silence."""
    desk.policies["hook"] = ReceiverPolicy(is_updated_last=True)
    desk.silence("userName=eve", minutes=1)
    desk.match_records()
    desk.deliver()
    desk.later(minutes=2)
    desk.match_records()
    desk.deliver()
    assert desk.received() == ["silence: 1", "opened x2"]


def test_what_is_frozen_is_not_judged_again(desk: Desk) -> None:
    """A silence that begins after the first attempt does not stop its repetition."""
    desk.hook.answer = lambda message: DOWN
    desk.match_records()
    desk.deliver()
    desk.silence("userName=eve", hours=1)
    desk.hook.answer = lambda message: None
    desk.later(minutes=1)
    assert len({message.id for message in desk.hook.sent}) == 1
    assert desk.states() == ["hook opened sent"]
    assert not summaries(desk.hook.sent)
