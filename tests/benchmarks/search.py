"""How long searches of records take on a large store in SQLite: `python -m tests.benchmarks search [MILLIONS]`.

A part of 100,000 records, of 1,000 users, 500 clusters, 50 accounts and 90 kinds, some of them much more frequent than others,
is repeated into the past. Then a rare user acts once in each million. Each search is asked as the console does. Printed:
how many records the first page has, whether it continues, and the shortest of some times. Ten million take 6 GB.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from datetime import timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection

from actionwatch.base.clock import to_micros
from actionwatch.base.model import Entity, Record, RecordFilter
from actionwatch.queries import PAGE_SIZE, records
from actionwatch.store.database import Database
from actionwatch.store.records import insert_new
from actionwatch.store.tables import RECORD
from tests.builders import NOON, make_record

PART = 100_000
BATCH = 1000
STEP = timedelta(seconds=3)
ROUNDS = 3
RARE = "rarely.seen@example.com"
ASKED = {
    "all": RecordFilter(),
    "user, rare": RecordFilter(user=RARE),
    "user, frequent": RecordFilter(user="user1.name@example.com"),
    "user, none": RecordFilter(user="nobody"),
    "cluster": RecordFilter(cluster="kafka-prod-499"),
    "kind": RecordFilter(kinds=["DELETE_KAFKA_TOPIC_86"]),
    "user and kind": RecordFilter(user="user999.name@example.com", kinds=["DELETE_KAFKA_TOPIC_86"]),
    "words: rare user": RecordFilter(text="RARELY"),
    "words: rare user and kind": RecordFilter(text="rarely topic_1"),
    "words: frequent user": RecordFilter(text="user1.name"),
    "words: all users": RecordFilter(text="example"),
    "words: many clusters": RecordFilter(text="prod-4"),
    "words: kind": RecordFilter(text="TOPIC_86"),
    "words: id of a cluster": RecordFilter(text=f"{499:08x}-1111"),
    "words: rare user, frequent cluster": RecordFilter(text="user999.name prod-1"),
    "words: in a description": RecordFilter(text="orders-7"),
    "words: none": RecordFilter(text="nothing-has-this"),
}


def main(millions: int = 10) -> None:
    """Fill a store, and print a row for each search."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Database(f"sqlite:///{folder}/a.db")) as database:
        database.upgrade()
        started = time.perf_counter()
        key = _fill(database, millions * 1_000_000 // PART)
        print(f"filled in {time.perf_counter() - started:.0f} s", flush=True)
        for name, wanted in {**ASKED, "words: beginning of a key": RecordFilter(text=key[:20])}.items():
            print(_row(database, name, wanted), flush=True)


def _fill(database: Database, parts: int) -> str:
    """Fill a store. Return the key of a record in the middle of it."""
    chance = random.Random(1)
    for start in range(0, PART, BATCH):
        with database.write() as connection:
            insert_new(connection, [_record(number, chance) for number in range(start, start + BATCH)])
    span = to_micros(NOON + PART * STEP) - to_micros(NOON)
    for part in range(1, parts):
        with database.write() as connection:
            _repeat(connection, part * span)
    rare = [_record(-PART * part, chance, user_name=RARE) for part in range(5, parts, 10)]
    with database.write() as connection:
        insert_new(connection, rare)
    return rare[len(rare) // 2].key


def _record(number: int, chance: random.Random, **changes: str) -> Record:
    at = NOON + number * STEP
    cluster = _choose(chance, 500)
    values: dict[str, Any] = {
        "raw": "x" * 100,
        "user_name": f"user{_choose(chance, 1000)}.name@example.com",
        "cluster": Entity(f"{cluster:08x}-1111-4111-8111-{cluster:012x}", f"kafka-prod-{cluster}"),
        "account": Entity(f"{cluster % 50:08x}-2222-4111-8111-{cluster:012x}", f"account-{cluster % 50}"),
        "action_kind": f"{('CREATE', 'DELETE', 'UPDATE', 'LIST')[cluster % 4]}_KAFKA_TOPIC_{_choose(chance, 90)}",
        "description": f"The topic orders-{number % 50} was looked at",
        **changes,
    }
    key = f"{to_micros(at):016x}-{chance.getrandbits(80):020x}"
    return make_record(key=key, occurred_at=at, seen_at=NOON, **values)


def _choose(chance: random.Random, size: int) -> int:
    """Choose a number below `size`: the second is half as frequent as the first, the third a third..."""
    weights = _WEIGHTS.setdefault(size, list(accumulate(1 / (number + 1) for number in range(size))))
    return chance.choices(range(size), cum_weights=weights)[0]


_WEIGHTS: dict[int, list[float]] = {}


def _repeat(connection: Connection, micros: int) -> None:
    """Repeat the first part, and its blocks, into the past."""

    def shifted(key: str) -> str:
        return f"printf('%016x', unhex_time({key}) - {micros}) || substr({key}, 17)"

    driver = connection.connection.driver_connection
    assert driver is not None
    driver.create_function("unhex_time", 1, lambda key: int(key[:16], 16), deterministic=True)
    names = [column.name for column in RECORD.columns if column.name != "id"]
    changed = {"record_key": shifted("record_key"), "occurred_at": f"occurred_at - {micros}"}
    values = ", ".join(changed.get(name, name) for name in names)
    connection.exec_driver_sql(
        f"INSERT INTO record ({', '.join(names)}) SELECT {values} FROM record WHERE id <= {PART}"
    )
    first = f"{to_micros(NOON):016x}"
    columns = f"{shifted('low_key')}, {shifted('high_key')}, size, value_bits"
    connection.exec_driver_sql(
        f"INSERT INTO record_block SELECT {columns} FROM record_block WHERE low_key >= '{first}'"
    )


def _row(database: Database, name: str, wanted: RecordFilter) -> str:
    times = []
    for _ in range(ROUNDS):
        with database.read() as connection:
            started = time.perf_counter(), time.process_time()
            page = records.search(connection, wanted, PAGE_SIZE, records.SEARCHED)
            times.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    wall, cpu = (min(each) * 1000 for each in zip(*times, strict=True))
    more = "continues" if page.next else "ends"
    return f"{name:<36} {len(page.items):>3} {more:<10} {wall:>7.1f} ms {cpu:>7.1f} ms of CPU"
