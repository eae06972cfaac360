"""A request reads the clock once, so that a time it computes is not in the past when it is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from actionwatch.base.model import Silence
from actionwatch.store import alert_history, alerts, delivery_transitions, records, silences
from actionwatch.store.database import Database
from actionwatch.web.api.app import Api
from actionwatch.web.console.app import _FORMS, _PAGES
from tests.builders import CLUSTER_DELETED_RULE, NOON, Clock, make_alert, make_delivery, make_record
from tests.integration.web.console_kit import Served, form_token, session
from tests.unit.rules.builders import rules_in

TOKEN = "open-sesame"
SILENCE = "0f0f0f0f-0000-4000-8000-000000000001"
LATER = (NOON + timedelta(hours=2)).isoformat()
SILENCES = {"matchers": "rule=cluster_deleted", "ends": "2h", "comment": "load test", "author": "sam"}
DECISION = {"author": "sam", "comment": "load test", "span": "1h"}
CONFIRMED = {**DECISION, "confirmed": "1"}
FORMS: Mapping[str, list[dict[str, str]]] = {
    "/sign-in": [{"token": TOKEN}],
    "/sign-out": [{}],
    "/alerts": [
        {"action": "silence", "id": "alert-1", **DECISION},
        *({"action": action, "id": "alert-1", **CONFIRMED} for action in ("ack", "resolve", "silence")),
    ],
    "/alerts/{alert_id}/decision": [
        {"action": "silence", **DECISION},
        *({"action": action, **CONFIRMED} for action in ("ack", "resolve", "silence")),
    ],
    "/deliveries": [{"action": action, "id": "{delivery}", **CONFIRMED} for action in ("retry", "drop")],
    "/silences": [
        {"action": "add", **SILENCES},
        {"action": "add", **SILENCES, "confirmed": "1"},
        {"action": "add", **SILENCES, "starts": "0s", "confirmed": "1"},
        {"action": "end", "author": "sam", "id": SILENCE},
    ],
    "/draft": [{"text": CLUSTER_DELETED_RULE, "span": "7d"}],
}
"""What is sent with each form of the console."""
OPERATIONS = [
    pytest.param(method.upper(), path, "requestBody" in one, id=one["operationId"])
    for path, methods in Api().openapi()["paths"].items()
    for method, one in methods.items()
]
CASES = [(path, fields) for path, each in FORMS.items() for fields in each]


class MovingClock(Clock):
    """A clock that moves on by a second whenever somebody reads it."""

    count = 0

    def __call__(self) -> datetime:
        self.count += 1
        self.advance(seconds=1)
        return super().__call__()


@pytest.fixture
def clock() -> MovingClock:
    """The clock."""
    return MovingClock()


@pytest.fixture
def client(database: Database, clock: MovingClock) -> Iterator[httpx.Client]:
    """Serve a store with something of everything, by that clock."""
    dead = make_delivery("alert-1")
    known = Silence(SILENCE, ("rule=x",), "sam", "x", NOON, NOON + timedelta(days=1))
    with database.write() as connection:
        records.insert_new(connection, [make_record()])
        alerts.insert_new(connection, [(make_alert("alert-1"), "g")])
        alerts.join(connection, [("alert-1", 1, NOON)])
        delivery_transitions.enqueue(connection, [dead])
        delivery_transitions.bury(connection, dead, "x")
        silences.write(connection, known)
    options: dict[str, Any] = {"clock": clock, "doubts": doubts}
    served = Served(database, open_to=None, rules=rules_in(CLUSTER_DELETED_RULE).rules, options=options)
    with served.open(TOKEN) as found:
        yield found


CHANGE_NOTHING = ("/silences/preview", "/alerts/{id}/reopen")  # the alert is open


def doubts(made: Silence, now: datetime) -> list[str]:
    """Doubt a silence as the service does."""
    return ["it would start in the past"] if made.starts_at < now else []


def body_of(method: str, path: str) -> dict[str, Any]:
    """Return a body for an operation that has one."""
    silence = {"matchers": ["rule=cluster_deleted"], "comment": "load test", "ends_at": LATER}
    others: dict[str, dict[str, Any]] = {
        "/silences/preview": silence,
        "/alerts/{id}/assign": {"to": "kim"},
        "/alerts/{id}/note": {"comment": "a test"},
        "/alerts/decisions": {"action": "note", "ids": ["alert-1"], "comment": "a test"},
    }
    return {"author": "sam", **(silence if method == "PUT" else others.get(path, {}))}


@pytest.mark.parametrize(("method", "path", "has_body"), OPERATIONS)
def test_each_operation_reads_the_clock_once(
    client: httpx.Client, clock: MovingClock, database: Database, method: str, path: str, has_body: bool
) -> None:
    """Each operation of the API succeeds, and everything that it stores has the time of the request."""
    (delivery,) = [row["id"] for row in ask(client, "GET", "/deliveries?state=dead").json()["items"]]
    about = {"alerts": "alert-1", "deliveries": delivery, "silences": SILENCE, "rules": "cluster_deleted"}.get(
        path.split("/")[1], ""
    )
    if method == "PUT":
        about = SILENCE.replace("1", "2")
    key = ask(client, "GET", "/records").json()["items"][0]["key"]
    before = clock.count
    answer = ask(client, method, path.format(id=about, key=key), body_of(method, path) if has_body else None)
    assert answer.is_success, answer.text
    assert clock.count == before + 1
    times = times_since_noon(database)
    assert times <= {clock.now}
    assert bool(times) == (has_body and path not in CHANGE_NOTHING)


def times_since_noon(database: Database) -> set[datetime]:
    """Return the times of what people decided."""
    with database.read() as connection:
        stored = silences.read_all(connection)
        entries = [line.at for line in alert_history.read(connection, "alert-1") if line.stage != "dead"]
    starts = [each.starts_at for each in stored if each.id != SILENCE]
    return {*entries, *starts, *(each.ends_at for each in stored if each.ended_by is not None)}


def ask(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    """Send a request to the API."""
    return client.request(method, f"/api/v1{path}", json=body, headers={"authorization": f"Bearer {TOKEN}"})


def test_every_form_is_sent() -> None:
    """The forms below are those of the console."""
    assert FORMS.keys() == _FORMS.keys()


@pytest.mark.parametrize(("path", "fields"), CASES)
def test_each_form_reads_the_clock_once(
    client: httpx.Client, clock: MovingClock, path: str, fields: dict[str, str]
) -> None:
    """Each form of the console succeeds, and no time in it is in the past when it is checked."""
    (delivery,) = [row["id"] for row in ask(client, "GET", "/deliveries?state=dead").json()["items"]]
    client.headers.update(session(client, TOKEN))
    given = {"form_token": form_token(client, "/silences"), **fields}
    before = clock.count
    answer = client.post(
        path.format(alert_id="alert-1"), data={**given, "id": given.get("id", "").format(delivery=delivery)}
    )
    assert answer.status_code in (200, 303), answer.text
    assert "in the past" not in answer.text
    assert clock.count == before + 1


@pytest.mark.parametrize("path", [path for path in _PAGES if path != "/news"])
def test_each_page_reads_the_clock_once(client: httpx.Client, clock: MovingClock, path: str) -> None:
    """Each page, also with a time before now in its query, has one time."""
    client.headers.update(session(client, TOKEN))
    before = clock.count
    client.get(f"{path.format(alert_id='alert-1', key='x', name='x')}?since=7d")
    assert clock.count == before + 1
