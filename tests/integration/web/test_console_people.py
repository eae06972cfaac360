"""Tokens of people prove who they are; their role decides what they may do, on every replica."""

from __future__ import annotations

import html
import re
from contextlib import ExitStack, closing
from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from actionwatch.base.access import AccessRole
from actionwatch.base.model import Status
from actionwatch.store import alerts, records, silences, tokens
from actionwatch.store.database import Database
from actionwatch.web.access import USE_NOTED_EVERY
from tests.builders import NOON, make_alert, make_record, url_of
from tests.integration.web.console_kit import Served, give_token, session, sign_in

SHARED = "open-sesame"
ALERT = "/alerts/alert-1"


@pytest.fixture
def served(database: Database) -> Served:
    """A console with an open alert, which nobody reads without a token."""
    with database.write() as connection:
        records.insert_new(connection, [make_record()])
        alerts.insert_new(connection, [(make_alert("alert-1", group={"userName": "eve"}), "g")])
        alerts.join(connection, [("alert-1", 1, NOON)])
    return Served(database, open_to=None)


def decide(client: httpx.Client, headers: dict[str, str], action: str = "ack", **fields: str) -> httpx.Response:
    """Send the form of the alert, with the token of its page."""
    found = re.search(r'name="form_token" value="(\w+)"', client.get(ALERT, headers=headers).text)
    given = {"form_token": found[1] if found else "", "action": action, **fields}
    return client.post(f"{ALERT}/decision", data=given, headers=headers)


def state(database: Database) -> tuple[Status, str | None]:
    """Return the status of the alert, and who acknowledged it."""
    with database.read() as connection:
        alert = alerts.read(connection, "alert-1")
        assert alert is not None
        return alert.status, alert.acked_by


def test_the_author_is_the_person_of_the_token(served: Served, database: Database) -> None:
    """The name of the token is the author, whatever the form says; the page shows it and has no field for a name."""
    secret = give_token(database, "sam")
    with served.open() as client:
        headers = session(client, secret)
        page = client.get(ALERT, headers=headers).text
        assert "sam, operator" in page
        assert 'name="author"' not in page
        assert decide(client, headers, author="eve").status_code == 303
        assert state(database) == (Status.ACKED, "sam")
        decide(client, headers, "silence", author="eve", comment="load test", span="1h", confirmed="1")
        with database.read() as connection:
            assert [each.author for each in silences.read_all(connection)] == ["sam"]


def test_a_typed_name_is_not_that_of_a_person_with_a_token(served: Served, database: Database) -> None:
    """Who signs in with the shared token types a name, but not one that a token proves, in whatever form of letters."""
    give_token(database, "Sam")
    with served.open(SHARED) as client:
        headers = session(client, SHARED)
        assert 'name="author"' in client.get(ALERT, headers=headers).text
        for name in ("sam", "\uff33am", "s\u1d43m"):
            refused = decide(client, headers, author=name)
            assert (refused.status_code, f"{name} has a token: sign in with it" in html.unescape(refused.text)) == (
                400,
                True,
            )
        assert state(database) == (Status.OPEN, None)
        assert decide(client, headers, author="kim").status_code == 303
    assert state(database) == (Status.ACKED, "kim")


def test_a_session_is_one_on_all_replicas(served: Served, database: Database) -> None:
    """What one replica began, another continues: pages, forms and the end."""
    secret = give_token(database)
    with ExitStack() as stack:
        other = stack.enter_context(closing(Database(url_of(database))))
        first, second = (stack.enter_context(each.open()) for each in (served, Served(other, open_to=None)))
        headers = session(first, secret)
        assert second.get(ALERT, headers=headers).status_code == 200
        form = re.search(r'name="form_token" value="(\w+)"', first.get(ALERT, headers=headers).text)
        assert form is not None
        given = {"form_token": form[1], "action": "ack"}
        assert second.post(f"{ALERT}/decision", data=given, headers=headers).status_code == 303
        assert second.post("/sign-out", headers=headers).status_code == 303
        assert first.get(ALERT, headers=headers).status_code == 303


