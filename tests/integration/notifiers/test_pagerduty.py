"""The promises of the PagerDuty notifier."""

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
from tests.unit.render.messages import AT, LIST, PAGE, alert, linked, message, record, summary


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


def test_alert_and_incident_have_the_same_state(server: HttpEnd, notifier: pagerduty.PagerDutyNotifier) -> None:
    """An alert has one incident, which is acknowledged and resolved with it."""
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
    """The level determines the severity, which urgency rules use."""
    deliver(notifier, "pagerduty", message(level=Level[level]))
    payload = server.requests[0].json["payload"]
    assert payload["severity"] == severity
    assert payload["custom_details"]["level"] == level.lower()


def test_incident_contains_the_details(server: HttpEnd, notifier: Any) -> None:
    """The incident contains the details that a person on call needs."""
    deliver(notifier, "pagerduty", message(records=[record(n) for n in reversed(range(20))], count=20))
    payload = server.requests[0].json["payload"]
    assert payload["summary"] == "Cluster payments-prod deleted"
    assert (payload["source"], payload["class"], payload["group"]) == ("acme", "cluster_deleted", "eve@example.com")
    details = payload["custom_details"]
    assert (details["User"], details["count"], details["label team"]) == ("eve@example.com", 20, "payments")
    assert details["runbook"] == ["1. Ask eve.", "2. Restore the newest backup."]
    assert details["records"][0]["timestamp"] == "2026-11-25T09:00:43.770Z"
    assert len(details["records"]) == 10


@pytest.mark.parametrize(("reason", "page"), [(None, PAGE), ("storm", LIST), ("digest", LIST)])
def test_event_links_to_the_console(server: HttpEnd, notifier: Any, reason: str | None, page: str) -> None:
    """An incident leads to the page of its alert or to the list, and a change event to the list; without a link, nowhere."""
    sent = message() if reason is None else summary(reason)
    for given, expected in ((linked(sent), page), (sent, None)):
        notifier.send(given, Rendered(), None)
        event = server.requests[-1].json
        shown = event["links"][0]["href"] if "links" in event else event.get("client_url")
        assert shown == expected


def test_no_group_is_left_out(server: HttpEnd, notifier: Any) -> None:
    """An alert without a group has no `group` in its incident, because PagerDuty shows null as a value."""
    deliver(notifier, "pagerduty", message(group=None))
    assert "group" not in server.requests[0].json["payload"]


def test_test_message_leaves_no_open_incident(server: HttpEnd, notifier: Any) -> None:
    """A test message has the lowest urgency and leaves no open incident."""
    deliver(notifier, "pagerduty", message("receiver.test", id="t1"))
    first, second = (request.json for request in server.requests)
    assert (first["event_action"], second["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == second["dedup_key"] == "t1"
    assert first["payload"]["severity"] == "info"
    assert first["payload"]["summary"].startswith("[test] ")


@pytest.mark.parametrize("reason", ["digest", "mute", "silence"])
def test_summary_of_a_silence_does_not_page(server: HttpEnd, notifier: Any, reason: str) -> None:
    """The summary at the end of a silence pages nobody."""
    deliver(notifier, "pagerduty", summary(reason))
    [request] = server.requests
    assert request.path == "/v2/change/enqueue"
    assert "event_action" not in request.json
    assert request.json["payload"]["custom_details"]["alerts"] == ["[critical] Cluster payments-prod deleted (alert-1)"]


def test_storm_is_one_incident(server: HttpEnd, notifier: Any) -> None:
    """A storm, whose alerts were not sent, pages once."""
    for number in range(2):
        deliver(notifier, "pagerduty", summary("storm", id=f"m{number}", alerts=[alert(level=Level.HIGH)] * 60))
    assert {request.json["event_action"] for request in server.requests} == {"trigger"}
    assert len({request.json["dedup_key"] for request in server.requests}) == 1
    assert server.requests[0].json["payload"]["severity"] == "error"


def test_refused_event_is_permanent_with_the_reason(server: HttpEnd, notifier: Any) -> None:
    """A wrong routing key is a permanent error with the reason."""
    errors = ["'routing_key' is invalid", f"it was {ROUTING_KEY}"]
    body = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    server.queue.append(Reply(400, json.dumps(body).encode()))
    with pytest.raises(PermanentDeliveryError, match="routing key") as caught:
        deliver(notifier, "pagerduty", message())
    assert caught.value.response == "Event object is invalid; 'routing_key' is invalid; it was [secret]"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"errors": 7}', b"<html>"])
def test_400_from_another_server_is_permanent(server: HttpEnd, notifier: Any, body: bytes) -> None:
    """A response that is not from PagerDuty is a DeliveryError too."""
    server.queue.append(Reply(400, body))
    with pytest.raises(PermanentDeliveryError):
        deliver(notifier, "pagerduty", message())


def test_rate_limit_is_transient(server: HttpEnd, notifier: Any) -> None:
    """A rate limit is a temporary error."""
    server.queue.append(Reply(429, b'{"status": "throttle exceeded"}'))
    with pytest.raises(TransientDeliveryError, match="throttle"):
        deliver(notifier, "pagerduty", message())


def test_lengths_are_within_the_limits(server: HttpEnd, notifier: Any) -> None:
    """No event is larger than PagerDuty accepts."""
    long = "<日\u202e" * 200_000
    labels = {f"label-{n}": long for n in range(50)}
    records = [record(n, user_name=long, description=long) for n in range(50)]
    for event in ("alert.opened", "alert.resolved"):
        deliver(notifier, "pagerduty", message(event, title=long, body=long, runbook=f"{long}\n" * 99, labels=labels,
                                                records=records, fields=((long, long),) * 20))  # fmt: skip
        request = server.requests[-1]
        assert len(request.body) < 512 * 1024
        assert len(request.json["payload"]["summary"]) <= 1_024


def test_any_id_gives_a_unique_dedup_key() -> None:
    """Each alert id gives a different dedup key within the length limit."""
    keys = {_key("a" * 300), _key("a" * 301), _key("é"), _key("a\nb")}
    assert len(keys) == 4
    assert all(len(key) <= 255 and key.isascii() and key.isprintable() for key in keys)


def _key(alert_id: str) -> str:
    sent = Message("m", "alert.opened", AT, {**message().data, "id": alert_id})
    [(_, event)] = pagerduty.events_of(sent, "on-call", "k")
    key: str = event["dedup_key"]
    return key


def test_preview_shows_the_event_without_the_key() -> None:
    """The preview does not print the secret."""
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
def test_invalid_options_are_refused(given: dict[str, Any], fault: str) -> None:
    """Invalid options are refused when the configuration is loaded."""
    with pytest.raises(ValidationError, match=fault):
        options(pagerduty.Options, **given)
