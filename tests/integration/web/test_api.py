"""The API reads what the console reads, and changes what the console changes: with an author, and each request once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from actionwatch.base.access import AccessRole
from actionwatch.base.model import Level, Status
from actionwatch.queries.pages import Page
from actionwatch.store import (
    alert_history,
    alerts,
    delivery_transitions,
    marks,
    outbox,
    polls,
    records,
    self_alerts,
    silences,
)
from actionwatch.store.database import Database
from actionwatch.text.payloads import instant
from actionwatch.web.parts import Destination
from tests import http_client
from tests.builders import CLUSTER_DELETED_RULE, NOON, make_alert, make_delivery, make_marks, make_record
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served, give_token
from tests.unit.rules.builders import rules_in

HOUR = timedelta(hours=1)
SHARED = "open-sesame"
SILENCE = str(uuid.UUID(int=7))


@pytest.fixture
def served(database: Database) -> Served:
    """A store with five records, three alerts, three deliveries, of which one is dead, and a self-alert."""
    found = [make_alert(f"alert-{number}", opened_at=NOON + timedelta(minutes=number)) for number in range(3)]
    rows = [make_delivery(f"alert-{number}") for number in range(3)]
    with database.write() as connection:
        records.insert_new(connection, [make_record(number, minutes=number) for number in range(5)])
        alerts.insert_new(connection, [(each, "g") for each in found])
        alerts.join(connection, [("alert-1", 1, NOON), ("alert-1", 2, NOON)])
        delivery_transitions.enqueue(connection, rows)
        delivery_transitions.bury(connection, rows[2], "gave up after 8 attempts: 503")
        marks.write(connection, make_marks())
        polls.note_poll(connection, "acme", NOON, None)
        self_alerts.insert(connection, self_alerts.OpenSelfAlert("dead_letters", "hook", NOON, "x", "retry", "alert-2"))
    return Served(database, open_to=None, rules=rules_in(CLUSTER_DELETED_RULE).rules)


@contextmanager
def opened(served: Served, secret: str) -> Iterator[httpx.Client]:
    """Serve the API to a program with a token."""
    with served.open(SHARED) as client:
        headers = {"authorization": f"Bearer {secret}"}
        with http_client.client(base_url=f"{client.base_url}/api/v1", headers=headers) as program:
            yield program


@pytest.fixture
def api(served: Served, database: Database) -> Iterator[httpx.Client]:
    """A program with the token of an operator."""
    with opened(served, give_token(database)) as client:
        yield client


def ids(answer: httpx.Response, name: str = "id") -> list[str]:
    """Return the ids of a page."""
    assert answer.status_code == 200, answer.text
    return [each[name] for each in answer.json()["items"]]


def is_problem(answer: httpx.Response, status: int, what: str) -> None:
    """Check that an answer is a problem document."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert (answer.status_code, document["status"]) == (status, status)
    assert document["type"] == f"urn:actionwatch:problem:{status}"
    assert document["title"]
    assert what in document["detail"], document


def state(database: Database, alert_id: str = "alert-0") -> tuple[Status, str | None, str | None]:
    """Return the status of an alert and who decided."""
    with database.read() as connection:
        alert = alerts.read(connection, alert_id)
    assert alert is not None
    return alert.status, alert.acked_by, alert.resolved_by


def test_dead_letters_are_retried_moved_and_dropped(served: Served, database: Database) -> None:
    """A program sends a dead letter again, to another receiver, or drops it, once; any other delivery is refused."""
    served.options["receivers"] = [Destination("hook", "webhook"), Destination("mail", "email")]
    with opened(served, give_token(database)) as api:
        (dead,) = api.get("deliveries?state=dead").json()["items"]
        path = f"deliveries/{dead['id']}"
        is_problem(
            api.post(f"{path}/retry", json={"to": "nobody"}), 400, "to: no receiver has the name nobody: use hook"
        )
        for to, receiver in ((None, "hook"), ("mail", "mail")):
            for _ in range(2):
                again = api.post(f"{path}/retry", json={"to": to}).json()
                assert (again["id"], again["receiver"], again["status"]) == (dead["id"], receiver, "pending")
            is_problem(api.post(f"{path}/drop", json={}), 409, f"for {receiver} is pending, not a dead letter")
            bury(database, dead["id"])
        for _ in range(2):
            dropped = api.post(f"{path}/drop", json={})
            assert (dropped.status_code, dropped.json()["status"], dropped.json()["why"]) == (
                200,
                "suppressed",
                "dropped",
            )
        is_problem(api.post(f"{path}/retry", json={}), 409, "for mail is suppressed, not a dead letter")
    with database.read() as connection:
        lines = [(line.stage, line.what) for line in alert_history.read(connection, "alert-2")]
    assert lines == [
        ("retried", "opened goes to hook again, by sam"),
        ("retried", "opened goes to mail in place of hook, by sam"),
        ("dropped", "opened for mail is not sent, by sam"),
    ]


