"""Records in the store: stored once, read in storage order, found by filters, deleted when nothing needs them."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, select

from actionwatch.base.model import Entity, Record, RecordFilter
from actionwatch.store import alerts, record_counts, record_search, records, source_records, suppressed_deliveries
from actionwatch.store.database import Database
from actionwatch.store.records import Needed
from actionwatch.store.tables import RECORD
from tests.builders import NOON, file_of, make_alert, make_record, only_sqlite, open_database
from tests.statements import GRAIN, steps

FULL = make_record(
    domain_type="cluster",
    description="50% of_all",
    account=Entity("a-1", "Acme"),
    cluster=Entity("c-1", "prod"),
    organisation=Entity("o-1", None),
    operation="DELETE",
    scope="account",
    severity="high",
    upstream_id="u-1",
    raw='{"x": 1}',
    is_time_readable=False,
    is_backlog=True,
    late_by=timedelta(microseconds=3),
)


def store(database: Database, *stored: Record) -> int:
    """Store records. Return how many were new."""
    with database.write() as connection:
        return records.insert_new(connection, stored)


def users(found: list[Record]) -> list[str]:
    """Return their users, which tests use as names."""
    return [record.user_name or "" for record in found]


@pytest.mark.parametrize("record", [make_record(), FULL])
def test_record_is_read_back_unchanged(database: Database, record: Record) -> None:
    """A record is read back unchanged, with a local id."""
    store(database, record)
    with database.read() as connection:
        (found,) = records.read_after(connection, 0, 10)
    assert found == msgspec.structs.replace(record, id=1)


@pytest.mark.parametrize("changed", [None, 0, 249, 250, 599])
def test_many_records_are_read_back_unchanged(database: Database, changed: int | None) -> None:
    """Many records that have all values but the key in common, except perhaps one of them, are read back unchanged."""
    many = [make_record(number) for number in range(600)]
    if changed is not None:
        many[changed] = msgspec.structs.replace(FULL, key=many[changed].key)
    assert (store(database, *many), store(database, *many)) == (600, 0)
    with database.read() as connection:
        found = records.read_after(connection, 0, 1000)
    assert found == [msgspec.structs.replace(record, id=number) for number, record in enumerate(many, 1)]


def test_columns_without_a_value_are_left_out(database: Database) -> None:
    """A statement names no column that is null in all its rows, because a driver spends more time on a NULL than on a text."""
    statements: list[str] = []
    with database.write() as connection:
        event.listen(connection, "before_cursor_execute", lambda *given: statements.append(given[2]))
        records.insert_new(connection, [make_record(1), make_record(2)])
        records.insert_new(connection, [make_record(3), msgspec.structs.replace(FULL, key="full")])
    inserted = [statement for statement in statements if "INSERT INTO record (" in statement]
    assert ["upstream_id" in statement for statement in inserted] == [False, True]


def test_known_records_are_skipped(database: Database) -> None:
    """A record with a known source and key is not stored again; twins and records of other sources are."""
    record = make_record()
    assert store(database, record, make_record(2)) == 2
    twin, elsewhere = make_record(key=f"{record.key}~1"), make_record(source="other")
    assert store(database, record, twin, elsewhere, make_record(3)) == 3
    with database.read() as connection:
        found = records.read_after(connection, 0, 10)
        assert record_counts.count_by_source(connection) == {"acme": 4, "other": 1}
    assert len({(one.source, one.key) for one in found}) == 5


def test_large_batch_is_stored_once_in_key_order(database: Database) -> None:
    """A batch of any size and order is stored once, in the order of the keys."""
    batch = [make_record(number, minutes=number, user_name=str(number)) for number in range(620)]
    assert store(database, *batch[100:400]) == 300
    assert store(database, *reversed(batch), batch[7]) == 320
    assert store(database, *batch) == store(database) == 0
    with database.read() as connection:
        found = users(records.read_after(connection, 300, 1000))
    assert found == [str(number) for number in (*range(100), *range(400, 620))]


def test_values_from_the_caller_are_stored(database: Database) -> None:
    """Values that the caller determines are stored instead of those of the record."""
    with database.write() as connection:
        records.insert_new(connection, [make_record()], classify=lambda record: (True, timedelta(seconds=9)))
        (found,) = records.read_after(connection, 0, 9)
    assert (found.is_backlog, found.late_by) == (True, timedelta(seconds=9))


def test_first_version_of_a_record_is_kept(database: Database) -> None:
    """A record that arrives again with other fields outside its key is not rewritten."""
    store(database, make_record(description="first"))
    store(database, make_record(description="second"))
    with database.read() as connection:
        assert [found.description for found in records.read_after(connection, 0, 9)] == ["first"]


def test_records_are_read_after_a_position(database: Database) -> None:
    """Records are read in storage order, regardless of their time, after a position, up to a limit."""
    store(database, make_record(user_name="a", minutes=5))
    store(database, make_record(user_name="c"), make_record(user_name="b", minutes=-5))
    with database.read() as connection:
        assert users(records.read_after(connection, 0, 10)) == ["a", "b", "c"]
        assert users(records.read_after(connection, 1, 1)) == ["b"]
        assert records.read_after(connection, 3, 10) == []
        assert records.newest_id(connection) == 3


def test_local_ids_are_not_reused(database: Database) -> None:
    """After retention deleted the newest records, the next record still comes after every position."""
    store(database, make_record(1), make_record(2))
    with database.write() as connection:
        assert len(records.delete_older(connection, NOON + timedelta(days=1), 2, 10)) == 2
        assert records.newest_id(connection) == 0
    store(database, make_record(3))
    with database.read() as connection:
        assert records.newest_id(connection) == 3


def test_known_records_use_no_ids(database: Database) -> None:
    """Records that are read again use no ids: ids count the stored records, and increase in the order of storing."""
    batch = [make_record(n) for n in range(600)]
    for last in (1, 300, 300, 600):
        store(database, *batch[:last], *batch[:last])
    with database.read() as connection:
        assert [found.id for found in records.read_after(connection, 0, 1000)] == list(range(1, 601))
        only_sqlite(database)
        used = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'record'").scalar()
    assert used == 600


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["acme", "other"])), max_size=12),
            st.integers(0, 40),
        ),
        max_size=8,
    )
)
def test_counters_are_the_numbers_of_rows(steps: list[list[tuple[int, str]] | int]) -> None:
    """After any stores (lists) and deletions (up to an id), the counters of each source are the number of its rows."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(open_database(Path(folder))) as database:
        ever = 0
        for step in steps:
            with database.write() as connection:
                if isinstance(step, int):
                    records.delete_older(connection, NOON + timedelta(days=1), step, 5)
                    continue
                before = rows_of(connection).total()
                records.insert_new(connection, [make_record(number, source=source) for number, source in step])
                ever += rows_of(connection).total() - before
        with database.read() as connection:
            assert +Counter(record_counts.count_by_source(connection)) == rows_of(connection)
            assert record_counts.count_ever_stored(connection) == ever


