"""A process that is killed, as far as the store can tell: at a chosen commit, before or after it, everything ends.

`Killed` is no `Exception`, so that nothing in the pipeline survives it: what comes next is rebuilt from the file alone.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection

from actionwatch.store.database import Database


class Killed(BaseException):
    """The process is no more."""


class MortalDatabase(Database):
    """A database whose process may die at any commit: `dies` is asked before each, and after it.

    The engines live on, for to compile every statement anew would cost more than what is tested; their connections do not.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder / 'store.db'}")
        self.dies: Callable[[], bool] = lambda: False
        self._template = folder / "template.db"
        template = Database(f"sqlite:///{self._template}")
        template.upgrade()
        template.close()

    @contextlib.contextmanager
    def write(self, on_commit: Callable[[], None] = lambda: None) -> Iterator[Connection]:
        """Write as ever, unless it dies before the commit or after it."""
        with super().write(on_commit) as connection:
            yield connection
            if self.dies():
                raise Killed  # rolled back
        if self.dies():
            raise Killed  # committed, and nobody knows

    def renew(self) -> None:
        """Begin with an empty store, a copy: to make the schema anew would cost more than a schedule."""
        self.close()
        for old in self.path.parent.glob(self.path.name + "*"):
            old.unlink()
        shutil.copy(self._template, self.path)
