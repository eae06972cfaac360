"""Store a record under the key that its action already has, when the upstream begins or ceases to send fields.

The key of a record is made of what identifies it: of its id if the upstream sends one, else of all its content. So it changes
with the fields. A record whose key is new is compared with the stored records of its instant that the walk does not show under
their own keys; if it can be one of them, its key becomes an alias of theirs. Equal records stay as many as they are.

The fields may change between two pages of a walk, and a page may show again what the page before it showed, and the response
to the request for the total what the first page showed. Such a record is stored only if the next walk too shows both, because
then they are two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set

import msgspec
import structlog
from sqlalchemy import Connection

from actionwatch.base.model import Record
from actionwatch.store import record_aliases, records
from actionwatch.store.record_aliases import StoredRecord
from actionwatch.store.record_keys import key_time
from actionwatch.tail.same_records import (
    MAX_OF_INSTANT,
    TIME_CHARS,
    changed_fields,
    held_counts,
    other_forms,
    pair,
    stored_keys,
)
from actionwatch.tail.walk import WindowScan

OnChange = Callable[[Connection, Collection[str], Collection[str]], None]
"""Called, in the transaction that stores aliases, with the fields that records of the log have and their stored forms have not,
and the other way round."""

log = structlog.get_logger()


class RecordAliases:
    """The aliases of the records of one source."""

    def __init__(self, organisation: str, on_change: OnChange) -> None:
        self._organisation = organisation
        self._on_change = on_change
        self._shown: Counter[str] = Counter()
        self._first_page: Sequence[Record] = ()
        self._page: Sequence[Record] = ()
        """The last page that the walk has shown."""
        self._doubted: set[str] = set()
        self._doubted_before: set[str] = set()
        """The keys of records that may be shown by the walk in another form too, and those in the walk before."""

    def begin_walk(self) -> None:
        """Forget what the walk before has shown."""
        self._shown.clear()
        self._first_page = self._page = ()
        self._doubted_before, self._doubted = self._doubted, set()

    def note_shown(self, page: Sequence[Record]) -> bool:
        """Note the records of a page of the walk. Return whether it may show again, in another form, what was shown before."""
        self._shown.update(record.key for record in page)
        is_doubted = self.note_other_forms(page)
        self._first_page = self._first_page or page
        self._page = page
        return is_doubted

    def note_other_forms(self, page: Sequence[Record]) -> bool:
        """Return whether a page may show, in another form, what the first page of the walk showed, or the page before it."""
        doubted = other_forms(page, [*self._first_page, *self._page])
        self._doubted |= doubted
        return bool(doubted)

    def resolve(
        self, connection: Connection, unknown: Sequence[Record], *, is_over: bool
    ) -> tuple[list[Record], list[Record]]:
        """Give records whose keys are not stored the keys that their actions have.

        Returns: the records to store, and those to bring again when the walk `is_over`, which shows what is left, or that the
        next walk brings.
        """
        if doubted := self._doubted - self._doubted_before:
            waiting = [record for record in unknown if record.key in doubted]
            certain = [record for record in unknown if record.key not in doubted]
            resolved, others = self._resolve(connection, certain, is_over=is_over)
            return resolved, waiting + others
        return self._resolve(connection, unknown, is_over=is_over)

    def _resolve(
        self, connection: Connection, unknown: Sequence[Record], *, is_over: bool
    ) -> tuple[list[Record], list[Record]]:
        keys = [record.key for record in unknown]
        # Nearly always: nothing of their time is stored. A key of the same instant can be a little lower or higher.
        if not keys or not records.has_any(connection, min(keys)[:TIME_CHARS], f"{max(keys)[:TIME_CHARS]}."):
            return list(unknown), []
        moment = self._moment(connection, keys)
        known = moment.held
        new = [record for record in unknown if record.key not in known and record.key not in moment.aliases]
        found = moment.match(connection, new, self._shown)
        waiting = [] if is_over else [record for record, _ in found]
        if is_over:
            self._adopt(connection, moment, found)
        left = {id(record) for record in waiting}
        known_as = [(record, moment.stored_keys(record.key, 1)[0]) for record in unknown if id(record) not in left]
        return [_with_key(record, key) for record, key in known_as], waiting

    def settle(self, connection: Connection, scan: WindowScan) -> tuple[set[str], list[Record]]:
        """Return the keys under which the records of a proved window are stored, and the equal ones, with their keys."""
        shown = Counter({key: scan.walk.keys[key] for key in {*scan.inner_keys, *scan.repeated}})
        if not shown:
            return set(), []
        moment = self._moment(connection, shown, read={*scan.repeated})
        if not scan.repeated and not moment.aliases:  # nearly always
            return {*scan.inner_keys}, []
        extra = [each for key, each in scan.repeated.items() for _ in range(shown[key] - moment.known_count(key))]
        self._adopt(connection, moment, moment.match(connection, extra, shown))
        keys = {key: moment.stored_keys(key, count) for key, count in shown.items()}
        self._keep(connection, moment, keys)
        equal = [_with_key(record, each) for key, record in scan.repeated.items() for each in keys[key]]
        return {each for key in scan.inner_keys for each in keys[key]}, equal

    def _moment(self, connection: Connection, keys: Collection[str], read: Collection[str] | None = None) -> _Moments:
        """Read what is stored at the times of keys, or of those to `read` and those with aliases, and their aliases."""
        aliases = record_aliases.read(connection, min(keys), max(keys))
        wanted = keys if read is None else {*read, *(key for key in keys if key in aliases)}
        times = {key[:TIME_CHARS] for key in wanted if key_time(key) is not None}
        return _Moments(record_aliases.read_keys(connection, self._organisation, times) if times else set(), aliases)

    def _adopt(self, connection: Connection, moment: _Moments, found: Sequence[tuple[Record, StoredRecord]]) -> None:
        """Store the keys of records as aliases of those that they were matched with."""
        if not found:
            return
        record_aliases.insert(connection, [moment.add_alias(record.key, stored.key) for record, stored in found])
        changes = [changed_fields(record.raw, stored) for record, stored in found]
        added, gone = (sorted(set().union(*each)) for each in zip(*changes, strict=True))
        log.info("fields_changed", records=len(found), added=added, gone=gone)
        self._on_change(connection, added, gone)

    def _keep(self, connection: Connection, moment: _Moments, keys: Mapping[str, Sequence[str]]) -> None:
        """Store the keys of new records that are equal to ones with an alias: their own would be that of none."""
        added = [
            moment.add_alias(key, new)
            for key in moment.aliases.keys() & keys.keys()
            for new in keys[key][moment.known_count(key) :]
            if not moment.held[key]
        ]
        if added:
            record_aliases.insert(connection, added)


class _Moments:
    """The keys of what is stored at some instants, and their aliases."""

    def __init__(self, stored: Set[str], aliases: dict[str, list[str]]) -> None:
        self.stored = stored
        self.aliases = aliases
        self.held = held_counts(stored)

    def known_count(self, key: str) -> int:
        """Return how many records with this key are stored; one, if it is not known which, because its own record is."""
        return self.held[key] + len(self.aliases.get(key, ())) or 1

    def stored_keys(self, key: str, count: int) -> list[str]:
        """Return the keys under which so many records with this key are stored."""
        return stored_keys(key, count, self.aliases, self.held)

    def add_alias(self, key: str, stored: str) -> tuple[str, int, str]:
        """Add an alias, and return its row."""
        of_key = self.aliases.setdefault(key, [])
        of_key.append(stored)
        return key, len(of_key) - 1, stored

    def match(
        self, connection: Connection, found: Sequence[Record], shown: Counter[str]
    ) -> list[tuple[Record, StoredRecord]]:
        """Match records with stored ones of their instant that the walk does not show otherwise."""
        if not found or not self.stored:
            return []
        of_time: dict[str, list[Record]] = {}
        for record in found:
            of_time.setdefault(record.key[:TIME_CHARS], []).append(record)
        mine = Counter(record.key for record in found)
        near = {key: count - mine[key] for key, count in shown.items() if key[:TIME_CHARS] in of_time}
        claimed = {each for key, count in near.items() for each in self.stored_keys(key, count)}
        free: dict[str, list[str]] = {}
        for key in sorted(self.stored - claimed):
            free.setdefault(key[:TIME_CHARS], []).append(key)
        matched: list[tuple[Record, StoredRecord]] = []
        for time in of_time.keys() & free.keys():
            some = of_time[time][:MAX_OF_INSTANT]
            stored = record_aliases.read_raws(connection, free[time][:MAX_OF_INSTANT])
            matched += [(some[place], each) for place, each in pair([record.raw for record in some], stored).items()]
        return matched


def _with_key(record: Record, key: str) -> Record:
    return record if record.key == key else msgspec.structs.replace(record, key=key)
