"""The history of each rule document, with its versions. `run` appends in the transaction of the change."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import Connection, func, select

from actionwatch.base.rule_state import GONE, RuleEntry
from actionwatch.store import marks, positions, records, seals
from actionwatch.store.tables import RULE_HISTORY

_TABLE = RULE_HISTORY.c
_TEXTS = ("document", "lists")
_ALL = [_TABLE[field.name] for field in fields(RuleEntry)]
_BRIEF = [column for column in _ALL if column.name not in _TEXTS]
_NEWEST = select(*_BRIEF).where(_TABLE.id.in_(select(func.max(_TABLE.id)).group_by(_TABLE.rule_id)))
_FOLLOWING = RULE_HISTORY.alias("following")


def append(connection: Connection, entries: Sequence[RuleEntry]) -> None:
    """Add entries, in order."""
    if entries:
        connection.execute(RULE_HISTORY.insert(), [asdict(entry) for entry in entries])


def read_newest(connection: Connection) -> dict[str, RuleEntry]:
    """Read the newest entry of each document by its id, without the texts of its version."""
    rows = connection.execute(_NEWEST).mappings()
    return {row["rule_id"]: RuleEntry(**row) for row in rows}


def read_last(connection: Connection, rule_id: str, limit: int) -> list[RuleEntry]:
    """Read the newest entries of one document, newest first, without the texts of their versions."""
    statement = select(*_BRIEF).where(_TABLE.rule_id == rule_id).order_by(_TABLE.id.desc()).limit(limit)
    return [RuleEntry(**row) for row in connection.execute(statement).mappings()]


def read_after(connection: Connection, entry_id: int) -> list[RuleEntry]:
    """Read the entries behind one, in order, without the texts of their versions."""
    statement = select(*_BRIEF).where(_TABLE.id > entry_id).order_by(_TABLE.id)
    return [RuleEntry(**row) for row in connection.execute(statement).mappings()]


def newest_id(connection: Connection) -> int:
    """Return the id of the newest entry; 0 without any."""
    return connection.execute(select(func.max(_TABLE.id))).scalar() or 0


def read_since(
    connection: Connection, since: datetime, rule_id: str | None = None, *, with_texts: bool = False
) -> dict[str, list[RuleEntry]]:
    """Read what applied to actions from a time on, by the id of the document, oldest first; of all documents, or of one."""
    ended = select(func.max(_TABLE.id)).where(_TABLE.begins_at <= since).group_by(_TABLE.rule_id)
    statement = select(*(_ALL if with_texts else _BRIEF)).order_by(_TABLE.rule_id, _TABLE.id)
    statement = statement.where((_TABLE.id.in_(ended)) | (_TABLE.begins_at > since))
    if rule_id is not None:
        statement = statement.where(_TABLE.rule_id == rule_id)
    found: dict[str, list[RuleEntry]] = {}
    for row in connection.execute(statement).mappings():
        found.setdefault(row["rule_id"], []).append(RuleEntry(**row))
    return found


def matched_through(connection: Connection, sources: Collection[str]) -> datetime | None:
    """Return the time up to which the actions of all of these sources were read and matched; None before the first poll."""
    both = matched_between(connection, sources)
    return None if both is None else both[0]


def matched_between(connection: Connection, sources: Collection[str]) -> tuple[datetime, datetime] | None:
    """Return the times up to which the actions of all of these sources, and of any, were read and matched; None: of none.

    Late records are left out: they are matched by what runs when they appear.
    """
    known = marks.read_all(connection)
    unmatched = records.oldest_in_time_after(connection, min(positions.read_both(connection)))
    seen = {name: known[name].seen_through for name in sources if name in known}
    matched = [min(at, unmatched.get(name, at)) for name, at in seen.items()]
    return (min([*matched, *unmatched.values()]), max(matched)) if matched else None


def delete_older(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` entries that ended before a time, as others followed or the rule is gone. Return how many."""
    is_followed = (
        select(_FOLLOWING.c.id)
        .where(_FOLLOWING.c.rule_id == _TABLE.rule_id, _FOLLOWING.c.id > _TABLE.id, _FOLLOWING.c.begins_at < before)
        .exists()
    )
    is_gone = _TABLE.state.in_([state.value for state in GONE])
    # No entry begins before the previous one of its rule: what follows a younger entry is younger too, and is not looked at.
    ended = select(_TABLE.id).where(_TABLE.begins_at < before, is_followed | is_gone)
    # Oldest first: an entry that lost the one after it would stay, and the rule look as if it still ran.
    doomed = ended.order_by(_TABLE.id).limit(limit)
    return len(seals.delete(connection, RULE_HISTORY, _TABLE.id.in_(doomed)))
