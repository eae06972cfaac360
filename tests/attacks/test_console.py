"""A stranger reads nothing of the console: not by guessing, not through another site, not through a proxy without a token."""

from __future__ import annotations

import re
import socket

import httpx
import pytest

from actionwatch.base.access import new_secret
from actionwatch.store import sessions
from actionwatch.store.database import Database
from actionwatch.store.sessions import MAX_SESSIONS
from actionwatch.web.access import COOKIE, SESSION, Access
from actionwatch.web.attempts import (
    ATTEMPT_SECONDS,
    HOUR_SECONDS,
    MAX_ALL_ATTEMPTS,
    MAX_ATTEMPTS,
    MAX_HOURLY_ATTEMPTS,
    TooManyAttempts,
)
from actionwatch.web.requests import MAX_BODY_BYTES
from actionwatch.web.routes import waiting_routes
from tests import http_client
from tests.builders import NOON
from tests.fixtures import database
from tests.integration.web import console_kit
from tests.integration.web.console_kit import Served, cookie_of, give_token, serving
from tests.waiting import LIMIT

__all__ = ["database"]
TOKEN = "open-sesame"
OWN_NAMES = ("actionwatch", "ActionWatch", "\uff21ctionwatch", "action\u034fwatch", "Action-Watch")


def sign_in(client: httpx.Client, token: str = TOKEN, goal: str = "/") -> httpx.Response:
    """Send the form."""
    return console_kit.sign_in(client, token, goal)


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
    """The cookie is Secure, HttpOnly and SameSite=Lax; it opens every page, until the person signs out."""
    with Served(database).open(TOKEN) as client:
        answer = sign_in(client, goal="/?range=week")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2F%3Frange%3Dweek&done=1")
        attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
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
        assert "This is not a valid token" in answer.text
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


def test_a_token_of_a_person_is_never_locked_out(database: Database) -> None:
    """People sign in with their own tokens after any number of wrong ones from their address, which may be that of a proxy."""
    secret = give_token(database)
    with Served(database).open(TOKEN) as client:
        for number in range(MAX_ATTEMPTS):
            sign_in(client, f"guess-{number}")
        assert sign_in(client).status_code == 429
        assert (sign_in(client, secret).status_code, sign_in(client, new_secret()).status_code) == (303, 429)


@pytest.mark.parametrize("name", OWN_NAMES)
def test_nobody_has_our_name_by_a_token(database: Database, name: str) -> None:
    """A token with a name that reads as that of the service, which an older version may have made, opens nothing."""
    secret = give_token(database, name)
    with Served(database).open(TOKEN) as client:
        for headers in ({"authorization": f"Bearer {secret}"}, console_kit.session(client, secret)):
            refused = client.get("/", headers=headers)
            assert (refused.status_code, "is the name of this service" in refused.text) == (403, True)


@pytest.mark.parametrize("name", OWN_NAMES)
def test_nobody_types_our_name(database: Database, name: str) -> None:
    """With the shared token, nobody decides under the name of the service."""
    with Served(database).open(TOKEN) as client:
        client.headers.update(console_kit.session(client, TOKEN))
        form = {"form_token": console_kit.form_token(client, "/silences"), "action": "end", "author": name, "id": "x"}
        refused = client.post("/silences", data=form)
        assert (refused.status_code, "is the name of this service" in refused.text) == (400, True)


def test_an_empty_bearer_is_wrong(database: Database) -> None:
    """Without a shared token, an empty token is no operator, neither in a header nor in the form."""
    with Served(database, open_to=None).open() as client:
        for given in ("Bearer", "bearer"):
            assert client.get("/", headers={"authorization": given}).status_code == 401, given
        assert sign_in(client, "").status_code == 403