def rows_of(connection: Connection) -> Counter[str]:
    """Count the rows of each source."""
    return Counter(connection.execute(select(RECORD.c.source)).scalars())


def test_time_of_the_nth_newest_record(database: Database) -> None:
    """The nth record is counted back from the newest by event time, apart from those that have no readable time."""
    store(database, *(make_record(n, minutes=n) for n in (3, 1, 2)), make_record(key="own-1", minutes=9))
    with database.read() as connection:
        times = [record_search.time_of_nth(connection, n, None) for n in (1, 2, 3, 4)]
        until = record_search.time_of_nth(connection, 2, NOON + timedelta(minutes=2))
    assert times == [NOON + timedelta(minutes=9), NOON + timedelta(minutes=2), NOON + timedelta(minutes=1), None]
    assert until == NOON + timedelta(minutes=1)
    store(database, *(make_record(key=f"untimed-{n}", minutes=n) for n in (4, 5, 6)))
    with database.read() as connection:
        times = [record_search.time_of_nth(connection, n, None) for n in (3, 4, 5)]
        until = record_search.time_of_nth(connection, 2, NOON + timedelta(minutes=5))
    assert times == [NOON + timedelta(minutes=5), NOON + timedelta(minutes=4), None]
    assert until == NOON + timedelta(minutes=4)


