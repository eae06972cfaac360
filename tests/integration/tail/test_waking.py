"""When the tail wakes the matcher: never in the middle of a listing, and at once if one page is everything."""

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
from tests.chaos.killing import Killed
from tests.integration.kit import KindRule, Post
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


class Counting(DirectClient):
    """A client that counts its responses; `meanwhile` is what others do while the tail waits for the next page."""

    def __init__(self, world: World, meanwhile: Callable[[], object]) -> None:
        super().__init__(world.emulator, world.clock)
        self._meanwhile = meanwhile
        self.answers = 0

    def user_actions(self, query: Query, **options: Any) -> Iterator[Page]:
        """Give the pages of a window."""
        for page in super().user_actions(query, **options):
            self.answers += 1
            yield page
            self._meanwhile()

    def counts(self, query: Query) -> Page:
        """Ask what the upstream counts."""
        self.answers += 1
        return super().counts(query)


def matched(
    world: World, database: Database, page_size: int, batch_size: int = 2000
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """Poll once, matching whenever anyone says so; give the alerts, and how many answers had come when the tail did."""
    post, woken = Post(database, world.clock), list[int]()
    matcher = post.matcher(RULE, batch_size=batch_size)
    upstream = Counting(world, matcher.run_once)

    def on_stored() -> None:
        woken.append(upstream.answers)
        matcher.run_once()

    options = TailOptions(SOURCE, "org", start=timedelta(hours=2), alert_backlog=True, page_size=page_size)
    watch = self_watch(database, upstream, world.clock)
    SourceTail(options, upstream, database, watch, world.clock, on_stored=on_stored).run_once()
    return picture(database), woken


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
@pytest.mark.parametrize("page_size", [1, 2, 3, 5])
@pytest.mark.parametrize("batch_size", [1, 2, 2000])
def test_pages_alert_as_one_batch_does(
    world: World, database: Database, tmp_path: Path, page_size: int, faults: str, batch_size: int
) -> None:
    """The order of pages, or a matcher that runs during the walk, decides which record opens an alert."""
    world.faults.set(*faults.split())
    for minutes in MINUTES_AGO:
        world.log(ago=minutes * 60)
    whole = open_database(tmp_path / "whole")
    expected, _ = matched(world, whole, 1000)
    whole.close()
    assert len(expected) > 2
    assert matched(world, database, page_size, batch_size)[0] == expected


def test_what_came_before_an_error_is_matched(world: World, database: Database) -> None:
    """An upstream that breaks off each time has what it gave withheld from people until it gives all."""
    report, woken = broken_off(world, database, SourceUnavailable("the line is dead"))
    assert (report.new_count, woken) == (5, 1)


def test_killed_in_the_middle_of_a_walk(world: World, database: Database, tmp_path: Path) -> None:
    """What was read of a walk when the process died decides which record an alert of the next process begins with."""
    with pytest.raises(Killed):
        broken_off(world, database, Killed())
    whole = open_database(tmp_path / "whole")
    expected, _ = matched(world, whole, 1000)
    whole.close()
    assert matched(world, database, 5)[0] == expected


def broken_off(world: World, database: Database, error: BaseException) -> tuple[PollReport, int]:
    """Poll once, with an end after the first page of several; give the report, and how often the matcher was woken."""
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
def test_a_single_page_is_matched_at_once(world: World, database: Database, faults: str) -> None:
    """What is all on one page waits for what proves that it is all."""
    world.faults.set(*faults.split())
    world.log(ago=60)
    _, woken = matched(world, database, 1000)
    assert woken == [2]  # after the one that asked for the clock, and the page
