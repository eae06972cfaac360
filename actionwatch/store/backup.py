"""Back up a store while a service uses it, and put a backup in the place of a store. `cli/store.py` calls it.

No file is ever overwritten: a backup needs a new name, and a store that a backup replaces is kept under another name.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from sqlalchemy import URL

from actionwatch.base.errors import StoreError
from actionwatch.base.files import draft_beside, give_name, sync_folder
from actionwatch.store.database import StoreReader
from actionwatch.store.ownership import lock_path, owning
from actionwatch.store.sqlite import delete_sessions, path_of

_LOG, _LOG_INDEX = "-wal", "-shm"  # SQLite adds them to the name of the database


def write_backup(url: str, target: Path) -> None:
    """Copy one state of the store at this URL into a new file (mode 0600). The copy is checked before it gets its name.

    Raises: StoreMissing, SchemaMismatch, StoreBusy; StoreError, when the file exists or cannot be written.
    """
    with contextlib.closing(StoreReader.open(url, is_older_accepted=True)) as store:
        _refuse_existing(target)
        with _translated(target), draft_beside(target) as draft:
            store.copy_to(draft)
            give_name(draft, target)


def restore(url: str, backup: Path, now: datetime, *, is_replacing: bool) -> Path | None:
    """Make a copy of the backup the store at this URL, while no service runs on it.

    If `is_replacing`, a store that is there keeps all its data under a new name, which is returned.
    Raises: StoreBusy, when a service runs; StoreError, when the file is no backup, or a store is there and not `is_replacing`.
    """
    path = path_of(url)
    if backup.resolve() == path:
        raise StoreError(f"{backup} is the store itself: name a backup of it")
    if not backup.is_file():
        raise StoreError(f"{backup} is not a file: name a file that 'actionwatch store backup' wrote")
    _refuse_store(path, is_replacing=is_replacing)
    with _translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(owning(path))
        with _translated(path):
            draft = stack.enter_context(draft_beside(path))
        _copy_backup(backup, draft)
        with _translated(draft):
            delete_sessions(draft)
        _refuse_store(path, is_replacing=is_replacing)
        with _translated(path):
            _give_to_owner(path, draft, lock_path(path))
            kept = _keep(path, now) if path.exists() else None
            draft.replace(path)
            sync_folder(path.parent)
        return kept


def _copy_backup(backup: Path, draft: Path) -> None:
    """Copy a backup. Raises: StoreError, when it is damaged, or no store that this version can use."""
    try:
        url = URL.create("sqlite", database=str(backup.absolute()))
        with contextlib.closing(StoreReader.open(url, is_older_accepted=True)) as source:
            source.copy_to(draft)
    except StoreError as exc:
        what = str(exc).partition(": ")[0]
        raise StoreError(
            f"{what}: nothing was changed: choose another backup, or use the actionwatch that wrote it"
        ) from exc


def _refuse_existing(target: Path) -> None:
    with _translated(target):
        if target.exists() or target.is_symlink():
            raise FileExistsError


def _refuse_store(path: Path, *, is_replacing: bool) -> None:
    if not is_replacing and any(_beside(path, end).exists() for end in ("", _LOG)):
        raise StoreError(
            f"there is a store at {path}: add --replace, which keeps it under another name, or move it away"
        )


def _keep(path: Path, now: datetime) -> Path:
    """Give the store a second name, and its log to this name. Return the name.

    If the process is killed before the backup gets the first name, no service starts on a file with two names.
    """
    kept = path.with_name(f"{path.name}.replaced-{now:%Y%m%dT%H%M%S.%fZ}")
    os.link(path, kept)
    with contextlib.suppress(FileNotFoundError):
        _beside(path, _LOG).rename(_beside(kept, _LOG))
    _beside(path, _LOG_INDEX).unlink(missing_ok=True)  # SQLite makes it again from the log
    return kept


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _give_to_owner(path: Path, *files: Path) -> None:
    """Give files that root created to the owner of the store, or else of its folder, because the service runs as that user."""
    if os.geteuid() == 0:
        owner = (path if path.exists() else path.parent).stat()
        for file in files:
            os.chown(file, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def _translated(target: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as exc:
        raise StoreError(f"{target} exists, and nothing is overwritten: choose another name") from exc
    except OSError as exc:
        raise StoreError(f"cannot write {target}: {exc.strerror}: check its folder") from exc
