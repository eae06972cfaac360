"""Store a record under the key that its action already has, when the upstream begins or ceases to send fields.

The key of a record is made of what identifies it: of its id if the upstream sends one, else of all its content. So it changes
with the fields. A record whose key is new is compared with the stored records of its instant that the walk does not show under
their own keys; if it can be one of them, its key becomes an alias of theirs. Equal records stay as many as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set

import msgspec
import structlog
from sqlalchemy import Connection

from actionwatch.base.model import Record
from actionwatch.store import record_aliases, records
from actionwatch.store.record_aliases import StoredRecord
from actionwatch.store.record_keys import key_time
from actionwatch.tail.same_records import changed_fields, held_counts, pair, stored_keys
from actionwatch.tail.walk import WindowScan

OnChange = Callable[[Connection, Collection[str], Collection[str]], None]
"""Called, in the transaction that stores aliases, with the fields that records of the log have and their stored forms have not,
and the other way round."""
_TIME_CHARS = 16
_MAX_OF_INSTANT = 100  # compared with each other; an upstream that counts seconds may have thousands

log = structlog.get_logger()


class RecordAliases:
    """The aliases of the records of one source."""

    def __init__(self, organisation: str, on_change: OnChange) -> None:
        self._organisation = organisation
        self._on_change = on_change
        self._shown: Counter[str] = Counter()

    def begin_walk(self) -> None:
        """Forget what the walk before has shown."""
        self._shown.clear()

    def note_shown(self, page: Iterable[Record]) -> None:
        """Note the records of a page of the walk."""
        self._shown.update(record.key for record in page)

    def resolve(
        self, connection: Connection, unknown: Sequence[Record], *, is_over: bool
    ) -> tuple[list[Record], list[Record]]:
        """Give records whose keys are not stored the keys that their actions have.

        Returns: the records to store, and those to bring again when the walk `is_over`, which shows what is left.
        """
        keys = [record.key for record in unknown]
        # Nearly always: nothing of their time is stored. A key of the same instant can be a little lower or higher.
        if not keys or not records.has_any(connection, min(keys)[:_TIME_CHARS], f"{max(keys)[:_TIME_CHARS]}."):
            return list(unknown), []
        moment = self._moment(connection, keys)
        known = moment.held
        new = [record for record in unknown if record.key not in known and record.key not in moment.aliases]
        found = moment.match(connection, new, self._shown)
        if found and not is_over:
            waiting = {id(record) for record, _ in found}
            return [record for record in unknown if id(record) not in waiting], [each for each, _ in found]
        self._adopt(connection, moment, found)
        return [_with_key(record, moment.stored_keys(record.key, 1)[0]) for record in unknown], []

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
        times = {key[:_TIME_CHARS] for key in wanted if key_time(key) is not None}
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
            of_time.setdefault(record.key[:_TIME_CHARS], []).append(record)
        mine = Counter(record.key for record in found)
        near = {key: count - mine[key] for key, count in shown.items() if key[:_TIME_CHARS] in of_time}
        claimed = {each for key, count in near.items() for each in self.stored_keys(key, count)}
        free: dict[str, list[str]] = {}
        for key in sorted(self.stored - claimed):
            free.setdefault(key[:_TIME_CHARS], []).append(key)
        matched: list[tuple[Record, StoredRecord]] = []
        for time in of_time.keys() & free.keys():
            some = of_time[time][:_MAX_OF_INSTANT]
            stored = record_aliases.read_raws(connection, free[time][:_MAX_OF_INSTANT])
            matched += [(some[place], each) for place, each in pair([record.raw for record in some], stored).items()]
        return matched


def _with_key(record: Record, key: str) -> Record:
    return record if record.key == key else msgspec.structs.replace(record, key=key)
