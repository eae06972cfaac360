"""The marks of each source: how far it is read, and how far it is proved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Connection, bindparam, func, select, type_coerce

from actionwatch.store.statements import columns_of, upsert
from actionwatch.store.tables import BACKLOG, POLL, SOURCE, SWEEP, UNKNOWN_KIND, UNPROVED_WINDOW

TIMES = ("begins_at", "alerts_from", "mark", "seen_through", "proved_through")
"""The marks that are times of the upstream's clock. None of them may lie in the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The progress of one source in the log of one organisation.

    `mark` is the newest `occurred_at` that a completed poll stored. `seen_through` is the end of the last completed window:
    everything before it was read. Up to `proved_through`, counts or two agreeing walks proved everything without a gap. Records
    before `alerts_from` are backlog. `totals_cover_pages`: a walk to an empty page confirmed that totals count the window.
    `bounds_unit` is the resolution of bounds at the upstream, measured at `bounds_asked_at`; None if unknown. Records that were
    marked as vanished up to `vanished_reported_through` are reported.
    """

    name: str
    organisation: str
    begins_at: datetime
    alerts_from: datetime
    mark: datetime
    seen_through: datetime
    proved_through: datetime
    totals_cover_pages: bool = False
    bounds_unit: timedelta | None = None
    bounds_asked_at: datetime | None = None
    vanished_reported_through: datetime | None = None


_CURRENT = select(*(SOURCE.c[field.name] for field in fields(Marks))).where(SOURCE.c.renamed_to.is_(None))
_ALL = _CURRENT.order_by(SOURCE.c.name)
_OF_SOURCE = _CURRENT.where(SOURCE.c.name == bindparam("wanted"))
_OF_ORGANISATION = _ALL.where(SOURCE.c.organisation == bindparam("of"))
_SPANS = select(
    SOURCE.c.name, *(type_coerce(SOURCE.c[name], BigInteger) for name in ("begins_at", "proved_through", "alerts_from"))
).where(SOURCE.c.renamed_to.is_(None))
_RENAMED = select(SOURCE.c.renamed_to, SOURCE.c.name).where(SOURCE.c.renamed_to.is_not(None))
_NAMED_FROM = (
    select(SOURCE.c.renamed_to, type_coerce(func.max(SOURCE.c.seen_through), BigInteger).label("through"))
    .where(SOURCE.c.renamed_to.is_not(None))
    .group_by(SOURCE.c.renamed_to)
)
_ADVANCE = (
    SOURCE.update()
    .where(
        SOURCE.c.name == bindparam("of"),
        SOURCE.c.renamed_to.is_(None),
        SOURCE.c.mark == bindparam("known_mark"),
        SOURCE.c.proved_through == bindparam("known_through"),
    )
    .values(seen_through=bindparam("seen"), proved_through=bindparam("proved"))
)


def read(connection: Connection, name: str) -> Marks | None:
    """Read the marks of a source; None before its first successful poll, or after it was renamed."""
    row = connection.execute(_OF_SOURCE, {"wanted": name}).mappings().first()
    return Marks(**row) if row else None


def read_all(connection: Connection) -> dict[str, Marks]:
    """Read the marks of every source that was ever polled, by name, without the former names of renamed sources."""
    rows = connection.execute(_ALL)
    return {row["name"]: Marks(**row) for row in rows.mappings()}


def read_of_organisation(connection: Connection, organisation: str) -> list[Marks]:
    """Read the marks of the sources that read an organisation, like `read_all`."""
    return [Marks(**row) for row in connection.execute(_OF_ORGANISATION, {"of": organisation}).mappings()]


def find_left(found: Iterable[Marks], configured: Collection[str]) -> Marks | None:
    """Return the marks with which a renamed source continues, of those of its organisation; None if it was not renamed.

    They are the latest of the sources that are no longer configured.
    """
    left = [each for each in found if each.name not in configured]
    return max(left, key=lambda each: (each.mark, each.name), default=None)


def read_spans(connection: Connection) -> dict[str, tuple[int, int, int]]:
    """Read when each source begins, up to when it is proved, and from when on its records may alert, in microseconds.

    By name, for each source of `read_all`. Whoever needs no more reads a thousand sources in a tenth of the time.
    """
    return {name: (begins, proved, alerts) for name, begins, proved, alerts in connection.execute(_SPANS)}


def read_renamed(connection: Connection) -> dict[str, int]:
    """Read up to when renamed sources were read under their former names, in microseconds."""
    return {row.renamed_to: row.through for row in connection.execute(_NAMED_FROM)}


def read_many(connection: Connection, names: Collection[str]) -> dict[str, Marks]:
    """Read the marks of some sources, by name, without those that were never polled."""
    rows = connection.execute(_CURRENT.where(SOURCE.c.name.in_(names)))
    return {row["name"]: Marks(**row) for row in rows.mappings()}


def write(connection: Connection, marks: Marks) -> None:
    """Store the marks of a source."""
    upsert(connection, SOURCE, {**columns_of(marks), "renamed_to": None})


def advance(connection: Connection, moves: Sequence[tuple[Marks, Marks]]) -> int:
    """Move `seen_through` and `proved_through` of sources, each from the stored marks to others. Return how many moved.

    A source does not move if the store has other marks than these: somebody else wrote them, or the store went back in time.
    """
    rows = [
        {
            "of": before.name,
            "known_mark": before.mark,
            "known_through": before.proved_through,
            "seen": after.seen_through,
            "proved": after.proved_through,
        }
        for before, after in moves
    ]
    return connection.execute(_ADVANCE, rows).rowcount


def rename(connection: Connection, marks: Marks, name: str) -> Marks:
    """Continue a source, and what it still has to read, under another name. Its records and receipts keep the old name."""
    renamed = replace(marks, name=name)
    write(connection, renamed)
    connection.execute(SOURCE.update().where(SOURCE.c.name == marks.name).values(renamed_to=name))
    for table in (BACKLOG, POLL, SWEEP, UNKNOWN_KIND, UNPROVED_WINDOW):
        connection.execute(table.delete().where(table.c.source == name))
        connection.execute(table.update().where(table.c.source == marks.name).values(source=name))
    return renamed


def forget_reports(connection: Connection, configured: Collection[str]) -> None:
    """Have the troubles of all other sources reported again, because their self-alerts ended with their configuration.

    A source that comes back, or continues under another name, still has them.
    """
    for table in (UNKNOWN_KIND, UNPROVED_WINDOW):
        others = (table.c.source.not_in(configured), table.c.is_reported)
        connection.execute(table.update().where(*others).values(is_reported=False))
    sources = (SOURCE.c.name.not_in(configured), SOURCE.c.vanished_reported_through.is_not(None))
    connection.execute(SOURCE.update().where(*sources).values(vanished_reported_through=None))


def owners(connection: Connection, names: Collection[str]) -> dict[str, str]:
    """Return these sources by their names, and by their former names: of each source, the latest name comes first."""
    before: dict[str, list[str]] = {}
    for row in connection.execute(_RENAMED):
        before.setdefault(row.renamed_to, []).append(row.name)
    found: dict[str, str] = {}
    for name in names:
        found[name] = name
        pending = [name]
        while pending:
            earlier = [each for each in before.get(pending.pop(), ()) if each not in found]
            found |= dict.fromkeys(earlier, name)
            pending += earlier
    return found


def former_names(connection: Connection, name: str) -> list[str]:
    """Return the former names of a source, the latest first."""
    return [each for each in owners(connection, [name]) if each != name]
