"""What was written, changed or deleted since the last seal.

Triggers note it, for every write of actionwatch, in the transaction of the write: `sqlite.py` and `postgresql.py` have them. A
call in each function that writes could be forgotten, and `store verify` would accuse somebody of a change that is ours. A write
by another program is not noted, so that it is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Text, cast, func, select

from actionwatch.store.sealed_tables import NUMBER, SEALED, is_text
from actionwatch.store.statements import bulk_find, is_postgresql, reading_any_text, without_index
from actionwatch.store.tables import UNSEALED

_TABLE = UNSEALED.c


def _is_of(tables: Collection[str]) -> ColumnElement[bool]:
    """Return the condition for notes of tables. With the index by table, SQLite would sort all notes to find the oldest."""
    return without_index(_TABLE.table_name).in_(list(tables))


# A newer version may note other tables.
_IS_SEALED = _is_of(SEALED)
_NEWEST = "SELECT coalesce(max(id), 0) FROM record"
_MOST_COUNTED = 10_000  # notes that `status` reads: the service seals about as many rows in a run
_NOTE = "INSERT INTO unsealed (table_name, row_key, last_id) SELECT 'record', ?, max(id) FROM record"


class Note(NamedTuple):
    """A row of a table that is to be sealed; with `last_id`, all rows from `row_key` to that id."""

    id: int
    table_name: str
    row_key: str
    last_id: int | None

    @property
    def has_ids(self) -> bool:
        """Whether these are ids, as a note of a numbered table has. Another program can have written others."""
        return NUMBER.fullmatch(self.row_key) is not None and isinstance(self.last_id, int | None)

    @property
    def row_count(self) -> int:
        """How many rows it notes: none, if another program wrote it with a `last_id` and other ids."""
        if self.last_id is None:
            return 1
        return max(self.last_id - int(self.row_key) + 1, 0) if self.has_ids else 0


class Waiting(NamedTuple):
    """How many rows wait for a seal, or a lower bound of that."""

    row_count: int
    is_lower_bound: bool


def newest_record(connection: Connection) -> int:
    """Return the id of the newest record, at a hundredth of the cost of a page. PostgreSQL does not need it."""
    return 0 if is_postgresql(connection) else connection.exec_driver_sql(_NEWEST).scalar() or 0


def note_records(connection: Connection, after: int) -> None:
    """Note the records after an id, in SQLite: its triggers run for each row, which would cost half of storing it."""
    if not is_postgresql(connection):
        connection.exec_driver_sql(_NOTE, (str(after + 1),))


def read_next(connection: Connection, limit: int, tables: Collection[str] = SEALED) -> list[Note]:
    """Read the oldest notes of that one of the tables that waits longest."""
    oldest = select(UNSEALED).where(_is_of(tables)).order_by(_TABLE.id).limit(limit)
    notes = [Note(*row) for row in connection.execute(oldest)]
    return [note for note in notes if note.table_name == notes[0].table_name]


def read_spans(connection: Connection, table: str) -> list[tuple[int, int]]:
    """Read the ids of a numbered table that are noted, as spans in ascending order, joined where they touch."""
    notes = [Note(*row) for row in connection.execute(select(UNSEALED).where(_TABLE.table_name == table))]
    ids = [(int(note.row_key), note.last_id or int(note.row_key)) for note in notes if note.has_ids]
    spans: list[tuple[int, int]] = []
    for low, high in sorted(ids):
        if spans and low <= spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], max(spans[-1][1], high))
        else:
            spans.append((low, high))
    return spans


def find(connection: Connection, table: str, keys: Collection[str]) -> set[str]:
    """Return which of these keys are noted, each for itself."""
    places = [(table, key) for key in keys if is_text(key)]
    return {row[0] for row in bulk_find(connection, UNSEALED, ("row_key",), ("table_name", "row_key"), places)}


def count(connection: Connection) -> dict[str, int]:
    """Return about how many rows of each table are noted: a row that changed twice counts twice. Reads all notes."""
    single = select(_TABLE.table_name, func.count()).where(_IS_SEALED, _TABLE.last_id.is_(None))
    found = Counter({row[0]: row[1] for row in connection.execute(single.group_by(_TABLE.table_name))})
    for note in map(Note._make, connection.execute(select(UNSEALED).where(_IS_SEALED, _TABLE.last_id.is_not(None)))):
        found[note.table_name] += note.row_count
    return dict(found)


def count_oldest(connection: Connection, most: int = _MOST_COUNTED) -> Waiting:
    """Return how many rows are noted, as `count` counts them, in the oldest `most` notes.

    While no service seals, each message that is sent leaves two notes. Where there are more notes, the number is a lower bound.
    """
    with reading_any_text(connection):
        # Without a condition, so that notes of other tables are not searched without a bound.
        rows = connection.execute(select(UNSEALED).order_by(_TABLE.id).limit(most + 1))
        notes = [Note(*row) for row in rows]
    return Waiting(sum(note.row_count for note in notes[:most] if note.table_name in SEALED), len(notes) > most)


def is_empty(connection: Connection, tables: Collection[str] = SEALED) -> bool:
    """Return whether nothing of these tables is noted."""
    return connection.execute(select(_TABLE.id).where(_is_of(tables)).limit(1)).first() is None


def settle(connection: Connection, done: Collection[int], partly: tuple[int, int] | None) -> None:
    """Delete notes, and let one (its id, and the next id to seal) begin later."""
    connection.execute(UNSEALED.delete().where(_TABLE.id.in_(done)))
    if partly is not None:
        note, following = partly
        connection.execute(UNSEALED.update().where(_TABLE.id == note).values(row_key=cast(following, Text)))
