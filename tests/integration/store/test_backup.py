"""Backups of a store in use, and backups in the place of a store. Nothing is overwritten."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from actionwatch.base.access import AccessRole, AccessToken
from actionwatch.base.errors import StoreBusy, StoreError, StoreMissing
from actionwatch.store import positions, sessions, tokens
from actionwatch.store.backup import restore, write_backup
from actionwatch.store.database import Database, StoreReader
from tests.builders import NOON
from tests.positions import move_to
from tests.waiting import join, wait_until


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def make_store(path: Path, position: int) -> Path:
    """Make a store in which the matcher has a position."""
    with closing(Database(url_of(path))) as database:
        database.upgrade()
        with database.write() as connection:
            move_to(connection, "matcher", position)
    return path


def position_in(path: Path) -> int:
    """Read the position of the matcher."""
    with closing(StoreReader.open(url_of(path))) as store, store.read() as connection:
        return positions.read(connection, "matcher")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_backup_of_a_store_in_use_is_one_state(tmp_path: Path) -> None:
    """While another thread commits, a backup has one of the states, as one private file, and writes go on."""
    path, copy = make_store(tmp_path / "store.db", 1), tmp_path / "backup.db"
    with closing(Database(url_of(path))) as database, database.joined():
        stop, written = threading.Event(), [1]

        def write() -> None:
            while not stop.is_set():
                with database.write() as connection:
                    move_to(connection, "matcher", written[-1] + 1)
                    move_to(connection, "other", written[-1] + 1)
                written.append(written[-1] + 1)

        writer = threading.Thread(target=write)
        writer.start()
        wait_until(lambda: len(written) > 5, "some commits")
        write_backup(url_of(path), copy)
        count = len(written)
        wait_until(lambda: len(written) > count + 5, "more commits")
        stop.set()
        join(writer)
    assert names(tmp_path) == {"store.db", "store.db.lock", "backup.db"}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(StoreReader.open(url_of(copy))) as store, store.read() as connection:
        assert positions.read(connection, "matcher") == positions.read(connection, "other") > 5
    assert names(tmp_path) == {"store.db", "store.db.lock", "backup.db"}


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "folder", "store"])
def test_backup_overwrites_nothing(tmp_path: Path, kind: str) -> None:
    """A backup is refused under a name that exists, and what has the name is not changed."""
    path, target = make_store(tmp_path / "store.db", 1), tmp_path / "backup.db"
    (tmp_path / "old.db").write_text("precious")
    if kind == "file":
        target.write_text("precious")
    elif kind == "folder":
        target.mkdir()
    elif kind == "store":
        target = path
    else:
        target.symlink_to("old.db" if kind == "link" else "nowhere")
    before = names(tmp_path)
    with pytest.raises(StoreError, match=r"exists, and nothing is overwritten: choose another name"):
        write_backup(url_of(path), target)
    assert names(tmp_path) == before
    assert (tmp_path / "old.db").read_text() == "precious"
    assert position_in(path) == 1


def test_backup_needs_its_folder_and_a_store(tmp_path: Path) -> None:
    """A missing folder and a missing store are errors with their remedy, and leave no file."""
    path = make_store(tmp_path / "store.db", 1)
    with pytest.raises(StoreError, match=r"cannot write .*/away/b\.db: No such file or directory: check its folder"):
        write_backup(url_of(path), tmp_path / "away" / "b.db")
    with pytest.raises(StoreMissing, match="there is no store"):
        write_backup(url_of(tmp_path / "other.db"), tmp_path / "b.db")
    assert names(tmp_path) == {"store.db"}


def test_damaged_store_gives_no_backup(tmp_path: Path) -> None:
    """A damaged store is an error, because a backup that cannot be restored is worse than none."""
    path = make_store(tmp_path / "store.db", 1)
    content = bytearray(path.read_bytes())
    for page in range(2, len(content) // 16_384):
        content[page * 16_384 : page * 16_384 + 100] = b"\xa5" * 100
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        write_backup(url_of(path), tmp_path / "b.db")
    assert "b.db" not in names(tmp_path)


def test_restore_creates_the_store(tmp_path: Path) -> None:
    """Where no store is, as on another host, restore creates it with its folder, private, and the backup stays."""
    path, new = make_store(tmp_path / "store.db", 7), tmp_path / "new" / "store.db"
    write_backup(url_of(path), tmp_path / "b.db")
    assert restore(url_of(new), tmp_path / "b.db", NOON, is_replacing=False) is None
    assert position_in(new) == position_in(tmp_path / "b.db") == 7
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert names(new.parent) == {"store.db", "store.db.lock"}


def test_restore_ends_all_sessions(tmp_path: Path) -> None:
    """Nobody is signed in to a restored store: people may have signed out after the backup. Tokens stay."""
    path, new = make_store(tmp_path / "store.db", 1), tmp_path / "new.db"
    with closing(Database(url_of(path))) as database, database.write() as connection:
        sessions.insert(connection, "digest", None, NOON + timedelta(hours=1))
        tokens.insert(connection, AccessToken("id", "sam", AccessRole.READER, NOON, "admin"), "digest")
    write_backup(url_of(path), tmp_path / "b.db")
    restore(url_of(new), tmp_path / "b.db", NOON, is_replacing=False)
    for copy, is_signed_in in ((tmp_path / "b.db", True), (new, False)):
        with closing(StoreReader.open(url_of(copy))) as store, store.read() as connection:
            assert (sessions.read(connection, "digest", NOON) is not None) == is_signed_in
            assert tokens.read_valid(connection, "digest", NOON) is not None


def test_restore_destroys_no_store(tmp_path: Path) -> None:
    """A store is replaced only on request, and then keeps its data, also what is only in its log, under another name."""
    path = make_store(tmp_path / "store.db", 7)
    write_backup(url_of(path), tmp_path / "b.db")
    killed = sqlite3.connect(path)  # stays open, so that the commits stay in the log
    killed.execute("PRAGMA wal_autocheckpoint=0")
    with killed:
        killed.execute("CREATE TABLE only_in_the_log (a)")
    with pytest.raises(StoreError, match=r"there is a store at .*store\.db: add --replace"):
        restore(url_of(path), tmp_path / "b.db", NOON, is_replacing=False)
    assert (tmp_path / "store.db-wal").stat().st_size
    kept = restore(url_of(path), tmp_path / "b.db", NOON, is_replacing=True)
    killed.close()
    assert kept is not None
    assert position_in(path) == 7
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM only_in_the_log").fetchall() == [(0,)]
    with closing(Database(url_of(path))) as database, database.joined():
        database.upgrade()
    assert path.stat().st_nlink == kept.stat().st_nlink == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("is_replacing", [False, True])
def test_root_restores_for_the_user_of_the_service(tmp_path: Path, is_replacing: bool) -> None:
    """What root restores belongs to the owner of the store, or else of its folder, so that the service can open it."""
    backup, folder = make_store(tmp_path / "b.db", 7), tmp_path / "state"
    folder.mkdir()
    path = folder / "store.db"
    os.chown(make_store(path, 8) if is_replacing else folder, 12_345, 12_346)
    restore(url_of(path), backup, NOON, is_replacing=is_replacing)
    for file in (path, folder / "store.db.lock"):
        assert (file.stat().st_uid, file.stat().st_gid) == (12_345, 12_346)


def test_restore_is_refused_while_a_service_runs(tmp_path: Path) -> None:
    """A store that a process owns is not replaced."""
    path = make_store(tmp_path / "store.db", 7)
    write_backup(url_of(path), tmp_path / "b.db")
    with (
        closing(Database(url_of(path))) as database,
        database.joined(),
        pytest.raises(StoreBusy, match="another actionwatch runs on"),
    ):
        restore(url_of(path), tmp_path / "b.db", NOON, is_replacing=True)
    assert names(tmp_path) == {"store.db", "store.db.lock", "b.db"}


@pytest.mark.parametrize("kind", ["text", "empty", "foreign", "newer", "itself", "folder", "missing", "cut"])
def test_what_is_no_backup_changes_nothing(tmp_path: Path, kind: str) -> None:
    """A file that is no usable store does not replace one."""
    path, other = make_store(tmp_path / "store.db", 7), make_store(tmp_path / "other.db", 9)
    if kind in ("text", "empty"):
        other.write_text("hello, this is no database" * 9 if kind == "text" else "")
    elif kind == "foreign":
        other.unlink()
        with closing(sqlite3.connect(other)) as connection, connection:
            connection.execute("CREATE TABLE a (b)")
    elif kind == "newer":
        with closing(sqlite3.connect(other)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999', minimum_reader = '9999'")
    elif kind == "itself":
        other = path
    elif kind == "folder":
        other = tmp_path
    elif kind == "missing":
        other.unlink()
    else:
        other.write_bytes(other.read_bytes()[:-20_000])
    with pytest.raises(StoreError, match=r"nothing was changed|store itself|is not a file"):
        restore(url_of(path), other, NOON, is_replacing=True)
    assert position_in(path) == 7
    assert not [name for name in names(tmp_path) if "replaced" in name or name.startswith(".")]
