"""PagerDuty: what it alone promises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Level, Message, Rendered, Status
from actionwatch.notifiers import pagerduty
from tests.integration.notifiers.ends import ROUTING_KEY, deliver, options
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.unit.render.messages import AT, alert, message, record, summary


@pytest.fixture
def server() -> Iterator[HttpEnd]:
    """PagerDuty's Events API."""
    with HttpEnd(lambda _: Reply(202, b'{"status": "success", "message": "Event processed"}')) as end:
        yield end


@pytest.fixture
def notifier(server: HttpEnd) -> Iterator[pagerduty.PagerDutyNotifier]:
    """One service's integration."""
    made = options(pagerduty.Options, routing_key=ROUTING_KEY, base_url=f"{server.url}/")
    built = pagerduty.build(made, receiver="on-call")
    yield built
    built.close()


def test_an_alerts_life_is_its_incidents_life(server: HttpEnd, notifier: pagerduty.PagerDutyNotifier) -> None:
    """An acknowledged or resolved alert goes on paging, or an alert opens a second incident."""
    for event, status in (
        ("alert.opened", Status.OPEN),
        ("alert.updated", Status.OPEN),
        ("alert.updated", Status.ACKED),
        ("alert.resolved", Status.RESOLVED),
    ):
        deliver(notifier, "pagerduty", message(event, status=status))
    assert [request.json["event_action"] for request in server.requests] == [
        "trigger", "trigger", "acknowledge", "resolve",
    ]  # fmt: skip
    assert {request.json["dedup_key"] for request in server.requests} == {"alert-1"}
    assert {request.path for request in server.requests} == {"/v2/enqueue"}
    assert {request.json["routing_key"] for request in server.requests} == {ROUTING_KEY}


@pytest.mark.parametrize(
    ("level", "severity"),
    [("CRITICAL", "critical"), ("HIGH", "error"), ("MEDIUM", "warning"), ("LOW", "info"), ("INFORMATIONAL", "info")],
)
def test_levels_become_severities(server: HttpEnd, notifier: Any, level: str, severity: str) -> None:
    """Urgency rules on severity do not hold."""
    deliver(notifier, "pagerduty", message(level=Level[level]))
    payload = server.requests[0].json["payload"]
    assert payload["severity"] == severity
    assert payload["custom_details"]["level"] == level.lower()


def test_the_incident_says_what_to_know(server: HttpEnd, notifier: Any) -> None:
    """Whoever is woken has to open another console."""
    deliver(notifier, "pagerduty", message(records=[record(n) for n in reversed(range(20))], count=20))
    payload = server.requests[0].json["payload"]
    assert payload["summary"] == "Cluster payments-prod deleted"
    assert (payload["source"], payload["class"], payload["group"]) == ("acme", "cluster_deleted", "eve@example.com")
    details = payload["custom_details"]
    assert (details["User"], details["count"], details["label team"]) == ("eve@example.com", 20, "payments")
    assert details["runbook"] == ["1. Ask eve.", "2. Restore the newest backup."]
    assert details["records"][0]["timestamp"] == "2026-11-25T09:00:43.770Z"
    assert len(details["records"]) == 10


