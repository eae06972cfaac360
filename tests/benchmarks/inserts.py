"""How fast new records are stored in each database: `python -m tests.benchmarks inserts [COUNT]`.

The same records, in pages as the upstream sends them, each in its own transaction. The rate, and the CPU of our process a
record: the rest is the database's work, which for PostgreSQL is done by another process.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from collections.abc import Iterator

from actionwatch.store.database import Database
from actionwatch.store.records import insert_new
from tests import postgresql
from tests.builders import make_record

PAGES = (250, 1000)
ROUNDS = 3


def main(count: int = 30_000) -> None:
    """Print a row for each database and size of a page."""
    print(f"{'page':>6}  {'database':<10} {'records/s':>10} {'CPU':>9}")
    for size in PAGES:
        for _ in range(ROUNDS):
            for name, url in _stores():
                rate, cpu = _measure(url, size, count)
                print(f"{size:>6}  {name:<10} {rate:>10,.0f} {cpu:>6.1f} µs", flush=True)


def _stores() -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        yield "SQLite", f"sqlite:///{folder}/actionwatch.db"
    with postgresql.other_database("inserts") as url:
        yield "PostgreSQL", url


def _measure(url: str, size: int, count: int) -> tuple[float, float]:
    """Return records a second, and microseconds of our CPU a record."""
    records = [
        make_record(number, key=f"{number:012d}:{secrets.token_hex(16)}", minutes=number / 1000)
        for number in range(count)
    ]
    with contextlib.closing(Database(url)) as database:
        database.upgrade()
        started, cpu = time.perf_counter(), time.process_time()
        for start in range(0, count, size):
            with database.write() as connection:
                insert_new(connection, records[start : start + size])
        seconds = time.perf_counter() - started
        return count / seconds, (time.process_time() - cpu) / count * 1e6
