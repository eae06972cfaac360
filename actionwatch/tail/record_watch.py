"""Watch the records of a source: unknown kinds, new fields, and records that were too large to keep whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from sqlalchemy import Connection

from actionwatch.base.model import Record
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.field_values import MAX_UNMAPPED_FIELDS
from actionwatch.instaclustr.records import MAX_RECORD_CHARS, RecordReader
from actionwatch.store import seen_fields, unknown_kinds
from actionwatch.store.database import Database
from actionwatch.store.unknown_kinds import UnknownKind
from actionwatch.tail.source_alerts import SourceAlerts
from actionwatch.text.escaping import shorten
from actionwatch.text.raw_records import is_cut

_FIELD_NEWS = timedelta(days=1)  # how long a new field is reported
MAX_KINDS = 1000  # unknown kinds of a source that are kept; 81 are documented, but an upstream could invent more
MAX_NAME = 100  # characters of such a kind: the longest documented one has 42
_NAMES_SHOWN = 10  # in one self-alert, and so many characters of each:
_NAME_SHOWN = 60
_GONE = "-"  # stored before the name of a field that records no longer have
_SETTLED = ""  # stored with the fields of the first records when the first poll that has records is over


def kept_kinds(kinds: Iterable[str]) -> frozenset[str]:
    """Return kinds as they are kept: two that begin with the same 100 characters are one."""
    return frozenset(kind[:MAX_NAME] for kind in kinds)


class IdentityChanged(Exception):
    """The identity of records was settled while pages were read: read again what is not stored yet."""


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The unknown kinds of a source, and the fields of its organisation with the time when each was first met."""

    kinds: Sequence[UnknownKind]
    fields: Mapping[str, datetime]

    @classmethod
    def read(cls, connection: Connection, source: str, organisation: str) -> Self:
        """Read those of a source."""
        return cls(unknown_kinds.read(connection, source), seen_fields.read(connection, organisation))


