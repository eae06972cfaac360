"""What the chain of seals costs: `python -m tests.benchmarks seals [COUNT]`.

Stores so many records, and for each tenth an alert with a delivery and two lines of history, then seals and verifies all of
them. In SQLite: the rates, the CPU of a row, the peak memory, and the size of the store without and with seals.
"""

from __future__ import annotations

import contextlib
import resource
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from actionwatch.store import alert_history, alerts, delivery_transitions, records, seal_checking, seals
from actionwatch.store.alert_history import Entry
from actionwatch.store.database import Database
from tests.builders import NOON, make_alert, make_delivery, make_record

PAGE = 1000
RAW = '{"actionKind": "DELETE_CLUSTER", "description": "' + "x" * 400 + '"}'  # as long as those of the API


def main(count: int = 2_000_000) -> None:
    """Print a row for each step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "actionwatch.db"
        with contextlib.closing(Database(f"sqlite:///{path}")) as database:
            database.upgrade()
            _report("stored", count, lambda: _store(database, count))
            with database.read() as connection:
                rows = seals.count_waiting(connection, seals.MAX_ID - 1).row_count
            before = _size(database)
            _report("sealed", rows, lambda: _seal(database))
            after = _size(database)
            print(
                f"size: {before / 2**20:,.0f} MiB without seals, {(after - before) / 2**20:,.0f} MiB for {rows:,} rows",
                flush=True,
            )
            _report("verified", rows, lambda: _verify(database))


def _report(what: str, count: int, work: Callable[[], None]) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{what:<9} {count / seconds:>9,.0f} rows/s {used / count * 1e6:>6.1f} µs CPU, peak {peak:,.0f} MiB", flush=True
    )


def _store(database: Database, count: int) -> None:
    for start in range(0, count, PAGE):
        numbers = range(start, min(start + PAGE, count))
        page = [
            make_record(number, key=f"{number:016x}-{secrets.token_hex(10)}", minutes=number / 1000, raw=RAW)
            for number in numbers
        ]
        names = [str(number) for number in numbers if number % 10 == 0]
        with database.write() as connection:
            records.insert_new(connection, page)
            alerts.insert_new(connection, [(make_alert(name), name) for name in names])
            delivery_transitions.enqueue(connection, [make_delivery(name) for name in names])
            history = [
                Entry(NOON, name, stage, "because it says so") for name in names for stage in ("matched", "sent")
            ]
            alert_history.append(connection, history)


def _seal(database: Database) -> None:
    count = 1
    while count:
        with database.write() as connection:
            count = seals.seal_next(connection, NOON)


def _size(database: Database) -> int:
    """Return how many bytes the pages in use have."""
    with database.read() as connection:
        pages, free, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def _verify(database: Database) -> None:
    with database.read() as connection:
        found = seal_checking.check(connection)
    assert not found.difference_count, found.differences
