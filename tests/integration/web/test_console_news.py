"""What open pages hear of the service, as server-sent events over a real connection."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from actionwatch.store import alerts
from actionwatch.store.database import Database
from actionwatch.web.console import news
from tests.builders import NOON, make_alert, make_record, only_sqlite
from tests.integration.web.console_kit import Served
from tests.positions import move_to
from tests.statements import statements
from tests.waiting import LIMIT, pause, wait_until

AFTER = {"after": "2026-11-25T12:00:00Z"}


class Page:
    """A page that is open, as a browser follows it."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def next(self) -> tuple[int, bool]:
        """Wait for the next event."""
        for line in self._lines:
            if line.startswith("data: "):
                found = json.loads(line.removeprefix("data: "))
                return found["count"], found["more"]
        raise AssertionError("the stream ended")

    def rest(self) -> list[str]:
        """Wait for the end, and return the other lines."""
        return [line for line in self._lines if line]


@contextlib.contextmanager
def opened(client: httpx.Client) -> Iterator[Page]:
    """Open a page."""
    with client.stream("GET", "/news", params=AFTER, timeout=LIMIT) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(lines) == "retry: 5000"
        yield Page(lines)


def open_alerts(database: Database, *names: str) -> None:
    """Open alerts a minute after noon."""
    with database.write() as connection:
        made = [(make_alert(name, opened_at=NOON + timedelta(minutes=1)), "g") for name in names]
        alerts.insert_new(connection, made)


def test_new_alerts_are_counted(database: Database) -> None:
    """An open page hears how many alerts opened since it was made, and again when more do."""
    open_alerts(database, "first")
    with Served(database).open() as client, opened(client) as page:
        assert page.next() == (1, False)
        open_alerts(database, "second", "third")
        assert page.next() == (3, False)
        open_alerts(database, *(f"more{number}" for number in range(news.MAX_NEW)))
        assert page.next() == (news.MAX_NEW, True)


def test_the_store_is_read_after_commits_only(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a commit nothing is read; one that brings no alert is no event."""
    only_sqlite(database)  # a server also counts its own transactions
    monkeypatch.setattr(news, "LOOK_SECONDS", 0.01)
    with Served(database).open() as client, opened(client) as page:
        open_alerts(database, "one")
        assert page.next() == (1, False)
        pause(0.1)  # a look that began before the commit is followed by one more
        with statements() as ran:
            pause(0.1)
            assert ran == []
            with database.write() as connection:
                move_to(connection, "match", 1)
            wait_until(lambda: [text for text in ran if "opened_at >" in text], "a look after the commit")
            pause(0.1)
        assert len([text for text in ran if "opened_at >" in text]) == 1
        open_alerts(database, "two")
        assert page.next() == (2, False)


def test_stream_has_an_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream ends before the listener would end it, so that the session is checked again; until then it shows it is alive."""
    monkeypatch.setattr(news, "LIFE_SECONDS", 0.3)
    monkeypatch.setattr(news, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(news, "PING_SECONDS", 0.1)
    with Served(database).open() as client, opened(client) as page:
        assert set(page.rest()) == {": nothing new"}


def test_end_of_the_service_ends_streams(database: Database) -> None:
    """A service that stops does not wait for pages that are open."""
    stopping = threading.Event()
    with Served(database, options={"is_stopping": stopping.is_set}).open() as client, opened(client) as page:
        stopping.set()
        assert page.rest() == []


def test_streams_are_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that are open leave connections for probes. A page that closes makes room."""
    monkeypatch.setattr(news, "MAX_STREAMS", 2)
    monkeypatch.setattr(news, "LOOK_SECONDS", 0.01)
    with Served(database).open() as client:
        with opened(client), opened(client):
            refused = client.get("/news", params=AFTER)
            assert (refused.status_code, "reload this one" in refused.text) == (503, True)

        def is_open() -> bool:
            with client.stream("GET", "/news", params=AFTER) as response:
                return response.status_code == 200

        wait_until(is_open, "room for a page")
        assert client.get("/news").status_code == 400


def test_store_that_is_away_ends_a_stream(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser connects again later."""
    monkeypatch.setattr(news, "LOOK_SECONDS", 0.01)
    with Served(database).open() as client, opened(client) as page:
        database.close()
        assert page.rest() == []


def test_records_alone_are_no_news(database: Database) -> None:
    """Alerts from before the page are not counted."""
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert("old", opened_at=make_record().occurred_at), "g")])
    with Served(database).open() as client, opened(client) as page:
        open_alerts(database, "new")
        assert page.next() == (1, False)
