"""When the tail wakes the matcher: at once if one page contains everything, otherwise after the listing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actionwatch.base.errors import SourceUnavailable
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.store import alerts, records
from actionwatch.store.database import Database
from actionwatch.tail.source import SourceTail
from actionwatch.tail.state import PollReport, TailOptions
from tests.builders import QUARTER, open_database
from tests.integration.kit import KindRule, Post
from tests.simulation.killing import Killed
from tests.upstreams import SOURCE, DirectClient, World, self_watch

RULE = KindRule(kind="BACKUP", realert=QUARTER)
MINUTES_AGO = (50, 44, 38, 31, 30, 29, 20, 12, 9, 2, 1)


def snapshot(database: Database) -> list[tuple[Any, ...]]:
    """Return the id of each alert and the records in it."""
    with database.read() as connection:
        found = alerts.read_newest(connection, 1000)
        shown = records.read_of_alerts(connection, [alert.id for alert in found], 1000)
        return sorted(
            (alert.id, alert.first_at, alert.last_at, [each.key for each in shown[alert.id]]) for alert in found
        )


class Counting(DirectClient):
    """A client that counts its responses. `meanwhile` runs while the tail waits for the next page."""

    def __init__(self, world: World, meanwhile: Callable[[], object]) -> None:
        super().__init__(world.emulator, world.clock)
        self._meanwhile = meanwhile
        self.answers = 0

    def user_actions(self, query: Query, **options: Any) -> Iterator[Page]:
        """Return the pages of a window."""
        for page in super().user_actions(query, **options):
            self.answers += 1
            yield page
            self._meanwhile()

    def counts(self, query: Query) -> Page:
        """Return the upstream's counts."""
        self.answers += 1
        return super().counts(query)


def matched(
    world: World, database: Database, page_size: int, batch_size: int = 2000
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """Poll once and match whenever the tail wakes the matcher.

    Returns the alerts, and the number of responses at the first wake.

    """
    post, woken = Post(database, world.clock), list[int]()
    matcher = post.matcher(RULE, batch_size=batch_size)
    upstream = Counting(world, matcher.run_once)

    def on_stored() -> None:
        woken.append(upstream.answers)
        matcher.run_once()

    options = TailOptions(SOURCE, "org", start=timedelta(hours=2), alert_backlog=True, page_size=page_size)
    watch = self_watch(database, upstream, world.clock)
    SourceTail(options, upstream, database, watch, world.clock, on_stored=on_stored).run_once()
    return snapshot(database), woken


@pytest.mark.parametrize(
    "faults",
    [
        "",
        "total:absent",
        "total:absent counts:absent",
        "total:zero",
        "order:ascending",
        "order:shuffled",
        "page_clamped:2",
        "page_clamped:3 total:absent counts:absent",
    ],
)
@pytest.mark.parametrize(("page_size", "batch_size"), [(1, 2000), (3, 1)])
def test_order_of_pages_does_not_change_the_alerts(
    world: World, database: Database, tmp_path: Path, page_size: int, faults: str, batch_size: int
) -> None:
    """Neither the order of pages nor a matcher that runs during the listing decides which record opens an alert."""
    world.faults.set(*faults.split())
    for minutes in MINUTES_AGO:
        world.log(ago=minutes * 60)
    whole = open_database(tmp_path / "whole")
    expected, _ = matched(world, whole, 1000)
    whole.close()
    assert len(expected) > 2
    assert matched(world, database, page_size, batch_size)[0] == expected


def test_records_before_an_error_are_matched(world: World, database: Database) -> None:
    """If the upstream breaks off each time, the records that it returned are matched."""
    report, woken = broken_off(world, database, SourceUnavailable("the line is dead"))
    assert (report.new_count, woken) == (5, 1)


def test_kill_during_a_listing_does_not_change_the_alerts(world: World, database: Database, tmp_path: Path) -> None:
    """If the process dies during a listing, the alerts of the next process begin with the same records."""
    with pytest.raises(Killed):
        broken_off(world, database, Killed())
    whole = open_database(tmp_path / "whole")
    expected, _ = matched(world, whole, 1000)
    whole.close()
    assert matched(world, database, 5)[0] == expected


def broken_off(world: World, database: Database, error: BaseException) -> tuple[PollReport, int]:
    """Poll once, with a failure after the first of several pages. Return the report and the number of wakes."""
    for minutes in MINUTES_AGO:
        world.log(ago=minutes * 60)
    woken = list[None]()

    def fail() -> None:
        raise error

    options, upstream = (
        TailOptions(SOURCE, "org", start=timedelta(hours=2), alert_backlog=True, page_size=5),
        Counting(world, fail),
    )
    watch = self_watch(database, upstream, world.clock)
    tail = SourceTail(options, upstream, database, watch, world.clock, on_stored=lambda: woken.append(None))
    return tail.run_once(), len(woken)


@pytest.mark.parametrize("faults", ["", "total:absent", "total:zero", "counts:absent"])
def test_single_page_is_matched_at_once(world: World, database: Database, faults: str) -> None:
    """Records that are all on one page are matched before the proof is complete."""
    world.faults.set(*faults.split())
    world.log(ago=60)
    _, woken = matched(world, database, 1000)
    assert woken == [2]  # after the request for the clock, and the page
