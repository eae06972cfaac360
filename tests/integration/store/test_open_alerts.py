"""The list of open alerts in the store: pages, what is shown below another alert, and how much a page reads."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from itertools import chain

import pytest
from msgspec.structs import replace

from actionwatch.base.model import Alert, CorrelatedAlert, Level, Status
from actionwatch.store import alerts, correlations, delivery_transitions, open_alerts, records
from actionwatch.store.alerts import AlertFilter
from actionwatch.store.database import Database
from actionwatch.store.delivery_transitions import Suppression
from tests.builders import NOON, make_alert, make_delivery, make_record, only_sqlite
from tests.statements import steps

NEEDS = AlertFilter(needs_person=True)
SECOND = timedelta(seconds=1)


def store(database: Database, made: Collection[Alert]) -> None:
    """Store alerts, each of its own group."""
    with database.write() as connection:
        alerts.insert_new(connection, [(each, each.id) for each in made])


def inhibit(database: Database, above: str, below: Collection[str], *receivers: str) -> None:
    """Let an alert inhibit others, for receivers."""
    rows = [make_delivery(each, receiver) for each in below for receiver in receivers or ("hook",)]
    with database.write() as connection:
        delivery_transitions.enqueue(connection, rows)
        delivery_transitions.suppress(connection, [Suppression(row, "inhibition", above) for row in rows])


def pages(
    database: Database, size: int, most: int | None = 20_000, wanted: AlertFilter = NEEDS
) -> Iterator[Sequence[str]]:
    """Yield the alerts of each page, to the end of the list."""
    after = None
    with database.read() as connection:
        while True:
            found, after = open_alerts.search(connection, wanted, size, after, most)
            yield [alert.id for alert in found]
            if after is None:
                return


def in_order(made: Collection[Alert]) -> list[str]:
    """Return alerts in the order of the list."""
    return [each.id for each in sorted(made, key=lambda each: (-each.level, -each.opened_at.timestamp(), each.id))]


@pytest.mark.parametrize("levels", [(4, 4, 4, 3, 3, 1), (4, 3, 2, 1, 0), (2, 2, 2, 2), (4, 4, 0)])
@pytest.mark.parametrize("seconds", [0, 1, 3])
def test_pages_joined_are_the_whole_list(database: Database, levels: Sequence[int], seconds: int) -> None:
    """Pages of any size, which may look at any number of alerts, list each alert once, in order.

    Only the last page is short, unless it looks at few alerts. A page that ends with a level loses nothing of the next one.
    """
    made = [
        make_alert(f"id-{number}", level=Level(level), opened_at=NOON + SECOND * (number // max(seconds, 1) * seconds))
        for number, level in enumerate(levels)
    ]
    store(database, made)
    for size in (1, 2, len(made) - 1, len(made), len(made) + 1):
        found = list(pages(database, size))
        assert [*chain(*found)] == in_order(made), size
        assert [len(page) for page in found[:-1]] == [size] * (len(found) - 1)
        assert found[-1]
        for most in (1, 2, len(made)):
            bounded = list(pages(database, size, most))
            assert [*chain(*bounded)] == in_order(made), (size, most)
            assert max(map(len, bounded)) <= size


def test_a_page_that_ends_with_a_level_is_followed_by_the_next_level(database: Database) -> None:
    """50 critical alerts fill a page: the next one has all three high ones."""
    critical = [make_alert(f"critical-{n:02}", level=Level.CRITICAL, opened_at=NOON + n * SECOND) for n in range(50)]
    high = [make_alert(f"high-{n}", level=Level.HIGH, opened_at=NOON + n * SECOND) for n in range(3)]
    store(database, [*critical, *high])
    first, second = pages(database, 50)
    assert (len(first), second) == (50, ["high-2", "high-1", "high-0"])


def test_times_of_opening_and_levels_narrow_the_list(database: Database) -> None:
    """Bounds of the time of opening are included, for each level; only the wanted levels are listed, and pages continue."""
    made = [make_alert(f"id-{n}", level=Level(n % 3 + 1), opened_at=NOON + n * SECOND) for n in range(12)]
    store(database, made)
    wanted = AlertFilter(
        needs_person=True, since=NOON + 2 * SECOND, until=NOON + 9 * SECOND, levels=[Level.LOW, Level.HIGH]
    )
    expected = in_order([each for n, each in enumerate(made) if 2 <= n <= 9 and each.level is not Level.MEDIUM])
    for size in range(1, 8):
        assert [*chain(*pages(database, size, None, wanted))] == expected
        assert [*chain(*pages(database, size, 2, wanted))] == expected
    assert next(pages(database, 8, 6, wanted)) == expected, "only what is in these bounds counts as looked at"


def test_a_search_goes_on_in_the_lower_levels(database: Database) -> None:
    """A search that has looked at enough alerts of one level continues in it, and then in those below."""
    made = [make_alert(f"id-{n}", level=Level.CRITICAL, opened_at=NOON + n * SECOND) for n in range(9)]
    store(database, [*made, make_alert("low", level=Level.LOW, source="other")])
    found = list(pages(database, 5, 4, AlertFilter(needs_person=True, source="other")))
    assert found == [[], [], ["low"]]


def test_each_alert_has_its_own_count_of_those_below(database: Database) -> None:
    """Hundreds below one alert hide none of another one: each has its first ones, the worst first, and its true count."""
    above = [make_alert("a", level=Level.CRITICAL), make_alert("b", level=Level.CRITICAL)]
    many = [make_alert(f"x{n:03}", level=Level(n % 2 + 1), opened_at=NOON + n * SECOND) for n in range(600)]
    few = [make_alert(f"y{n}", level=Level.LOW, opened_at=NOON + n * SECOND) for n in range(3)]
    store(database, [*above, *many, *few])
    inhibit(database, "a", [each.id for each in many], "hook", "mail")
    inhibit(database, "b", [each.id for each in few])
    with database.read() as connection:
        found, _ = open_alerts.search(connection, NEEDS, 50, None, 20_000)
        below = open_alerts.read_folded(connection, found)
    assert [each.id for each in found] == ["a", "b"]
    assert {name: each.count for name, each in below.items()} == {"a": 600, "b": 3}
    assert [alert.id for _, alert in below["a"].first] == in_order(many)[: open_alerts.FIRST_BELOW]
    assert [alert.id for _, alert in below["b"].first] == ["y2", "y1", "y0"]


def listed(database: Database, wanted: AlertFilter = NEEDS) -> dict[str, list[tuple[str, str]]]:
    """Return the alerts of a list in its order, each with those below it, and why."""
    with database.read() as connection:
        found, _ = open_alerts.search(connection, wanted, 50, None, None)
        below = open_alerts.read_folded(connection, found)
    return {
        each.id: [(why, alert.id) for why, alert in below[each.id].first] if each.id in below else [] for each in found
    }


def test_an_inhibited_alert_is_below_its_source_while_that_is_open(database: Database) -> None:
    """A filter still lists it; alerts that inhibit each other are both listed."""
    store(database, [make_alert("old", level=Level.CRITICAL), make_alert("new", level=Level.LOW), make_alert("high")])
    inhibit(database, "old", ["high"])
    assert listed(database) == {"old": [("inhibited", "high")], "new": []}
    assert [*listed(database, AlertFilter(needs_person=True, levels=[Level.HIGH]))] == ["high"]
    inhibit(database, "high", ["old"], "mail")
    assert [*listed(database)] == ["old", "high", "new"]
    inhibit(database, "new", ["high"], "chat")
    with database.write() as connection:
        old = alerts.read(connection, "old")
        assert old is not None
        alerts.update(connection, replace(old, status=Status.ACKED))
    assert listed(database) == {"new": [("inhibited", "high")]}


def test_what_a_sequence_explains_is_below_it(database: Database) -> None:
    """An alert whose newest record is part of a correlation's alert is below that, and one with a later record is not."""
    store(database, [make_alert("new", level=Level.CRITICAL), make_alert("high"), make_alert("low", level=Level.LOW)])
    with database.write() as connection:
        records.insert_new(connection, [make_record(number) for number in (1, 2, 3)])
        joined = {"new": (1, 2), "high": (2,), "low": (1, 3)}
        alerts.join(connection, [(name, n, NOON + n * SECOND) for name, numbers in joined.items() for n in numbers])
        found = CorrelatedAlert("new", "rule-2", ("eve",), "x", NOON, NOON, NOON + SECOND, is_reported=True)
        correlations.write(connection, [(found, "g")])
    assert listed(database) == {"new": [("explained", "high")], "low": []}


def test_a_list_of_folded_alerts_is_read_in_parts(database: Database) -> None:
    """Where nearly all alerts are below others, a page looks at a bounded number, may be empty, and leads to the others."""
    only_sqlite(database)
    below = [make_alert(f"id-{n:04}", level=Level.CRITICAL, opened_at=NOON + n * SECOND) for n in range(2_000)]
    store(database, [*below, make_alert("above", level=Level.HIGH)])
    inhibit(database, "above", [each.id for each in below])
    found = list(pages(database, 50, 100))
    assert (len(found), [*chain(*found)]) == (21, ["above"])
    part = steps(database, lambda connection: open_alerts.search(connection, NEEDS, 50, None, 100))
    whole = steps(database, lambda connection: open_alerts.search(connection, NEEDS, 50, None, None))
    assert part < whole / 10