def test_a_test_is_seen_and_over(server: HttpEnd, notifier: Any) -> None:
    """A test wakes somebody up, or leaves an incident open."""
    deliver(notifier, "pagerduty", message("receiver.test", id="t1"))
    first, second = (request.json for request in server.requests)
    assert (first["event_action"], second["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == second["dedup_key"] == "t1"
    assert first["payload"]["severity"] == "info"
    assert first["payload"]["summary"].startswith("[test] ")


@pytest.mark.parametrize("reason", ["digest", "mute", "silence"])
def test_a_report_pages_nobody(server: HttpEnd, notifier: Any, reason: str) -> None:
    """The end of a silence wakes somebody up."""
    deliver(notifier, "pagerduty", summary(reason))
    [request] = server.requests
    assert request.path == "/v2/change/enqueue"
    assert "event_action" not in request.json
    assert request.json["payload"]["custom_details"]["alerts"] == ["[critical] Cluster payments-prod deleted (alert-1)"]


def test_a_storm_is_one_incident(server: HttpEnd, notifier: Any) -> None:
    """A storm, whose alerts were not sent, pages nobody, or pages every minute."""
    for number in range(2):
        deliver(notifier, "pagerduty", summary("storm", id=f"m{number}", alerts=[alert(level=Level.HIGH)] * 60))
    assert {request.json["event_action"] for request in server.requests} == {"trigger"}
    assert len({request.json["dedup_key"] for request in server.requests}) == 1
    assert server.requests[0].json["payload"]["severity"] == "error"


def test_a_refused_event_says_why(server: HttpEnd, notifier: Any) -> None:
    """A wrong routing key is retried for a day, or nobody learns what is wrong."""
    errors = ["'routing_key' is invalid", f"it was {ROUTING_KEY}"]
    said = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    server.queue.append(Reply(400, json.dumps(said).encode()))
    with pytest.raises(PermanentDeliveryError, match="routing key") as caught:
        deliver(notifier, "pagerduty", message())
    assert caught.value.response == "Event object is invalid; 'routing_key' is invalid; it was [secret]"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"errors": 7}', b"<html>"])
def test_a_400_from_something_else_is_permanent_too(server: HttpEnd, notifier: Any, body: bytes) -> None:
    """An answer that is not PagerDuty's makes something other than a DeliveryError."""
    server.queue.append(Reply(400, body))
    with pytest.raises(PermanentDeliveryError):
        deliver(notifier, "pagerduty", message())


def test_too_many_requests_pass(server: HttpEnd, notifier: Any) -> None:
    """A rate limit makes a dead letter."""
    server.queue.append(Reply(429, b'{"status": "throttle exceeded"}'))
    with pytest.raises(TransientDeliveryError, match="throttle"):
        deliver(notifier, "pagerduty", message())


def test_every_length_stays_within_the_limits(server: HttpEnd, notifier: Any) -> None:
    """PagerDuty refuses an event whole because it is too large."""
    long = "<日\u202e" * 200_000
    labels = {f"label-{n}": long for n in range(50)}
    records = [record(n, user_name=long, description=long) for n in range(50)]
    for event in ("alert.opened", "alert.resolved"):
        deliver(notifier, "pagerduty", message(event, title=long, body=long, runbook=f"{long}\n" * 99, labels=labels,
                                                records=records, fields=((long, long),) * 20))  # fmt: skip
        request = server.requests[-1]
        assert len(request.body) < 512 * 1024
        assert len(request.json["payload"]["summary"]) <= 1_024


def test_any_id_makes_a_dedup_key() -> None:
    """An alert's id is too long for PagerDuty, and two of them become one incident."""
    keys = {_key("a" * 300), _key("a" * 301), _key("é"), _key("a\nb")}
    assert len(keys) == 4
    assert all(len(key) <= 255 and key.isascii() and key.isprintable() for key in keys)


def _key(alert_id: str) -> str:
    sent = Message("m", "alert.opened", AT, {**message().data, "id": alert_id})
    [(_, event)] = pagerduty.events_of(sent, "on-call", "k")
    key: str = event["dedup_key"]
    return key


def test_the_preview_shows_the_event_without_the_key() -> None:
    """A preview prints the secret."""
    made = options(pagerduty.Options, routing_key=ROUTING_KEY)
    files = pagerduty.preview(made, message(), Rendered(), receiver="on-call")
    assert "ROUTING-KEY" in files["pagerduty.json"]
    assert ROUTING_KEY not in files["pagerduty.json"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "one of routing_key"),
        ({"routing_key": "a b"}, "key of an Events API v2 integration"),
        ({"routing_key": ROUTING_KEY, "routing_key_file": __file__}, "key of an Events API v2 integration|only one"),
        ({"routing_key": ROUTING_KEY, "base_url": "http://events.example"}, "https"),
        ({"routing_key": ROUTING_KEY, "severity": "x"}, "Extra inputs"),
    ],
)
def test_impossible_options_are_refused(given: dict[str, Any], fault: str) -> None:
    """A wrong configuration is found out by the first alert."""
    with pytest.raises(ValidationError, match=fault):
        options(pagerduty.Options, **given)
