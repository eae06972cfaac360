"""Readiness of a service with many sources: totals and the worst ones, like `status` and the overview."""

from __future__ import annotations

from datetime import timedelta

from actionwatch.base.reasons import short_reason
from actionwatch.queries.source_health import MANY
from actionwatch.service.readiness import Readiness
from actionwatch.service.roles import Roles
from actionwatch.service.step_watch import StepWatch
from actionwatch.store import polls, self_alerts
from actionwatch.store.database import Database
from tests.builders import NOON
from tests.fixtures import database
from tests.integration.kit import Post

__all__ = ["database"]
NAMES = [f"org-{number:03}" for number in range(100)]


def reasons(database: Database, names: list[str]) -> list[str]:
    """Return why a service with these sources is not ready."""
    intervals = dict.fromkeys(names, timedelta(seconds=10))
    steps, roles = StepWatch(Post(database).troubles), Roles([])
    readiness = Readiness(database, lambda: intervals, lambda: dict.fromkeys(names, timedelta(0)), steps, roles)
    readiness.look()
    return list(readiness.reasons())


def test_many_sources_are_ready_without_a_word(database: Database) -> None:
    """If all sources are polled, there is no reason."""
    with database.write() as connection:
        polls.write(connection, dict.fromkeys(NAMES, polls.Poll(NOON, 0, None)))
    assert reasons(database, NAMES) == []


def test_exceptions_of_many_sources_come_worst_first(database: Database) -> None:
    """The first reason counts the sources that are not ready, and the worst follow, each with one reason."""
    with database.write() as connection:
        polls.write(connection, dict.fromkeys(NAMES, polls.Poll(NOON, 0, None)))
        polls.write(connection, {"org-005": polls.Poll(NOON, 3, "x"), "org-050": polls.Poll(NOON, 4, "x")})
        for name in ("org-050", "org-099"):
            opened = self_alerts.OpenSelfAlert("key_refused", name, NOON, "401", f"a new key of {name}", name)
            self_alerts.insert(connection, opened)
    found = reasons(database, NAMES)
    assert found == [
        "3 of 100 sources are not ready: 2 refused, 1 silent",
        "source org-050: a new key of org-050",
        "source org-099: a new key of org-099",
        "source org-005: 3 polls failed in a row; see the log",
    ]
    assert short_reason(found[1]) == "source org-050: needs a person"


def test_few_sources_have_a_reason_each(database: Database) -> None:
    """Up to twenty sources each have their reason; of more, twenty are named, and the rest is counted."""
    few = reasons(database, NAMES[:MANY])
    assert few == [f"source {name}: not polled yet" for name in NAMES[:MANY]]
    many = reasons(database, NAMES)
    assert many[0] == "100 of 100 sources are not ready: 100 silent"
    assert many[1:-1] == few
    assert many[-1] == "and 80 more sources: see 'actionwatch status'"
