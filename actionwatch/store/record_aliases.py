"""The other keys of stored records: those that a record has in the log since the upstream sends more or fewer of its fields.

The keys of equal records are equal, so an alias has an ordinal: of the records in the log with one key, the first ones are
those that are stored with it, the next ones those that it is an alias of.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, tuple_

from actionwatch.store.statements import bulk_insert, bulk_join, bulk_read, has_row
from actionwatch.store.tables import RECORD, RECORD_ALIAS, SOURCE

# Of one instant: a key is its time, `-`, and a hash.
_AT = "record.record_key > given.column1 AND record.record_key < given.column1 || '.'"
_BETWEEN = (  # built once: every poll runs it
    select(RECORD_ALIAS.c.alias_key, RECORD_ALIAS.c.record_key)
    .where(RECORD_ALIAS.c.alias_key.between(bindparam("low"), bindparam("high")))
    .order_by(RECORD_ALIAS.c.alias_key, RECORD_ALIAS.c.ordinal)
)


class StoredRecord(NamedTuple):
    """A stored record of the upstream; `seen_at` in microseconds. Those of one walk have ids in the order of their keys."""

    id: int
    key: str
    raw: str
    seen_at: int


def read(connection: Connection, low: str, high: str) -> dict[str, list[str]]:
    """Return the keys of the records that have an alias within these bounds: alias -> keys, by ordinal."""
    found: dict[str, list[str]] = {}
    for alias, key in connection.execute(_BETWEEN, {"low": low, "high": high}):
        found.setdefault(alias, []).append(key)
    return found


def insert(connection: Connection, aliases: Sequence[tuple[str, int, str]]) -> None:
    """Insert aliases: (alias, ordinal, key of the record)."""
    columns = dict(zip(("alias_key", "ordinal", "record_key"), zip(*aliases, strict=True), strict=True))
    bulk_insert(connection, RECORD_ALIAS, columns)


def read_keys(connection: Connection, organisation: str, times: Collection[str]) -> set[str]:
    """Read the keys of an organisation's records, of any of its sources, that begin with one of these times."""
    sources = set(connection.execute(select(SOURCE.c.name).where(SOURCE.c.organisation == organisation)).scalars())
    given = [(time,) for time in sorted(times)]
    rows = bulk_join(connection, RECORD, ("record_key", "source"), ("record_key",), given, _AT)
    return {key for key, source in rows if source in sources}


def read_raws(connection: Connection, keys: Collection[str]) -> list[StoredRecord]:
    """Read the texts of the records with these keys, one for each."""
    rows = map(
        StoredRecord._make, bulk_read(connection, RECORD, ("id", "record_key", "raw", "seen_at"), "record_key", keys)
    )
    return list({record.key: record for record in rows}.values())


def delete_unused(connection: Connection, after: tuple[str, int], limit: int) -> tuple[str, int] | None:
    """Delete those of the next `limit` aliases whose records retention has deleted.

    Returns: the alias and the ordinal of the last one, after which to continue; None at the end.
    """
    place = tuple_(RECORD_ALIAS.c.alias_key, RECORD_ALIAS.c.ordinal)
    portion = select(*place.clauses).where(place > after).order_by(*place.clauses).limit(limit)
    rows = connection.execute(portion).all()
    if not rows:
        return None
    last: tuple[str, int] = tuple(rows[-1])
    is_unused = ~has_row(RECORD.c.record_key == RECORD_ALIAS.c.record_key)
    connection.execute(RECORD_ALIAS.delete().where(place > after, place <= last, is_unused))
    return last