def test_attempts_end() -> None:
    """The limit of an address ends after a minute, all addresses together have one too, and no address tries for hours."""
    seconds = [0.0]
    access = Access(TOKEN, elapsed=lambda: seconds[0])

    def fail(address: str, count: int) -> None:
        for _ in range(count):
            assert access.sign_in("wrong", address) is None

    fail("a", MAX_ATTEMPTS)
    with pytest.raises(TooManyAttempts, match="wait 60 seconds"):
        access.sign_in(TOKEN, "a")
    for number in range(MAX_ALL_ATTEMPTS - MAX_ATTEMPTS):
        fail(f"address {number}", 1)
    with pytest.raises(TooManyAttempts):
        access.sign_in(TOKEN, "c")
    for _ in range(MAX_HOURLY_ATTEMPTS // MAX_ATTEMPTS - 1):
        seconds[0] += ATTEMPT_SECONDS
        fail("a", MAX_ATTEMPTS)
    seconds[0] += ATTEMPT_SECONDS
    with pytest.raises(TooManyAttempts, match=f"wait {HOUR_SECONDS - seconds[0]:.0f} seconds"):
        access.sign_in(TOKEN, "a")
    fail("b", 1)
    seconds[0] = HOUR_SECONDS
    fail("a", MAX_ATTEMPTS)


def test_a_network_is_one_client() -> None:
    """Of IPv6 addresses, one client has endlessly many, and is limited as one; the next network is not."""
    access = Access(TOKEN, elapsed=lambda: 0.0)
    for number in range(MAX_ATTEMPTS):
        assert access.sign_in("wrong", f"2001:db8::{number}:1") is None
    with pytest.raises(TooManyAttempts):
        access.sign_in("wrong", "2001:db8::ffff")
    assert access.sign_in("wrong", "2001:db8:0:1::1") is None


def test_strangers_do_not_stop_a_program(database: Database) -> None:
    """Wrong bearer tokens of many addresses do not refuse the right one of another."""
    served = Served(database)
    with served.open(TOKEN) as client:
        for number in range(MAX_ALL_ATTEMPTS + 1):
            address = f"127.1.0.{number + 1}"
            with http_client.client(transport=httpx.HTTPTransport(local_address=address)) as stranger:
                refused = stranger.get(f"{client.base_url}/", headers={"authorization": "Bearer wrong"})
                assert refused.status_code == 401
        assert client.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_programs_guess_the_shared_token_slowly_too(database: Database) -> None:
    """Wrong bearer tokens of an address are limited; a person's own token, which cannot be guessed, is still accepted."""
    served = Served(database)
    secret = give_token(database)

    def ask(token: str) -> int:
        return client.get("/", headers={"authorization": f"Bearer {token}"}).status_code

    with served.open(TOKEN) as client:
        for number in range(MAX_ATTEMPTS):
            assert ask(f"guess-{number}") == 401
        assert (ask(TOKEN), ask(secret)) == (429, 200)
        served.seconds += ATTEMPT_SECONDS
        assert ask(TOKEN) == 200


def test_tokens_are_not_called_wrong_while_the_store_is_away() -> None:
    """While the store does not answer, the token and the session of a person get 503, and count as no wrong attempts."""
    with serving(waiting_routes("away"), "127.0.0.1", 0, Access(TOKEN)) as url:
        for headers in ({"authorization": f"Bearer {new_secret()}"}, {"cookie": f"{COOKIE}=x"}):
            statuses = {http_client.get(f"{url}/metrics", headers=headers).status_code for _ in range(MAX_ATTEMPTS + 1)}
            assert statuses == {503}
        assert http_client.get(f"{url}/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_console_reports_that_the_store_is_away() -> None:
    """While a process waits for its store, people who open the console see that, and strangers do not see why."""
    with serving(waiting_routes("the password is wrong"), "127.0.0.1", 0, Access(TOKEN)) as url:
        led = http_client.get(f"{url}/alerts", headers={"accept": "text/html"})
        assert led.status_code == 303
        for headers in ({}, {"authorization": f"Bearer {TOKEN}"}):
            found = http_client.get(f"{url}{led.headers['location']}", headers=headers)
            assert (found.status_code, "does not answer" in found.text) == (503, True)
            assert "password" not in found.text
        found = http_client.get(f"{url}/api/v1/alerts", headers={"authorization": f"Bearer {TOKEN}"})
        assert (found.status_code, found.json()["status"]) == (503, 503)


def test_sessions_end(database: Database) -> None:
    """A session ends after a shift, with the shared token, and where one token has too many."""
    served = Served(database)
    with served.open(TOKEN) as client:
        first = console_kit.session(client, TOKEN)
        assert client.get("/", headers=first).status_code == 200
        for number in range(MAX_SESSIONS):
            with database.write() as connection:
                sessions.insert(connection, f"digest {number}", None, NOON + SESSION * 2)
        assert client.get("/", headers=first).status_code == 303, "the number of sessions is limited"
        second = console_kit.session(client, TOKEN)
    with served.open("another-token") as client:
        assert client.get("/", headers=second).status_code == 303, "the configuration has another token"
    with served.open(TOKEN) as client:
        assert client.get("/", headers=second).status_code == 200, "it survives a restart"
        served.clock.advance(seconds=SESSION.total_seconds())
        assert client.get("/", headers=second).status_code == 303


def test_other_cookies_change_nothing(database: Database) -> None:
    """A session lasts beside a cookie of another program at localhost; no cookie is unquoted, as Python 3.11 does slowly."""
    with Served(database).open(TOKEN) as client:
        cookie = cookie_of(sign_in(client))

        def status(header: str) -> int:
            return client.get("/", headers={"cookie": header}).status_code

        assert status(f"{COOKIE}={cookie}") == 200
        assert status(f'prefs={{"a": 1}}; {COOKIE}={cookie}; x') == 200
        assert status(f'{COOKIE}="{cookie}"') == 303
        assert status(f"x{COOKIE}={cookie}") == 303


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
        answer = client.post("/sign-in", content=b"token=" + b"x" * MAX_BODY_BYTES)
    assert (answer.status_code, "this is too long" in answer.text) == (413, True)


def test_a_form_that_ends_early_fills_no_log(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """A stranger who leaves in the middle of a form leaves no traceback in the log."""
    head = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    with Served(database).open(TOKEN) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), LIMIT) as stranger:
            stranger.sendall(head + b"token=")
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(1) == b""
        assert client.get("/sign-in").status_code == 200
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


def test_the_token_is_on_no_page(database: Database) -> None:
    """No page shows the token, also not after a mistake."""
    with Served(database).open(TOKEN) as client:
        wrong = sign_in(client, "a-guess")
        session = {"cookie": f"{COOKIE}={cookie_of(sign_in(client))}"}
        for answer in (wrong, client.get("/", headers=session), client.get("/sign-in")):
            assert not re.search(r"open-sesame|a-guess", answer.text)


def test_no_secret_of_a_person_is_stored(database: Database) -> None:
    """Who reads the store learns no token and no cookie."""
    secret = give_token(database)
    with Served(database).open(TOKEN) as client:
        cookie = cookie_of(sign_in(client, secret))
    with database.read() as connection:
        rows = [
            str(row) for name in ("token", "session") for row in connection.exec_driver_sql(f"SELECT * FROM {name}")
        ]
    assert len(rows) == 2
    assert not [row for row in rows if secret in row or secret[-20:] in row or cookie in row]


@pytest.mark.parametrize("beginning", ["", "actionwatch_"])
def test_a_wrong_bearer_opens_nothing_on_an_open_listener(database: Database, beginning: str) -> None:
    """A program with a wrong or revoked token is refused also where none is needed, so that somebody notices."""
    with Served(database).open() as client:
        assert client.get("/", headers={"authorization": f"Bearer {beginning}wrong"}).status_code == 401