def test_a_dead_letter_of_a_removed_receiver_needs_another(served: Served, database: Database) -> None:
    """Without another receiver it stays dead; a reader cannot send it at all."""
    served.options["receivers"] = [Destination("mail", "email")]
    with opened(served, give_token(database)) as api:
        (dead,) = api.get("deliveries?state=dead").json()["items"]
        path = f"deliveries/{dead['id']}/retry"
        is_problem(api.post(path, json={}), 409, 'no longer configured (1 for hook): add "to"')
        reader = {"authorization": f"Bearer {give_token(database, 'rita', AccessRole.READER)}"}
        is_problem(api.post(path, json={"to": "mail"}, headers=reader), 403, "rita has the role reader")
        assert api.get(f"deliveries/{dead['id']}").json()["status"] == "dead"
        assert api.post(path, json={"to": "mail"}).json()["status"] == "pending"


def bury(database: Database, delivery_id: str) -> None:
    """Let the receiver refuse a message."""
    with database.write() as connection:
        row = outbox.read(connection, delivery_id)
        assert row is not None
        delivery_transitions.bury(connection, row, "503")


def test_rules_and_status(api: httpx.Client, served: Served) -> None:
    """The rules in use, and what the first page of the console says."""
    (rule,) = api.get("rules").json()["items"]
    assert (rule["name"], rule["level"], rule["mode"]) == ("cluster_deleted", "critical", "live")
    served.unready.append("source acme: not polled yet")
    status = api.get("status").json()
    assert status["is_seeing"] is False
    assert status["unready"] == ["source acme: not polled yet"]
    assert status["open_alerts"] == {"high": 3}


def test_decisions_have_an_author_and_can_be_repeated(api: httpx.Client, database: Database) -> None:
    """The token's person decides; the same request again changes nothing and adds no line to the history."""
    for _ in range(2):
        answer = api.post("alerts/alert-0/acknowledge", json={"comment": "on it"})
        assert (answer.status_code, answer.json()["status"], answer.json()["acked_by"]) == (200, "acked", "sam")
    for _ in range(2):
        answer = api.post("alerts/alert-0/resolve", json={"comment": "done"})
        assert (answer.json()["status"], answer.json()["resolved_by"]) == ("resolved", "sam")
    assert state(database) == (Status.RESOLVED, "sam", "sam")
    assert api.post("alerts/alert-0/acknowledge", json={"comment": "late"}).json()["status"] == "resolved"
    with database.read() as connection:
        lines = [(line.stage, line.what) for line in alert_history.read(connection, "alert-0")]
    assert lines == [
        ("acknowledged", "by sam: on it"),
        ("resolved", "by sam: done"),
        ("commented", "by sam: late"),
    ]


def test_alerts_are_reopened_assigned_and_annotated(api: httpx.Client, database: Database) -> None:
    """The token's person decides; the same request again changes nothing and adds no line to the history."""
    api.post("alerts/alert-0/resolve", json={})
    for _ in range(2):
        found = api.post("alerts/alert-0/reopen", json={"comment": "again"}).json()
        assert (found["status"], found["resolved_by"], found["reopened_by"]) == ("open", None, "sam")
        assert api.post("alerts/alert-0/assign", json={"to": "kim"}).json()["assigned_to"] == "kim"
        noted = api.post("alerts/alert-0/note", json={"comment": "a test"}).json()
        assert (noted["note"], noted["noted_by"]) == ("a test", "sam")
    assert api.post("alerts/alert-0/assign", json={"to": None}).json()["assigned_to"] is None
    with database.read() as connection:
        stages = [line.stage for line in alert_history.read(connection, "alert-0")]
    assert stages == ["resolved", "reopened", "assigned", "noted", "assigned"]


