"""A console on a store, as the service serves it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any

import httpx
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.access import AccessRole, AccessToken, digest_of, new_secret
from actionwatch.base.model import Record, RecordFilter, Stretch
from actionwatch.delivery.dead_letters import DeadLetters
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.rules.lists import Lists
from actionwatch.rules.model import Rule
from actionwatch.service.rule_text import text_in_file
from actionwatch.store import record_search, tokens
from actionwatch.store.database import Database
from actionwatch.store.record_rows import place_of
from actionwatch.web import server
from actionwatch.web.access import COOKIE, Access
from actionwatch.web.parts import Configuration, Destination, Parts, ServiceState
from actionwatch.web.proxy import TrustedProxy
from actionwatch.web.routes import api_routes, console_routes
from tests import http_client
from tests.browser import Viewer
from tests.builders import NOON, Clock
from tests.threads import start_thread

serving = functools.partial(server.serving, start_thread=start_thread)


@dataclass
class Served:
    """What a test can set while the console is served."""

    database: Database
    clock: Clock = field(default_factory=Clock)
    unready: list[str] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    sources: Sequence[str] = ("acme",)
    rules: Sequence[Rule] = ()
    doubts: Sequence[str] = ()
    options: dict[str, Any] = field(default_factory=dict)
    open_to: AccessRole | None = AccessRole.READER
    proxy: TrustedProxy | None = None
    seconds: float = 0.0
    """The monotonic clock by which attempts to sign in are limited."""

    def parts(self) -> Parts:
        """Return what the service gives to the console."""
        receivers = self.options.get("receivers", [Destination("hook", "webhook", 1.0)])
        given: dict[str, Any] = {
            "database": self.database,
            "clock": self.clock,
            "sources": lambda: dict.fromkeys(self.sources, timedelta(seconds=10)),
            "receivers": receivers,
            "unready": lambda: self.unready,
            "stretches": self._stretches,
            "rules": lambda: self.rules,
            "lists": Lists,
            "text_of": text_in_file,
            "actions": OperatorActions(
                self.database, Addressing(Route(("hook",)), {"hook": ReceiverPolicy()}), self.clock
            ),
            "dead_letters": DeadLetters(self.database, [each.name for each in receivers], self.clock),
            "doubts": lambda made, now: self.doubts,
            "streams": (),
            "max_silence": timedelta(days=3),
        }
        values = {**given, **self.options}
        nouns = {"configuration": Configuration, "service": ServiceState}
        for noun, kind in nouns.items():
            values[noun] = kind(**{each.name: values.pop(each.name) for each in fields(kind) if each.name in values})
        return Parts(**values)

    def access(self, token: str | None = None) -> Access:
        """Return who may read: everybody without a shared token, unless a test says otherwise."""
        open_to = None if token else self.open_to
        return Access(
            token,
            self.database,
            self.clock,
            open_to=open_to,
            proxy=self.proxy,
            elapsed=lambda: self.seconds,
        )

    @contextmanager
    def open(self, token: str | None = None) -> Iterator[httpx.Client]:
        """Serve the console, as one replica does."""
        with (
            serving(
                [*api_routes(self.parts()), *console_routes(self.parts())], "127.0.0.1", 0, self.access(token)
            ) as url,
            http_client.client(base_url=url, headers={"accept": "text/html"}) as client,
        ):
            yield client

    def _stretches(self, connection: Connection, sources: Collection[str], since: datetime) -> dict[str, list[Stretch]]:
        assert connection
        found = {source: [each for each in self.stretches if each.source == source] for source in sources}
        return {source: [each for each in its if each.end >= since] for source, its in found.items()}


Fill = Callable[[Connection], None]


def fill(database: Database, *steps: Fill) -> None:
    """Run steps in one transaction."""
    with database.write() as connection:
        for step in steps:
            step(connection)


def newest_first(connection: Connection, wanted: RecordFilter | None = None) -> list[Record]:
    """Return all records that match a filter as a search has to list them, computed without it."""
    return sorted(record_search.stream(connection, wanted or RecordFilter()), key=place_of, reverse=True)


def give_token(database: Database, name: str = "sam", role: AccessRole = AccessRole.OPERATOR, **values: Any) -> str:
    """Give a person a token. Return its secret; the id of the token is `token of NAME`."""
    secret = new_secret()
    with database.write() as connection:
        tokens.insert(
            connection, AccessToken(f"token of {name}", name, role, NOON, "admin", **values), digest_of(secret)
        )
    return secret


def sign_in(client: httpx.Client, token: str, goal: str = "/") -> httpx.Response:
    """Send the form."""
    return client.post("/sign-in", data={"token": token, "next": goal})


def cookie_of(answer: httpx.Response) -> str:
    """Return the value of the cookie of a session."""
    return SimpleCookie(answer.headers["set-cookie"])[COOKIE].value


def session(client: httpx.Client, token: str) -> dict[str, str]:
    """Sign in, and return the header of a browser that has done so."""
    return {"cookie": f"{COOKIE}={cookie_of(sign_in(client, token))}"}


def arrive(viewer: Viewer, path: str, token: str) -> None:
    """Open a page in a browser that has not signed in, and sign in."""
    viewer.open(path)
    viewer.page.get_by_label("Token").fill(token)
    viewer.page.get_by_role("button", name="Sign in").click()
    viewer.page.wait_for_url(f"{viewer.origin}{path}")


class _Fields(HTMLParser):
    """The values in the fields of the forms of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []
        self._textarea = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append({})
        elif tag in ("input", "textarea") and "name" in given:
            self.forms[-1][given["name"]] = given.get("value", "")
            self._textarea = given["name"] if tag == "textarea" else ""

    def handle_endtag(self, tag: str) -> None:
        self._textarea = "" if tag == "textarea" else self._textarea

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.forms[-1][self._textarea] += data


def forms_in(page: str) -> list[dict[str, str]]:
    """Return what a browser would send for each form of a page, if nobody changes a field. Its boxes count as checked."""
    return _Fields(page).forms


def form_token(client: httpx.Client, path: str) -> str:
    """Return the token of the forms of a page; empty if it has none."""
    found = re.search(r'name="form_token" value="(\w+)"', client.get(path).text)
    return found[1] if found else ""
