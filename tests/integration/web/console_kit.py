"""A console on a store, as the service serves it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.model import Stretch
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.rules.blindness import Blindness
from actionwatch.rules.lists import Lists
from actionwatch.rules.model import Rule
from actionwatch.service.silence_preview import preview
from actionwatch.store.database import Database
from actionwatch.web import server
from actionwatch.web.console.parts import Destination, Parts
from actionwatch.web.routes import console_routes
from tests import http_client
from tests.builders import Clock
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
    blindness: Blindness | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def parts(self) -> Parts:
        """Return what the service gives to the console."""
        given: dict[str, Any] = {
            "database": self.database,
            "clock": self.clock,
            "sources": self.sources,
            "receivers": [Destination("hook", "webhook", 1.0)],
            "unready": lambda: self.unready,
            "stretches": self._stretches,
            "blindness": lambda connection, since, now: self.blindness or Blindness(since, now, (), ()),
            "rules": lambda: self.rules,
            "lists": Lists,
            "actions": OperatorActions(
                self.database, Addressing(Route(("hook",)), {"hook": ReceiverPolicy()}), self.clock
            ),
            "preview": lambda connection, made, now: str(preview(connection, made, now)),
            "max_silence": timedelta(days=3),
        }
        return Parts(**{**given, **self.options})

    @contextmanager
    def open(self, token: str | None = None) -> Iterator[httpx.Client]:
        """Serve the console."""
        with (
            serving(console_routes(self.parts()), "127.0.0.1", 0, token) as url,
            http_client.client(base_url=url, headers={"accept": "text/html"}) as client,
        ):
            yield client

    def _stretches(self, connection: Connection, source: str, since: datetime) -> list[Stretch]:
        assert connection
        return [each for each in self.stretches if each.source == source and each.end >= since]


Fill = Callable[[Connection], None]


def fill(database: Database, *steps: Fill) -> None:
    """Run steps in one transaction."""
    with database.write() as connection:
        for step in steps:
            step(connection)
