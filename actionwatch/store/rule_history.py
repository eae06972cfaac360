"""The history of each rule document. `run` appends in the transaction of the change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import BigInteger, Connection, bindparam, func, select

from actionwatch.base.rule_state import GONE, RuleEntry
from actionwatch.store.tables import RULE_HISTORY

_TABLE = RULE_HISTORY.c
_COLUMNS = [_TABLE[field.name] for field in fields(RuleEntry)]
_LAST_IDS = (
    select(func.max(_TABLE.id)).where(_TABLE.id <= bindparam("through", type_=BigInteger())).group_by(_TABLE.rule_id)
)
_NEWEST = select(*_COLUMNS).where(_TABLE.id.in_(_LAST_IDS))
_ALL = 2**62
_FOLLOWING = RULE_HISTORY.alias("following")


def append(connection: Connection, entries: Sequence[RuleEntry]) -> None:
    """Add entries, in order."""
    if entries:
        connection.execute(RULE_HISTORY.insert(), [asdict(entry) for entry in entries])


def read_newest(connection: Connection, through: int = _ALL) -> dict[str, RuleEntry]:
    """Read the newest entry of each document by its id, of those up to an entry."""
    rows = connection.execute(_NEWEST, {"through": through}).mappings()
    return {row["rule_id"]: RuleEntry(**row) for row in rows}


def read_last(connection: Connection, rule_id: str, limit: int) -> list[RuleEntry]:
    """Read the newest entries of one document, newest first."""
    statement = select(*_COLUMNS).where(_TABLE.rule_id == rule_id).order_by(_TABLE.id.desc()).limit(limit)
    return [RuleEntry(**row) for row in connection.execute(statement).mappings()]


def read_after(connection: Connection, entry_id: int) -> list[RuleEntry]:
    """Read the entries behind one, in order."""
    statement = select(*_COLUMNS).where(_TABLE.id > entry_id).order_by(_TABLE.id)
    return [RuleEntry(**row) for row in connection.execute(statement).mappings()]


def newest_id(connection: Connection) -> int:
    """Return the id of the newest entry; 0 without any."""
    return connection.execute(select(func.max(_TABLE.id))).scalar() or 0


def delete_older(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` entries from before a time, as others followed before it or the rule is gone. Return how many."""
    is_followed = (
        select(_FOLLOWING.c.id)
        .where(_FOLLOWING.c.rule_id == _TABLE.rule_id, _FOLLOWING.c.id > _TABLE.id, _FOLLOWING.c.at < before)
        .exists()
    )
    is_gone = _TABLE.state.in_([state.value for state in GONE])
    ended = select(_TABLE.id).where(_TABLE.at < before, is_followed | is_gone)
    # Oldest first: an entry that lost the one after it would stay, and the rule look as if it still ran.
    ids = connection.execute(ended.order_by(_TABLE.id).limit(limit)).scalars().all()
    return connection.execute(RULE_HISTORY.delete().where(_TABLE.id.in_(ids))).rowcount
