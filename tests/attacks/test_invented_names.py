"""An upstream that invents kinds and fields without end."""

from __future__ import annotations

from datetime import timedelta

from actionwatch.instaclustr.field_values import MAX_UNMAPPED_FIELDS
from actionwatch.store import seen_fields, self_alerts, unknown_kinds
from actionwatch.store.database import Database
from actionwatch.tail.record_watch import MAX_KINDS, MAX_NAME
from actionwatch.web.metrics import StoreCollector
from tests.integration.tail.test_health import Watched, read_record
from tests.integration.tail.test_tail import bench
from tests.integration.tail.test_watching import history
from tests.upstreams import SOURCE, World

LONGEST_TEXT = 1000
"""Characters of what a self-alert says: 10 names of 60 characters, and the words around them."""


def series(database: Database, world: World) -> list[dict[str, str]]:
    """Return the labels of all series about troubles."""
    families = StoreCollector(database, {SOURCE: timedelta(seconds=10)}, world.clock).collect()
    return [sample.labels for family in families if family.name == "actionwatch_troubles" for sample in family.samples]


def what_is_wrong(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {each.trouble: each.what for each in self_alerts.read_all(connection)}


def test_invented_kinds_are_one_alert_and_one_series(world: World, database: Database) -> None:
    """A page with 1,000 kinds, of which some are long, opens one alert, and `/metrics` has one series for it."""
    on = bench(world, database)
    on.poll()
    for number in range(1000):
        world.log(f"INVENTED_{number:04}_" + "X" * (50_000 if number % 100 == 0 else 0))
    on.poll()
    assert len(on.records()) == 1000
    assert sorted(history(database)) == ["records_cut", "unknown_kind"]
    assert {"trouble": "unknown_kind", "subject": SOURCE} in series(database, world)
    assert len(series(database, world)) == 2
    what = what_is_wrong(database)["unknown_kind"]
    assert "INVENTED_0001" in what
    assert "and 990 more" in what
    assert len(what) < LONGEST_TEXT


def test_kinds_that_are_kept_have_a_limit(world: World, database: Database) -> None:
    """However many kinds an upstream invents, 1,000 of 100 characters are kept; the records are stored all the same."""
    on = bench(world, database)
    on.poll()
    for page in range(3):
        for number in range(700):
            world.log(f"{'LONG' * 100 if number == 0 else 'INVENTED'}_{page}_{number}")
        on.poll()
    assert len(on.records()) == 2100
    with database.read() as connection:
        kept = unknown_kinds.read(connection, SOURCE)
    assert len(kept) == MAX_KINDS
    assert max(len(kind.name) for kind in kept) == MAX_NAME
    assert history(database) == ["unknown_kind"]
    assert what_is_wrong(database)["unknown_kind"].startswith(
        "records of at least 1,000 unknown kinds come from acme: "
    )


def test_invented_fields_are_one_short_text(database: Database) -> None:
    """Records with 3,000 new fields, some too long to keep, open one alert that names a few. 1,000 fields are kept."""
    watched = Watched(database)
    watched.poll("BACKUP")
    for page in range(3):
        read_record(watched, *(f"f{page}x{n:03}" + "y" * (50_000 if n % 100 == 0 else 0) for n in range(1000)))
        found = watched.poll("BACKUP")
    assert len(watched.reader.unmapped_fields) == MAX_UNMAPPED_FIELDS
    assert "and 980 more" in found["unknown_field"]
    assert len(found["unknown_field"]) < LONGEST_TEXT
    again = Watched(database)
    read_record(again, *(f"other{number}" for number in range(1000)))
    again.poll("BACKUP")
    with database.read() as connection:
        assert len(seen_fields.read(connection, again.reader.organisation)) == MAX_UNMAPPED_FIELDS + 1
