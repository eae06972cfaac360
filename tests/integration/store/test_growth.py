"""What people and polls ask of the store costs the same on a large store as on a small one.

SQLite's virtual machine counts its steps, so that no test depends on the speed of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event

from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.model import Record, RecordFilter, Status
from actionwatch.cli.snapshot import take_snapshot
from actionwatch.service import configuration
from actionwatch.store import (
    alerts,
    delivery_transitions,
    outbox,
    positions,
    receipts,
    record_counts,
    record_keys,
    record_search,
    records,
)
from actionwatch.store.database import Database
from actionwatch.web.metrics import StoreCollector
from tests.builders import NOON, Clock, make_alert, make_delivery, make_receipt, make_record, open_database
from tests.positions import move_to
from tests.statements import GRAIN, steps

SMALL, LARGE = 1000, 20_000
MOST = 1.5  # times the steps for 1,000 records may be needed for 20,000


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Database]]:
    """Fill two stores."""
    made = {
        size: filled(open_database(tmp_path_factory.mktemp("growth"), f"{size}.db"), size) for size in (SMALL, LARGE)
    }
    yield made
    for database in made.values():
        database.close()


def filled(database: Database, size: int) -> Database:
    """Store records, of which the newest are not backlog, and one receipt for ten of them."""
    for start in range(0, size, SMALL):
        with database.write() as connection:
            batch = [record_no(number, is_backlog=number < size - 500) for number in range(start, start + SMALL)]
            records.insert_new(connection, batch)
    with database.write() as connection:
        opened = [make_alert(f"{number:06}", opened_at=record_no(number).occurred_at) for number in range(size)]
        alerts.insert_new(connection, [(each, "g") for each in opened])
        rows = [make_delivery(f"{number:06}", due_at=NOON + timedelta(seconds=number)) for number in range(size)]
        delivery_transitions.enqueue(connection, rows)
        for number in range(0, size, 10):
            end = NOON + timedelta(seconds=number)
            receipts.write(connection, make_receipt(ends_at=end, judged_at=end, record_count=1, digest=str(number)))
        for step in (positions.MATCHED, positions.CORRELATED):
            move_to(connection, step, size)
    return database


def record_no(number: int, *, is_backlog: bool = False) -> Record:
    """Make one record a second."""
    return make_record(number, minutes=number / 60, is_backlog=is_backlog)


def searched(connection: Connection, number: int) -> list[object]:
    """Search the newest records for a user that none of them has, as `records list` does."""
    return list(record_search.search(connection, RecordFilter(user="nobody"), 50, None, number)[0])


AROUND = RecordFilter(user="eve", since=NOON, until=NOON + timedelta(minutes=1))
PENDING = DeliveryStatus.PENDING


def newest_due(connection: Connection) -> datetime:
    """Return when the delivery before the last 300 is due, for which the same number of steps is needed in each store."""
    count = records.newest_id(connection)
    return NOON + timedelta(seconds=count - 300)


OLD = record_no(300)
"""Behind it are 300 records and alerts, before it as many as the store has besides."""
NOBODY = RecordFilter(user="nobody", until=NOON + timedelta(days=30))
RESOLVED = alerts.AlertFilter(statuses=[Status.RESOLVED], until=NOON + timedelta(days=30))
QUESTIONS: dict[str, Callable[[Connection], object]] = {
    "records of each source": record_counts.count_by_source,
    "records ever stored": record_counts.count_ever_stored,
    "handled records": lambda c: positions.read_handled(c, positions.MATCHED),
    "delay of the newest records": lambda c: record_counts.lateness(c, 100),
    "newest records": lambda c: record_search.search(c, RecordFilter(), 50, None, None)[0],
    "search without a result": lambda c: searched(c, 500),
    "last page of records": lambda c: record_search.search(c, NOBODY, 50, (OLD.occurred_at, OLD.key, OLD.source), 100),
    "last page of alerts": lambda c: alerts.search(c, RESOLVED, 50, (OLD.occurred_at, "000300"), 100),
    "page of records of a long time": lambda c: record_search.search(c, replace(NOBODY, since=NOON), 50, None, 100),
    "page of alerts of a long time": lambda c: alerts.search(c, replace(RESOLVED, since=NOON), 50, None, 100),
    "last page of deliveries": lambda c: outbox.read_page(c, PENDING, "hook", 50, ("hook", newest_due(c), "")),
    "last page of all deliveries": lambda c: outbox.read_page(c, PENDING, None, 50, ("hook", newest_due(c), "")),
    "record by a prefix of its key": lambda c: records.read_by_prefix(c, record_keys.key_floor(NOON)),
    "short key": lambda c: records.short_key(c, f"{record_keys.key_floor(NOON)}-x", 16),
    "records around another": lambda c: record_search.search(c, AROUND, 50, None, None)[0],
    "oldest record": records.oldest_time,
    "newest receipt": lambda c: receipts.read_newest_time(c, "acme"),
    "newest receipts": lambda c: list(receipts.stream(c, limit=50)),
    "known page": lambda c: records.insert_new(c, [record_no(number, is_backlog=True) for number in range(100)]),
    "new receipt": lambda c: receipts.write(c, make_receipt(judged_at=NOON + timedelta(days=1))),
    "new position": lambda c: move_to(c, positions.MATCHED, records.newest_id(c)),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_cost_does_not_grow_with_the_store(stores: dict[int, Database], name: str) -> None:
    """A question takes at most half as many steps more on a store that is 20 times as large."""
    small, large = (steps(stores[size], QUESTIONS[name]) for size in (SMALL, LARGE))
    assert large <= MOST * small + 10 * GRAIN, (small, large)


@pytest.fixture(scope="module")
def untimed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Database]]:
    """Fill two stores with records without a readable time, a page in each minute."""
    made = {}
    for size in (SMALL, LARGE):
        made[size] = open_database(tmp_path_factory.mktemp("untimed"), f"{size}.db")
        for start in range(0, size, 500):
            with made[size].write() as connection:
                batch = [
                    make_record(number, minutes=start // 500, key=f"untimed-{number:06}", is_time_readable=False)
                    for number in range(start, start + 500)
                ]
                records.insert_new(connection, batch)
    yield made
    for database in made.values():
        database.close()


IN_OLDEST_PAGE = (NOON, "untimed-000300", "acme")
UNTIMED_QUESTIONS: dict[str, Callable[[Connection], object]] = {
    "newest records": lambda c: record_search.search(c, RecordFilter(), 50, None, None)[0],
    "search without a result": lambda c: searched(c, 500),
    "first page of records": lambda c: record_search.search(c, NOBODY, 50, None, 100),
    "last page of records": lambda c: record_search.search(c, NOBODY, 50, IN_OLDEST_PAGE, 100),
    "page of records of a long time": lambda c: record_search.search(c, replace(NOBODY, since=NOON), 50, None, 100),
    "newest time": lambda c: records.newest_time(c, LARGE),
}


@pytest.mark.parametrize("name", UNTIMED_QUESTIONS)
def test_cost_does_not_grow_with_untimed_records(untimed: dict[int, Database], name: str) -> None:
    """A search is bounded where no record has a readable time, too."""
    small, large = (steps(untimed[size], UNTIMED_QUESTIONS[name]) for size in (SMALL, LARGE))
    assert large <= MOST * small + 10 * GRAIN, (small, large)


CONFIG = """
sources:
  - {name: acme, organisation_id: 11111111-1111-4111-8111-111111111111, username: bob, api_key: key}
