"""The chain of seals: it agrees after whatever actionwatch does, and names whatever another program did."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from actionwatch.base.errors import RoleLost
from actionwatch.service import prune
from actionwatch.settings import Retention
from actionwatch.store import alerts, receipts, records, seals, silences, source_records, unsealed
from actionwatch.store.database import Database
from actionwatch.store.membership import LEADER
from actionwatch.store.seal_tree import fold, pack
from actionwatch.store.sealed_tables import SEALED
from actionwatch.store.seals import CUT, Head
from actionwatch.store.tables import RECEIPT, SEAL, UNSEALED
from tests import postgresql
from tests.builders import NOON, file_of, make_receipt, make_record, open_database
from tests.cases import in_one_test
from tests.integration.store.sealed import checked, differences, fill, head, insert_token, seal_all, stranger

CHANGES = {
    "record": ("user_name", "mallory"),
    "receipt": ("record_count", 0),
    "rule_history": ("why", "nothing"),
    "alert_history": ("what", "nothing"),
    "alert": ("acked_by", "mallory"),
    "alert_record": None,
    "delivery": ("status", "suppressed"),
    "silence": ("author", "mallory"),
    "rule_version": ("document", "other"),
    "token": ("role", "reader"),
}
"""A column of each table, and what another program writes there."""
TABLES = sorted(CHANGES)
NUMBERED = [name for name in TABLES if SEALED[name].is_numbered]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a sealed store, which tests copy: writing it takes longer than most of them."""
    folder = tmp_path_factory.mktemp("sealed")
    with contextlib.closing(open_database(folder)) as database:
        fill_and_seal(database)
        return file_of(database)


