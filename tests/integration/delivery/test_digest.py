"""Digests: everything in one message at set times."""

from __future__ import annotations

from actionwatch.alerts.policy import ReceiverPolicy, Storm
from actionwatch.alerts.routes import Route
from actionwatch.text.crontab import parse_crontab
from tests.integration.delivery.kit import Desk, Rule, at
from tests.integration.kit import REFUSED, Sender

EIGHT = ReceiverPolicy(digest=parse_crontab("0 8 * * *"), storm=Storm(1))


def test_a_day_in_one_message(desk: Desk) -> None:
    """Openings, updates and ends are held, and told once, each alert as it is then."""
    desk.policies["hook"] = EIGHT
    ended = desk.match_records(user_name="eve")
    desk.deliver()
    desk.operator.resolve(ended, "sam")
    for user in ("bob", "bob", "amy"):
        desk.match_records(user_name=user)
        desk.later(minutes=1)
    assert desk.received() == []
    desk.clock.now = at("23:59")
    desk.deliver()
    assert desk.received() == []
    desk.later(hours=8, minutes=1)
    assert desk.received() == ["digest: 3"]
    told = {alert["title"]: (alert["status"], alert["count"]) for alert in desk.hook.sent[0].data["alerts"]}
    assert told == {
        "cluster_deleted by eve": ("resolved", 1),
        "cluster_deleted by bob": ("open", 2),
        "cluster_deleted by amy": ("open", 1),
    }
    desk.later(days=2)
    assert desk.received() == ["digest: 3"]


def test_what_follows_is_in_the_next_one(desk: Desk) -> None:
    """An alert that goes on, or ends, after its digest is in the next."""
    desk.policies["hook"] = EIGHT
    desk.clock.now = at("07:55")
    alert_id = desk.match_records()
    desk.deliver()
    desk.clock.now = at("08:00")
    desk.deliver()
    desk.match_records()
    desk.later(minutes=1)
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    desk.later(days=1)
    assert desk.received() == ["digest: 1", "digest: 1"]
    assert desk.hook.sent[1].data["alerts"][0]["status"] == "resolved"
    assert desk.hook.sent[1].data["alerts"][0]["count"] == 2


def test_everything_comes_at_its_times(desk: Desk) -> None:
    """The report of a silence waits for the digest's time too; a test message does not."""
    desk.policies["hook"] = EIGHT
    desk.silence("userName=eve", minutes=5)
    desk.match_records()
    desk.deliver()
    desk.later(minutes=6)
    assert desk.received() == []
    desk.later(hours=20)
    assert desk.received() == ["silence: 1"]


def test_a_fallback_with_a_digest_holds(desk: Desk) -> None:
    """A copy goes through no gate but the digest."""
    desk.senders["mail"] = Sender()
    desk.policies = {"hook": ReceiverPolicy(fallback="mail"), "mail": EIGHT}
    desk.route = Route(("hook",))
    desk.hook.answer = lambda message: REFUSED
    desk.match_records(Rule())
    desk.deliver()
    desk.deliver()
    assert desk.received("mail") == []
    desk.later(hours=20)
    assert desk.received("mail") == ["digest: 2"]  # the other one: that messages to the hook were given up
