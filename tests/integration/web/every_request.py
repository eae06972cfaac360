"""One valid request to each page, form and operation, and a store in which each of them is about something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from actionwatch.base.model import Silence
from actionwatch.store import alerts, delivery_transitions, records, silences
from actionwatch.store.database import Database
from actionwatch.web.api.app import Api
from actionwatch.web.console.app import _FORMS, _PAGES
from actionwatch.web.paths import SIGN_IN_PATH
from tests.builders import NOON, make_alert, make_delivery, make_record
from tests.integration.web.console_kit import form_token

SILENCE = {
    "matchers": ["rule=cluster_deleted"],
    "comment": "load test",
    "ends_at": (NOON + timedelta(hours=2)).isoformat(),
}
ADD = {"action": "add", "matchers": "rule=cluster_deleted", "ends": "2h", "comment": "load test", "author": "sam"}
DECISION = {"author": "sam", "comment": "load test", "span": "1h"}
CONFIRMED = {**DECISION, "confirmed": "1"}
PLACES = {"alert_id": "{alert}", "key": "{key}", "name": "cluster_deleted"}
QUERIES = {"/deliveries": "?state=dead", "/news": "?after=2026-11-25T12:00:00Z"}
FORMS: Mapping[str, list[dict[str, str]]] = {
    "/alerts": [
        {"action": "silence", "id": "{alert}", **DECISION},
        *({"action": action, "id": "{alert}", **CONFIRMED} for action in ("ack", "resolve", "note", "silence")),
    ],
    "/alerts/{alert_id}/decision": [
        {"action": "silence", **DECISION},
        *({"action": action, **CONFIRMED} for action in ("ack", "resolve", "note", "silence")),
    ],
    "/deliveries": [{"action": action, "id": "{delivery}", **CONFIRMED} for action in ("retry", "drop")],
    "/silences": [
        ADD,
        {**ADD, "confirmed": "1"},
        {**ADD, "starts": "0s", "confirmed": "1"},
        {"action": "end", "author": "sam", "id": "{silence}"},
    ],
    "/sign-in": [{"token": "open-sesame"}],
    "/sign-out": [{}],
}
"""What is sent with each form of the console; the last one ends the session."""
BODIES: Mapping[str, Mapping[str, Any]] = {
    "/silences/{id}": SILENCE,
    "/silences/preview": SILENCE,
    "/alerts/{id}/assign": {"to": "kim"},
    "/alerts/{id}/note": {"comment": "a test"},
    "/alerts/decisions": {"action": "note", "ids": ["{alert}"], "comment": "a test"},
}
"""The bodies of the operations that need something in it."""
SHARED_BY_READERS = ("/sign-in", "/sign-out")
"""Forms that change nothing for others."""


@dataclass(frozen=True)
class Sent:
    """A request; its texts have the names of a subject in braces. `is_decision`: it needs an operator."""

    method: str
    path: str
    fields: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    is_decision: bool = False

    def __str__(self) -> str:
        """Return its method, its path and what is sent."""
        return f"{self.method} {self.path} {self.fields or self.body or ''}"

    @property
    def is_open(self) -> bool:
        """Whether it is for people who have not signed in yet."""
        return self.path == SIGN_IN_PATH

    def send(self, client: httpx.Client, subject: Subject, token: str = "", **headers: str) -> httpx.Response:
        """Send it, a form with the token of a page."""
        path, fields = subject.name_in(self.path), self.fields
        if fields is not None:
            return client.post(path, data={"form_token": token, **subject.name_in(fields)}, headers=headers)
        return client.request(self.method, path, json=subject.name_in(self.body), headers=headers)


@dataclass(frozen=True)
class Subject:
    """The ids of an open alert with a record, of its dead letter, and of a silence; `new` is one that no silence has."""

    alert: str
    delivery: str
    silence: str
    new: str
    key: str

    def name_in(self, value: Any) -> Any:
        """Return a text, a list or a mapping with these names in it."""
        if isinstance(value, Mapping):
            return {name: self.name_in(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.name_in(each) for each in value]
        names = vars(self).items()
        for name, own in names if isinstance(value, str) else ():
            value = value.replace(f"{{{name}}}", own)
        return value


def _operations() -> list[Sent]:
    found = []
    for path, methods in Api().openapi()["paths"].items():
        noun = path.split("/")[1]
        for method, one in methods.items():
            about = {
                "alerts": "{alert}",
                "deliveries": "{delivery}",
                "silences": "{silence}",
                "rules": "cluster_deleted",
            }
            named = path.replace("{id}", "{new}" if method == "put" else about.get(noun, ""))
            body = {"author": "sam", **BODIES.get(path, {})} if "requestBody" in one else None
            found.append(Sent(method.upper(), f"/api/v1{named}", body=body, is_decision=method != "get"))
    return found


def _named(path: str) -> str:
    for name, place in PLACES.items():
        path = path.replace(f"{{{name}}}", place)
    return path


PAGES = [Sent("GET", f"{_named(path)}{QUERIES.get(path, '')}") for path in _PAGES]
SUBMISSIONS = [
    Sent("POST", _named(path), fields, is_decision=path not in SHARED_BY_READERS)
    for path, each in FORMS.items()
    for fields in each
]
OPERATIONS = _operations()
assert {path.partition("?")[0] for path in FORMS} == _FORMS.keys(), "a form has no request here"


def add_subject(database: Database, number: int) -> Subject:
    """Store what a request can be about."""
    alert, ends_at = f"alert-{number}", NOON + timedelta(days=1)
    dead, record = make_delivery(alert), make_record(number)
    silence, new = (f"{place}f0f0f0f-0000-4000-8000-{number:012}" for place in (0, 1))
    with database.write() as connection:
        records.insert_new(connection, [record])
        alerts.insert_new(connection, [(make_alert(alert, group={"userName": f"user {number}"}), alert)])
        alerts.join(connection, [(alert, records.newest_id(connection), NOON)])
        delivery_transitions.enqueue(connection, [dead])
        delivery_transitions.bury(connection, dead, "x")
        silences.write(connection, Silence(silence, (f"rule=x{number}",), "sam", "x", NOON, ends_at))
    return Subject(alert, dead.id, silence, new, record.key)


def token_of_forms(client: httpx.Client) -> str:
    """Return the token of the forms of a visitor."""
    return form_token(client, "/silences")
