"""The chain of seals: it agrees after whatever actionwatch does, and names whatever another program did."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, literal, select

from actionwatch.base.errors import RoleLost
from actionwatch.service import prune
from actionwatch.settings import Retention
from actionwatch.store import alerts, receipts, records, row_history, seals, silences, source_records
from actionwatch.store.database import Database
from actionwatch.store.membership import LEADER
from actionwatch.store.sealed_tables import SEALED, VERSIONED
from actionwatch.store.seals import CUT, KEPT, Head
from actionwatch.store.tables import ALERT_HISTORY, RECEIPT, RECORD, ROW_HISTORY, SEAL, TOKEN
from tests import postgresql
from tests.builders import NOON, file_of, make_receipt, make_record, open_database
from tests.cases import in_one_test
from tests.integration.store.sealed import checked, differences, fill, head, insert_token, seal_all, stranger

ALL = {**SEALED, **VERSIONED}
CHANGES = {
    "record": ("user_name", "mallory"),
    "receipt": ("record_count", 0),
    "rule_history": ("why", "nothing"),
    "alert_history": ("what", "nothing"),
    "alert_record": ("record_id", 100_000),
    "row_history": ("digest", "0" * 64),
    "alert": ("acked_by", "mallory"),
    "delivery": ("status", "suppressed"),
    "silence": ("author", "mallory"),
    "rule_version": ("document", "other"),
    "token": ("role", "reader"),
}
"""A column of each table, and what another program writes there."""
TABLES = sorted(CHANGES)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a sealed store, which tests copy: writing it takes longer than most of them."""
    folder = tmp_path_factory.mktemp("sealed")
    with contextlib.closing(open_database(folder)) as database:
        fill_and_seal(database)
        return file_of(database)


