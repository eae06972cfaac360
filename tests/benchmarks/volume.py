"""The questions of `test_plans` on a large store in PostgreSQL: `python -m tests.benchmarks volume [MILLIONS]`.

The store of that test is repeated into the past until it has so many millions of records, and an alert with two messages, a
receipt and history for each 50 records. The server plans as it likes, with its own statistics. Printed for each question: how
many rows of large tables it visits, and the time, after a first run. 50 million take about half an hour and 25 GB.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from actionwatch.store.database import Database
from actionwatch.store.tables import METADATA
from tests import postgresql
from tests.integration.store import test_plans as plans
from tests.statements import undone

STEP = plans.RECORDS * 1_000_000  # microseconds between two copies
TIMES = {
    "occurred_at",
    "seen_at",
    "first_at",
    "last_at",
    "opened_at",
    "happened_at",
    "created_at",
    "started_at",
    "due_at",
}
TIMES |= {"at", "starts_at", "ends_at", "judged_at", "first_judged_at", "until", "sent_at"}
NAMED = {"record_key", "id", "alert_id", "group_key"}
"""Keys that are texts."""


def main(millions: int = 50) -> None:
    """Fill a store, and print a row for each question."""
    with postgresql.other_database("volume") as url, contextlib.closing(Database(url)) as database:
        database.upgrade()
        plans._fill(database)
        for table in sorted(plans.BIG):
            copies = millions * 1_000_000 // plans.RECORDS
            started = time.perf_counter()
            _repeat(database, table, copies if table == "record" else copies // 10)
            print(f"{table}: filled in {time.perf_counter() - started:.0f} s", flush=True)
        with database.write() as connection:
            connection.exec_driver_sql("ANALYZE")
        for table in sorted(plans.BIG):
            print(f"{table}: {_scalar(database, f'SELECT count(*) FROM {table}'):,} rows")
        size = _scalar(database, "SELECT pg_database_size(current_database())")
        print(f"{size / 2**30:.1f} GiB\n\n{'question':<45} {'visited':>8} {'sequential':>10} {'ms':>8}")
        for name, ask in plans.QUESTIONS.items():
            print(_row(database, name, ask), flush=True)


def _repeat(database: Database, name: str, copies: int) -> None:
    """Repeat the rows of a table into the past. Numbers continue below 1, because the newest rows have the highest."""
    columns = METADATA.tables[name].columns
    values: Mapping[str, str] = {column.name: _shifted(name, column.name, str(column.type)) for column in columns}
    statement = f"INSERT INTO {name} ({', '.join(values)}) SELECT {', '.join(values.values())} FROM first, "
    with database.write() as connection:
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE first ON COMMIT DROP AS SELECT * FROM {name}")
        for copy in range(1, copies + 1):
            connection.exec_driver_sql(f"{statement} (VALUES ({copy})) AS numbers (copy)")


def _shifted(table: str, column: str, type_: str) -> str:
    rows = plans.RECORDS if table == "record" else plans.ALERTS
    if column == "record_key":
        return f"lpad(to_hex(occurred_at - copy * {STEP}::bigint), 16, '0') || substr(record_key, 17)"
    if column in ("id", "record_id") and type_ == "BIGINT":
        return f"{column} - copy * {plans.RECORDS if column == 'record_id' else rows}"
    if column in NAMED:
        return f"{column} || '#' || copy"
    return f"{column} - copy * {STEP}::bigint" if column in TIMES else column


def _scalar(database: Database, query: str) -> int:
    with database.read() as connection:
        found: int = connection.exec_driver_sql(query).scalar() or 0
        return found


def _row(database: Database, name: str, ask: plans.Question) -> str:
    visited, sequential = 0, 0
    for statement, parameters in plans.asked(database, ask):
        nodes: list[dict[str, Any]] = list(plans._nodes(_plan(database, statement, parameters)))
        large = [node for node in nodes if node.get("Relation Name") in plans.BIG]
        visited += sum(map(plans._visited, large))
        sequential += sum(node["Node Type"] == "Seq Scan" for node in large)
    with undone(database) as connection:
        started = time.perf_counter()
        ask(connection)
        seconds = time.perf_counter() - started
    return f"{name:<45} {visited:>8,} {sequential or '':>10} {seconds * 1000:>8.1f}"


def _plan(database: Database, statement: str, parameters: Any) -> dict[str, Any]:
    with undone(database) as connection:
        (((root,),),) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        found: dict[str, Any] = root["Plan"]
        return found
