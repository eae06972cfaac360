"""Own a store: a lock on the file next to it shows that a process works on the store, and its content is for commands.

The operating system releases the lock when the process ends, however it ends. The content is what the owner wrote last.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from actionwatch.base.clock import machine_now
from actionwatch.base.errors import StoreBusy, StoreError
from actionwatch.base.files import read_regular
from actionwatch.store.membership import ENDED, Roster, last_owner

_LOCK_SECONDS = 1.0  # a command that checks whether a service runs holds the lock for an instant
_LOCK_STEP = 0.02
_ONLY = "this process"
_MAX_NOTE_BYTES = 4 * 1024 * 1024  # service/announcement.py writes at most 200 lines of 1,000 characters


class Ownership:
    """The lock of a store, held."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._roles: dict[str, None] = {}
        self._has_note = False

    def write(self, note: bytes) -> None:
        """Replace the note for commands. A reader sees all of it, or for an instant none."""
        self._has_note = bool(note)
        with contextlib.suppress(OSError):  # a full disk, which `disk` reports: a note must not end the service
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, note, 0)

    def end(self) -> None:
        """Say that a service ends by itself."""
        if self._has_note:
            self.write(ENDED)

    def publish(self, digest: str) -> None:
        """Do nothing: there are no other replicas."""

    def renew(self) -> Roster:
        """Do nothing: the operating system keeps the lock."""
        return Roster(_ONLY, {_ONLY: socket.gethostname()}, holders=dict.fromkeys(self._roles, _ONLY))

    def take_roles(self, roles: Sequence[str]) -> list[str]:
        """Take roles: the only process on the store has each."""
        self._roles.update(dict.fromkeys(roles))
        return list(roles)

    def has(self, role: str) -> bool:
        """Return whether this process took a role."""
        return role in self._roles

    def hand_over(self, roles: Sequence[str]) -> None:
        """Give up roles."""
        self._roles = {role: None for role in self._roles if role not in roles}


class Owner:
    """See `Peers`: one process works on the store at a path, and sends its messages."""

    sender: str | None = None
    look_seconds: float = 1.0  # only people write in addition to the service

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> datetime:
        """Return the time of this machine, whose processes alone use the file."""
        return machine_now()

    def roster(self) -> Roster:
        """Return the process that holds the lock, and its note, which may be empty; or who held it last."""
        note = b""
        with contextlib.suppress(OSError):
            note = read_regular(lock_path(self._path), _MAX_NOTE_BYTES)
        if not _is_owned(self._path):
            return Roster("", {}, last=last_owner(note))
        return Roster("", {_ONLY: socket.gethostname()}, {_ONLY: note})

    def read_senders(self, connection: Connection) -> Collection[str]:
        """Return nobody: there is no other process that sends."""
        del connection
        return ()

    def term(self) -> int:
        """Return one number: while this process runs, no other takes its place."""
        return 0

    def held_roles(self, connection: Connection, roles: Collection[str]) -> Collection[str]:
        """Return all."""
        del connection
        return roles

    def is_steady(self) -> bool:
        """Return that no other process lives."""
        return True

    def listen(self, on_hint: Callable[[], None], stopping: threading.Event) -> bool:
        """Return False: records of a file are stored by the process that matches them."""
        del on_hint, stopping
        return False


@contextlib.contextmanager
def owning(path: Path) -> Iterator[Ownership]:
    """Hold the lock of the store at `path` until the block ends.

    Raises: StoreBusy, when another process holds it; StoreError.
    """
    descriptor = _open(lock_path(path))
    try:
        _lock(descriptor, path)
        ownership = Ownership(descriptor)
        ownership.write(b"")
        yield ownership
        ownership.end()
    finally:
        os.close(descriptor)


def _is_owned(path: Path) -> bool:
    """Return whether a process owns the store at `path` now: the service, or a round of it."""
    try:
        with lock_path(path).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # no process ever owned it, or we may not read its lock
    return False


def lock_path(path: Path) -> Path:
    """Return the lock file of the store at `path`."""
    return path.with_name(path.name + ".lock")


def _open(path: Path) -> int:
    """Open the lock file for us alone: whoever can open it can hold the lock. A link in its place is refused."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        what = "it is a link: remove it" if exc.errno == errno.ELOOP else exc.strerror
        raise StoreError(f"cannot open {path}: {what}") from exc
    with contextlib.suppress(PermissionError):  # another user created it
        os.fchmod(descriptor, 0o600)
    return descriptor


def _lock(descriptor: int, path: Path) -> None:
    """Take the lock. Raises: StoreBusy, when another process holds it."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if time.monotonic() >= deadline:
                raise StoreBusy(
                    f"another actionwatch runs on {path}: stop it, or give this one its own store.url"
                ) from exc
            time.sleep(_LOCK_STEP)
        else:
            return
