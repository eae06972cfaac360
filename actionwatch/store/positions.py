"""Positions: the last local record id that a step of the pipeline has handled."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select

from actionwatch.base.errors import StoreError
from actionwatch.store.statements import upsert
from actionwatch.store.tables import POSITION, RECORD

MATCHED = "match"  # rules have seen all records up to it
CORRELATED = "correlate"  # all correlations are evaluated up to it: it stays behind while some are fed again

# Built once: every batch of records runs them.
_ALL = select(POSITION.c.name, POSITION.c.record_id, POSITION.c.handled_count)
_ONE = _ALL.where(POSITION.c.name == bindparam("wanted"))
_COUNT_BETWEEN = (
    select(func.count())
    .select_from(RECORD)
    .where(RECORD.c.id > bindparam("after"), RECORD.c.id <= bindparam("through"))
)


class Overtaken(StoreError):
    """Another process has moved the position from where this one read it."""


def read(connection: Connection, name: str) -> int:
    """Return a position; 0 before anything was handled."""
    row = connection.execute(_ONE, {"wanted": name}).first()
    return row.record_id if row else 0


def read_both(connection: Connection) -> tuple[int, int]:
    """Return the positions of `MATCHED` and of `CORRELATED`, which is never further."""
    found = {row.name: row.record_id for row in connection.execute(_ALL)}
    return found.get(MATCHED, 0), found.get(CORRELATED, 0)


def read_handled(connection: Connection, name: str) -> int:
    """Return how many records were handled up to a position, including those that retention deleted since."""
    row = connection.execute(_ONE, {"wanted": name}).first()
    return row.handled_count if row else 0


def check(connection: Connection, position: int) -> None:
    """Check that no other process has matched records.

    Raises: Overtaken.
    """
    stored = read(connection, MATCHED)
    if stored != position:
        raise Overtaken(f"records are matched up to {stored}, not {position}: another process has done it")


def move(connection: Connection, before: int, after: int, *, is_correlated: bool) -> None:
    """Move from one position to another one, and count the records in between as handled.

    `is_correlated`: correlations are evaluated up to there, too.

    Raises: Overtaken, if the position is not `before`. Nothing is changed then.
    """
    check(connection, before)
    handled = read_handled(connection, MATCHED) + _count_between(connection, before, after)
    handled -= _count_between(connection, after, before)
    names = (MATCHED, CORRELATED) if is_correlated else (MATCHED,)
    upsert(connection, POSITION, *({"name": name, "record_id": after, "handled_count": handled} for name in names))


def _count_between(connection: Connection, after: int, through: int) -> int:
    """Count the records with an id after one and up to another one. Ids may have gaps, so their difference is not a count."""
    if through <= after:
        return 0
    return connection.execute(_COUNT_BETWEEN, {"after": after, "through": through}).scalar_one()
