"""When the tail has the matcher look: never at half of a listing, and at once where a page is all there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.pipeline.tail import Tail, TailOptions
from actionwatch.store import alerts, records
from actionwatch.store.database import Database
from tests.builders import QUARTER, open_database
from tests.integration.pipeline.kit import KindRule, Post
from tests.upstreams import SOURCE, DirectClient, World, self_watch

RULE = KindRule(kind="BACKUP", realert=QUARTER)
MINUTES_AGO = (50, 44, 38, 31, 30, 29, 20, 12, 9, 2, 1)


def picture(database: Database) -> list[tuple[Any, ...]]:
    """Give each alert's id, and what is in it."""
    with database.read() as connection:
        found = alerts.read_newest(connection, 1000)
        shown = records.read_of_alerts(connection, [alert.id for alert in found], 1000)
        return sorted(
            (alert.id, alert.first_at, alert.last_at, [each.key for each in shown[alert.id]]) for alert in found
        )


class Counting:
    """An upstream that counts its answers."""

    def __init__(self, client: DirectClient) -> None:
        self._client = client
        self.answers = 0

    def user_actions(self, *args: Any, **options: Any) -> Iterator[Page]:
        """Give the pages of a window."""
        for page in self._client.user_actions(*args, **options):
            self.answers += 1
            yield page

    def counts(self, query: Query) -> Page:
        """Ask what the upstream counts."""
        self.answers += 1
        return self._client.counts(query)


def matched(world: World, database: Database, page_size: int) -> tuple[list[tuple[Any, ...]], list[int]]:
    """Poll once, matching whenever the tail says so; give the alerts, and how many answers had come each time."""
    client, post = DirectClient(world.emulator, world.clock), Post(database, world.clock)
    matcher, upstream, woken = post.matcher(RULE), Counting(client), list[int]()

    def on_stored() -> None:
        woken.append(upstream.answers)
        matcher.run_once()

    options = TailOptions(SOURCE, start=timedelta(hours=2), alert_backlog=True, page_size=page_size)
    watch = self_watch(database, client, world.clock)
    Tail(options, upstream, database, watch, world.clock, on_stored=on_stored).run_once()
    return picture(database), woken


@pytest.mark.parametrize("faults", ["", "total:absent", "total:zero", "order:ascending", "order:shuffled"])
@pytest.mark.parametrize("page_size", [1, 2, 3, 5])
def test_pages_alert_as_one_batch_does(
    world: World, database: Database, tmp_path: Path, page_size: int, faults: str
) -> None:
    """Which page comes first decides which record an alert begins with."""
    world.faults.set(*faults.split())
    for minutes in MINUTES_AGO:
        world.log(ago=minutes * 60)
    whole = open_database(tmp_path / "whole")
    expected, _ = matched(world, whole, 1000)
    whole.close()
    assert len(expected) > 2
    assert matched(world, database, page_size)[0] == expected


@pytest.mark.parametrize("faults", ["", "total:absent", "total:zero", "counts:absent"])
def test_a_single_page_is_matched_at_once(world: World, database: Database, faults: str) -> None:
    """What is all on one page waits for what proves that it is all."""
    world.faults.set(*faults.split())
    world.log(ago=60)
    _, woken = matched(world, database, 1000)
    assert woken == [2]  # after the one that asked for the clock, and the page