PEOPLE = (
    make_record(1, user_name="a", action_kind="READ", operation="READ", account=Entity("a-1", "Acme"), scope="account"),
    make_record(2, minutes=1, user_name="b", description="Used 50% of it", cluster=Entity("c-1", "prod")),
    make_record(3, minutes=2, user_name="c", description="used 50x of_it", cluster=Entity(None, "c-1")),
    make_record(4, minutes=3, user_name="JÜRGEN", description="Ünder \\ back", account=Entity("Acme", None)),
)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["JÜRGEN", "c", "b", "a"]),
        ({"kinds": ["READ"]}, ["a"]),
        ({"kinds": ["READ", "DELETE_CLUSTER"]}, ["JÜRGEN", "c", "b", "a"]),
        ({"operations": ["READ"]}, ["a"]),
        ({"user": "B"}, ["b"]),
        ({"user": "JÜRGEN"}, ["JÜRGEN"]),
        ({"user": "jÜrgen"}, ["JÜRGEN"]),
        ({"user": "nobody"}, []),
        ({"account": "a-1"}, ["a"]),
        ({"account": "Acme"}, ["JÜRGEN", "a"]),
        ({"cluster": "c-1"}, ["c", "b"]),
        ({"cluster": "prod"}, ["b"]),
        ({"scope": "account"}, ["a"]),
        ({"keyword": "50%"}, ["b"]),
        ({"keyword": "f_i"}, ["c"]),
        ({"keyword": "USED"}, ["c", "b"]),
        ({"keyword": "\\"}, ["JÜRGEN"]),
        ({"keyword": "%"}, ["b"]),
        ({"since": NOON + timedelta(minutes=2)}, ["JÜRGEN", "c"]),
        ({"until": NOON + timedelta(minutes=1)}, ["b", "a"]),
        ({"since": NOON + timedelta(minutes=1), "until": NOON + timedelta(minutes=1)}, ["b"]),
        ({"since": NOON + timedelta(minutes=1, microseconds=1), "until": NOON + timedelta(minutes=2)}, ["c"]),
        ({"user": "b", "kinds": ["READ"]}, []),
    ],
)
def test_filter_selects_exactly_its_records(database: Database, wanted: dict[str, Any], expected: list[str]) -> None:
    """A filter selects exactly what it names, bounds included, with % and _ as plain characters, newest first."""
    store(database, *PEOPLE)
    with database.read() as connection:
        asked = RecordFilter(**wanted)
        assert users(record_search.search(connection, asked, 99, None, None)[0]) == expected
        assert users(record_search.search(connection, asked, 1, None, None)[0]) == expected[:1]
        assert users(list(record_search.stream(connection, asked))) == expected[::-1]
    assert users(list(record_search.stream_in_portions(database, asked))) == expected[::-1]


def test_stream_of_a_time_has_the_order_of_storage(database: Database) -> None:
    """The records of a time are streamed in the order in which they were stored, whatever their times and keys are."""
    keys: dict[int, dict[str, Any]] = {2: {"key": "own-2"}, 4: {"key": "untimed-4"}}
    for number, minutes in enumerate((5, 1, 9, 4, 3, 8, 2, 9)):
        store(database, make_record(number, minutes=minutes, user_name=str(minutes), **keys.get(minutes, {})))
    with database.read() as connection:
        for since, until, expected in (
            (3, None, "594389"),
            (None, 4, "1432"),
            (3, 5, "543"),
            (2, 2, "2"),
            (6, 7, ""),
            (10, None, ""),
            (None, 0, ""),
            (None, None, "51943829"),
        ):
            bounds = [None if each is None else NOON + timedelta(minutes=each) for each in (since, until)]
            found = list(record_search.stream(connection, RecordFilter(since=bounds[0], until=bounds[1])))
            assert "".join(users(found)) == expected


