"""Positions: the last local record id that a step of the pipeline has handled."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select, update

from actionwatch.base.errors import StoreError
from actionwatch.store.statements import upsert
from actionwatch.store.tables import POSITION, RECORD

MATCHED = "match"  # by plain rules
CORRELATED = "correlate"

# Built once: every batch of records runs them.
_ALL = select(POSITION.c.name, POSITION.c.record_id, POSITION.c.handled_count)
_ONE = _ALL.where(POSITION.c.name == bindparam("wanted"))
_COUNT_BETWEEN = (
    select(func.count())
    .select_from(RECORD)
    .where(RECORD.c.id > bindparam("after"), RECORD.c.id <= bindparam("through"))
)


class Overtaken(StoreError):
    """Another process has moved a step from the position at which this one read it."""


def read(connection: Connection, name: str) -> int:
    """Return the position of a step; 0 before it handled anything."""
    found: int | None = connection.execute(select(POSITION.c.record_id).where(POSITION.c.name == name)).scalar()
    return found or 0


def read_both(connection: Connection) -> tuple[int, int]:
    """Return the positions of `MATCHED` and of `CORRELATED`, which is never further."""
    found = {row.name: row.record_id for row in connection.execute(_ALL)}
    return found.get(MATCHED, 0), found.get(CORRELATED, 0)


def read_handled(connection: Connection, name: str) -> int:
    """Return how many records a step has handled, including those that retention deleted since."""
    statement = select(POSITION.c.handled_count).where(POSITION.c.name == name)
    return connection.execute(statement).scalar() or 0


def move(connection: Connection, name: str, before: int, after: int) -> None:
    """Move a step from one position to another one, and count the records in between as handled.

    Raises: Overtaken, if the position of the step is not `before`. Nothing is changed then.
    """
    row = connection.execute(_ONE, {"wanted": name}).first()
    stored, handled = (row.record_id, row.handled_count) if row else (0, 0)
    if stored != before:
        raise Overtaken(
            f"the position of the step '{name}' is record {stored}, not {before}: another process has moved it"
        )
    handled += _count_between(connection, before, after) - _count_between(connection, after, before)
    upsert(connection, POSITION, {"name": name, "record_id": after, "handled_count": handled})


def read_judged(connection: Connection) -> datetime | None:
    """Return up to when correlations judged what waits for verified time; None before they judged anything."""
    return connection.execute(select(POSITION.c.judged_through).where(POSITION.c.name == CORRELATED)).scalar()


def write_judged(connection: Connection, through: datetime) -> None:
    """Note up to when correlations judged what waits for verified time. They have moved before."""
    connection.execute(update(POSITION).where(POSITION.c.name == CORRELATED).values(judged_through=through))


def _count_between(connection: Connection, after: int, through: int) -> int:
    """Count the records with an id after one and up to another one. Ids may have gaps, so their difference is not a count."""
    if through <= after:
        return 0
    return connection.execute(_COUNT_BETWEEN, {"after": after, "through": through}).scalar_one()
