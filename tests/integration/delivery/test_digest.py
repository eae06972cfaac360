"""Digests: one message at fixed times contains everything."""

from __future__ import annotations

from actionwatch.alerts.policy import ReceiverPolicy, Storm
from actionwatch.alerts.routes import Route
from actionwatch.text.crontab import parse_crontab
from tests.integration.delivery.kit import Desk, Rule, at
from tests.integration.kit import REFUSED, Sender

EIGHT = ReceiverPolicy(digest=parse_crontab("0 8 * * *"), storm=Storm(1))


def test_digest_contains_the_alerts_of_a_day(desk: Desk) -> None:
    """Opened, updated and resolved messages are held and sent in one digest, with each alert in its newest state."""
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
    digested = {alert["title"]: (alert["status"], alert["count"]) for alert in desk.hook.sent[0].data["alerts"]}
    assert digested == {
        "cluster_deleted by eve": ("resolved", 1),
        "cluster_deleted by bob": ("open", 2),
        "cluster_deleted by amy": ("open", 1),
    }
    desk.later(days=2)
    assert desk.received() == ["digest: 3"]


def listed_in_a_digest(desk: Desk) -> str:
    """Let an alert open, and the digest of 08:00 list it. Return its id."""
    desk.policies["hook"] = EIGHT
    desk.clock.now = at("07:55")
    alert_id = desk.match_records()
    desk.deliver()
    desk.clock.now = at("08:00")
    desk.deliver()
    return alert_id


def test_update_or_resolve_after_a_digest_is_in_the_next_digest(desk: Desk) -> None:
    """If an alert is updated or resolved after its digest, the next digest contains it."""
    alert_id = listed_in_a_digest(desk)
    desk.match_records()
    desk.later(minutes=1)
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    desk.later(days=1)
    assert desk.received() == ["digest: 1", "digest: 1"]
    assert desk.hook.sent[1].data["alerts"][0]["status"] == "resolved"
    assert desk.hook.sent[1].data["alerts"][0]["count"] == 2


def test_end_after_a_silenced_match_is_in_the_next_digest(desk: Desk) -> None:
    """A receiver that knows an alert from a digest learns of its end from the next one, although a later match was silenced."""
    alert_id = listed_in_a_digest(desk)
    desk.silence("userName=eve", hours=48)
    desk.match_records()
    desk.later(minutes=1)
    desk.operator.resolve(alert_id, "sam")
    desk.deliver()
    desk.later(days=1)
    assert desk.received() == ["digest: 1", "digest: 1"]
    assert desk.hook.sent[1].data["alerts"][0]["status"] == "resolved"


def test_acknowledgement_after_a_digest_is_in_the_next_digest(desk: Desk) -> None:
    """A receiver that knows an alert from a digest learns from the next one who acknowledged it."""
    desk.policies["hook"] = EIGHT
    alert_id = desk.match_records()
    desk.deliver()
    desk.later(days=1)
    desk.operator.acknowledge(alert_id, "sam")
    desk.later(seconds=11)
    desk.later(days=1)
    assert desk.received() == ["digest: 1", "digest: 1"]
    assert desk.hook.sent[1].data["alerts"][0]["status"] == "acked"


def test_summary_of_a_silence_waits_for_the_digest(desk: Desk) -> None:
    """The summary of a silence is also held until the time of the digest."""
    desk.policies["hook"] = EIGHT
    desk.silence("userName=eve", minutes=5)
    desk.match_records()
    desk.deliver()
    desk.later(minutes=6)
    assert desk.received() == []
    desk.later(hours=20)
    assert desk.received() == ["silence: 1"]


def test_fallback_delivery_waits_for_the_digest(desk: Desk) -> None:
    """The digest is the only gate that applies to a fallback delivery."""
    desk.senders["mail"] = Sender()
    desk.policies = {"hook": ReceiverPolicy(fallback="mail"), "mail": EIGHT}
    desk.route = Route(("hook",))
    desk.hook.answer = lambda message: REFUSED
    desk.match_records(Rule())
    desk.deliver()
    desk.deliver()
    assert desk.received("mail") == []
    desk.later(hours=20)
    assert desk.received("mail") == ["digest: 2"]  # the second is the self-alert about dead letters of the hook
