"""The silences, from commands, buttons and reviewed files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Update, bindparam, or_, select

from actionwatch.base.model import Silence
from actionwatch.store import row_versions
from actionwatch.store.column_types import Instant
from actionwatch.store.statements import PageKey, first_two, portions, upsert
from actionwatch.store.tables import SILENCE

_NOW = bindparam("now", type_=Instant)
# Built once, because every message runs it.
_ACTIVE = select(SILENCE).where(SILENCE.c.ends_at > _NOW, SILENCE.c.starts_at <= _NOW)


def write(connection: Connection, silence: Silence) -> None:
    """Store a silence, and replace the one with its id."""
    upsert(connection, SILENCE, asdict(silence))
    row_versions.note(connection, SILENCE, [silence.id])


def read_all(connection: Connection) -> list[Silence]:
    """Read every silence, last end first."""
    return _read(connection, select(SILENCE).order_by(SILENCE.c.ends_at.desc(), SILENCE.c.id))


def read_many(connection: Connection, ids: Collection[str]) -> dict[str, Silence]:
    """Read several silences by id; unknown ids are ignored."""
    parts = (_read(connection, select(SILENCE).where(SILENCE.c.id.in_(some))) for some in portions(ids))
    return {found.id: found for part in parts for found in part}


def read_active(connection: Connection, now: datetime) -> list[Silence]:
    """Read the active silences."""
    return _read(connection, _ACTIVE, now=now)


def read_current(connection: Connection, now: datetime) -> list[Silence]:
    """Read the active silences and those to come, last end first."""
    order = (SILENCE.c.ends_at.desc(), SILENCE.c.id)
    return _read(connection, select(SILENCE).where(SILENCE.c.ends_at > now).order_by(*order))


def read_expired(
    connection: Connection, now: datetime, limit: int, after: PageKey | None
) -> tuple[list[Silence], PageKey | None]:
    """Read the next silences that ended, last end first, after a place. Also return after which place the list continues."""
    over = [SILENCE.c.ends_at <= now]
    if after is not None:
        at, name = after
        over += [SILENCE.c.ends_at <= at, or_(SILENCE.c.ends_at < at, SILENCE.c.id > name)]
    statement = select(SILENCE).where(*over).order_by(SILENCE.c.ends_at.desc(), SILENCE.c.id)
    found = _read(connection, statement.limit(limit + 1))
    return found[:limit], (found[limit - 1].ends_at, found[limit - 1].id) if len(found) > limit else None


def read_by_prefix(connection: Connection, beginning: str) -> list[Silence]:
    """Read at most two silences whose id has this prefix: two show that it is not unique."""
    return _read(connection, first_two(select(SILENCE), SILENCE.c.id, beginning))


def expire(connection: Connection, ids: Collection[str], now: datetime, who: str) -> int:
    """End silences that are active or pending, as a person decided. Return how many."""
    going_on = (SILENCE.c.id.in_(ids), SILENCE.c.ends_at > now)
    return _end(connection, SILENCE.update().where(*going_on).values(ends_at=now, ended_by=who))


def replace_of_files(connection: Connection, found: Sequence[Silence], broken: Collection[str], now: datetime) -> None:
    """Replace the silences of files: those that were removed end, those of broken files are kept."""
    known = read_many(connection, [silence.id for silence in found])
    for silence in found:
        if silence != known.get(silence.id):
            write(connection, silence)
    gone = (
        SILENCE.c.file.is_not(None),
        SILENCE.c.file.not_in(broken),
        SILENCE.c.id.not_in([silence.id for silence in found]),
        SILENCE.c.ends_at > now,
    )
    _end(connection, SILENCE.update().where(*gone).values(ends_at=now))


def _end(connection: Connection, statement: Update) -> int:
    ended = connection.execute(statement.returning(SILENCE.c.id)).scalars().all()
    row_versions.note(connection, SILENCE, ended)
    return len(ended)


def _read(connection: Connection, statement: Select[Any], **values: Any) -> list[Silence]:
    return [Silence(**row) for row in connection.execute(statement, values).mappings()]
