"""People sign in with an OpenID Connect provider, which says who they are; the configuration says what they may do."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from playwright.sync_api import Browser, expect

from actionwatch.base.access import AccessRole
from actionwatch.store.database import Database
from actionwatch.web.access import SESSION
from actionwatch.web.openid_provider import AWAY_SECONDS, KEYS_AGAIN_SECONDS
from tests.browser import viewing
from tests.integration.notifiers.conftest import ca_file, server_context
from tests.integration.notifiers.http_end import Reply
from tests.integration.web.console_kit import Served, give_token
from tests.integration.web.console_kit import session as session_of_token
from tests.integration.web.openid_end import CLIENT_ID, NEXT, OpenIdEnd, public
from tests.integration.web.openid_kit import CONSOLE, begin, come_back, opened, served, session_of, sign_in

__all__ = ["ca_file", "server_context"]
READERS = {
    "readers": ["rita@example.com", "*@reading.example"],
    "reader_groups": ["staff"],
    "operator_groups": ["on-call"],
}


def test_a_person_signs_in_over_tls(database: Database, server_context: ssl.SSLContext, ca_file: Path) -> None:
    """The form leads to the provider, and back to the page that the person wanted; signing out ends the session."""
    with OpenIdEnd(server_context) as end, opened(database, end, ca_file=ca_file) as client:
        assert (
            f'href="{CONSOLE}/sign-in/openid?next=%2F%3Frange%3Dweek"' in client.get("/sign-in?next=/?range=week").text
        )
        url, browser = begin(client, "/?range=week")
        asked = {name: values for name, (values,) in parse_qs(urlsplit(url).query).items()}
        assert (asked["client_id"], asked["scope"]) == (CLIENT_ID, "openid email")
        assert asked["redirect_uri"] == f"{CONSOLE}/sign-in/callback"
        answer = come_back(client, end.authorize(url), browser)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2F%3Frange%3Dweek&done=1")
        session = session_of(answer)
        assert client.get(answer.headers["location"], headers=session).headers["location"] == "/?range=week"
        assert "sam@example.com, operator" in client.get("/", headers=session).text
        assert client.get("/api/v1/status", headers=session).status_code == 200
        assert end.paths() == [".well-known/openid-configuration", "token", "keys"]
        assert client.post("/sign-out", headers=session).status_code == 303
        assert client.get("/", headers=session).headers["location"] == "/sign-in?next=%2F"


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"email": "rita@example.com"}, AccessRole.READER),
        ({"email": "rita@example.com", "nbf": None}, AccessRole.READER),
        ({"email": "kim@reading.example"}, AccessRole.READER),
        ({"email": "kim@other.example", "groups": ["staff", "x"]}, AccessRole.READER),
        ({"email": "kim@other.example", "groups": "on-call"}, AccessRole.OPERATOR),
        ({"email": "rita@example.com", "groups": ["on-call"]}, AccessRole.OPERATOR),
        ({"email": "kim@reading.example.evil.example"}, None),
        ({"email": "SAM@EXAMPLE.COM"}, None),
        ({"email": "kim@other.example", "groups": {"staff": True}}, None),
        ({"email": "kim@other.example", "groups": [["staff"]]}, None),
    ],
)
def test_the_configuration_says_who_gets_in(
    database: Database, claims: dict[str, Any], role: AccessRole | None
) -> None:
    """Operators decide, readers read, each by name or group, and nobody else gets in."""
    with OpenIdEnd() as end, opened(database, end, **READERS) as client:
        answer = sign_in(client, end, **claims)
        if role is None:
            assert (answer.status_code, "This console is not open to" in answer.text) == (403, True)
        else:
            assert f"{claims['email']}, {role.value}" in client.get("/", headers=session_of(answer)).text


def test_everybody_may_read_only_if_the_configuration_says_so(database: Database) -> None:
    """`*` lets everybody read whom the provider signs in, by a name of another claim if this is configured."""
    with OpenIdEnd() as end, opened(database, end, readers=["*"], name_claim="upn") as client:
        answer = sign_in(client, end, upn="kim", email_verified=None)
        assert "kim, reader" in client.get("/", headers=session_of(answer)).text
        assert "no usable &#39;upn&#39;" in sign_in(client, end).text


@pytest.mark.parametrize(("name", "status"), [("kim@example.com", 303), ("example.com", 403), ("kim", 403)])
def test_names_with_an_end_are_email_addresses(database: Database, name: str, status: int) -> None:
    """`*@example.com` means names before `@example.com`, and not the name `example.com`."""
    with OpenIdEnd() as end, opened(database, end, readers=["*@example.com"], name_claim="upn") as client:
        assert sign_in(client, end, upn=name).status_code == status


def test_a_session_ends_after_a_shift_and_with_a_change_of_who_may(database: Database) -> None:
    """Sessions last 12 hours, on every replica, until the configuration says something else about people."""
    with OpenIdEnd() as end:
        made = served(database, end)
        with made.open() as client, made.open() as replica:
            session = session_of(sign_in(client, end))
            made.clock.advance(hours=12, seconds=-1)
            assert replica.get("/", headers=session).status_code == 200
            made.clock.now += timedelta(seconds=1)
            assert replica.get("/", headers=session).status_code == 303
            assert timedelta(hours=12) == SESSION
            session = session_of(sign_in(client, end))
        with opened(database, end, operators=["kim@example.com"]) as client:
            assert client.get("/", headers=session).status_code == 303


def test_new_keys_of_the_provider_are_read(database: Database) -> None:
    """A key that the provider rotated in is read when a token names it, but not again for each token with an unknown key."""
    with OpenIdEnd() as end:
        made = served(database, end)
        with made.open() as client:
            assert sign_in(client, end).status_code == 303
            end.sign = lambda claims: jwt.encode({"alg": "ES256", "kid": "ec-2"}, claims, NEXT)
            assert sign_in(client, end).status_code == 403
            assert sign_in(client, end).status_code == 403
            assert end.paths().count("keys") == 1
            end.keys = [{"kty": "??"}, "no key", *end.keys, *public(NEXT)]
            made.seconds += 60
            assert sign_in(client, end).status_code == 303
            assert end.paths().count("keys") == 2
            assert end.paths().count(".well-known/openid-configuration") == 1


@pytest.mark.parametrize("name", [{}, {"kid": "k"}])
def test_new_keys_without_new_names_are_read(database: Database, name: dict[str, str]) -> None:
    """Keys that the provider replaced are read again also where they have no name, or the name of the old ones."""
    old, new = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
    with OpenIdEnd(
        keys=[public(old)[0] | name], sign=lambda claims: jwt.encode({"alg": "RS256", **name}, claims, old)
    ) as end:
        made = served(database, end)
        with made.open() as client:
            assert sign_in(client, end).status_code == 303
            end.keys = [public(new)[0] | name]
            end.sign = lambda claims: jwt.encode({"alg": "RS256", **name}, claims, new)
            assert "its signature is wrong" in sign_in(client, end).text
            assert end.paths().count("keys") == 1
            made.seconds += KEYS_AGAIN_SECONDS
            assert sign_in(client, end).status_code == 303
            assert end.paths().count("keys") == 2


def test_a_provider_may_want_the_secret_in_the_form(database: Database) -> None:
    """Where the provider does not accept the secret in a header, it gets it in the form."""
    with OpenIdEnd(metadata={"token_endpoint_auth_methods_supported": ["client_secret_post"]}) as end:
        with opened(database, end) as client:
            assert sign_in(client, end).status_code == 303
        assert "authorization" not in end.end.requests[1].headers


@pytest.mark.parametrize(
    ("path", "reply", "reason"),
    [
        ("openid-configuration", Reply(503), "it answered 503"),
        ("openid-configuration", Reply(200, b"<html>"), "it answered 200 without JSON"),
        ("openid-configuration", Reply(fault="reset"), "the connection broke"),
        ("openid-configuration", Reply(200, b"[" * 2_000_000), "larger than"),
        ("token", Reply(500), "its token endpoint answered 500"),
        ("token", Reply(200, b"{}"), "answered 200 without an ID token"),
        ("keys", Reply(200, b'{"keys": {}}'), "has no list"),
        ("keys", Reply(404), "it answered 404"),
    ],
)
def test_while_the_provider_is_away_a_token_signs_in(database: Database, path: str, reply: Reply, reason: str) -> None:
    """A provider that fails is named with the reason, and the page still has the form for a token, which works."""
    secret = give_token(database)
    with OpenIdEnd() as end, (made := served(database, end)).open() as client:
        end.fail = lambda request: reply if request.path.endswith(path) else None
        answer = client.get("/sign-in/openid")
        if answer.status_code == 303:
            answer = sign_in(client, end)
        assert (answer.status_code, reason in answer.text, 'name="token"' in answer.text) == (503, True, True)
        assert client.get("/", headers=session_of_token(client, secret)).status_code == 200
        end.fail = lambda request: None
        made.seconds += AWAY_SECONDS
        assert sign_in(client, end).status_code == 303


def test_a_wrong_client_secret_is_named(database: Database) -> None:
    """The page says which keys of the configuration are wrong."""
    with OpenIdEnd() as end, opened(database, end, client_secret="another") as client:
        answer = sign_in(client, end)
        assert (answer.status_code, "check web.openid.client_id and client_secret" in answer.text) == (403, True)


def test_a_person_signs_in_in_a_browser(browser: Browser, database: Database) -> None:
    """On a phone: the form with the button has no barrier, and a browser that comes back from another site stays signed in."""
    with OpenIdEnd() as end, opened(database, end) as client:
        end.console = f"http://localhost:{client.base_url.port}"
        with viewing(browser, end.console, viewport={"width": 375, "height": 800}) as viewer:
            viewer.open("/alerts")
            expect(viewer.page.get_by_role("link", name="Sign in with 127.0.0.1")).to_be_visible()
            assert (viewer.barriers(), viewer.overflow()) == ([], [])
            viewer.open("/sign-in/openid?next=/alerts")
            expect(viewer.page.get_by_text("sam@example.com, operator")).to_be_visible()
            assert viewer.page.url == f"{end.console}/alerts"
            viewer.page.goto("about:blank")
            viewer.page.set_content(f'<a href="{end.console}/rules">a link in a message</a>')
            viewer.page.get_by_role("link").click()
            expect(viewer.page.get_by_text("sam@example.com, operator")).to_be_visible()
            assert viewer.page.url == f"{end.console}/rules"


def test_the_tab_that_began_last_finishes(database: Database) -> None:
    """An answer to a sign-in that began before another one is refused, and the other one still finishes."""
    with OpenIdEnd() as end, opened(database, end) as client:
        first_url, _ = begin(client)
        url, browser = begin(client)
        refused = come_back(client, end.authorize(first_url), browser)
        assert (refused.status_code, refused.headers.get_list("set-cookie")) == (403, [])
        assert come_back(client, end.authorize(url), browser).status_code == 303


def test_without_a_provider_there_is_no_way_to_it(database: Database) -> None:
    """The form has no link, and the paths do not exist."""
    with Served(database, open_to=None).open() as client:
        assert "/sign-in/openid" not in client.get("/sign-in").text
        for path in ("/sign-in/openid", "/sign-in/callback"):
            assert client.get(path).status_code == 404
