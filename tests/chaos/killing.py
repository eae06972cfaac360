"""A process that is killed, as the store sees it: at a chosen commit, before or after it, everything ends.

`Killed` is no `Exception`, so that nothing in the pipeline survives it. The next process is built from the file alone.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection

from actionwatch.store.database import Database
from actionwatch.store.sqlite import SqliteBackend
from tests.builders import file_of


class Killed(BaseException):
    """The process was killed."""


class MortalDatabase(Database):
    """A database whose process can die at any commit: `dies` is called before and after each.

    The engines are reused, because compiling every statement again would take longer than the test. Their connections are not.

    """

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder / 'store.db'}")
        self.dies: Callable[[], bool] = lambda: False
        self._template = folder / "template.db"
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
        if self.dies():
            raise Killed  # committed, and not reported

    def renew(self) -> None:
        """Start with an empty store, a copy, because creating the schema would take longer than a schedule."""
        self.close()
        file = file_of(self)
        for old in file.parent.glob(file.name + "*"):
            old.unlink()
        shutil.copy(self._template, file)

    def close(self) -> None:
        """Close the connections. The next process opens others with the same engines."""
        super().close()
        self._state.is_closed = False
        assert isinstance(self._backend, SqliteBackend)
        self._backend._watcher = None
