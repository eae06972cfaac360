"""The same rules on the same records as in pySigma's SQLite backend: two evaluators that share only the parser."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sigma.backends.sqlite.sqlite import sqliteBackend
from sigma.rule import SigmaRule

from actionwatch.base.model import Record
from actionwatch.rules.engine import Engine
from actionwatch.text.payloads import instant
from tests.examples import examples
from tests.unit.rules.builders import detection_rule, rules_of
from tests.unit.rules.strategies import TEXT_FIELDS, detections, records

_backend: Callable[..., Any] = sqliteBackend
COLUMNS = {
    **dict.fromkeys(TEXT_FIELDS, "TEXT"),
    "timestamp": "TEXT",
    "raw.n": "NUMERIC",
    "raw.ip": "TEXT",
    "fulltext": "TEXT",
}


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    """Store the records as rows, absent fields as NULL."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.create_function(
            "REGEXP", 2, lambda pattern, text: text is not None and re.search(pattern, text) is not None
        )
        columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
        connection.execute(f"CREATE TABLE logs (number INTEGER, {columns})")
        yield connection


@examples(62)
@given(st.lists(detections(), min_size=1, max_size=3), st.lists(records(), min_size=1, max_size=25))
def test_agrees_with_the_sqlite_backend(
    database: sqlite3.Connection, drawn: list[dict[str, Any]], stored: list[Record]
) -> None:
    """Both evaluators decide the same for every record."""
    _store(database, stored)
    documents = [detection_rule(each, name=f"r{number}", title=f"r{number}") for number, each in enumerate(drawn)]
    rules = rules_of(*documents)
    assert rules.faults == ()
    for document, rule in zip(documents, rules.rules, strict=True):
        backend = _backend(collate_nocase=True, fulltext_field="fulltext")
        (query,) = backend.convert_rule(SigmaRule.from_dict(document))
        expected = {row[0] for row in database.execute(query)}
        engine = Engine([rule])
        found = {number for number, record in enumerate(stored) if engine.evaluate([record])}
        assert found == expected, query


def _store(database: sqlite3.Connection, stored: Sequence[Record]) -> None:
    database.execute("DELETE FROM logs")
    marks = ", ".join("?" * (len(COLUMNS) + 1))
    database.executemany(f"INSERT INTO logs VALUES ({marks})", map(_row, range(len(stored)), stored))


def _row(number: int, record: Record) -> tuple[Any, ...]:
    raw = json.loads(record.raw)
    searched = (record.action_kind, record.user_name, record.description, record.account.name, record.cluster.name)
    return (
        number,
        record.action_kind,
        record.user_name,
        record.description,
        record.cluster.name,
        record.account.name,
        record.operation,
        instant(record.occurred_at),
        raw.get("n"),
        raw.get("ip"),
        "\n".join(text for text in searched if text is not None),
    )
