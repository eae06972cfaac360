"""A process that is killed, as the store sees it: at a chosen commit, before or after it, everything ends.

The file of the store can also be moved away while a process works on it, with another one in its place, or none.

`Killed` is no `Exception`, so that nothing in the pipeline survives it. The next process is built from the file alone.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection

from actionwatch.base.errors import StoreError
from actionwatch.store.database import Database
from actionwatch.store.sqlite import SqliteBackend
from tests.builders import file_of

DISK_IS_FULL = "the disk is full"


class Killed(BaseException):
    """The process was killed."""


class MortalDatabase(Database):
    """A database whose process can die at any commit: `dies` is called before and after each.

    The engines are reused, because compiling every statement again would take longer than the test. Their connections are not.

    """

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder / 'store.db'}")
        self.dies: Callable[[], bool] = lambda: False
        self.fails_next = False
        """Whether the next commit fails, because the disk is full."""
        self._template = folder / "template.db"
        self._moved = folder / "moved"
        self._moved.mkdir()
        self._foreign: bytes | None = None
        template = Database(f"sqlite:///{self._template}")
        template.upgrade()
        template.close()

    @contextlib.contextmanager
    def write(self, on_commit: Callable[[], None] = lambda: None, *, is_durable: bool = False) -> Iterator[Connection]:
        """Write, unless the process dies before or after the commit."""
        with super().write(on_commit, is_durable=is_durable) as connection:
            yield connection
            if self.dies():
                raise Killed  # rolled back
            if self.fails_next:
                self.fails_next = False
                raise StoreError(DISK_IS_FULL)
        if self.dies():
            raise Killed  # committed, and not reported

    def set_up(self) -> None:
        """Do nothing: the template has the tables."""

    def renew(self) -> None:
        """Start with an empty store, a copy, because creating the schema would take longer than a schedule."""
        self.close()
        file = file_of(self)
        for old in (*file.parent.glob(file.name + "*"), *self._moved.iterdir()):
            old.unlink()
        shutil.copy(self._template, file)

    def move_away(self, chance: random.Random) -> None:
        """Move the file away, with its log or without, and perhaps put another file in its place."""
        file = file_of(self)
        suffixes = chance.choice((("",), ("", "-wal", "-shm")))
        for path in [file.with_name(file.name + suffix) for suffix in suffixes]:
            if path.exists():
                path.rename(self._moved / path.name)
        self._foreign = chance.choice((None, b"", b"no database", self._template.read_bytes()))
        if self._foreign is not None:
            file.write_bytes(self._foreign)

    def put_back(self) -> bool:
        """Put the right file back. Return whether nothing was written to the one in its place, or created where none was."""
        file = file_of(self)
        found = file.read_bytes() if file.exists() else None
        for path in self._moved.iterdir():
            path.rename(file.with_name(path.name))
        return found == self._foreign

    def close(self) -> None:
        """Close the connections. The next process opens others with the same engines."""
        super().close()
        self._state.is_closed = False
        assert isinstance(self._backend, SqliteBackend)
        self._backend._watcher = None
