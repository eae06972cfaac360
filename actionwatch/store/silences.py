"""The silences, from commands, buttons and reviewed files."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from actionwatch.base.model import Silence
from actionwatch.store.database import upsert
from actionwatch.store.tables import SILENCE
from actionwatch.store.timestamps import Instant

_NOW = bindparam("now", type_=Instant)
# Built once, because every message runs it.
_ACTIVE = select(SILENCE).where(SILENCE.c.ends_at > _NOW, SILENCE.c.starts_at <= _NOW)


def write(connection: Connection, silence: Silence) -> None:
    """Store a silence, and replace the one with its id."""
    upsert(connection, SILENCE, {**asdict(silence), "matchers": json.dumps(silence.matchers)})


def read_all(connection: Connection) -> list[Silence]:
    """Read every silence, last end first."""
    rows = connection.execute(select(SILENCE).order_by(SILENCE.c.ends_at.desc(), SILENCE.c.id))
    return [_silence(row) for row in rows]


def read_many(connection: Connection, ids: Collection[str]) -> dict[str, Silence]:
    """Read several silences by id; unknown ids are ignored."""
    rows = connection.execute(select(SILENCE).where(SILENCE.c.id.in_(ids)))
    return {row.id: _silence(row) for row in rows}


def read_active(connection: Connection, now: datetime) -> list[Silence]:
    """Read the active silences."""
    return [_silence(row) for row in connection.execute(_ACTIVE, {"now": now})]


def read_by_prefix(connection: Connection, beginning: str) -> list[Silence]:
    """Read at most two silences whose id has this prefix: two show that it is not unique."""
    statement = select(SILENCE).where(SILENCE.c.id.startswith(beginning, autoescape=True)).limit(2)
    return [_silence(row) for row in connection.execute(statement)]


def expire(connection: Connection, ids: Collection[str], now: datetime) -> int:
    """End silences that are active or pending. Return how many."""
    going_on = (SILENCE.c.id.in_(ids), SILENCE.c.ends_at > now)
    return connection.execute(SILENCE.update().where(*going_on).values(ends_at=now)).rowcount


def replace_of_files(connection: Connection, found: Sequence[Silence], broken: Collection[str], now: datetime) -> None:
    """Replace the silences of files: those that were removed end, those of broken files are kept."""
    for silence in found:
        write(connection, silence)
    gone = (
        SILENCE.c.file.is_not(None),
        SILENCE.c.file.not_in(broken),
        SILENCE.c.id.not_in([silence.id for silence in found]),
        SILENCE.c.ends_at > now,
    )
    connection.execute(SILENCE.update().where(*gone).values(ends_at=now))


def _silence(row: Row[Any]) -> Silence:
    return Silence(
        row.id, tuple(json.loads(row.matchers)), row.author, row.comment, row.starts_at, row.ends_at, row.file
    )