def test_several_alerts_are_decided_at_once(api: httpx.Client, database: Database) -> None:
    """Each is decided separately: those that do not exist are named, and the others change."""
    for action, more, field, value in (
        ("acknowledge", {}, "acked_by", "sam"),
        ("resolve", {}, "resolved_by", "sam"),
        ("reopen", {}, "reopened_by", "sam"),
        ("assign", {"to": "kim"}, "assigned_to", "kim"),
        ("assign", {"to": None}, "assigned_to", None),
        ("note", {"comment": "a test"}, "note", "a test"),
    ):
        answer = api.post("alerts/decisions", json={"action": action, "ids": ["alert-0", "gone", "alert-1"], **more})
        assert answer.status_code == 200
        found = answer.json()
        assert [(item["id"], item[field]) for item in found["items"]] == [("alert-0", value), ("alert-1", value)]
        assert [each["id"] for each in found["missed"]] == ["gone"]
        assert "no alert has the id gone" in found["missed"][0]["why"]


def test_a_silence_is_created_once_and_expired(api: httpx.Client, served: Served, database: Database) -> None:
    """The client chooses the id: the same request again finds the silence, another one is refused."""
    body = {"matchers": ["rule=cluster_deleted"], "comment": "load test", "ends_at": instant(NOON + HOUR)}
    made = api.put(f"silences/{SILENCE}", json=body)
    assert (made.status_code, made.json()["author"], made.json()["status"]) == (201, "sam", "active")
    served.clock.advance(minutes=1)
    again = api.put(f"silences/{SILENCE}", json=body)
    assert (again.status_code, again.json()) == (200, made.json())
    is_problem(api.put(f"silences/{SILENCE}", json={**body, "comment": "other"}), 409, "exists with other values")
    assert ids(api.get("silences")) == [SILENCE]
    assert api.get(f"silences/{SILENCE}").json() == made.json()
    for _ in range(2):
        ended = api.post(f"silences/{SILENCE}/expire", json={}).json()
        assert (ended["status"], ended["ends_at"]) == ("expired", instant(NOON + timedelta(minutes=1)))
        served.clock.advance(minutes=1)
    assert api.put(f"silences/{SILENCE}", json=body).json()["status"] == "expired", "it is not made again"
    assert (ids(api.get("silences")), ids(api.get("silences?state=expired"))) == ([], [SILENCE])
    with database.read() as connection:
        assert len(silences.read_all(connection)) == 1


def test_a_doubtful_silence_needs_force(api: httpx.Client, served: Served) -> None:
    """What `silences add` would refuse is refused here too, unless it is forced."""
    served.doubts = ["no alert has the label 'levl': did you mean 'level'?"]
    body = {"matchers": ["levl=high"], "comment": "x", "ends_at": instant(NOON + HOUR)}
    is_problem(api.put(f"silences/{SILENCE}", json=body), 400, "did you mean 'level'?")
    assert api.put(f"silences/{SILENCE}", json={**body, "force": True}).status_code == 201


PREVIEW = {"matchers": ["a=b"], "comment": "x", "ends_at": "2027-01-01T00:00:00Z"}


