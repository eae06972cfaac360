"""The last good versions of the rule documents, for a start with a broken file. Only `run` writes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from actionwatch.store.statements import portions, upsert
from actionwatch.store.tables import RULE_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A running document. `document` and `lists` are YAML; `mode` is None for a filter; this version runs `since` then."""

    rule_id: str
    name: str
    file: str
    line: int
    mode: str | None
    document: str
    lists: str
    since: datetime


def read_all(connection: Connection) -> list[StoredVersion]:
    """Read the running versions by file, in the order of each file."""
    rows = connection.execute(select(RULE_VERSION).order_by(RULE_VERSION.c.file, RULE_VERSION.c.line))
    return [StoredVersion(**row) for row in rows.mappings()]


def read(connection: Connection, rule_id: str) -> StoredVersion | None:
    """Read the running version of one rule; None if none ran yet."""
    row = connection.execute(select(RULE_VERSION).where(RULE_VERSION.c.rule_id == rule_id)).mappings().first()
    return StoredVersion(**row) if row else None


def count_modes(connection: Connection) -> Mapping[str, int]:
    """Count the running rules by mode, without filters; empty if nothing ever ran on this store."""
    mode = RULE_VERSION.c.mode
    rows = connection.execute(select(mode, func.count()).where(mode.is_not(None)).group_by(mode))
    return {str(name): int(count) for name, count in rows}


def write(connection: Connection, versions: Collection[StoredVersion]) -> None:
    """Store versions, and replace those of the same rules."""
    upsert(connection, RULE_VERSION, *map(asdict, versions))


def move(connection: Connection, rule_id: str, file: str, line: int) -> None:
    """Store the new place of a version."""
    connection.execute(RULE_VERSION.update().where(RULE_VERSION.c.rule_id == rule_id).values(file=file, line=line))


def delete(connection: Connection, rule_ids: Collection[str]) -> None:
    """Delete rules that no longer run."""
    for some in portions(rule_ids):
        connection.execute(RULE_VERSION.delete().where(RULE_VERSION.c.rule_id.in_(some)))