@pytest.fixture
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A sealed store with rows in every table, which lets other programs write."""
    if request.config.getoption("--store") == "sqlite":
        file = shutil.copy(request.getfixturevalue("sealed"), tmp_path)
        database = Database(f"sqlite:///{file}")
    else:
        database = postgresql.open_store()
        fill_and_seal(database)
    with contextlib.closing(database):
        yield database


def fill_and_seal(database: Database) -> None:
    """Write rows into every table of an empty store, and seal them."""
    fill(database)
    seal_all(database)
    assert checked(database).difference_count == 0


def keys(database: Database, table: str) -> list[str]:
    """Return the keys of a table, in order."""
    with database.read() as connection:
        return sorted(SEALED[table].key_of(row) for row in connection.execute(SEALED[table].rows()))


def where(table: str, key: str) -> tuple[str, list[object]]:
    """Return the condition for a row by its key, and its values."""
    names = SEALED[table].key
    parts: list[object] = list(key.rsplit(" ", len(names) - 1))
    if SEALED[table].is_numbered or table == "alert_record":
        parts[-1] = int(str(parts[-1]))
    return " AND ".join(f"{name} = ?" for name in names), parts


def test_every_sealed_table_is_tried() -> None:
    """The tests below know all sealed tables."""
    assert set(CHANGES) == set(SEALED)


def test_everything_is_sealed_once(store: Database) -> None:
    """Each row of each table is sealed, nothing waits, and sealing again writes nothing."""
    found = checked(store)
    assert {table.name: table.sealed for table in found.tables} == {name: len(keys(store, name)) for name in SEALED}
    assert all(table.sealed >= 7 and not table.unsealed and not table.removed for table in found.tables)
    seal_all(store)
    assert checked(store) == found


@pytest.mark.parametrize("table", [name for name in TABLES if CHANGES[name]])
def test_changed_column_is_found(store: Database, table: str) -> None:
    """A column of one row, changed by another program, is named, also after the service sealed more."""
    column, value = CHANGES[table] or ("", "")
    key = keys(store, table)[3]
    condition, values = where(table, key)
    with stranger(store) as other:
        other.run(f"UPDATE {table} SET {column} = ? WHERE {condition}", value, *values)
    assert differences(store) == [(table, key)]
    fill(store, count=2, first=20)
    assert differences(store) == [(table, key)]
    seal_all(store)
    assert differences(store) == [(table, key)]


@in_one_test(
    ("before", "after"),
    [
        ("TypeText", b"M\xca^M\xecm"),
        (b"M\xca^M\xecm", "TypeText"),
        (b"M\xca^", '{"blob":"4dca5e"}'),
        ("1", 1),
        (1, 1.0),
        (1.0, "1.0"),
    ],
)
def test_type_of_a_value_is_sealed(before: object, after: object) -> None:
    """Values of two types have two hashes, also bytes and the text that encodes them."""
    token = SEALED["token"]
    rows = ([each, *(None for _ in token.names[1:])] for each in (before, after))
    assert len({token.leaf("1", row) for row in rows}) == 2


def test_changed_storage_type_is_found(store: Database) -> None:
    """A text that became the bytes which it encodes in base64 is named: searches no longer find it."""
    if store.is_shared:
        pytest.skip("a column of PostgreSQL has one type")
    with store.write() as connection:
        records.insert_new(connection, [make_record(700, minutes=700, user_name="mary")])
    seal_all(store)
    with stranger(store) as other:
        other.run("UPDATE record SET user_name = ? WHERE user_name = 'mary'", base64.b64decode("mary"))
        [(key,)] = other.run("SELECT max(id) FROM record")
    assert differences(store) == [("record", str(key))]


@pytest.mark.parametrize("table", TABLES)
def test_deleted_row_is_found(store: Database, table: str) -> None:
    """A row that another program deleted is named."""
    key = keys(store, table)[3]
    condition, values = where(table, key)
    with stranger(store) as other:
        other.run(f"DELETE FROM {table} WHERE {condition}", *values)
    seal_all(store)
    assert differences(store) == [(table, key)]


@pytest.mark.parametrize("table", [name for name in TABLES if CHANGES[name]])
def test_exchanged_rows_are_found(store: Database, table: str) -> None:
    """Two rows whose contents another program exchanged are named."""
    first, second = keys(store, table)[2:4]
    columns = [name for name in SEALED[table].names if name not in SEALED[table].key]
    unique = [name for name in columns if name in ("record_key", "ordinal", "alert_id", "digest")]
    with stranger(store) as other:
        rows = []
        for key in (first, second):
            condition, values = where(table, key)
            rows.append(other.run(f"SELECT {', '.join(columns)} FROM {table} WHERE {condition}", *values)[0])
        for key, row in ((first, rows[1]), (second, rows[0])):
            condition, values = where(table, key)
            kept = [(name, value) for name, value in zip(columns, row, strict=True) if name not in unique]
            changes = ", ".join(f"{name} = ?" for name, _ in kept)
            other.run(f"UPDATE {table} SET {changes} WHERE {condition}", *(value for _, value in kept), *values)
    assert sorted(differences(store)) == [(table, first), (table, second)]


@pytest.mark.parametrize("table", TABLES)
def test_forged_row_is_found(store: Database, table: str) -> None:
    """A row that another program inserted is named, also after the service sealed the rows before and behind it."""
    names = [*store_columns(table)]
    condition, values = where(table, keys(store, table)[3])
    with stranger(store) as other:
        row = dict(
            zip(names, other.run(f"SELECT {', '.join(names)} FROM {table} WHERE {condition}", *values)[0], strict=True)
        )
        row |= {
            name: forged(table, row[name])
            for name in names
            if name in (*SEALED[table].key, "record_key", "digest", "ordinal")
        }
        marks = ", ".join("?" * len(row))
        other.run(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())
        if SEALED[table].is_numbered and store.path is None:
            other.run(f"SELECT nextval(pg_get_serial_sequence('{table}', 'id'))")
    key = SEALED[table].key_of([row[name] for name in SEALED[table].key])
    assert differences(store) == [(table, key)]
    fill(store, count=2, first=20)
    seal_all(store)
    assert differences(store) == [(table, key)]


def store_columns(table: str) -> list[str]:
    """Return all columns of a table."""
    return list(SEALED[table].table.c.keys())


def forged(table: str, value: object) -> object:
    """Return a value that no other row has."""
    if not isinstance(value, int):
        return f"{value}-forged"
    return (
        value + 100_000 if table in ("delivery", "alert_record") else {"alert_history": 29, "record": 8}.get(table, 8)
    )


def test_forged_row_with_a_note_is_sealed_as_a_new_version(store: Database) -> None:
    """Who can write can also note a row. The chain then says when the other version came, and an append-only row is named."""
    with stranger(store) as other:
        other.run("UPDATE record SET user_name = 'mallory' WHERE id = 3")
        other.run("INSERT INTO unsealed (table_name, row_key) VALUES ('record', '3')")
        other.run("UPDATE alert SET acked_by = 'mallory' WHERE id = (SELECT min(id) FROM alert)")
        other.run("INSERT INTO unsealed (table_name, row_key) SELECT 'alert', min(id) FROM alert")
    before = head(store)
    seal_all(store)
    assert differences(store) == [("record", "3")]
    assert head(store).number == before.number + 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE seal SET root = 'other' WHERE number = 5",
        "UPDATE seal SET sealed_count = 1 WHERE number = 5",
        "UPDATE seal SET at = at + 1 WHERE number = 5",
        "UPDATE seal SET previous = 'other' WHERE number = 5",
        "UPDATE seal SET digest = 'other' WHERE number = 5",
        "DELETE FROM seal WHERE number = 5",
        "UPDATE seal SET leaves = NULL WHERE number = 5",
        "UPDATE seal SET leaves = (SELECT leaves FROM seal WHERE number = 6) WHERE number = 5",
        "UPDATE seal SET number = 1000 WHERE number = 5",
    ],
)
def test_changed_seal_is_found(store: Database, change: str) -> None:
    """A seal that was changed, deleted or moved is named."""
    with stranger(store) as other:
        other.run(change)
    found = checked(store)
    assert "seal" in {difference.table for difference in found.differences}
    assert {"5", "999"} & {difference.key for difference in found.differences if difference.table == "seal"}


DAMAGES = [
    "states = '{\"x\":1}'",
    "states = 'no JSON'",
    "states = '[]'",
    "states = '5'",
    'states = \'{"99999999999999999999":["a","b"]}\'',
    "at = 9000000000000000000",
    "at = 'abc'",
    "table_name = x'ff'",
    "table_name = 'receipt_'",
    "row_count = 'abc'",
    "row_count = -5",
    "row_count = 4611686018427387904",
    "removed_count = 4611686018427387904",
    "sealed_count = 'abc'",
    "first_id = 'x'",
    "last_id = 'x'",
    "root = x'ff'",
    "root = CAST(x'ff' AS TEXT)",
    "digest = x'00ff'",
    "leaves = 'abc'",
    "leaves = x'9192ff00'",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_seal_is_named_and_stops_nothing(store: Database, damage: str) -> None:
    """The oldest, a middle and the newest seal are named if they cannot be read; the check and sealing go on."""
    if store.is_shared:
        pytest.skip("a column of PostgreSQL has one type")
    with stranger(store) as other:
        damaged = [1, 5, head(store).number]
        other.run(f"UPDATE seal SET {damage} WHERE number IN ({', '.join(map(str, damaged))})")
    assert {("seal", str(number)) for number in damaged} <= {
        (each.table, each.key) for each in checked(store).differences
    }
    fill(store, count=2, first=20)
    seal_all(store)
    assert not any(table.unsealed for table in checked(store).tables)


@pytest.mark.parametrize(("table", "column"), [("record", "user_name"), ("alert", "acked_by"), ("silence", "author")])
def test_text_that_is_not_utf8_is_named_and_stops_nothing(store: Database, table: str, column: str) -> None:
    """A row with a text that is not UTF-8 is named, also if it was noted: then a later version is sealed."""
    if store.is_shared:
        pytest.skip("PostgreSQL refuses such a text")
    key = keys(store, table)[3]
    condition, values = where(table, key)
    with stranger(store) as other:
        other.run(f"UPDATE {table} SET {column} = CAST(x'ff' AS TEXT) WHERE {condition}", *values)
        assert differences(store) == [(table, key)]
        other.run("INSERT INTO unsealed (table_name, row_key) VALUES (?, ?)", table, key)
    fill(store, count=2, first=20)
    seal_all(store)
    assert differences(store) == ([(table, key)] if SEALED[table].is_numbered else [])


NOTES = [
    ("record", "abc", None),
    ("record", "1", -5),
    ("record", "9" * 30, None),
    ("receipt", "-1", None),
    ("token", "", None),
    ("alert_record", "x", None),
    ("alert_record", "x " + "9" * 30, None),
]


@pytest.mark.parametrize("note", NOTES)
def test_note_that_no_row_has_stops_nothing(store: Database, note: tuple[object, ...]) -> None:
    """A note with an impossible key stops neither the check nor sealing."""
    with stranger(store) as other:
        other.run("INSERT INTO unsealed (table_name, row_key, last_id) VALUES (?, ?, ?)", *note)
        if not store.is_shared:
            other.run("INSERT INTO unsealed (table_name, row_key) VALUES ('token', CAST(x'ff' AS TEXT))")
            other.run("INSERT INTO unsealed (table_name, row_key, last_id) VALUES ('record', '5', 'x')")
    assert differences(store) == []
    fill(store, count=2, first=20)
    seal_all(store)
    assert differences(store) == []
    assert not any(table.unsealed for table in checked(store).tables)


def test_damaged_leaves_are_found_and_stop_nothing(store: Database) -> None:
    """Leaves that cannot be read are named; sealing and retention go on."""
    with stranger(store) as other:
        other.run("UPDATE seal SET leaves = ? WHERE number = 1", b"\xc1")
    with store.write() as connection:
        silences.expire(connection, ["1"], NOON, "sam")
        connection.execute(SEALED["record"].table.delete().where(SEALED["record"].table.c.id <= 3))
    seal_all(store)
    assert ("seal", "1") in differences(store)


def test_a_chain_that_was_made_again_is_found_with_a_noted_head(store: Database) -> None:
    """Who makes the whole chain again after a change is found by a head that was noted elsewhere, and only by that."""
    noted = head(store)
    assert differences(store, noted) == []
    with stranger(store) as other:
        other.run("UPDATE record SET user_name = 'mallory' WHERE id = 3")
        for table in ("seal", "sealed_row", "unsealed"):
            other.run(f"DELETE FROM {table}")
        other.run("INSERT INTO unsealed (table_name, row_key, last_id) SELECT 'record', '1', max(id) FROM record")
    with store.write() as connection:
        for name, sealed in SEALED.items():
            for key in keys_within(connection, name) if name != "record" else ():
                connection.execute(UNSEALED.insert().values(table_name=sealed.name, row_key=key))
    seal_all(store)
    assert differences(store) == []
    assert ("seal", str(noted.number)) in differences(store, noted)


def keys_within(connection: Connection, table: str) -> list[str]:
    """Return the keys of a table in their order."""
    sealed = SEALED[table]
    return [sealed.key_of(row) for row in connection.execute(sealed.rows().order_by(sealed.table.c[sealed.key[0]]))]


def test_noted_head_must_be_within_the_chain(store: Database) -> None:
    """A head behind the newest seal is named: the end of the chain is missing. One before the oldest cannot be compared."""
    newest = head(store)
    later = Head(newest.number + 1, "0" * 64)
    assert checked(store, later).differences[0].what == f"missing: the newest seal is {newest.number}"
    assert differences(store, Head(0, "0" * 64)) == [("seal", "0")]


def test_an_older_version_cannot_be_brought_back(store: Database) -> None:
    """A row that another program set back to a version that was sealed earlier is named, even with the seals changed for it."""
    with store.read() as connection:
        rows = {number: seals.read_leaves(connection, number) for number in range(1, head(store).number + 1)}
    number, leaves = next(
        (number, each)
        for number, each in rows.items()
        if any(name == "3" for name, _ in each) and is_of(store, number, "silence")
    )
    with store.write() as connection:
        silences.expire(connection, ["3"], NOON + timedelta(hours=3, minutes=30), "sam")
    seal_all(store)
    assert differences(store) == []
    end = int((NOON + timedelta(hours=4)).timestamp()) * 1_000_000
    with stranger(store) as other:
        other.run("UPDATE silence SET ends_at = ?, ended_by = NULL WHERE id = '3'", end)
        other.run("UPDATE seal SET leaves = ? WHERE number = ?", pack(leaves), number)
        other.run("UPDATE seal SET leaves = NULL WHERE number = (SELECT max(number) FROM seal)")
        other.run("UPDATE sealed_row SET seal = ? WHERE table_name = 'silence' AND row_key = '3'", number)
    assert {("seal", str(number)), ("seal", str(head(store).number))} == set(differences(store))


@pytest.mark.parametrize("is_sealed_again", [False, True])
@pytest.mark.parametrize("table", ["record", "token"])
def test_a_removed_row_cannot_take_the_place_of_another_one(store: Database, table: str, is_sealed_again: bool) -> None:
    """A removed row that another program brought back, in place of another row of its seal, is found."""
    fill(store, count=3, first=40)
    seal_all(store, 1000)
    column = SEALED[table].table.c.id
    with store.read() as connection:
        of_table = f"SELECT max(number) FROM seal WHERE table_name = '{table}'"
        number = connection.exec_driver_sql(of_table).scalar_one()
        leaves = seals.read_leaves(connection, number)
        first, second, third = (key for key, _ in leaves)
        row = connection.exec_driver_sql(f"SELECT * FROM {table} WHERE id = '{first}'").mappings().one()
    with store.write() as connection:
        connection.execute(SEALED[table].table.delete().where(column == row["id"]))
    seal_all(store)
    noted = head(store)
    with stranger(store) as other:
        other.run(f"DELETE FROM {table} WHERE id = '{second}'")
        marks = ", ".join("?" * len(row))
        other.run(f"INSERT INTO {table} ({', '.join(row.keys())}) VALUES ({marks})", *row.values())
        other.run("UPDATE seal SET leaves = ? WHERE number = ?", pack(fold(leaves, 3, {str(second)})[1]), number)
        changed = "UPDATE sealed_row SET row_key = ? WHERE table_name = ? AND row_key = ?"
        other.run(changed, first, table, second)
    if is_sealed_again:
        with store.write() as connection:
            connection.execute(SEALED[table].table.delete().where(column == type(row["id"])(third)))
        seal_all(store)
    assert differences(store, noted) == [("seal", str(number))]


def is_of(store: Database, number: int, table: str) -> bool:
    """Return whether a seal is one of a table."""
    with store.read() as connection:
        return connection.exec_driver_sql(f"SELECT table_name FROM seal WHERE number = {number}").scalar() == table


def test_retention_agrees(store: Database) -> None:
    """Rows that retention removed are not missing: the seals say so. Seals without rows are deleted in the end."""
    kept = Retention(records=timedelta(days=1), deliveries=timedelta(days=1), receipts=timedelta(days=1))
    before = checked(store)
    prune.run_once(store, kept, NOON + timedelta(days=900))
    assert checked(store).difference_count == 0
    seal_all(store)
    found = checked(store)
    assert found.difference_count == 0
    removed = {table.name: table.removed for table in found.tables}
    assert all(removed[name] for name in ("record", "receipt", "alert_history", "delivery")), removed
    assert {table.name: table.sealed + table.removed for table in found.tables} == {
        table.name: table.sealed for table in before.tables
    }
    fill(store, count=2, first=40)
    seal_all(store)


def make_old_seals(store: Database, days: int) -> Head:
    """Seal a receipt each day, delete the one before, and prune; rows of the first seals stay. Return the last head but one."""
    for day in range(1, days - 1):
        seal_day(store, day)
    noted = head(store)
    seal_day(store, days - 1)
    return noted


def seal_day(store: Database, day: int) -> None:
    """Replace the receipt and the records of the day before, seal that, and prune."""
    at = NOON + timedelta(days=day)
    with store.write() as connection:
        for table in ("receipt", "record"):
            connection.execute(SEALED[table].table.delete())
        receipts.write(connection, make_receipt(starts_at=at, ends_at=at, judged_at=at, digest=str(day)))
        while seals.seal_next(connection, at):
            pass
        seals.delete_older(connection, at - timedelta(days=10), at, 1000)


def numbers(store: Database) -> list[int]:
    """Return the numbers of the seals."""
    with store.read() as connection:
        return list(connection.exec_driver_sql("SELECT number FROM seal ORDER BY number").scalars())


def test_old_seals_are_deleted_although_early_rows_stay(store: Database) -> None:
    """Seals without rows are deleted between those with rows that stay, and the chain agrees, also with noted heads."""
    early = head(store)
    noted = make_old_seals(store, 120)
    assert differences(store) == differences(store, noted) == []
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM seal WHERE leaves IS NOT NULL").scalar_one()
    assert numbers(store)[-1] > 150
    assert len(numbers(store)) < 2 * rows + 3 * 3 * 10  # two retentions, with 2 seals and perhaps a cut a day
    assert [each.key for each in checked(store, Head(early.number, early.digest)).differences] == [str(early.number)]
    fill(store, count=3, first=40)
    seal_all(store)
    assert differences(store) == differences(store, noted) == []


MICRO = timedelta(microseconds=1)


def days_of_receipts(store: Database, days: int) -> None:
    """Seal one receipt a day, and delete it with the next: so only the newest seal of receipts has rows."""
    for day in range(1, days + 1):
        at = NOON + timedelta(days=day)
        with store.write() as connection:
            connection.execute(RECEIPT.delete())
            receipts.write(connection, make_receipt(starts_at=at, ends_at=at, judged_at=at, digest=str(day)))
            while seals.seal_next(connection, at):
                pass


def cuts(store: Database) -> list[tuple[int, datetime, int]]:
    """Return the number, the time and the reach of each cut."""
    with store.read() as connection:
        rows = connection.execute(select(SEAL.c.number, SEAL.c.at, SEAL.c.last_id).where(SEAL.c.table_name == CUT))
        return [(row.number, row.at, row.last_id) for row in rows]


def delete_older(store: Database, before: datetime, now: datetime) -> int:
    """Apply the retention of seals."""
    with store.write() as connection:
        return seals.delete_older(connection, before, now, 1000)


def test_a_cut_ends_before_the_first_seal_that_is_young(store: Database) -> None:
    """A cut covers each seal that was made before the time, and none that was made at it or later."""
    days_of_receipts(store, 100)
    before = NOON + timedelta(days=98)
    with store.read() as connection:
        made = {row.number: row.at for row in connection.execute(select(SEAL.c.number, SEAL.c.at))}
    assert delete_older(store, before, NOON + timedelta(days=101)) == 0
    ((_, _, reach),) = cuts(store)
    assert reach == max(number for number, at in made.items() if at < before)
    assert made[reach + 1] == before


def test_seals_are_deleted_only_when_the_cut_itself_is_old(store: Database) -> None:
    """A cut that was made at the time or later deletes nothing, so that no cut hides a change from a noted head."""
    days_of_receipts(store, 100)
    now = NOON + timedelta(days=101)
    assert delete_older(store, NOON + timedelta(days=98), now) == 0
    before = numbers(store)
    assert delete_older(store, now, now) == 0
    assert set(before) <= set(numbers(store))
    assert delete_older(store, now + MICRO, now + MICRO) > 0
    assert differences(store) == []


def test_the_seal_with_the_newest_id_of_a_table_stays(store: Database) -> None:
    """If all rows of a table are gone, the seal with its newest id stays: the next row continues there, and agrees."""
    days_of_receipts(store, 3)
    with store.write() as connection:
        connection.execute(RECEIPT.delete())
        while seals.seal_next(connection, NOON + timedelta(days=4)):
            pass
    with store.read() as connection:
        its = select(SEAL.c.number, SEAL.c.last_id).where(SEAL.c.table_name == "receipt", SEAL.c.first_id.is_not(None))
        number, newest_id = connection.execute(its.order_by(SEAL.c.last_id.desc()).limit(1)).one()
    for day in range(5, 60):  # seals of another table, so that a cut is worth it
        with store.write() as connection:
            insert_token(connection, 1000 + day)
            connection.execute(SEALED["token"].table.delete().where(SEALED["token"].table.c.id == str(999 + day)))
            while seals.seal_next(connection, NOON + timedelta(days=day)):
                pass
    assert delete_older(store, NOON + timedelta(days=58), NOON + timedelta(days=61)) == 0
    assert delete_older(store, NOON + timedelta(days=62), NOON + timedelta(days=63)) > 0
    assert number in numbers(store)
    with store.write() as connection:
        at = NOON + timedelta(days=64)
        receipts.write(connection, make_receipt(starts_at=at, ends_at=at, judged_at=at, digest="next"))
        assert connection.execute(select(RECEIPT.c.id)).scalar_one() == newest_id + 1
    seal_all(store)
    assert differences(store) == []


def test_seals_that_must_stay_are_missed(store: Database) -> None:
    """An old seal that was deleted or exchanged after a cut is named; so is the beginning of the chain without any cut."""
    noted = make_old_seals(store, 100)
    kept = [number for number, following in itertools.pairwise(numbers(store)) if following > number + 1]
    with stranger(store) as other:
        columns = ", ".join(SEAL.c.keys())
        old = other.run(f"SELECT {columns} FROM seal WHERE number = ?", kept[0])[0]
        other.run("DELETE FROM seal WHERE number = ?", kept[0])
        assert ("seal", str(kept[0])) in differences(store, noted)
        other.run(f"INSERT INTO seal ({columns}) VALUES ({', '.join('?' * len(old))})", *old)
        assert differences(store, noted) == []
        other.run("UPDATE seal SET at = at + 1, digest = 'other' WHERE number = ?", kept[0])
    assert ("seal", str(kept[0])) in differences(store, noted)


def test_the_beginning_of_the_chain_is_missed(store: Database) -> None:
    """The oldest seal without rows that another program deleted is named: no later one lets it be deleted."""
    with store.write() as connection:
        connection.execute(SEALED["record"].table.delete().where(SEALED["record"].table.c.id <= 3))
    seal_all(store)
    with stranger(store) as other:
        other.run("DELETE FROM seal WHERE number = 1")
    assert differences(store) == [("seal", "1")]


def test_a_row_removed_by_another_program_during_retention_is_found(store: Database) -> None:
    """Retention of other rows does not hide a row that another program deleted."""
    with stranger(store) as other:
        other.run("DELETE FROM record WHERE id = 3")
    with store.write() as connection:
        connection.execute(SEALED["record"].table.delete().where(SEALED["record"].table.c.id.in_([1, 2, 4])))
    seal_all(store)
    assert differences(store) == [("record", "3")]


def test_merged_receipts_agree(store: Database) -> None:
    """A receipt that is merged with the one before, sealed or not, agrees."""
    quiet = make_receipt(
        starts_at=NOON + timedelta(days=9), ends_at=NOON + timedelta(days=9), judged_at=NOON + timedelta(days=9)
    )
    for minute in range(6):
        at = NOON + timedelta(days=9, minutes=minute)
        with store.write() as connection:
            receipts.write(connection, make_receipt(starts_at=quiet.starts_at, ends_at=at, judged_at=at))
        assert checked(store).difference_count == 0
        if minute % 2:
            seal_all(store)
        assert checked(store).difference_count == 0


def test_vanished_and_renamed_rows_agree(store: Database) -> None:
    """What changes besides the content of a row, such as a lease or when a record vanished, is no change."""
    with store.write() as connection:
        source_records.mark_vanished(connection, "acme", NOON, NOON + timedelta(days=1), [], NOON)
    assert checked(store).difference_count == 0


def test_changes_before_the_next_seal_are_no_faults(store: Database) -> None:
    """What actionwatch wrote, changed and deleted since the last seal is counted as not sealed yet."""
    fill(store, count=3, first=30)
    with store.write() as connection:
        silences.expire(connection, ["2"], NOON + timedelta(hours=2, minutes=1), "sam")
        found = alerts.read_newest(connection, 1)[0]
        alerts.update(connection, found)
        connection.execute(SEALED["token"].table.delete().where(SEALED["token"].table.c.id == "1"))
        connection.execute(SEALED["receipt"].table.delete().where(SEALED["receipt"].table.c.id == 1))
    found_now = checked(store)
    assert found_now.differences == ()
    assert all(table.unsealed for table in found_now.tables)


def test_a_former_leader_cannot_seal(database: Database) -> None:
    """A process that lost its role seals nothing."""
    if not database.is_shared:
        pytest.skip("a file has one process")
    fill(database)
    with database.joined(), pytest.raises(RoleLost), database.as_holder(LEADER).write() as connection:
        seals.seal_next(connection, NOON)
    assert checked(database).seal_count == 0


@pytest.mark.parametrize("table", ["record", "token"])
def test_a_seal_folds_a_bounded_number_of_seals(store: Database, table: str) -> None:
    """Rows of many seals that are deleted at once are sealed in several seals, so that each holds the write lock shortly."""
    count = seals.MAX_FOLDED + 10
    for number in range(100, 100 + count):
        with store.write() as connection:
            if table == "record":
                records.insert_new(connection, [make_record(number, minutes=number)])
            else:
                insert_token(connection, number)
        seal_all(store)
    before = head(store).number
    with store.write() as connection:
        connection.execute(SEALED[table].table.delete())
    seal_all(store, 1000)
    assert differences(store) == []
    with store.read() as connection:
        states = connection.exec_driver_sql(f"SELECT states FROM seal WHERE number > {before}").scalars().all()
    folded = [len(json.loads(each)) for each in states]
    assert folded[0] == seals.MAX_FOLDED
    assert sum(folded) >= count
    assert len(folded) == 2


def test_bounded_output(store: Database) -> None:
    """Of many differences the first 20 are named, and all are counted."""
    fill(store, count=40, first=100)
    seal_all(store, 1000)
    with stranger(store) as other:
        other.run("UPDATE record SET user_name = 'mallory'")
    found = checked(store)
    assert (len(found.differences), found.difference_count) == (20, 47)


def test_numbers_in_seals(store: Database) -> None:
    """A page of records is noted as one span, and a partly sealed span continues."""
    with store.write() as connection:
        records.insert_new(connection, [make_record(number, minutes=number) for number in range(500, 600)])
        assert unsealed.count(connection) == {"record": 100}
        assert len(unsealed.read_next(connection, 1000)) == 1
        seals.seal_next(connection, NOON, 30)
        assert unsealed.count(connection) == {"record": 70}
    seal_all(store, 30)
    assert checked(store).difference_count == 0


@pytest.mark.parametrize(("most", "count", "is_bound"), [(2, 101, True), (3, 102, False), (4, 102, False)])
def test_many_notes_are_counted_up_to_a_bound(store: Database, most: int, count: int, *, is_bound: bool) -> None:
    """Of more notes than a bound, the oldest are counted: a page of records as many rows, another note as one."""
    with store.write() as connection:
        connection.execute(UNSEALED.delete())
        records.insert_new(connection, [make_record(number, minutes=number) for number in range(500, 600)])
        insert_token(connection, 500)
        assert unsealed.count_oldest(connection, 2) == (101, False)
        insert_token(connection, 501)
        assert unsealed.count_oldest(connection, most) == (count, is_bound)


def test_notes_that_no_row_has_are_not_counted(store: Database) -> None:
    """Notes of tables that this version does not know, and of impossible ids, count as no rows."""
    with stranger(store) as other:
        for note in [("other", "1", 9), ("record", "x", 9), ("record", "9", 1)]:
            other.run("INSERT INTO unsealed (table_name, row_key, last_id) VALUES (?, ?, ?)", *note)
        if not store.is_shared:
            other.run("INSERT INTO unsealed (table_name, row_key, last_id) VALUES ('record', CAST(x'ff' AS TEXT), 9)")
    with store.read() as connection:
        assert unsealed.count_oldest(connection) == (0, False)
