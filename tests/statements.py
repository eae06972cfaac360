"""The statements that a test runs, as SQLAlchemy hands them to the driver, and its transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, event


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements of all stores during the block."""
    found: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@contextmanager
def transactions() -> Iterator[list[str]]:
    """Collect the transactions that commit during the block: `read` or `write`."""
    found: list[str] = []

    def note(connection: Connection) -> None:
        found.append("read" if is_reader(connection) else "write")

    event.listen(Engine, "commit", note)
    try:
        yield found
    finally:
        event.remove(Engine, "commit", note)


def is_reader(connection: Connection) -> bool:
    """Return whether a transaction cannot write."""
    is_sqlite = connection.dialect.name == "sqlite"
    question = "PRAGMA query_only" if is_sqlite else "SELECT current_setting('transaction_read_only')::bool"
    return bool(connection.exec_driver_sql(question).scalar())