@in_one_test(
    ("method", "path", "body", "status", "what"),
    [
        ("POST", "silences/preview", {**PREVIEW, "matchers": ["rule=~.*"]}, 400, "silence every alert"),
        ("POST", "silences/preview", {**PREVIEW, "starts_at": "1600-01-01T00:00:00Z"}, 400, "centuries away"),
        ("POST", "silences/preview", {**PREVIEW, "ends_at": "tomorrow"}, 400, "ends_at"),
        ("POST", "silences/preview", {**PREVIEW, "id": "x"}, 400, "id is unknown"),
        ("POST", "silences/preview", {**PREVIEW, "author": "kim"}, 400, "the token is that of sam"),
        ("GET", "nothing", None, 404, "/api/v1/openapi.json names all"),
        ("GET", "alerts/gone", None, 404, "no alert has the id gone"),
        ("GET", "records/gone", None, 404, "no stored record has the key gone"),
        ("GET", "deliveries/gone", None, 404, "no delivery has the id gone"),
        ("GET", "silences/gone", None, 404, "no silence has the id gone"),
        ("DELETE", "alerts/alert-0", None, 405, "Allow names those that it has"),
        ("GET", "alerts?levl=high", None, 400, "levl is unknown: use "),
        ("GET", "status?x=1", None, 400, "x is unknown: use no parameter"),
        ("GET", "alerts?user=a&user=b", None, 400, "user is given more than once"),
        ("GET", "alerts?limit=0", None, 400, "limit: input should be greater than or equal to 1"),
        ("GET", "alerts?limit=%D9%A1", None, 400, "limit: input should be a valid integer"),
        ("GET", "alerts?user=", None, 400, "user is empty: leave it out"),
        ("GET", "alerts/%00", None, 400, "control character"),
        ("GET", "alerts/x%0A", None, 400, "control character"),
        ("GET", f"alerts?rule={'x' * 501}", None, 400, "rule: 501 characters: shorten it to 500"),
        ("POST", "alerts/gone/acknowledge", {}, 404, "no alert has the id gone"),
        ("POST", "alerts/alert-0/resolve", {"comment": 5}, 400, "comment: input should be a valid string"),
        ("POST", "alerts/alert-0/resolve", {"comment": "\0"}, 400, "comment: contains a NUL character"),
        ("POST", "alerts/alert-0/resolve", {"comment": "x" * 1001}, 400, "comment: 1,001 characters: shorten it to 1,000"),
        ("POST", "alerts/alert-0/note", {"comment": " "}, 400, "the note is empty"),
        ("POST", "alerts/alert-0/assign", {}, 400, "to is missing"),
        ("POST", "alerts/alert-0/assign", {"to": "actionwatch"}, 400, "actionwatch is not the name of a person"),
        ("POST", "alerts/decisions", {"action": "dance", "ids": ["alert-0"]}, 400, "dance is unknown: use acknowledge"),
        ("POST", "alerts/decisions", {"action": "resolve", "ids": []}, 400, "ids is empty"),
        ("POST", "alerts/decisions", {"action": "assign", "ids": ["alert-0"]}, 400, "to is missing: name a person, or null"),
        ("POST", "alerts/decisions",
         {"action": "resolve", "ids": ["alert-0"], "to": "kim"}, 400, "to is only for assign: leave it out"),
        ("POST", "alerts/decisions", {"action": "note", "ids": ["alert-0"]}, 400, "the note is empty"),
        ("POST", "deliveries/gone/retry", {"to": ""}, 400, "to is empty"),
        ("PUT", f"silences/{SILENCE}",
         {"matchers": ["a=b"], "comment": "", "ends_at": "2027-01-01T00:00:00Z"}, 400, "comment is empty"),
        ("PUT", f"silences/{SILENCE}",
         {"matchers": [], "comment": "x", "ends_at": "2027-01-01T00:00:00Z"}, 400, "matchers is empty"),
        ("PUT", f"silences/{SILENCE}",
         {"matchers": ["a=b"] * 51, "comment": "x", "ends_at": "2027-01-01T00:00:00Z"}, 400, "matchers: more than 50 items"),
        ("POST", "alerts/alert-0/resolve", {"coment": ""}, 400, "coment is unknown: use comment, author"),
        ("POST", "alerts/alert-0/resolve", {"author": "kim"}, 400, "the token is that of sam: leave it out"),
        ("POST", "silences/gone/expire", {}, 404, "no silence has the id gone"),
        ("PUT", "silences/x", {"matchers": ["a=b"], "comment": "x", "ends_at": "2027-01-01T00:00:00Z"}, 400, "not a UUID"),
        ("PUT", f"silences/{SILENCE}", {"matchers": ["a=b"], "comment": "x", "ends_at": "2999-01-01T00:00:00Z"}, 400, "year"),
        ("PUT", f"silences/{SILENCE}", {"matchers": ["a"], "comment": "x", "ends_at": "2027-01-01T00:00:00Z"}, 400, "a"),
        ("PUT", f"silences/{SILENCE}", {"matchers": ["a=b"], "comment": "x", "ends_at": "2020-01-01T00:00:00Z"}, 400, "end"),
    ],
)  # fmt: skip
def test_mistakes_are_problems(
    api: httpx.Client, database: Database, method: str, path: str, body: Any, status: int, what: str
) -> None:
    """Each mistake is a document that says what is wrong, and changes nothing."""
    answer = api.request(method, path) if body is None else api.request(method, path, json=body)
    is_problem(answer, status, what)
    assert state(database) == (Status.OPEN, None, None)
    with database.read() as connection:
        assert silences.read_all(connection) == []


def test_mistake_that_is_made_often_is_reported_once(api: httpx.Client) -> None:
    """A response is not many times as long as the request."""
    answer = api.put(
        f"silences/{SILENCE}", json={"matchers": [1] * 50, "comment": "x", "ends_at": "2027-01-01T00:00:00Z"}
    )
    is_problem(answer, 400, "matchers: input should be a valid string")
    assert len(answer.content) < 500


