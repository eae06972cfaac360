"""A stranger reads nothing of the console: not by guessing, not through another site, not through a proxy without a token."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie

import httpx
import pytest

from actionwatch.store.database import Database
from actionwatch.web.access import (
    ATTEMPT_SECONDS,
    COOKIE,
    MAX_ALL_ATTEMPTS,
    MAX_ATTEMPTS,
    MAX_SESSIONS,
    SESSION_SECONDS,
    Sessions,
    TooManyAttempts,
)
from actionwatch.web.console.app import MAX_FORM_BYTES
from tests.fixtures import database
from tests.integration.web.console_kit import Served

__all__ = ["database"]
TOKEN = "open-sesame"


def cookie_of(answer: httpx.Response) -> str:
    """Return the value of the cookie of a session."""
    return SimpleCookie(answer.headers["set-cookie"])[COOKIE].value


def sign_in(client: httpx.Client, token: str = TOKEN, goal: str = "/") -> httpx.Response:
    """Send the form."""
    return client.post("/sign-in", data={"token": token, "next": goal})


def test_a_browser_without_a_session_is_led_to_the_form(database: Database) -> None:
    """Without token or session a person gets the sign-in form with the page they wanted, and a program gets 401."""
    with Served(database).open(TOKEN) as client:
        led = client.get("/?range=week")
        assert (led.status_code, led.headers["location"]) == (303, "/sign-in?next=%2F%3Frange%3Dweek")
        form = client.get(led.headers["location"])
        assert form.status_code == 200
        assert 'name="next" value="/?range=week"' in form.text
        assert client.get("/", headers={"accept": "*/*"}).status_code == 401
        assert client.post("/sign-out").status_code == 401
        assert client.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_signing_in_gives_a_cookie_that_only_our_pages_send(database: Database) -> None:
    """The cookie is Secure, HttpOnly and SameSite=Strict; it opens every page, until the person signs out."""
    with Served(database).open(TOKEN) as client:
        answer = sign_in(client, goal="/?range=week")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2F%3Frange%3Dweek&done=1")
        attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert {"secure", "httponly", "samesite=strict", "path=/"} <= attributes
        assert not any(part.startswith("domain") for part in attributes)
        session = {"cookie": f"{COOKIE}={cookie_of(answer)}"}
        done = client.get(answer.headers["location"], headers=session)
        assert (done.status_code, done.headers["location"]) == (303, "/?range=week")
        assert "Sign out" in client.get("/", headers=session).text
        assert client.post("/sign-out", headers=session).status_code == 303
        assert client.get("/", headers=session).headers["location"] == "/sign-in?next=%2F"
        lost = client.get("/sign-in?next=%2F&done=1")
        assert "The browser did not keep the cookie" in lost.text


@pytest.mark.parametrize("given", ["", "Open-sesame", f"{TOKEN}x", TOKEN[:-1], "\udcff", "x" * 10_000])
def test_a_wrong_token_opens_nothing(database: Database, given: str) -> None:
    """Only the complete token begins a session."""
    with Served(database).open(TOKEN) as client:
        answer = client.post("/sign-in", content=b"token=" + given.encode("utf-8", "surrogateescape"))
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert "This is not the token" in answer.text
        for cookie in (f"{COOKIE}=", f"{COOKIE}=x", f'{COOKIE}="', "a=b; ;", f"{COOKIE}={TOKEN}"):
            assert client.get("/", headers={"cookie": cookie}).status_code == 303


@pytest.mark.parametrize(
    "goal", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a\nb", "x", ""]
)
def test_signing_in_leads_to_no_other_site(database: Database, goal: str) -> None:
    """The page after the sign-in is on this origin."""
    with Served(database).open(TOKEN) as client:
        answer = sign_in(client, goal=goal)
        session = {"cookie": f"{COOKIE}={cookie_of(answer)}"}
        assert answer.headers["location"] == "/sign-in?next=%2F&done=1"
        led = client.get("/sign-in", params={"next": goal}, headers=session)
        assert led.headers["location"] == "/"


def test_guessing_is_limited(database: Database) -> None:
    """After some wrong tokens even the right one is refused for a while; the token of programs still works."""
    with Served(database).open(TOKEN) as client:
        for number in range(MAX_ATTEMPTS):
            assert sign_in(client, f"guess-{number}").status_code == 403
        refused = sign_in(client)
        assert (refused.status_code, "set-cookie" in refused.headers) == (429, False)
        assert "wait 60 seconds" in refused.text
        assert client.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_attempts_and_sessions_end() -> None:
    """The limit of an address ends after a minute, all addresses together have one too, and no session lasts for ever."""
    seconds = [0.0]
    sessions = Sessions(TOKEN, lambda: seconds[0])
    for _ in range(MAX_ATTEMPTS):
        assert sessions.sign_in("wrong", "a") is None
    with pytest.raises(TooManyAttempts):
        sessions.sign_in(TOKEN, "a")
    begun = sessions.sign_in(TOKEN, "b")
    for number in range(MAX_ALL_ATTEMPTS - MAX_ATTEMPTS):
        assert sessions.sign_in("wrong", f"address {number}") is None
    with pytest.raises(TooManyAttempts):
        sessions.sign_in(TOKEN, "c")
    seconds[0] += ATTEMPT_SECONDS
    assert sessions.sign_in(TOKEN, "a")
    assert sessions.is_valid(begun)
    seconds[0] = SESSION_SECONDS
    assert not sessions.is_valid(begun)
    first = sessions.sign_in(TOKEN, "a")
    for _ in range(MAX_SESSIONS):
        assert sessions.sign_in(TOKEN, "a")
    assert not sessions.is_valid(first), "the number of sessions is limited"
    assert not sessions.is_valid(None)


def test_an_open_console_is_not_reached_through_a_proxy(database: Database) -> None:
    """Without a token, the console answers only this machine: a proxy in front of /metrics does not publish it."""
    with Served(database).open() as client:
        for headers in (
            {"x-forwarded-for": "203.0.113.7"},
            {"forwarded": "for=203.0.113.7"},
            {"x-real-ip": "203.0.113.7"},
            {"via": "1.1 proxy"},
            {"host": "192.0.2.7"},
        ):
            refused = client.get("/", headers=headers)
            assert (refused.status_code, "set web.token" in refused.text) == (403, True), headers
            assert "Proof" not in refused.text
        assert client.get("/", headers={"host": "evil.example"}).status_code == 421
        for host in ("localhost:8080", "127.0.0.1", "[::1]:8080"):
            assert client.get("/", headers={"host": host}).status_code == 200


def test_forms_have_a_limit(database: Database) -> None:
    """A form that never ends is refused."""
    with Served(database).open(TOKEN) as client:
        answer = client.post("/sign-in", content=b"token=" + b"x" * MAX_FORM_BYTES)
    assert (answer.status_code, "the form is too long" in answer.text) == (413, True)


def test_the_token_is_on_no_page(database: Database) -> None:
    """No page shows the token, also not after a mistake."""
    with Served(database).open(TOKEN) as client:
        wrong = sign_in(client, "a-guess")
        session = {"cookie": f"{COOKIE}={cookie_of(sign_in(client))}"}
        for answer in (wrong, client.get("/", headers=session), client.get("/sign-in")):
            assert not re.search(r"open-sesame|a-guess", answer.text)
