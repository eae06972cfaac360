"""The statements that a test runs, as SQLAlchemy hands them to the driver, and its transactions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event

from actionwatch.store.database import Database

GRAIN = 10  # steps of SQLite are counted by so many: each count calls Python


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
def run_statements() -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements about rows that are there, of all stores during the block, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, ___: object, is_many: bool) -> None:
        if re.match("SELECT|WITH|UPDATE|DELETE", statement):
            found.extend((statement, each) for each in (parameters if is_many else [parameters]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@contextmanager
def questions() -> Iterator[list[tuple[str, Any]]]:
    """Collect the queries of all stores during the block, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if statement.startswith("SELECT"):
            found.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def count_rows(connection: Connection, asked: Iterable[tuple[str, Any]]) -> int:
    """Return how many rows these queries return now."""
    counts = (f"SELECT count(*) FROM ({statement}) AS found" for statement, _ in asked)
    parameters = (each for _, each in asked)
    return sum(connection.exec_driver_sql(*each).scalar_one() for each in zip(counts, parameters, strict=True))


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


@contextmanager
def undone(database: Database) -> Iterator[Connection]:
    """Run a transaction that is rolled back."""
    with database.write() as connection:
        nested = connection.begin_nested()
        yield connection
        nested.rollback()


def steps(database: Database, ask: Callable[[Connection], object]) -> int:
    """Count the steps of SQLite's virtual machine for a question. What it changes is undone."""
    count = 0

    def tick() -> None:
        nonlocal count
        count += GRAIN

    with undone(database) as connection:
        raw: Any = connection.connection.driver_connection
        raw.set_progress_handler(tick, GRAIN)
        try:
            ask(connection)
        finally:
            raw.set_progress_handler(None, 0)
    return count