def test_another_method_is_told_all_that_there_are(api: httpx.Client) -> None:
    """A response 405 names the methods of the path."""
    allowed = api.delete(f"silences/{SILENCE}").headers["allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "PUT"}


def test_the_shared_token_needs_a_name(served: Served, database: Database) -> None:
    """With the shared token the author is written, and is nobody whom a token proves."""
    give_token(database, "sam")
    with opened(served, SHARED) as client:
        is_problem(client.post("alerts/alert-0/resolve", json={}), 400, "Your name is missing")
        is_problem(client.post("alerts/alert-0/resolve", json={"author": "Sam"}), 400, "Sam has a token")
        assert client.post("alerts/alert-0/resolve", json={"author": "kim"}).json()["resolved_by"] == "kim"


def test_what_a_damaged_store_holds_is_still_a_document(api: httpx.Client, database: Database) -> None:
    """A text that is no valid Unicode is escaped in the response."""
    with database.write() as connection:
        alert = make_alert("odd", title="a\u202eb", level=Level.LOW)
        alerts.insert_new(connection, [(alert, "h")])
    assert api.get("alerts/odd").json()["title"] == "a\u202eb"
    assert api.get("alerts/odd").content.isascii()


def test_any_raw_record_is_a_document(api: httpx.Client, database: Database) -> None:
    """What the upstream sent is returned as it is: half a surrogate pair, and deeply nested lists."""
    raw = {"half": "\ud800", "deep": json.loads("[" * 300 + "]" * 300)}
    with database.write() as connection:
        records.insert_new(connection, [make_record(9, raw=json.dumps(raw))])
    assert api.get(f"records/{make_record(9).key}").json()["raw"] == raw


def test_head_is_get_without_a_body(api: httpx.Client) -> None:
    """HEAD has the status and the headers of GET."""
    whole, head = api.get("alerts"), api.head("alerts")
    assert (head.status_code, head.headers["content-length"]) == (200, whole.headers["content-length"])
    assert head.content == b""
    assert api.head("alerts/gone").status_code == 404


@pytest.mark.parametrize("hours", [24, 26])
def test_id_of_a_silence_that_ended_is_not_taken_for_a_longer_one(
    served: Served, database: Database, hours: int
) -> None:
    """A program that uses one id each night learns that its second silence was not made."""
    with opened(served, give_token(database)) as api:
        body = {"matchers": ['rule="x"'], "comment": "load test", "ends_at": instant(NOON + HOUR)}
        assert api.put(f"silences/{SILENCE}", json=body).status_code == 201
        served.clock.advance(hours=24)
        assert api.put(f"silences/{SILENCE}", json=body).json()["status"] == "expired"  # the same request again
        again = api.put(f"silences/{SILENCE}", json={**body, "ends_at": instant(NOON + hours * HOUR)})
        is_problem(again, 409, "exists with other values")


def test_fault_of_ours_is_not_a_mistake_of_the_client(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ValueError that no check raised is 500, and the log has its cause."""
    monkeypatch.setattr("actionwatch.web.api.records.records.search", lambda *_: int("x"))
    with capture_logs() as logs:
        is_problem(api.get("records"), 500, "the log of the service has the cause")
    assert [each["event"] for each in logs] == ["request_failed"]


def test_damaged_message_is_not_a_mistake_of_the_client(api: httpx.Client, database: Database) -> None:
    """A stored message that is no JSON is a damaged store, as in the console."""
    with database.write() as connection:
        connection.execute(text("UPDATE delivery SET body = '{'"))
        (row, *_) = outbox.find(connection, limit=1)
    is_problem(api.get(f"deliveries/{row.id}"), 503, "damaged")


def test_document_that_cannot_be_written_is_a_problem(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after the view, an error is a problem document, and the log has its cause."""
    monkeypatch.setattr("actionwatch.web.api.records.records.search", lambda *_: Page((), ()))
    monkeypatch.setattr("actionwatch.web.api.records.cursor", lambda _: object())
    with capture_logs() as logs:
        is_problem(api.get("records"), 500, "the log of the service has the cause")
    assert [each["event"] for each in logs] == ["request_failed"]


def test_comment_about_the_end_of_a_silence_is_refused(api: httpx.Client) -> None:
    """A program learns that nothing would keep its comment."""
    body = {"matchers": ['rule="x"'], "comment": "load test", "ends_at": instant(NOON + HOUR)}
    assert api.put(f"silences/{SILENCE}", json=body).status_code == 201
    ended = api.post(f"silences/{SILENCE}/expire", json={"comment": "it hid a real deletion"})
    is_problem(ended, 400, "comment is unknown: use author")
    assert api.get(f"silences/{SILENCE}").json()["status"] == "active"