class RecordWatch:
    """Watches the records of one source. `SourceWatch` owns it."""

    def __init__(
        self,
        source: str,
        declared_kinds: Set[str],
        reader: RecordReader,
        database: Database,
        alerts: SourceAlerts,
        clock: Callable[[], datetime],
    ) -> None:
        """`declared_kinds` are those of `kept_kinds`; all sources share them."""
        self._source = source
        self._declared_kinds = declared_kinds
        self._noted_kinds: frozenset[str] = frozenset()
        """The unknown kinds in the store, as this process saw them last."""
        self._cut_keys: set[str] = set()
        """Of the records that were cut since the last poll."""
        self._noted_fields: frozenset[str] = frozenset()
        """The unmapped fields that are stored, until the identity is settled."""
        self._is_settled = False
        self._reader = reader
        self._database = database
        self._alerts = alerts
        self._clock = clock

    def begin_poll(self, connection: Connection) -> None:
        """Look whether the identity of records is settled, before any is read."""
        if not self._is_settled:
            self._settle_identity(seen_fields.read(connection, self._reader.organisation))

    def note_records(self, found: Sequence[Record]) -> None:
        """Note what people must know of records: unknown kinds, and that texts were cut.

        Call it before these records are stored: a process that is killed in between reads them again.
        Raises: IdentityChanged, once at most.
        """
        self._note_fields()
        self._note_kinds({record.action_kind for record in found})
        cut = [record.key for record in found if is_cut(record)]
        if cut:
            self._cut_keys.update(cut)
            self._alerts.report("records_cut", self._describe_cut())

    def _note_kinds(self, kinds: Collection[str]) -> None:
        """Store which kinds are unknown; the next poll that gets responses reports them."""
        unknown = kept_kinds(kinds) - self._declared_kinds - self._noted_kinds
        if not unknown or len(self._noted_kinds) >= MAX_KINDS:
            return
        with self._database.write() as connection:
            stored = {kind.name for kind in unknown_kinds.read(connection, self._source)}
            added = sorted(unknown - stored)[: max(MAX_KINDS - len(stored), 0)]
            unknown_kinds.insert_new(connection, self._source, added)
        self._noted_kinds = frozenset(stored.union(added))

    def check(self, known: KnownNames, *, has_records: bool) -> None:
        """Report and end what follows from a poll that got responses, in which there may have been records.

        `known` was read after that poll.
        """
        self._check_kinds(known.kinds)
        self._check_cut()
        self._check_fields(known.fields, has_records=has_records)

    def _check_kinds(self, kinds: Sequence[UnknownKind]) -> None:
        """Report the kinds that nobody declared, each once. It ends when all are declared, or a person resolves it."""
        declared = [kind.name for kind in kinds if kind.name in self._declared_kinds]
        unknown = [kind for kind in kinds if kind.name not in self._declared_kinds]
        news = [kind.name for kind in unknown if not kind.is_reported]
        if not unknown:
            self._alerts.end("unknown_kind")
        if not declared and not news:
            return
        if unknown:
            count = "at least " * (len(kinds) >= MAX_KINDS) + counted(len(unknown), "unknown kind")
            names = _spell_names([kind.name for kind in unknown])
            what = f"records of {count} come from {self._source}: {names}; severity medium is assumed"
            self._alerts.report_news("unknown_kind", what, is_new=bool(news))
        with self._database.write() as connection:
            unknown_kinds.delete(connection, self._source, declared)
            unknown_kinds.note_reported(connection, self._source, news)

    def _check_cut(self) -> None:
        """Report how many records were cut since the last poll; without any, it is over."""
        if self._cut_keys:
            self._alerts.update("records_cut", self._describe_cut())
        else:
            self._alerts.end("records_cut")
        self._cut_keys.clear()

    def _describe_cut(self) -> str:
        what = f"{counted(len(self._cut_keys), 'record')} had more than {MAX_RECORD_CHARS:,} characters, and was cut"
        return f"{what}: rules do not see what is missing. The newest is {max(self._cut_keys)}"

    # -- fields, and the identity of records, which depends on the first ones -------------------------------------------

    def _note_fields(self) -> None:
        """Store new fields until the identity is settled. Raises: IdentityChanged, if it turns out to be settled."""
        met = self._reader.unmapped_fields
        if self._is_settled or met <= self._noted_fields:
            return
        self._store_first_fields(met, is_over=False)
        if self._is_settled:
            raise IdentityChanged
        self._noted_fields = met

    def _check_fields(self, known: Mapping[str, datetime], *, has_records: bool) -> None:
        """Report fields that no record had when the organisation was first read."""
        now, met = self._clock(), self._reader.unmapped_fields
        if has_records and not self._is_settled:
            known = self._store_first_fields(met, is_over=True)
        added = _kept_fields(met, known) if self._is_settled else []
        if added:
            with self._database.write() as connection:
                self._insert_later(connection, added, known)
                known = seen_fields.read(connection, self._reader.organisation)
        later = known.keys() - _first_fields(known) - {_SETTLED}
        news = sorted(name for name in later if now - known[name] < _FIELD_NEWS)
        self._alerts.set("unknown_field", _spell_news(news), is_wrong=bool(news))

    def note_change(self, connection: Connection, added: Collection[str], gone: Collection[str]) -> None:
        """Note that the log shows stored records with other fields, which may be known ones. The end of the poll reports it."""
        known = seen_fields.read(connection, self._reader.organisation)
        names = {name for name in (*added, *(f"{_GONE}{name}" for name in gone)) if len(name) <= MAX_NAME}
        if _SETTLED in known:
            self._insert_later(connection, _kept_fields(frozenset(names), known), known)

    def _insert_later(self, connection: Connection, names: Sequence[str], known: Mapping[str, datetime]) -> None:
        # They get a later time than the first ones even if the clock was set back.
        seen_at = max(self._clock(), min(known.values()) + _FIELD_NEWS)
        seen_fields.insert_new(connection, self._reader.organisation, names, seen_at)

    def _store_first_fields(self, met: frozenset[str], *, is_over: bool) -> Mapping[str, datetime]:
        """Store the fields of the first records, and settle the identity when the poll that read these is over.

        Returns: all fields that are stored now.
        All processes and sources of the organisation share them, so that each makes the same keys. The identity is settled
        earlier if another source does so, or if there are more fields than are kept.
        """
        organisation = self._reader.organisation
        with self._database.write() as connection:
            known = seen_fields.read(connection, organisation)
            if _SETTLED not in known:
                added = _kept_fields(met, known)
                is_over = is_over or not met <= _first_fields(known).union(added)
                first_sight = min(known.values(), default=self._clock() - _FIELD_NEWS)
                seen_fields.insert_new(connection, organisation, [*added, *[_SETTLED] * is_over], first_sight)
                known = seen_fields.read(connection, organisation)
        self._settle_identity(known)
        return known

    def _settle_identity(self, known: Mapping[str, datetime]) -> None:
        """Base the identity of records on the first fields, so that it does not change when a field is added."""
        if _SETTLED in known:
            self._is_settled = True
            self._reader.settle_identity(_first_fields(known))


def _kept_fields(met: frozenset[str], known: Mapping[str, datetime]) -> list[str]:
    """Return those of the fields that the store does not have, as many as it keeps."""
    room = max(MAX_UNMAPPED_FIELDS - len(known.keys() - {_SETTLED}), 0)
    return sorted(met - known.keys())[:room]


def _first_fields(known: Mapping[str, datetime]) -> frozenset[str]:
    """Return the fields with the earliest time: those of the first records."""
    first_sight = min(known.values(), default=None)
    return frozenset(name for name, at in known.items() if at == first_sight)


def _spell_news(news: Sequence[str]) -> str:
    gone = [name.removeprefix(_GONE) for name in news if name.startswith(_GONE)]
    added = [name for name in news if not name.startswith(_GONE)]
    parts = [f"records have fields that they did not have before: {_spell_names(added)}"] if added else []
    parts += [f"records no longer have fields that they had: {_spell_names(gone)}"] if gone else []
    return "; ".join(parts)


def _spell_names(names: Sequence[str]) -> str:
    """Name the first few, and how many more there are."""
    shown = ", ".join(shorten(name, _NAME_SHOWN) for name in names[:_NAMES_SHOWN])
    return f"{shown} and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else shown
