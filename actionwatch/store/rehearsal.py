"""Try a change on a copy of one state of a store, which nobody else sees: `store prune --dry-run`.

To try it in the store and undo it would hold the write lock, or rows for which those wait that hold it: a running service would
wait, and its steps fail.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from actionwatch.base.errors import StoreError
from actionwatch.store.database import Database, StoreReader
from actionwatch.store.tables import METADATA

_MIB = 1024 * 1024


class Transactions(Protocol):
    """Transactions on a store."""

    def read(self) -> contextlib.AbstractContextManager[Connection]:
        """Run a transaction that reads."""
        ...

    def write(self) -> contextlib.AbstractContextManager[Connection]:
        """Run a transaction that may write."""
        ...


@contextlib.contextmanager
def rehearsal(store: StoreReader) -> Iterator[Transactions]:
    """Copy one state of a store, and yield transactions on the copy, which is deleted at the end.

    The copy of a file is in the folder for temporary files (TMPDIR), that of a database in its temporary tables.
    Raises: StoreError, when there is no room for it.
    """
    if store.path is None:
        with store.read() as connection:
            _shadow_tables(connection)
            yield _OneTransaction(connection)
        return
    with tempfile.TemporaryDirectory(prefix="actionwatch-") as folder:
        _check_room(store.path, folder)
        copy = Path(folder) / store.path.name
        store.copy_to(copy)
        with contextlib.closing(Database(f"sqlite:///{copy}")) as database:
            yield database


def _check_room(path: Path, folder: str) -> None:
    """Check that a copy and its log fit twice, so that the disk is never full for others. Raises: StoreError."""
    needed = 2 * path.stat().st_size
    if shutil.disk_usage(folder).free < needed:
        raise StoreError(
            f"{tempfile.gettempdir()} has no room for a copy of {path}: set TMPDIR to a folder with {needed // _MIB + 1:,} MiB"
        )


def _shadow_tables(connection: Connection) -> None:
    """Put a temporary copy before each table, for the names in this transaction. The first statement of it must be here."""
    connection.exec_driver_sql("SET TRANSACTION READ WRITE")  # of a reader; temporary tables lock nobody out
    quote = connection.dialect.identifier_preparer.quote
    schema = quote(str(connection.exec_driver_sql("SELECT current_schema()").scalar_one()))
    for table in map(quote, METADATA.tables):
        connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE {table} (LIKE {schema}.{table} INCLUDING INDEXES INCLUDING DEFAULTS) ON COMMIT DROP"
        )
        connection.exec_driver_sql(f"INSERT INTO pg_temp.{table} SELECT * FROM {schema}.{table}")  # noqa: S608  # nosec
        connection.exec_driver_sql(f"ANALYZE pg_temp.{table}")


@dataclass(frozen=True, slots=True)
class _OneTransaction:
    """Transactions that are parts of another one."""

    connection: Connection

    def read(self) -> contextlib.AbstractContextManager[Connection]:
        return contextlib.nullcontext(self.connection)

    write = read