@pytest.fixture
def store(tmp_path: Path, store_kind: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A sealed store with rows in every table, which lets other programs write."""
    if store_kind == "sqlite":
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


def keys(database: Database, table: str) -> list[object]:
    """Return the keys of a table, in order."""
    with database.read() as connection:
        return list(connection.execute(select(ALL[table].key).order_by(ALL[table].key)).scalars())


def name_of(table: str) -> str:
    """Return the name of the key's column."""
    return ALL[table].columns[0]


def after(database: Database, table: str, key: object) -> set[tuple[str, str]]:
    """Return what differs if a row does: also the last version of a row, if the row is in its history."""
    found = {(table, str(key))}
    if table == "row_history":
        with database.read() as connection:
            row = connection.execute(select(ROW_HISTORY).where(ROW_HISTORY.c.id == key)).one()
            its = (ROW_HISTORY.c.table_name == row.table_name, ROW_HISTORY.c.row_key == row.row_key)
            if connection.execute(select(func.max(ROW_HISTORY.c.id)).where(*its)).scalar() == key:
                found.add((row.table_name, row.row_key))
    return found


def test_every_sealed_table_is_tried() -> None:
    """The tests below know all sealed tables."""
    assert set(CHANGES) == set(ALL)


def test_everything_is_sealed_once(store: Database) -> None:
    """Each row of each table is sealed, nothing waits, and sealing again writes nothing."""
    found = checked(store)
    assert {table.name: table.sealed for table in found.tables} == {name: len(keys(store, name)) for name in ALL}
    assert all(table.sealed >= 7 and not table.unsealed and not table.removed for table in found.tables)
    seal_all(store)
    assert checked(store) == found


@pytest.mark.parametrize("table", TABLES)
def test_changed_column_is_found(store: Database, table: str) -> None:
    """A column of one row, changed by another program, is named, also after the service sealed more."""
    column, value = CHANGES[table]
    key = keys(store, table)[3]
    expected = after(store, table, key)
    with stranger(store) as other:
        other.run(f"UPDATE {table} SET {column} = ? WHERE {name_of(table)} = ?", value, key)
    assert set(differences(store)) == expected
    fill(store, count=2, first=20)
    assert set(differences(store)) == expected
    seal_all(store)
    assert set(differences(store)) == expected


@pytest.mark.parametrize("table", TABLES)
def test_deleted_row_is_found(store: Database, table: str) -> None:
    """A row that another program deleted is named."""
    key = keys(store, table)[3]
    expected = after(store, table, key)
    with stranger(store) as other:
        other.run(f"DELETE FROM {table} WHERE {name_of(table)} = ?", key)
    seal_all(store)
    assert set(differences(store)) >= {(table, str(key))}
    assert len(differences(store)) == len(expected) or table == "row_history"


@pytest.mark.parametrize("table", TABLES)
def test_exchanged_rows_are_found(store: Database, table: str) -> None:
    """Two rows whose contents another program exchanged are named."""
    first, second = keys(store, table)[2:4]
    unique = ("record_key", "ordinal", "alert_id", "digest", name_of(table))
    columns = [name for name in ALL[table].columns if name not in unique]
    with stranger(store) as other:
        statement = f"SELECT {', '.join(columns)} FROM {table} WHERE {name_of(table)} = ?"
        rows = [other.run(statement, key)[0] for key in (first, second)]
        changes = ", ".join(f"{name} = ?" for name in columns)
        for key, row in ((first, rows[1]), (second, rows[0])):
            other.run(f"UPDATE {table} SET {changes} WHERE {name_of(table)} = ?", *row, key)
    assert {(table, str(first)), (table, str(second))} <= set(differences(store))


@pytest.mark.parametrize("table", TABLES)
def test_forged_row_is_found(store: Database, table: str) -> None:
    """A row that another program inserted below the newest sealed one is named, also after the service sealed more."""
    names = list(ALL[table].table.c.keys())
    key = keys(store, table)[3]
    with stranger(store) as other:
        found = other.run(f"SELECT {', '.join(names)} FROM {table} WHERE {name_of(table)} = ?", key)[0]
        row = dict(zip(names, found, strict=True))
        forged = -1 if table in SEALED else f"{key}-forged"
        others = {"record_key": "forged", "digest": "forged", "ordinal": 100, "record_id": 100_000}
        row |= {name: value for name, value in others.items() if name in names} | {name_of(table): forged}
        other.run(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())
    assert differences(store) == [(table, str(forged))]
    fill(store, count=2, first=20)
    seal_all(store)
    assert differences(store) == [(table, str(forged))]


def test_a_row_after_the_newest_one_is_sealed(store: Database) -> None:
    """A row that another program appended looks like one of actionwatch, and is sealed: docs/proof.md says so."""
    with stranger(store) as other:
        other.run("INSERT INTO alert_history (id, at, alert_id, stage, what) VALUES (1000, 1, 'a', 'b', 'c')")
    assert differences(store) == []
    seal_all(store)
    assert differences(store) == []


def test_a_forged_version_explains_only_a_row_that_changes(store: Database) -> None:
    """Who can write can also add a version to the history of an alert, but no seal of a record explains another content."""
    with stranger(store) as other:
        other.run("UPDATE record SET user_name = 'mallory' WHERE id = 3")
        other.run("UPDATE alert SET acked_by = 'mallory' WHERE id = (SELECT min(id) FROM alert)")
    changed = str(keys(store, "alert")[0])
    assert differences(store) == [("record", "3"), ("alert", changed)]
    with store.write() as connection:
        row_history.note(connection, VERSIONED["alert"].table, [changed])
    seal_all(store)
    assert differences(store) == [("record", "3")]


@in_one_test(
    ("before", "after_"),
    [
        ("TypeText", b"M\xca^M\xecm"),
        (b"M\xca^", '{"blob":"4dca5e"}'),
        ("1", 1),
        (1, 1.0),
        (1.0, "1.0"),
        (None, "null"),
        ("a", "a\udcff"),
    ],
)
def test_type_of_a_value_is_sealed(before: object, after_: object) -> None:
    """Values of two types have two hashes, also bytes and the text that encodes them."""
    token = SEALED["alert_history"]
    assert len({token.hash([1, each, None]) for each in (before, after_)}) == 2


def test_hash_in_sqlite_is_that_of_the_row(store: Database) -> None:
    """SQLite makes the same JSON of every character and number as Python, so that both databases have one chain."""
    texts = ["".join(map(chr, range(start, start + 256))) for start in (0, 256, 0x1F600)] + ["", "\\u0000", "/<>&'"]
    rows = [[1, text, number, None] for text in texts for number in (0, -1, 2**63 - 1, None)]
    table = SEALED["alert_history"]
    if store.is_shared:
        pytest.skip("PostgreSQL returns the columns")
    with store.read() as connection:
        for row in rows:
            array = select(func.json_array(table.name, *map(literal, row)))
            found = connection.execute(array).scalar_one()
            assert json.loads(found) == [table.name, *row]
            assert _hash_of(found) == table.hash(row)


def _hash_of(array: str) -> bytes:
    from actionwatch.store.sealed_tables import _hash

    return _hash(array)


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


@pytest.mark.parametrize(("table", "column"), [("record", "user_name"), ("alert", "acked_by"), ("silence", "author")])
@pytest.mark.parametrize("value", ["CAST(x'ff' AS TEXT)", "x'ff'"])
def test_text_that_is_not_utf8_is_named_and_stops_nothing(store: Database, table: str, column: str, value: str) -> None:
    """A row with bytes, or with a text that is not UTF-8, is named; sealing and retention go on."""
    if store.is_shared:
        pytest.skip("PostgreSQL refuses such a text")
    key = keys(store, table)[3]
    with stranger(store) as other:
        other.run(f"UPDATE {table} SET {column} = {value} WHERE {name_of(table)} = ?", key)
    assert differences(store) == [(table, str(key))]
    fill(store, count=2, first=20)
    seal_all(store)
    assert differences(store) == [(table, str(key))]
    if table in SEALED:
        with store.write() as connection:
            seals.delete(connection, SEALED[table].table, SEALED[table].key == key)
        assert "deleted since" in checked(store).differences[0].what


def test_wrong_text_that_waits_is_sealed(store: Database) -> None:
    """Bytes in a row that another program appended do not stop sealing."""
    if store.is_shared:
        pytest.skip("PostgreSQL refuses such a text")
    with stranger(store) as other:
        values = "(1000, 1, 'a', 'b', x'00ff'), (1001, 1, 'a', 'b', CAST(x'ff' AS TEXT)), (1002, 1, 'a', 'b', 'c')"
        other.run(f"INSERT INTO alert_history (id, at, alert_id, stage, what) VALUES {values}")
    seal_all(store, 1000)
    assert checked(store).difference_count == 0
    assert not any(table.unsealed for table in checked(store).tables)


SEAL_CHANGES = [
    "UPDATE seal SET leaves_digest = 'other' WHERE number = 5",
    "UPDATE seal SET row_count = 1 WHERE number = 5",
    "UPDATE seal SET at = at + 1 WHERE number = 5",
    "UPDATE seal SET previous = 'other' WHERE number = 5",
    "UPDATE seal SET digest = 'other' WHERE number = 5",
    "UPDATE seal SET through = 4 WHERE number = 5",
    "UPDATE seal SET first_id = 1 WHERE number = 5",
    "UPDATE seal SET kind = 'cut' WHERE number = 5",
    "DELETE FROM seal WHERE number = 5",
    "UPDATE seal SET leaves = (SELECT leaves FROM seal WHERE number = 1) WHERE number = 5",
    "UPDATE seal SET number = 1000 WHERE number = 5",
]


@pytest.mark.parametrize("change", SEAL_CHANGES)
def test_changed_seal_is_found(store: Database, change: str) -> None:
    """A seal that was changed, deleted or moved is named."""
    with stranger(store) as other:
        other.run(change)
    found = checked(store)
    assert {"5", "999"} & {difference.key for difference in found.differences if difference.table == "seal"}


DAMAGES = [
    *("at = 9000000000000000000", "at = 'abc'", "table_name = x'ff'", "table_name = 'receipt_'", "kind = 5"),
    *("row_count = 'abc'", "row_count = -5", "row_count = 4611686018427387904", "through = 'x'", "first_id = 'x'"),
    *("last_id = 'x'", "leaves_digest = x'ff'", "leaves_digest = CAST(x'ff' AS TEXT)", "digest = x'00ff'"),
    *("leaves = 'abc'", "leaves = x'9192ff00'"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_seal_is_named_and_stops_nothing(store: Database, damage: str) -> None:
    """The oldest, a middle and the newest seal are named if they cannot be read; the check, sealing and retention go on."""
    if store.is_shared:
        pytest.skip("a column of PostgreSQL has one type")
    with stranger(store) as other:
        damaged = [1, 5, head(store).number]
        other.run(f"UPDATE seal SET {damage} WHERE number IN ({', '.join(map(str, damaged))})")
    assert {("seal", str(number)) for number in damaged} <= set(differences(store))
    fill(store, count=2, first=20)
    with store.write() as connection:
        seals.delete(connection, RECEIPT, RECEIPT.c.id <= 3)
        seals.delete_older(connection, NOON + timedelta(days=900), NOON + timedelta(days=901))
    seal_all(store)
    assert not any(table.unsealed for table in checked(store).tables)


def test_number_that_is_a_text_is_named_and_stops_nothing(store: Database) -> None:
    """Sealing and retention go on after the newest seal that has a number."""
    if store.is_shared:
        pytest.skip("a column of PostgreSQL has one type")
    names = ", ".join(column.name for column in SEAL.c if column.name != "number")
    with stranger(store) as other:
        other.run("CREATE TABLE other AS SELECT * FROM seal")
        other.run("DROP TABLE seal")
        other.run("ALTER TABLE other RENAME TO seal")
        other.run(f"INSERT INTO seal (number, {names}) SELECT 'zzz', {names} FROM seal WHERE number = 1")
    fill(store, count=2, first=20)
    with store.write() as connection:
        seals.delete(connection, RECEIPT, RECEIPT.c.id <= 3)
    seal_all(store)
    found = checked(store)
    assert [(each.table, each.key) for each in found.differences] == [("seal", "zzz")]
    assert not any(table.unsealed for table in found.tables)


def test_a_cut_is_no_head_that_people_note(store: Database) -> None:
    """A power cut can lose what retention did last, and its cuts. Who noted such a head would find another chain."""
    noted = head(store)
    with store.write() as connection:
        seals.delete(connection, RECEIPT, RECEIPT.c.id <= 3)
        assert seals.read_head(connection) == noted
    assert (head(store), differences(store, noted)) == (noted, [])


def test_many_deleted_rows_are_several_cuts(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """No seal has more rows than one of new rows, however many are deleted at once."""
    monkeypatch.setattr(seals, "BATCH", 2)
    with store.write() as connection:
        deleted = seals.delete(connection, RECEIPT, RECEIPT.c.id <= 5)
        cuts = connection.execute(select(SEAL.c.row_count).where(SEAL.c.kind == CUT)).scalars().all()
    assert sum(cuts) == len(deleted) > max(cuts) == 2
    assert differences(store) == []


def test_a_chain_that_was_made_again_is_found_with_a_noted_head(store: Database) -> None:
    """Who makes the whole chain again after a change is found by a head that was noted elsewhere, and only by that."""
    noted = head(store)
    assert differences(store, noted) == []
    with stranger(store) as other:
        other.run("UPDATE record SET user_name = 'mallory' WHERE id = 3")
        other.run("DELETE FROM seal")
    seal_all(store)
    assert differences(store) == []
    assert ("seal", str(noted.number)) in differences(store, noted)


def test_noted_head_must_be_within_the_chain(store: Database) -> None:
    """A head behind the newest seal is named: the end of the chain is missing. One before the oldest cannot be compared."""
    newest = head(store)
    later = Head(newest.number + 1, "0" * 64)
    assert checked(store, later).differences[0].what == f"missing: the newest seal is {newest.number}"
    assert differences(store, Head(0, "0" * 64)) == [("seal", "0")]


def test_an_older_version_cannot_be_brought_back(store: Database) -> None:
    """A row that another program set back to an earlier version is named: the last one counts."""
    with store.write() as connection:
        silences.expire(connection, ["3"], NOON + timedelta(hours=3, minutes=30), "sam")
    seal_all(store)
    assert differences(store) == []
    end = int((NOON + timedelta(hours=4)).timestamp()) * 1_000_000
    with stranger(store) as other:
        other.run("UPDATE silence SET ends_at = ?, ended_by = NULL WHERE id = '3'", end)
    assert differences(store) == [("silence", "3")]
    with stranger(store) as other:
        other.run("DELETE FROM row_history WHERE id = (SELECT max(id) FROM row_history)")
    assert [table for table, _ in differences(store)] == ["row_history"]


@pytest.mark.parametrize("table", ["record", "token"])
def test_a_deleted_row_cannot_be_brought_back(store: Database, table: str) -> None:
    """A row that actionwatch deleted, and another program brought back, is named, with its history too."""
    tables = [table] if table == "record" else [table, "row_history"]
    condition = {"record": "id = 4", "token": "id = '4'", "row_history": "table_name = 'token' AND row_key = '4'"}
    with store.read() as connection:
        rows = {
            name: connection.exec_driver_sql(f"SELECT * FROM {name} WHERE {condition[name]}").mappings().one()
            for name in tables
        }
    with store.write() as connection:
        if table == "record":
            seals.delete(connection, RECORD, RECORD.c.id == 4)
        else:
            row_history.delete(connection, TOKEN, ["4"])
    seal_all(store)
    assert differences(store) == []
    with stranger(store) as other:
        for name, row in rows.items():
            marks = ", ".join("?" * len(row))
            other.run(f"INSERT INTO {name} ({', '.join(row.keys())}) VALUES ({marks})", *row.values())
    brought_back = rows["row_history"]["id"] if table == "token" else 4
    assert differences(store) == [(tables[-1], str(brought_back))]


def test_a_row_that_was_changed_before_it_was_deleted_is_found(store: Database) -> None:
    """Retention does not hide that another program changed or deleted a row before."""
    with stranger(store) as other:
        other.run("UPDATE record SET user_name = 'mallory' WHERE id = 2")
        other.run("DELETE FROM record WHERE id = 3")
    with store.write() as connection:
        seals.delete(connection, RECORD, RECORD.c.id.in_([1, 2, 3, 4]))
    seal_all(store)
    assert sorted(differences(store)) == [("record", "2"), ("record", "3")]


def test_retention_agrees(store: Database) -> None:
    """Rows that retention removed are not missing: the seals say so."""
    kept = Retention(records=timedelta(days=1), deliveries=timedelta(days=1), receipts=timedelta(days=1))
    before = checked(store)
    prune.run_once(store, kept, NOON + timedelta(days=900))
    assert checked(store).difference_count == 0
    seal_all(store)
    found = checked(store)
    assert found.difference_count == 0
    removed = {table.name: table.removed for table in found.tables}
    assert all(removed[name] for name in ("record", "receipt", "alert_history", "alert_record", "row_history")), removed
    for was, now in zip(before.tables, found.tables, strict=True):
        assert now.removed is None or now.sealed + now.removed >= was.sealed
    fill(store, count=2, first=40)
    seal_all(store)
    assert checked(store).difference_count == 0


def seal_days(
    store: Database, monkeypatch: pytest.MonkeyPatch, days: int, kept: timedelta = timedelta(days=10)
) -> None:
    """Write a receipt and a token each day, delete those of the day before, seal, and apply the retention of seals."""
    monkeypatch.setattr(seals, "WORTH_KEEPING", 20)
    for day in range(1, days + 1):
        at = NOON + timedelta(days=day)
        with store.write() as connection:
            seals.delete(connection, RECEIPT, RECEIPT.c.id > 7)
            receipts.write(connection, make_receipt(starts_at=at, ends_at=at, judged_at=at, digest=str(day)))
            insert_token(connection, 1000 + day)
            row_history.delete(connection, TOKEN, [str(999 + day)])
            while seals.seal_next(connection, at):
                pass
            seals.delete_older(connection, at - kept, at)


def numbers(store: Database, kind: str | None = None) -> list[int]:
    """Return the numbers of the seals."""
    with store.read() as connection:
        its = select(SEAL.c.number).order_by(SEAL.c.number)
        return list(connection.execute(its if kind is None else its.where(SEAL.c.kind == kind)).scalars())


def test_old_seals_are_deleted_although_early_rows_stay(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old seals are deleted, their rows that stay are attested by others, and a head of the retention can be compared."""
    early = head(store)
    seal_days(store, monkeypatch, 110)
    noted = head(store)
    seal_days(store, monkeypatch, 9)
    assert differences(store) == differences(store, noted) == []
    assert numbers(store)[0] > early.number + 100
    assert len(numbers(store)) < 4 * 4 * 10 + 100  # two retentions, with four seals a day, and what keeps the rows
    too_old = checked(store, early)
    assert [(each.key, each.what.partition(":")[0]) for each in too_old.differences] == [
        (str(early.number), "cannot be compared")
    ]
    fill(store, count=3, first=40)
    seal_all(store)
    assert differences(store) == differences(store, noted) == []
    counts = {table.name: table.sealed for table in checked(store).tables}
    assert (counts["record"], counts["alert_history"], counts["silence"]) == (10, 30, 10)


@pytest.mark.parametrize("table", sorted(SEALED))
def test_rows_of_deleted_seals_are_still_attested(store: Database, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    """An early row that another program changes, deletes or inserts after its seal was deleted is named."""
    seal_days(store, monkeypatch, 60)
    assert ("rows", 1) not in {("rows", number) for number in numbers(store, "rows")}
    column, value = CHANGES[table]
    changed, deleted = keys(store, table)[1:3]
    expected = after(store, table, changed)
    with stranger(store) as other:
        other.run(f"UPDATE {table} SET {column} = ? WHERE id = ?", value, changed)
    assert set(differences(store)) == expected
    with stranger(store) as other:
        other.run(f"DELETE FROM {table} WHERE id = ?", deleted)
    assert {(table, str(changed)), (table, str(deleted))} <= set(differences(store))


def test_a_seal_that_was_added_later_explains_nothing_to_a_noted_head(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who adds seals of the kind `kept` for a changed row, and deletes its seals, is found by a head that was noted before."""
    monkeypatch.setattr(seals, "WORTH_KEEPING", 1)
    with store.write() as connection:
        insert_token(connection, 500)
        while seals.seal_next(connection, NOON + timedelta(days=10)):
            pass
    noted = head(store)  # it stays in the chain
    with stranger(store) as other:
        other.run("UPDATE record SET user_name = 'mallory' WHERE id = 3")
    with store.write() as connection:
        monkeypatch.setattr(seals, "_read_left", left_now)
        at = NOON + timedelta(days=1)
        seals.delete_older(connection, at, at)
        seals.delete_older(connection, at + timedelta(days=1), at + timedelta(days=1))
    assert differences(store) == []
    assert [each.key for each in checked(store, noted).differences] == [str(noted.number)]


def left_now(connection: Connection, name: str, through: int) -> tuple[int, list[seals.Leaf]]:
    """Return the leaves of the rows as another program left them."""
    del through
    leaves = SEALED[name].read(connection, 1, seals.MAX_ID, 1000)
    return leaves[-1][0], leaves


@pytest.mark.parametrize("kind", ["rows", CUT, KEPT])
def test_seals_that_must_stay_are_missed(store: Database, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A seal of any kind that another program deleted is named, and so is the beginning of the chain."""
    seal_days(store, monkeypatch, 60)
    number = numbers(store, kind)[-2]
    with stranger(store) as other:
        other.run("DELETE FROM seal WHERE number = ?", number)
        assert ("seal", str(number)) in differences(store)
        other.run("DELETE FROM seal WHERE number <= ?", number)
    assert ("seal", str(number)) in differences(store)


def test_old_seals_stay_until_those_that_keep_their_rows_are_old(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seals are replaced if they were made before the time, and deleted if what replaces them was made before it."""
    monkeypatch.setattr(seals, "WORTH_KEEPING", 1)
    last, now = numbers(store)[-1], NOON + timedelta(days=5)
    micro = timedelta(microseconds=1)
    with store.write() as connection:
        seals.delete_older(connection, NOON, now)
        assert numbers(store, KEPT) == []  # all of them were made at that time
        seals.delete_older(connection, NOON + micro, now)
    with store.read() as connection:
        found = connection.execute(select(SEAL.c.through).where(SEAL.c.kind == KEPT)).scalars().all()
    assert found == [last] * len(SEALED)
    with store.write() as connection:
        seals.delete_older(connection, now, now)
    assert numbers(store)[0] == 1
    with store.write() as connection:
        seals.delete_older(connection, now + micro, now)
    assert numbers(store)[0] == last + 1
    assert differences(store) == []


def test_ids_continue_after_all_rows_are_gone(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """If all rows of a table are gone, with the seals that had them, the next row continues there, and agrees."""
    with store.write() as connection:
        for table in (RECEIPT, ALERT_HISTORY):
            seals.delete(connection, table)
    seal_days(store, monkeypatch, 60)
    with store.read() as connection:
        assert seals.newest_sealed(connection, "alert_history") == 21
    fill(store, count=2, first=40)
    seal_all(store)
    assert differences(store) == []


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
    assert checked(store).tables[1].removed == 2  # the others were never sealed


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
        alerts.update(connection, alerts.read_newest(connection, 1)[0])
        row_history.delete(connection, TOKEN, ["1"])
        seals.delete(connection, RECEIPT, RECEIPT.c.id == 1)
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


def test_bounded_output(store: Database) -> None:
    """Of many differences the first 20 are named, and all are counted."""
    fill(store, count=40, first=100)
    seal_all(store, 1000)
    with stranger(store) as other:
        other.run("UPDATE record SET user_name = 'mallory'")
    found = checked(store)
    assert (len(found.differences), found.difference_count) == (20, 47)


def test_rows_that_wait_are_counted_up_to_a_bound(store: Database) -> None:
    """Of more rows than a bound, `status` reports the bound."""
    with store.write() as connection:
        records.insert_new(connection, [make_record(number, minutes=number) for number in range(500, 600)])
        insert_token(connection, 500)
        assert seals.count_waiting(connection) == seals.Waiting(101, is_lower_bound=False)
        assert seals.count_waiting(connection, 100) == seals.Waiting(101, is_lower_bound=False)
        assert seals.count_waiting(connection, 99) == seals.Waiting(100, is_lower_bound=True)
        seals.seal_next(connection, NOON, 30)
        assert seals.count_waiting(connection) == seals.Waiting(71, is_lower_bound=False)
    seal_all(store, 30)
    assert checked(store).difference_count == 0
