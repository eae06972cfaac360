"""A narrowed store has only what is of some sources: in every table, for every query, and for no other statement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Boolean, Connection, LargeBinary, Table, Text, func, select
from sqlalchemy.exc import SQLAlchemyError

from actionwatch.base.errors import StoreError
from actionwatch.base.model import RecordFilter, RuleName, Silence
from actionwatch.store import alerts, marks, record_search, records, silences
from actionwatch.store.column_types import Converted
from actionwatch.store.database import Database
from actionwatch.store.narrowing import Narrowing
from actionwatch.store.statements import bulk_read, stream_rows
from actionwatch.store.tables import ALERT_RECORD, METADATA, RECORD
from tests.builders import NOON, QUARTER, make_alert, make_marks, make_record
from tests.cases import in_one_test

OPEN = {"record_value"}
"""A dictionary for searches, and what each query asks for by person."""
OWN = Narrowing(frozenset({"acme", "ac'me %s \\"}), (('customer="acme"', "customer=acme"),), frozenset({"key_refused"}))
SELF = RuleName("actionwatch_self", "actionwatch_self", "actionwatch is in trouble")


def narrowed(database: Database, narrowing: Narrowing = OWN) -> Database:
    """Return the store as somebody sees it who sees the sources acme and another one with an unusual name."""
    return database.narrowed(lambda connection: narrowing)


def raw_row(table: Table, text: str) -> dict[str, Any]:
    """Return a row as the database stores it, with a text in each column of texts."""
    row: dict[str, Any] = {}
    for column in table.columns:
        kind = column.type.impl if isinstance(column.type, Converted) else column.type
        if isinstance(kind, LargeBinary):
            row[column.name] = b"x"
        elif isinstance(kind, Boolean):
            row[column.name] = False
        else:
            row[column.name] = text if isinstance(kind, Text) else 1
    return row


def insert_raw(connection: Connection, table: Table, text: str) -> None:
    """Insert a row as the database stores it."""
    row = raw_row(table, text)
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    statement = f"INSERT INTO {table.name} ({', '.join(row)}) VALUES ({', '.join([mark] * len(row))})"
    connection.exec_driver_sql(statement, tuple(row.values()))


@in_one_test("name", sorted(METADATA.tables))
def test_a_row_of_others_is_in_no_table(database: Database, name: str) -> None:
    """A table, also one that is new, has no row that is not of the sources."""
    table = METADATA.tables[name]
    with database.write() as connection:
        if name == "delivery":
            connection.exec_driver_sql("DROP TRIGGER guard_insert" + (" ON delivery" if database.is_shared else ""))
        insert_raw(connection, table, "globex")
    with narrowed(database).read() as connection:
        assert connection.execute(select(func.count()).select_from(table)).scalar() == (name in OPEN)
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(table)).scalar() == 1


def test_who_sees_no_source_sees_nothing(database: Database) -> None:
    """Without a source, because no source has the labels, nothing is seen, and no query fails."""
    with database.write() as connection:
        records.insert_new(connection, [make_record(1)])
        alerts.insert_new(connection, [(make_alert(group={"source": "acme"}), "alert-1")])
        silences.write(connection, Silence("s", ('customer="acme"',), "sam", "x", NOON, NOON + QUARTER))
        marks.write(connection, make_marks())
    nothing = Narrowing(frozenset(), (('customer="acme"', "customer=acme"),), frozenset({"key_refused"}))
    with narrowed(database, nothing).read() as connection:
        for table in METADATA.sorted_tables:
            if table.name not in OPEN:
                assert connection.execute(select(func.count()).select_from(table)).scalar() == 0
    with narrowed(database, Narrowing(OWN.sources, (), frozenset())).read() as connection:
        assert silences.read_all(connection) == []


CASES: list[tuple[str, dict[str, Any], Sequence[str], bool]] = [
    ("a record of the source", {}, ["acme"], True),
    ("records of two sources that may be seen", {}, ["acme", "ac'me %s \\"], True),
    ("a record of another source too", {}, ["acme", "globex"], False),
    ("another source first", {"source": "globex"}, ["globex", "acme"], False),
    ("another source in its name only", {"source": "globex"}, ["acme"], False),
    ("no record", {}, [], False),
    ("no record, in a group of the source", {"group": {"source": "acme"}}, [], True),
    (
        "no record, in a group of an unusual source",
        {"source": "ac'me %s \\", "group": {"source": "ac'me %s \\"}},
        [],
        True,
    ),
    ("no record, in a group of another source", {"group": {"source": "globex"}}, [], False),
    ("no record, in a group with the text of a group", {"group": {"userName": '"source": "acme"'}}, [], False),
    ("a self-alert about the source", {"rule": SELF, "labels": {"trouble": "key_refused"}}, [], True),
    (
        "a self-alert about a receiver with its name",
        {"rule": SELF, "labels": {"trouble": "receiver_failing"}},
        [],
        False,
    ),
    ("a self-alert with the text of one", {"rule": SELF, "labels": {"x": '"trouble": "key_refused"'}}, [], False),
]


@in_one_test("number, case", enumerate(CASES))
def test_an_alert_is_seen_if_all_of_it_may_be(
    database: Database, number: int, case: tuple[str, dict[str, Any], Sequence[str], bool]
) -> None:
    """An alert that has one record of another source, or none that says whose it is, is hidden, with all that belongs to it."""
    what, changes, sources, is_seen = case
    alert_id = f"alert {number}"
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(alert_id, **changes), alert_id)])
        for place, source in enumerate(sources):
            records.insert_new(connection, [make_record(10 * number + place, source=source)])
            alerts.join(connection, [(alert_id, records.newest_id(connection), NOON)])
    held = select(func.count()).where(ALERT_RECORD.c.alert_id == alert_id)
    with narrowed(database).read() as connection:
        assert (alerts.read(connection, alert_id) is not None) == is_seen, what
        assert connection.execute(held).scalar() == (len(sources) if is_seen else 0), what


MATCHERS: list[tuple[tuple[str, ...], bool]] = [
    (('customer="acme"',), True),
    (("rule=x", 'customer="acme"', "userName=~.*"), True),
    (("rule=x",), False),
    (("customer=acme",), True),
    (("customer=acmes",), False),
    (("customer!=acme",), False),
    (('x="customer=acme"',), False),
    (("xcustomer=acme",), False),
    (('customer="globex"',), False),
    (('x="customer="acme""',), False),
    (('xcustomer="acme"',), False),
    (('customer="acme"x',), False),
]


@in_one_test("number, case", enumerate(MATCHERS))
def test_a_silence_is_seen_if_it_is_confined(
    database: Database, number: int, case: tuple[tuple[str, ...], bool]
) -> None:
    """A silence that could hide alerts of others too is hidden."""
    matchers, is_seen = case
    with database.write() as connection:
        silences.write(connection, Silence(f"s{number}", matchers, "sam", "x", NOON, NOON + QUARTER))
    with narrowed(database).read() as connection:
        assert bool(silences.read_many(connection, [f"s{number}"])) == is_seen, matchers


REFUSED: list[Callable[[Connection], object]] = [
    lambda connection: connection.exec_driver_sql("DELETE FROM record"),
    lambda connection: connection.exec_driver_sql("UPDATE record SET raw = ''"),
    lambda connection: connection.exec_driver_sql("WITH record AS (SELECT * FROM alert) SELECT * FROM record"),
    lambda connection: connection.execute(RECORD.delete()),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_a_narrowed_store_changes_nothing(database: Database, number: int) -> None:
    """Whatever is not a query is refused, also in a transaction that writes."""
    handle = narrowed(database)
    for transaction in (handle.read, handle.write):
        with pytest.raises((StoreError, SQLAlchemyError), match="no query"), transaction() as connection:
            REFUSED[number](connection)


def test_every_way_to_query_is_narrowed(database: Database) -> None:
    """Statements of the driver, streams, and a search in parts see only what may be seen."""
    with database.write() as connection:
        for number, source in enumerate(("acme", "globex", "acme")):
            records.insert_new(connection, [make_record(number, source=source)])
    handle = narrowed(database)
    with handle.read() as connection:
        assert {row[0] for row in bulk_read(connection, RECORD, ("source",), "id", [1, 2, 3])} == {"acme"}
        assert [row.source for row in stream_rows(connection, select(RECORD.c.source))] == ["acme", "acme"]
        both = select(RECORD.c.source).union_all(select(RECORD.c.source))
        assert set(connection.execute(both).scalars()) == {"acme"}
        assert len(list(record_search.stream(connection, RecordFilter(user="eve")))) == 2
    assert len(list(record_search.stream_in_portions(handle, RecordFilter()))) == 2
    with database.read() as connection:
        assert len(list(record_search.stream(connection, RecordFilter()))) == 3
