"""A store with rows in each table that people ask for, and a program that changes them behind the back of actionwatch."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from actionwatch.base.access import AccessRole, AccessToken, digest_of
from actionwatch.base.model import Silence
from actionwatch.base.rule_state import RuleEntry, RuleState
from actionwatch.store import receipts, rule_history, rule_versions, silences, tokens
from actionwatch.store.database import Database, StoreReader
from actionwatch.store.rule_versions import StoredVersion
from tests.builders import NOON, make_receipt, make_record, make_version, url_of
from tests.integration.kit import KindRule, Post

HOUR = timedelta(hours=1)


def fill(database: Database, count: int = 7, first: int = 1) -> Post:
    """Write `count` records, each with an alert and a delivery, and as many receipts, silences, tokens and rules."""
    post = Post(database)
    numbers = range(first, first + count)
    post.store(*(make_record(number, minutes=number, description=f"Zürich {number}") for number in numbers))
    post.matcher(KindRule()).run_once()
    post.deliver()
    with database.write() as connection:
        for number in numbers:
            at = NOON + number * HOUR
            receipts.write(
                connection,
                make_receipt(starts_at=at, ends_at=at + HOUR, judged_at=at, record_count=number, digest=str(number)),
            )
            rule_history.append(connection, [_entry(number)])
            silences.write(connection, Silence(str(number), ("level=high",), "sam", "why", at, at + HOUR))
            rule_versions.write(connection, [_version(number)])
            insert_token(connection, number)
    return post


def insert_token(connection: Connection, number: int) -> None:
    """Write a row of the table `token`."""
    token = AccessToken(str(number), f"sam {number}", AccessRole.OPERATOR, NOON + number * HOUR, "admin")
    tokens.insert(connection, token, digest_of(str(number)))


def _entry(number: int) -> RuleEntry:
    return RuleEntry(
        at=NOON, rule_id=str(number), name="a", state=RuleState.LIVE, since=NOON, file="a.yml", why=f"because {number}"
    )


def _version(number: int) -> StoredVersion:
    return make_version(str(number), f"d{number}")


class Stranger:
    """Another program with write access to the database."""

    def __init__(self, connection: Any, mark: str) -> None:
        self._connection, self._mark = connection, mark

    def run(self, statement: str, *values: object) -> list[Sequence[Any]]:
        """Run a statement, with `?` for each value."""
        cursor = self._connection.execute(statement.replace("?", self._mark), values)
        return list(cursor.fetchall()) if cursor.description else []


@contextlib.contextmanager
def stranger(database: StoreReader) -> Iterator[Stranger]:
    """Open a connection of another program; what it did is committed at the end."""
    if database.path is not None:
        with contextlib.closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
            yield Stranger(connection, "?")
    else:
        url = make_url(url_of(database)).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SET session_replication_role = replica")  # no trigger of the tests refuses its changes
            yield Stranger(other, "%s")
