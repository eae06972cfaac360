"""`store verify --against`: the evidence outside names each row that another program changed, and each file."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Table, text

from actionwatch.store.tables import ALERT, ALERT_HISTORY, METADATA, RECORD, SILENCE
from actionwatch.streams import evidence
from actionwatch.streams.drivers import files
from actionwatch.streams.evidence import ADDED, DAMAGED, MISSING, Comparison
from tests.children import run_child
from tests.integration.cli.conftest import Called, Desk, new_desk, store_under_test
from tests.integration.store.filling import Stranger, stranger
from tests.integration.streams.ends import ENDS

DAY = 24 * 60  # minutes
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
STREAM = (
    "streams:\n  - name: evidence\n    files: {{url: 'file://{}'}}\n"
    "    what: everything\n    start: beginning\n    wait: 0s\n"
)
# The columns that the stream does not carry: what rules and delivery do next with a row.
NOT_CARRIED: dict[str, set[str]] = {
    "record": {
        "seen_at", "severity", "domain_type", "organisation_id", "organisation_name", "upstream_id",
        "is_time_readable", "is_backlog", "late_by", "vanished_at",
    },
    "alert": {
        "group_key", "realert", "resolved_at", "opened_at", "seen_at", "first_sent_at", "happened_at", "is_shadow",
        "reopened_at",
    },
    "alert_history": set(),
    "silence": {"file"},
}  # fmt: skip


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Desk]:
    """A shared desk with the evidence of four days: records, two alerts, a decision and a silence."""
    folder = tmp_path_factory.mktemp("watched")
    with store_under_test(store_kind, "watched") as store, new_desk(folder, store) as desk:
        (folder / "evidence").mkdir()
        desk.more = STREAM.format(folder / "evidence")
        desk.write(start="4d")
        for days, kind in (
            (3, "DELETE_CLUSTER"),
            (2, "LIST_KAFKA_ACLS"),
            (1.1, "CREATE_CLUSTER"),
            (0.01, "DELETE_CLUSTER"),
        ):
            desk.act(kind, days * DAY, "eve@example.com")
        assert desk.call("run", "--once").status == 0
        alert = desk.call("alerts", "list", "-o", "json").json[0]["id"]
        assert desk.call("alerts", "ack", alert, "--author", "sam", "--comment", "mine").status == 0
        assert desk.call("silences", "add", "level=low", "--for", "2h", "--comment", "x", "--author", "sam").status == 0
        assert desk.call("run", "--once").status == 0
        yield desk


def verify(desk: Desk, *more: str) -> Called:
    return desk.call("store", "verify", "--against", str(desk.folder / "evidence"), *more)


def compared(desk: Desk, folder: Path | None = None, kept_since: datetime = LONG_AGO) -> Comparison:
    """Compare the store with a folder, as the command does."""
    url = f"file://{folder or desk.folder / 'evidence'}"
    storage = files.open_storage(files.Options.model_validate({"url": url}, context={"folder": Path()}))
    with contextlib.closing(desk.open_store()) as database, database.read() as connection:
        days = evidence.list_days(storage)
        return evidence.compare(connection, storage, days, kept_since=kept_since, stated={})


def found(comparison: Comparison) -> list[tuple[str, str]]:
    return [(each.table, each.what) for each in comparison.differences]


@contextlib.contextmanager
def other_program(desk: Desk) -> Iterator[Stranger]:
    with contextlib.closing(desk.open_store()) as database, stranger(database) as other:
        yield other


@pytest.fixture
def copied(watched: Desk, tmp_path: Path) -> Path:
    """A copy of the evidence, to be changed."""
    return Path(shutil.copytree(watched.folder / "evidence", tmp_path / "copied"))


def sealed_days(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("date=*/SHA256SUMS"))


# -- both agree


def test_store_agrees_with_its_evidence(watched: Desk) -> None:
    """Nothing differs, the time through which both agree is named, and `sha256sum` verifies each complete day."""
    done = verify(watched)
    assert (done.status, done.err) == (0, "")
    assert "compared 4 records, 1 decision, 2 alerts, 1 silence" in done.out
    assert "acme: the store and the folder agree through " in done.out
    assert done.out.endswith("everything agrees\n")
    document = verify(watched, "-o", "json").json
    assert (document["agrees"], document["record_count"], document["differences"]) == (True, 4, [])
    through = datetime.fromisoformat(document["through"]["acme"])
    assert timedelta(0) <= datetime.now(UTC) - through < timedelta(hours=3)
    days = sealed_days(watched.folder / "evidence")
    assert len(days) >= 3
    for day in days:
        assert run_child(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=day).returncode == 0


def test_what_retention_may_have_deleted_is_no_difference(watched: Desk) -> None:
    """A row that is older than the retention is counted; a younger one that is gone is named."""
    with other_program(watched) as other:
        kept = rows_of(other, RECORD)
        other.run("DELETE FROM record WHERE id <= 2")
        try:
            since = datetime.now(UTC) - timedelta(days=2.5)
            comparison = compared(watched, kept_since=since)
        finally:
            restore(other, RECORD, kept)
    assert comparison.expired_count == 1
    assert found(comparison) == [("record", MISSING)]


def test_changes_after_the_folder_was_written_are_counted(watched: Desk) -> None:
    """A silence that a person ends since has a newer version, which the next round writes."""
    silence = watched.call("silences", "list", "-o", "json").json[0]["id"]
    assert watched.call("silences", "expire", silence, "--author", "sam").status == 0
    assert (compared(watched).changed_count, found(compared(watched))) == (1, [])
    assert watched.call("run", "--once").status == 0
    assert (compared(watched).changed_count, found(compared(watched))) == (0, [])


# -- rows


def rows_of(other: Stranger, table: Table) -> list[tuple[Any, ...]]:
    names = ", ".join(column.name for column in table.columns)
    return [tuple(row) for row in other.run(f"SELECT {names} FROM {table.name} ORDER BY 1")]


def restore(other: Stranger, table: Table, kept: list[tuple[Any, ...]]) -> None:
    names = ", ".join(column.name for column in table.columns)
    marks = ", ".join("?" for _ in table.columns)
    other.run(f"DELETE FROM {table.name}")
    for row in kept:
        other.run(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", *row)


def tampered(value: Any, column: Any) -> Any:
    """Return another value of the same type, as a stranger would write it."""
    if isinstance(column.type, Boolean):
        return not value if isinstance(value, bool) else 1 - value
    if isinstance(value, int):
        return 0 if column.name == "level" else value + 1_000_000
    if value is None:
        return "x" if "TEXT" in str(column.type.compile()).upper() else 1_000_000
    return f"{value}x"


@pytest.mark.parametrize("table", [RECORD, ALERT, ALERT_HISTORY, SILENCE], ids=lambda table: table.name)
def test_each_column_that_the_stream_carries_is_compared(watched: Desk, table: Table) -> None:
    """Another value in any column of a row is named, except those columns that the stream does not carry."""
    stage = "WHERE stage = 'acknowledged'" if table is ALERT_HISTORY else ""
    unseen = set()
    with other_program(watched) as other:
        kept = rows_of(other, table)
        (key, *_), *_ = other.run(f"SELECT id FROM {table.name} {stage} ORDER BY id LIMIT 1")
        names = [column.name for column in table.columns]
        row = next(each for each in kept if each[names.index("id")] == key)
        for place, column in enumerate(table.columns):
            changed = tampered(row[place], column)
            other.run(f"UPDATE {table.name} SET {column.name} = ? WHERE id = ?", changed, key)
            try:
                differences = found(compared(watched))
            finally:
                now = changed if column.name == "id" else key
                other.run(f"UPDATE {table.name} SET {column.name} = ? WHERE id = ?", row[place], now)
            if not differences:
                unseen.add(column.name)
    assert unseen == NOT_CARRIED[table.name]
    assert found(compared(watched)) == []


@pytest.mark.parametrize(
    ("table", "statement", "expected"),
    [
        ("record", "UPDATE record SET user_name = 'bob' WHERE id = 2", "the store has it differently: userName"),
        ("record", "DELETE FROM record WHERE id = 2", MISSING),
        (
            "alert",
            "UPDATE alert SET title = 'x' WHERE level = 4 AND status = 'acked'",
            "the store has it differently: title",
        ),
        ("alert", "UPDATE alert SET labels = '5' WHERE level = 4 AND status = 'acked'", DAMAGED),
        ("alert_record", "DELETE FROM alert_record WHERE record_id = 1", "the store has it differently: records"),
        ("alert_history", "DELETE FROM alert_history WHERE stage = 'acknowledged'", MISSING),
        ("silence", "DELETE FROM silence", MISSING),
        ("row_version", "DELETE FROM row_version WHERE table_name = 'silence'", "the store has an older version of it"),
    ],
)
def test_rows_that_differ_are_named(watched: Desk, table: str, statement: str, expected: str) -> None:
    """A row that was changed or deleted is named, with source, time and key where it has them."""
    changed = METADATA.tables[table]
    with other_program(watched) as other:
        kept = rows_of(other, changed)
        other.run(statement)
        try:
            differences = compared(watched).differences
            done = verify(watched)
        finally:
            restore(other, changed, kept)
    (difference,) = differences
    assert difference.what == expected
    assert done.status == 1
    assert f"{difference.key}: {expected}\n" in done.err
    assert "1 difference: keep a copy of the store, of the folder and of the log" in done.err
    if table == "record":
        assert done.err.startswith("record acme 20")


def test_rows_that_were_added_are_named(watched: Desk) -> None:
    """A record among those that were sent, a decision, an alert and a silence that the folder has not."""
    copies = {
        RECORD: "UPDATE record SET id = 3, record_key = record_key || 'x' WHERE id = 3",
        ALERT_HISTORY: "UPDATE alert_history SET alert_id = 'other' WHERE stage = 'acknowledged'",
    }
    with other_program(watched) as other:
        for table, statement in copies.items():
            kept = rows_of(other, table)
            other.run(statement)
            try:
                differences = found(compared(watched))
            finally:
                restore(other, table, kept)
            assert differences, table.name
        for table in (ALERT, SILENCE):
            kept = rows_of(other, table)
            row = dict(zip([column.name for column in table.columns], kept[0], strict=True)) | {"id": "added"}
            restore(other, table, [*kept, tuple(row.values())])
            try:
                assert found(compared(watched)) == [(table.name, ADDED)]
            finally:
                restore(other, table, kept)
        kept = rows_of(other, RECORD)
        row = dict(zip([column.name for column in RECORD.columns], kept[0], strict=True))
        more = row | {"id": -1, "record_key": f"{row['record_key']}x"}
        restore(other, RECORD, [*kept, tuple(more.values())])
        try:
            assert found(compared(watched)) == [("record", ADDED)]
        finally:
            restore(other, RECORD, kept)


# -- files


def test_an_object_that_was_changed_is_named(watched: Desk, copied: Path) -> None:
    """Its name has the digest of other contents, and what it says of a record differs from the store."""
    target = next(
        path for path in sorted(copied.glob("date=*/*.gz")) if b"LIST_KAFKA_ACLS" in gzip.decompress(path.read_bytes())
    )
    target.write_bytes(
        gzip.compress(gzip.decompress(target.read_bytes()).replace(b"LIST_KAFKA", b"LOST_KAFKA"), mtime=0)
    )
    differences = found(compared(watched, copied))
    assert ("day", f"{target.name} was changed: its name has the digest of other contents") in differences
    assert any(table == "record" and "actionKind" in what for table, what in differences)
    target.write_bytes(b"\x1f\x8b damaged")
    assert ("day", f"{target.name} cannot be read") in found(compared(watched, copied))
    target.unlink()
    differences = found(compared(watched, copied))
    assert ("day", f"{target.name} is gone") in differences
    assert ("record", ADDED) in differences


def test_sums_that_do_not_chain_are_named(watched: Desk, copied: Path) -> None:
    """A day that was written again, with sums that fit, breaks the chain of the next day; so does one that is gone."""
    first, second = sealed_days(copied)[:2]
    (first / "SHA256SUMS").write_text("".join((first / "SHA256SUMS").read_text().splitlines(keepends=True)[:-1]))
    differences = found(compared(watched, copied))
    assert ("day", "its sums do not chain: the SHA256SUMS of the day before was changed") in differences
    assert any("is not in its SHA256SUMS" in what for _, what in differences)
    shutil.rmtree(first)
    assert ("day", "its sums do not chain: the SHA256SUMS of the day before is gone") in found(
        compared(watched, copied)
    )
    text_of = (second / "SHA256SUMS").read_text().splitlines(keepends=True)
    (second / "SHA256SUMS").write_text("".join(line for line in text_of if "../" not in line))
    assert ("day", "its sums do not chain: the SHA256SUMS of the day before was changed") in found(
        compared(watched, copied)
    )
    (second / "SHA256SUMS").unlink()
    assert ("day", "it has no SHA256SUMS, and later days have one") in found(compared(watched, copied))


def test_a_digest_that_was_written_again_is_named(watched: Desk, copied: Path) -> None:
    """An object whose name and sum were both changed fits, and the next day names another manifest."""
    day = sealed_days(copied)[0]
    target = min(day.glob("*.gz"))
    data = gzip.compress(b"", mtime=0)
    digest = hashlib.sha256(data).hexdigest()
    start, old, end = target.name.split(".", 2)
    target.unlink()
    (day / f"{start}.{digest}.{end}").write_bytes(data)
    manifest = day / "SHA256SUMS"
    manifest.write_text(manifest.read_text().replace(old, digest))
    differences = found(compared(watched, copied))
    assert ("day", "its sums do not chain: the SHA256SUMS of the day before was changed") in differences


def test_the_end_of_a_folder_that_is_gone_is_named(watched: Desk) -> None:
    """The stream of the configuration knows through when it has written."""
    folder = watched.folder / "evidence"
    days = sorted(folder.glob("date=*"))
    moved = [Path(shutil.move(day, watched.folder / day.name)) for day in days[-2:]]
    try:
        done = verify(watched)
    finally:
        for day in moved:
            shutil.move(day, folder / day.name)
    assert done.status == 1
    assert "the stream has written acme through " in done.err


# -- where there is nothing to compare


@pytest.mark.parametrize(
    ("against", "status", "shown"),
    [
        ("nowhere", 1, "nowhere: No such file or directory"),
        ("empty", 1, "there is no day in it: a stream of the type files writes days"),
        ("ftp://x", 2, "must be s3://bucket/prefix, or file:///folder"),
    ],
)
def test_what_is_no_evidence_is_refused(watched: Desk, tmp_path: Path, against: str, status: int, shown: str) -> None:
    """A folder that does not exist, or is empty, and another kind of URL are refused with what they must be."""
    (tmp_path / "empty").mkdir()
    place = against if "://" in against else str(tmp_path / against)
    done = watched.call("store", "verify", "--against", place)
    assert (done.status, shown in done.err) == (status, True), done.err


def test_a_stream_of_everything_has_no_matchers(desk: Desk) -> None:
    """Evidence of a part could not show what is missing."""
    (desk.folder / "evidence").mkdir()
    desk.more = STREAM.format(desk.folder / "evidence") + "    matchers: ['userName=eve']\n"
    done = desk.write().call("check")
    assert done.status == 2
    assert "a stream of everything takes no matchers" in done.err


def test_another_format_is_no_evidence(desk: Desk) -> None:
    """A folder in another format is refused, with the format that evidence has."""
    (desk.folder / "evidence").mkdir()
    desk.more = STREAM.format(desk.folder / "evidence") + "    format: ocsf\n"
    desk.write().act("DELETE_CLUSTER", 10)
    assert desk.call("run", "--once").status == 0
    done = verify(desk)
    assert (done.status, "is not in the format actionwatch" in done.err) == (1, True)


def test_additions_to_the_schema_are_named(watched: Desk) -> None:
    """Tables of another program are named, and are no difference."""
    with contextlib.closing(watched.open_store()) as database, database.write() as connection:
        connection.execute(text("CREATE TABLE note (content TEXT)"))
    try:
        done = verify(watched)
    finally:
        with contextlib.closing(watched.open_store()) as database, database.write() as connection:
            connection.execute(text("DROP TABLE note"))
    assert (done.status, "table note" in done.out) == (0, True)


def test_a_bucket_is_read_with_the_keys_of_its_stream(desk: Desk) -> None:
    """A bucket is named by its URL; the stream of the configuration that writes it has its endpoint and its keys."""
    folder = desk.folder / "bucket"
    folder.mkdir()
    with contextlib.closing(ENDS["files s3"](folder)) as end:
        options = json.dumps({name: str(value) for name, value in end.options().items()})
        desk.more = STREAM.replace("{{url: 'file://{}'}}", options)
        desk.write(start="4d").act("DELETE_CLUSTER", 2 * DAY)
        assert desk.call("run", "--once").status == 0
        done = desk.call("store", "verify", "--against", "s3://audit/some/prefix/")
        assert (done.status, done.err) == (0, "")
        assert "compared 1 record" in done.out
        desk.change("UPDATE record SET user_name = 'bob'")
        done = desk.call("store", "verify", "--against", "s3://audit/some/prefix")
        assert (done.status, "the store has it differently: userName" in done.err) == (1, True)