@pytest.mark.parametrize("end", ["revoke", "expire"])
def test_the_end_of_a_token_ends_its_sessions_at_once(served: Served, database: Database, end: str) -> None:
    """A revoked or expired token opens nothing, its sessions neither, and those of others continue."""
    secret = give_token(database, expires_at=NOON + timedelta(hours=1))
    other = give_token(database, "kim")
    with served.open() as client:
        headers, others = session(client, secret), session(client, other)
        bearer = {"authorization": f"Bearer {secret}"}
        assert [client.get("/", headers=each).status_code for each in (headers, bearer, others)] == [200, 200, 200]
        if end == "revoke":
            with database.write() as connection:
                assert tokens.revoke(connection, ["token of sam"], "admin", served.clock()) == 1
        else:
            served.clock.advance(hours=1)
        assert [client.get("/", headers=each).status_code for each in (headers, bearer, others)] == [303, 401, 200]
        assert client.post("/sign-in", data={"token": secret}).status_code == 403


def test_the_last_use_is_noted_seldom(served: Served, database: Database) -> None:
    """Each use within an hour of the noted one writes nothing."""
    bearer = {"authorization": f"Bearer {give_token(database)}"}

    def last_used() -> timedelta | None:
        with database.read() as connection:
            (token,) = tokens.read_all(connection)
        return token.last_used_at - NOON if token.last_used_at else None

    with served.open() as client:
        assert last_used() is None
        client.get("/", headers=bearer)
        assert last_used() == timedelta(0)
        served.clock.advance(seconds=USE_NOTED_EVERY.total_seconds() - 1)
        version = database.version()
        client.get("/", headers=bearer)
        assert (database.version(), last_used()) == (version, timedelta(0))
        served.clock.advance(seconds=1)
        client.get("/", headers=bearer)
        assert last_used() == USE_NOTED_EVERY


def test_people_sign_in_to_decide_where_reading_is_open(served: Served, database: Database) -> None:
    """On an open listener a page leads to the form, and who signs in decides under the own name."""
    served.open_to = AccessRole.READER
    secret = give_token(database)
    with served.open() as client:
        page = client.get(ALERT).text
        assert 'href="/sign-in?next=%2Falerts%2Falert-1"' in html.unescape(page)
        assert "Sign in" in client.get("/sign-in").text
        headers = session(client, secret)
        assert decide(client, headers).status_code == 303
        assert client.get(ALERT, headers={**headers, "x-forwarded-for": "203.0.113.7"}).status_code == 200
    assert state(database) == (Status.ACKED, "sam")


def test_signing_in_keeps_the_filters_of_a_list(served: Served, database: Database) -> None:
    """Who reads a filtered list without a token comes back to that list after the sign-in, and not to another site."""
    served.open_to = AccessRole.READER
    secret = give_token(database)
    with served.open() as client:
        page = html.unescape(client.get("/alerts?level=high&user=eve%26co").text)
        goal = re.search(r'href="/sign-in\?next=([^"]+)"', page)
        assert goal
        assert unquote(goal[1]) == "/alerts?level=high&user=eve%26co"
        answer = sign_in(client, secret, unquote(goal[1]))
        assert parse_qs(urlsplit(answer.headers["location"]).query)["next"] == ["/alerts?level=high&user=eve%26co"]
        assert "next=%2F%2F" not in client.get("//evil.example/alerts").text
        page = html.unescape(client.get("/alerts", params=dict.fromkeys(("text", "user", "cluster"), "é" * 350)).text)
        target = re.search(r'href="(/sign-in[^"]+)"', page)
        assert target
        assert client.get(target[1]).status_code == 200, "a URL that is too long for the form leads to the overview"
