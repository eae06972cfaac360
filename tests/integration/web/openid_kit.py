"""A console with which people sign in at a real provider, and the steps of their browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx

from actionwatch.settings.web_keys import OpenId
from actionwatch.store.database import Database
from actionwatch.web.access import COOKIE
from actionwatch.web.console.sign_in import PENDING_COOKIE
from actionwatch.web.openid import RelyingParty
from tests.integration.web.console_kit import Served
from tests.integration.web.openid_end import CLIENT_ID, CLIENT_SECRET, OpenIdEnd

CONSOLE = "https://watch.example.com"


def options(end: OpenIdEnd, ca_file: Path | None = None, **values: Any) -> OpenId:
    """Return the options of a client of this provider, with one operator."""
    given: dict[str, Any] = {
        "issuer": end.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "operators": ["sam@example.com"],
        "ca_file": ca_file,
    }
    return OpenId.model_validate({**given, **values})


def served(database: Database, end: OpenIdEnd, ca_file: Path | None = None, **values: Any) -> Served:
    """Return a console that needs a token, or this provider. The provider has the same clock."""
    made = Served(database, open_to=None)
    made.openid = RelyingParty(options(end, ca_file, **values), CONSOLE, made.clock, elapsed=lambda: made.seconds)
    end.now = lambda: made.clock().timestamp()
    return made


@contextmanager
def opened(database: Database, end: OpenIdEnd, **values: Any) -> Iterator[httpx.Client]:
    """Serve such a console."""
    with served(database, end, **values).open() as client:
        yield client


def begin(client: httpx.Client, goal: str = "/") -> tuple[str, dict[str, str]]:
    """Begin to sign in. Return where the browser is led, and the header with the cookie that it got."""
    answer = client.get("/sign-in/openid", params={"next": goal})
    assert answer.status_code == 303, answer.text
    pending = SimpleCookie(answer.headers["set-cookie"])[PENDING_COOKIE]
    return answer.headers["location"], {"cookie": f"{PENDING_COOKIE}={pending.value}"}


def come_back(client: httpx.Client, query: dict[str, str], browser: dict[str, str]) -> httpx.Response:
    """Send a browser back from the provider."""
    return client.get("/sign-in/callback", params=query, headers=browser)


def sign_in(client: httpx.Client, end: OpenIdEnd, goal: str = "/", **claims: Any) -> httpx.Response:
    """Sign in as a person about whom the provider says these claims. Return the last response."""
    url, browser = begin(client, goal)
    return come_back(client, end.authorize(url, **claims), browser)


def session_of(answer: httpx.Response) -> dict[str, str]:
    """Return the header of a browser that has signed in."""
    assert answer.status_code == 303, answer.text
    cookies = SimpleCookie("; ".join(each.partition(";")[0] for each in answer.headers.get_list("set-cookie")))
    return {"cookie": f"{COOKIE}={cookies[COOKIE].value}"}