"""
NEWEST = "SELECT anon_1.source"
"""The statement that reads the newest records only, and stops after some."""


def test_status_and_metrics_scan_no_large_table(stores: dict[int, Database], tmp_path: Path) -> None:
    """`status` and `/metrics` find what they show by indexes and counters."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "actionwatch.yaml").write_text(CONFIG)
    settings = configuration.read_settings(tmp_path / "actionwatch.yaml", {})
    database = stores[SMALL]
    asked = [
        *statements(lambda: take_snapshot(settings, database)),
        *statements(lambda: list(StoreCollector(database, settings.poll_intervals, Clock()).collect())),
    ]
    assert any(statement.startswith(NEWEST) for statement, _ in asked)
    with database.read() as connection:
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            scans = {line for *_, line in plan if line.startswith("SCAN") and "COVERING INDEX" not in line}
            large = {
                line for line in scans if line.split()[1] in ("record", "receipt", "alert", "alert_record", "delivery")
            }
            assert not large or statement.startswith(NEWEST), (statement, scans)


def statements(run: Callable[[], object]) -> list[tuple[str, tuple[object, ...]]]:
    """Return the queries that are run, with their parameters."""
    found = []

    def note(_: object, __: object, statement: str, parameters: tuple[object, ...], *___: object) -> None:
        if statement.startswith("SELECT"):
            found.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        run()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return found