def test_stream_returns_every_record(database: Database) -> None:
    """Every record is streamed, also from more than one page."""
    store(database, *(make_record(n) for n in range(2500)))
    with database.read() as connection:
        assert sum(1 for _ in record_search.stream(connection, RecordFilter())) == 2500


def test_slow_reader_of_portions_keeps_nobody_waiting(database: Database) -> None:
    """While a pager shows a part of an export, no transaction reads: the log of SQLite can be cut. Nothing is left out."""
    store(database, *(make_record(n) for n in range(2500)))
    found = record_search.stream_in_portions(database, RecordFilter())
    taken = [next(found) for _ in range(1500)]
    store(database, make_record(2500))
    if not database.is_shared:
        with contextlib.closing(sqlite3.connect(file_of(database), timeout=0)) as connection:
            ((is_busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert not is_busy
    assert [each.id for each in [*taken, *found]] == list(range(1, 2501)), "those that were stored at the beginning"


def test_stream_by_time_is_ordered_across_sources(database: Database) -> None:
    """Records are streamed in the order of their times across sources and key formats, each action once."""
    late = make_record(1, minutes=3, user_name="d")
    store(
        database,
        late,
        make_record(2, minutes=1, user_name="b"),
        make_record(2, minutes=1, source="b", user_name="copy"),
    )
    own = make_record(key="own-1", minutes=2, user_name="own")
    untimed = make_record(key="untimed-1", minutes=1, user_name="untimed", is_time_readable=False)
    store(database, own, untimed, make_record(minutes=0, user_name="a"), make_record(minutes=9, user_name="e"))
    with database.read() as connection:
        assert records.newest_time(connection, 0) is None
        assert records.newest_time(connection, 3) == late.occurred_at
        assert records.newest_time(connection, 9) == NOON + timedelta(minutes=9)
        in_time = ["a", "b", "copy", "untimed", "own", "d", "e"]
        assert users(list(records.stream_since(connection, None, 9))) == [user for user in in_time if user != "copy"]
        assert users(list(records.stream_since(connection, NOON + timedelta(minutes=1), 6))) == [
            "b",
            "own",
            "d",
            "e",
        ]
        later = NOON + timedelta(minutes=1), NOON + timedelta(minutes=2)
        assert users(list(records.stream_since(connection, later[0], 9, until=later[1], kinds=["DELETE_CLUSTER"]))) == [
            "b",
            "untimed",
            "own",
        ]
        assert users(record_search.search(connection, RecordFilter(), 99, None, None)[0]) == in_time[::-1]
        assert users(record_search.search(connection, RecordFilter(), 3, None, None)[0]) == in_time[:-4:-1]
        until = RecordFilter(since=NOON + timedelta(minutes=1), until=NOON + timedelta(minutes=2))
        assert users(record_search.search(connection, until, 3, None, None)[0]) == ["own", "untimed", "copy"]


COPIES = "CORRELATED SCALAR SUBQUERY 1\nSEARCH other USING INDEX record_by_key (record_key=?)\n"
"""How the other records of an action are looked for."""


def plans(database: Database, ask: Callable[[Connection], object]) -> str:
    """Return how SQLite executes a query."""
    only_sqlite(database)
    details: list[str] = []
    with database.read() as connection:

        @event.listens_for(connection, "before_cursor_execute")
        def explain(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
            raw = connection.connection.driver_connection
            assert raw is not None
            details.extend(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

        ask(connection)
    return "\n".join(details)


OTHERS = ("SCAN record USING INDEX record_untimed", "SEARCH record USING INDEX record_untimed")


@pytest.mark.parametrize(
    "ask",
    [
        lambda connection: record_search.search(connection, RecordFilter(), 9, None, None)[0],
        lambda connection: record_search.search(connection, RecordFilter(since=NOON, scope="account"), 9, None, None)[
            0
        ],
        lambda connection: list(records.stream_since(connection, NOON, 9)),
        lambda connection: list(records.stream_since(connection, None, 9)),
        lambda connection: list(records.stream_since(connection, NOON, 9, until=NOON, kinds=["DELETE_CLUSTER"])),
        lambda connection: records.newest_time(connection, 9),
    ],
)
def test_query_by_time_uses_indexes(database: Database, ask: Callable[[Connection], object]) -> None:
    """The index by key returns records by time, and another one those whose keys have no time: nothing is sorted."""
    store(database, make_record())
    found = plans(database, ask).replace(COPIES.rstrip(), "").replace("COVERING ", "").split("\n")
    by_time, others = [each for each in found if each]
    assert by_time == "SEARCH record USING INDEX record_by_key (record_key>? AND record_key<?)"
    assert others.partition(" (occurred_at>?")[0] in OTHERS


@pytest.mark.parametrize(
    ("ask", "found"),
    [
        (
            lambda connection: source_records.count_held(connection, "acme", NOON, NOON + timedelta(hours=1)),
            "SEARCH record USING COVERING INDEX record_by_source (source=? AND record_key>? AND record_key<?)\n"
            "SEARCH record USING COVERING INDEX record_vanished (source=? AND record_key>? AND record_key<?)",
        ),
        (
            lambda connection: source_records.count_vanished(connection, "acme", NOON),
            "SEARCH record USING COVERING INDEX record_vanished (source=? AND record_key>?)",
        ),
        (
            lambda connection: suppressed_deliveries.read_groups(connection, "hook"),
            # It has the order of the groups.
            "SEARCH delivery USING COVERING INDEX delivery_awaiting (receiver=? AND awaits>?)",
        ),
    ],
)
def test_count_uses_indexes_only(database: Database, ask: Callable[[Connection], object], found: str) -> None:
    """What is counted again and again reads no rows, however many records vanished, or rows await a summary."""
    assert plans(database, ask) == found


def test_record_is_found_by_its_key(database: Database) -> None:
    """A key finds its record; an unknown key finds nothing."""
    record = make_record(user_name="a")
    store(database, record)
    with database.read() as connection:
        found = records.read_by_key(connection, record.key)
        assert found is not None
        assert found.user_name == "a"
        assert records.read_by_key(connection, "unknown") is None


def test_record_is_found_by_a_prefix_of_its_key(database: Database) -> None:
    """A prefix finds its record once, also if two sources have it; an ambiguous one finds two; a whole key is unique."""
    first, second = make_record(1, key="own-1"), make_record(2, key="own-12")
    store(database, first, second, msgspec.structs.replace(first, source="other"), make_record(3))
    with database.read() as connection:
        found = {
            text: [each.key for each in records.read_by_prefix(connection, text)] for text in ("own-1", "own", "q", "")
        }
        assert found["own-1"] == ["own-1"]
        assert found["own"] == ["own-1", "own-12"]
        assert (found["q"], len(found[""])) == ([], 2)
    assert "SCAN" not in plans(database, lambda connection: records.read_by_prefix(connection, "own"))


def test_short_key_is_a_unique_prefix(database: Database) -> None:
    """The short form of a key has a minimum length, and grows where another record shares it."""
    key = make_record(1).key
    alone, twins = make_record(2, minutes=5), [make_record(3, key=f"{key[:20]}a"), make_record(4, key=f"{key[:20]}b")]
    store(database, alone, *twins)
    with database.read() as connection:
        assert records.short_key(connection, alone.key, 16) == alone.key[:16]
        assert [records.short_key(connection, twin.key, 16) for twin in twins] == [twin.key for twin in twins]
        assert records.short_key(connection, "own-1", 16) == "own-1"


def test_clusters_by_name(database: Database) -> None:
    """A name that two clusters had gives both ids; a cluster without a name or an id is left out."""
    given = [
        Entity("c-1", "a"),
        Entity("c-2", "a"),
        Entity("c-1", "a"),
        Entity("c-3", "b"),
        Entity("c-4"),
        Entity(name="d"),
    ]
    store(database, *(make_record(n, minutes=n, cluster=each) for n, each in enumerate(given)))
    with database.read() as connection:
        found = records.read_cluster_ids(connection, None)
        assert {name: sorted(ids) for name, ids in found.items()} == {"a": ["c-1", "c-2"], "b": ["c-3"]}
        assert records.read_cluster_ids(connection, NOON + timedelta(minutes=3)) == {"b": ["c-3"]}


def test_newest_records_of_alerts(database: Database) -> None:
    """The newest records of each alert by event time are read, newest last, ties by key. Each alert is in the result."""
    for n in range(10):
        store(database, make_record(n, minutes=-(n // 2), user_name=str(n)))
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(name), name) for name in ("one", "two")])
        times = [NOON - timedelta(minutes=n // 2) for n in range(10)]
        alerts.join(connection, [("one", n, at) for n, at in enumerate(times, 1)] + [("two", 4, times[3])])
        found = records.read_of_alerts(connection, ["one", "two", "none"], 3)
    assert {alert_id: users(shown) for alert_id, shown in found.items()} == {
        "one": ["3", "0", "1"],
        "two": ["3"],
        "none": [],
    }


@given(
    minutes=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    most=st.integers(1, 12),
)
def test_newest_records_of_an_alert(tmp_path_factory: pytest.TempPathFactory, minutes: list[int], most: int) -> None:
    """The newest records are found, with ties, in any order."""
    with contextlib.closing(open_database(tmp_path_factory.mktemp("joined"))) as database:
        stored = [make_record(n, key=f"{n:02}", minutes=minute) for n, minute in enumerate(minutes)]
        with database.write() as connection:
            for record in stored:
                records.insert_new(connection, [record])
            alerts.insert_new(connection, [(make_alert("one"), "one")])
            alerts.join(connection, [("one", n, record.occurred_at) for n, record in enumerate(stored, 1)])
            found = records.read_of_alerts(connection, ["one"], most)["one"]
    expected = sorted(stored, key=lambda record: (record.occurred_at, record.key))[-most:]
    assert [record.key for record in found] == [record.key for record in expected]


def test_newest_records_of_a_large_alert_take_as_long_as_those_of_a_small_one(database: Database) -> None:
    """The newest record of an alert with 500 is found in as many steps as that of an alert with 50."""
    only_sqlite(database)
    store(database, *(make_record(number, minutes=number) for number in range(500)))
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(name), name) for name in ("small", "large")])
        for name, count in (("small", 50), ("large", 500)):
            joined = [(name, number + 1, NOON + timedelta(minutes=number)) for number in range(count)]
            alerts.join(connection, joined)
    small, large = (
        steps(database, partial(records.read_of_alerts, alert_ids=[name], limit=1)) for name in ("small", "large")
    )
    assert large <= small + 2 * GRAIN, (small, large)


@pytest.mark.parametrize("together", [1, 2, 3, 20_000])
def test_kinds_are_counted_within_inclusive_bounds(
    database: Database, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """Records of one source are counted by kind, with both bounds of the window included, however many are counted at once."""
    monkeypatch.setattr(source_records, "_COUNTED_TOGETHER", together)
    edge = timedelta(microseconds=1)
    store(
        database,
        make_record(1, action_kind="A"),
        make_record(2, action_kind="A", occurred_at=NOON + timedelta(minutes=1)),
        make_record(3, action_kind="B", occurred_at=NOON - edge),
        make_record(4, action_kind="B", occurred_at=NOON + timedelta(minutes=1) + edge),
        make_record(5, action_kind="B", source="other"),
    )
    with database.read() as connection:
        assert source_records.count_kinds(connection, "acme", NOON, NOON + timedelta(minutes=1)) == {"A": 2}
        assert source_records.count_kinds(connection, "acme", NOON - edge, NOON - edge) == {"B": 1}


def test_vanished_records_are_marked_and_restored(database: Database) -> None:
    """Records that vanished upstream are marked and not counted, and are restored when they appear again."""
    gone, there = make_record(1, user_name="gone"), make_record(2, user_name="there")
    store(database, gone, there)
    end = NOON + timedelta(minutes=1)
    with database.write() as connection:
        source_records.mark_vanished(connection, "acme", NOON, end, {there.key}, end)
        source_records.mark_vanished(connection, "acme", NOON, end, {there.key}, end + timedelta(hours=1))
        assert users(source_records.read_vanished(connection, "acme", NOON, None)) == ["gone"]
        assert users(source_records.read_vanished(connection, "acme", NOON, end - timedelta(seconds=1))) == ["gone"]
        assert source_records.read_vanished(connection, "acme", NOON, end) == []
        assert source_records.count_vanished(connection, "acme", NOON) == 1
        assert sum(source_records.count_kinds(connection, "acme", NOON, end).values()) == 1
        assert source_records.count_held(connection, "acme", NOON, end) == 1
        source_records.unmark_vanished(connection, "acme", NOON, NOON + timedelta(hours=1), {gone.key})
        assert source_records.count_vanished(connection, "acme", NOON) == 0
        assert not source_records.is_quiet(connection, "acme", NOON, end)
        assert source_records.is_quiet(connection, "other", NOON, end)
        assert source_records.is_quiet(connection, "acme", end, end)


def test_delays_of_the_newest_records(database: Database) -> None:
    """The delays of the newest records are sorted, without unreadable times and without records from before the first poll."""
    store(
        database,
        *(make_record(occurred_at=NOON - timedelta(days=days), seen_at=NOON) for days in (2, 1)),
        *(make_record(n, seen_at=NOON + timedelta(seconds=seconds)) for n, seconds in enumerate((9, 3, 5))),
        make_record(8, is_backlog=True, seen_at=NOON + timedelta(days=9)),
        make_record(9, is_time_readable=False, seen_at=NOON + timedelta(days=9)),
    )
    with database.read() as connection:
        assert record_counts.lateness(connection, 4) == {"acme": [timedelta(seconds=3), timedelta(seconds=5)]}
        assert {source: len(found) for source, found in record_counts.lateness(connection, 9).items()} == {"acme": 3}
        store(
            database, make_record(source="other"), make_record(2, source="other", seen_at=NOON + timedelta(seconds=7))
        )
    with database.read() as connection:
        assert record_counts.lateness(connection, 2) == {"other": [timedelta(0), timedelta(seconds=7)]}
        assert record_counts.lateness(connection, 99)["other"] == [timedelta(0), timedelta(seconds=7)]


def remaining(connection: Connection) -> list[int]:
    """Return the ids that are left."""
    return [record.id for record in records.read_after(connection, 0, 100)]


def test_retention_deletes_only_old_matched_records(database: Database) -> None:
    """Only records that are old, matched, and in no alert are deleted, oldest first, up to a limit."""
    old, young = NOON - timedelta(days=401), NOON
    seen = [old, old, old, old, young, old]
    store(database, *(make_record(n, seen_at=at) for n, at in enumerate(seen)))
    with database.write() as connection:
        alerts.join(connection, [("one", 2, NOON)])
        before = NOON - timedelta(days=400)
        assert len(records.delete_older(connection, before, 0, 10)) == 0
        assert len(records.delete_older(connection, before, 3, 1)) == 1
        assert remaining(connection) == [2, 3, 4, 5, 6]
        assert len(records.delete_older(connection, before, 3, 10)) == 1
        assert remaining(connection) == [2, 4, 5, 6]
        assert len(records.delete_older(connection, before, 6, 10)) == 1
        assert remaining(connection) == [2, 5, 6]
        assert len(records.delete_older(connection, NOON + timedelta(days=1), 6, 10)) == 2


def test_records_of_a_deleted_alert_can_be_deleted(database: Database) -> None:
    """After an alert is deleted, its records can be deleted."""
    store(database, make_record(seen_at=NOON - timedelta(days=401)))
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(opened_at=NOON - timedelta(days=401)), "group")])
        alerts.join(connection, [("alert-1", 1, NOON)])
        assert len(records.delete_older(connection, NOON, 1, 10)) == 0
        assert alerts.delete_settled(connection, NOON, NOON + timedelta(hours=1), 10) == 1
        assert len(records.delete_older(connection, NOON, 1, 10)) == 1


def test_retention_keeps_what_thousands_of_sources_need(database: Database) -> None:
    """Of each source the records since its time stay, those of any kind that a rule needs too, and no other ones."""
    names = [f"org-{number}" for number in range(3000)]
    needed = [Needed(NOON - timedelta(minutes=number), source=name) for number, name in enumerate(names)]
    needed.append(Needed(NOON - timedelta(hours=9), kinds=("BACKUP",)))
    given = [
        ("org-0", 0, "LOGIN", True),
        ("org-0", 1, "LOGIN", False),
        ("org-2999", 2999, "LOGIN", True),
        ("org-2999", 3000, "LOGIN", False),
        ("org-0", 2, "BACKUP", True),
        ("removed", 3, "BACKUP", True),
        ("removed", 0, "LOGIN", False),
    ]
    store(
        database,
        *(
            make_record(number, source=source, minutes=-minutes, action_kind=kind, user_name=f"{number}")
            for number, (source, minutes, kind, _) in enumerate(given)
        ),
    )
    with database.write() as connection:
        records.delete_older(connection, NOON + timedelta(days=400), len(given), 100, needed)
        left = {int(each.user_name or "") for each in record_search.stream(connection, RecordFilter())}
    assert left == {number for number, (*_, stays) in enumerate(given) if stays}


def test_retention_passes_once_over_what_stays(database: Database) -> None:
    """A batch begins after the one before it, and not with the old records that a rule still needs."""
    only_sqlite(database)
    stays, goes = 4000, 20
    store(
        database,
        *(make_record(n, minutes=n, action_kind="BACKUP" if n < stays else "LOGIN") for n in range(stays + goes)),
    )
    needed = (Needed(NOON, kinds=("BACKUP",)),)
    later = NOON + timedelta(days=400)

    def batch(after_id: int) -> int:
        return steps(database, lambda c: records.delete_older(c, later, stays + goes, 5, needed, after_id))

    with database.write() as connection:
        first = records.delete_older(connection, later, stays + goes, 5, needed)
        assert first == list(range(stays + 1, stays + 6))
        second = records.delete_older(connection, later, stays + goes, 5, needed, first[-1])
        assert second == list(range(stays + 6, stays + 11))
    assert batch(second[-1]) < batch(0) / 10


def test_records_that_may_alert_are_read_in_portions(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look passes over so much backlog at most, and ends at the last record that it returns or examined."""
    monkeypatch.setattr(records, "MOST_SKIPPED", 4)
    for number in range(1, 11):
        store(database, make_record(number, is_backlog=number not in (6, 7, 10)))
    with database.read() as connection:
        assert _read_all(connection, 2) == [([], 4), ([6, 7], 7), ([10], 10), ([], 10)]
        assert _read_all(connection, 1) == [([], 4), ([6], 6), ([7], 7), ([10], 10), ([], 10)]
        assert records.read_that_may_alert(connection, 11, 1) == records.Portion([], 11)


def _read_all(connection: Connection, limit: int) -> list[tuple[list[int], int]]:
    found, position = list[tuple[list[int], int]](), -1
    portion = records.Portion([], 0)
    while portion.through > position:
        position = portion.through
        portion = records.read_that_may_alert(connection, position, limit)
        found.append(([record.id for record in portion.records], portion.through))
    return found


def test_first_record_of_an_action_that_may_alert_counts(database: Database) -> None:
    """Of the records of one action, only the first that may alert counts."""
    old, news, later = (make_record(source=source, is_backlog=source == "a") for source in ("a", "b", "c"))
    other = make_record(2, source="c", is_backlog=True)
    for record in (old, news, later, other, make_record(2, source="d", is_backlog=True)):
        store(database, record)
    with database.read() as connection:
        found = records.read_by_key(connection, news.key)
        assert found is not None
        assert (found.source, [copy.source for copy in records.read_copies(connection, news.key)]) == ("b", ["a", "c"])
        once = [(one.source, one.key) for one in records.stream_since(connection, None, 9)]
        assert once == [("b", news.key), ("c", other.key)]
        assert [one.source for one in records.stream_since(connection, None, 1)] == ["a"]  # as at that time
        assert records.read_unmatched(connection, 0, 9).through == 5
        assert records.read_unmatched(connection, 5, 9) == records.Portion([], 5)
