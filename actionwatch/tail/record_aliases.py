"""Store a record under the key that its action already has, when the upstream begins or ceases to send fields.

The key of a record is made of what identifies it: of its id if the upstream sends one, else of all its content. So it changes
with the fields. A record whose key is new is compared with the stored records of its instant that the walk does not show under
their own keys; if it can be one of them, its key becomes an alias of theirs. Equal records stay as many as they are.

A record that is gone from the log and another one of its instant can look like this too, and so can one that a walk has missed.
So the walk must be proved, and show that the log changed: each field came or went on another record too, or this one alone
can have changed, and no unchanged one denies it (`same_records.is_denied`). Otherwise the next walk decides, because the fields
may have changed in the middle of this one; if it does not show it either, the record is new: one that alerts twice is better
than one that never does.

The fields may change between two pages of a walk, and a page may show again what an earlier one showed, and the response to
the request for the total what the first page showed. Such a record is stored only if the next walk too shows both, because
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
from actionwatch.store.record_keys import key_time
from actionwatch.tail.same_records import (
    MAX_OF_INSTANT,
    TIME_CHARS,
    Change,
    Pair,
    Shown,
    Unchanged,
    held_counts,
    is_denied,
    note_unchanged,
    other_forms,
    pair_up,
    stored_keys,
)
from actionwatch.tail.walk import WindowScan

OnChange = Callable[[Connection, Collection[str], Collection[str]], None]
"""Called, in the transaction that stores aliases, with the fields that records of the log have and their stored forms have not,
and the other way round."""

_SAMPLE = 1000  # records that say which fields the log sends

log = structlog.get_logger()


class RecordAliases:
    """The aliases of the records of one source."""

    def __init__(self, organisation: str, on_change: OnChange) -> None:
        self._organisation = organisation
        self._on_change = on_change
        self._shown: Counter[str] = Counter()
        self._sample: dict[str, str] = {}
        """The texts of the first records that it has shown, by key."""
        self._page_count = 0
        self._pages: dict[str, int] = {}
        """The last page that has shown a key."""
        self._changed: dict[Change, set[str]] = {}
        """Each field that seems to have come or gone, with the keys of the stored records that would have changed so."""
        self._found: dict[str, Pair] = {}
        """The records that are stored with other fields, by key: their keys are aliases, if the walk is proved."""
        self._doubted: set[str] = set()
        self._doubted_before: set[str] = set()
        """The keys of records that may be shown by the walk in another form too, and those in the walk before."""

    def begin_walk(self) -> None:
        """Forget what the walk before has shown."""
        self.forget_walk()
        self._doubted_before, self._doubted = self._doubted, set()

    def forget_walk(self) -> None:
        """Forget what a walk has shown that is over: with many sources, the texts of its records are most of their memory."""
        self._shown.clear()
        self._sample.clear()
        self._changed.clear()
        self._found.clear()
        self._page_count = 0
        self._pages.clear()

    def note_page(self, page: Sequence[Record], *, is_first: bool = True) -> None:
        """Note that these records were shown together, the `is_first` time in the walk or again."""
        if is_first:
            self._shown.update(record.key for record in page)
            self._sample |= {record.key: record.raw for record in page[: _SAMPLE - len(self._sample)]}
        self._page_count += 1
        self._pages |= dict.fromkeys([record.key for record in page], self._page_count)

    @property
    def is_in_doubt(self) -> bool:
        """Return whether the next walk decides about records of this one."""
        return not self._doubted <= self._doubted_before

    def resolve(
        self, connection: Connection, unknown: Sequence[Record], *, is_over: bool
    ) -> tuple[list[Record], list[Record]]:
        """Give records whose keys are not stored the keys that their actions have.

        Returns: the records to store, and those to bring again when the walk `is_over`, which shows what is left. The others
        `settle` finds in the store, or the next walk brings them.
        """
        keys = [record.key for record in unknown]
        # Nearly always: nothing of their time is stored. A key of the same instant can be a little lower or higher.
        is_first = not keys or not records.has_any(connection, min(keys)[:TIME_CHARS], f"{max(keys)[:TIME_CHARS]}.")
        moment = _Moments(set(), {}) if is_first else self._moment(connection, keys)
        moment.aliases |= {key: [pair.stored.key] for key, pair in self._found.items()}
        new = [record for record in unknown if record.key not in moment.held and record.key not in moment.aliases]
        self._doubted |= moment.other_forms(connection, new, self._pages)
        doubted = self._doubted - self._doubted_before
        unknown, new = ([record for record in some if record.key not in doubted] for some in (unknown, new))
        if is_first:
            return unknown, []
        found = moment.match(connection, new, self._shown)
        left = {pair.record.key for pair in found}
        if is_over:
            proved, unproved = self._judge(connection, found)
            self._found |= {pair.record.key: pair for pair in proved}
            left -= self._note_new(unproved)
        resolved = [_with_key(each, moment.stored_keys(each.key, 1)[0]) for each in unknown if each.key not in left]
        return resolved, [] if is_over else [pair.record for pair in found]

    def settle_walk(self, connection: Connection, scan: WindowScan) -> tuple[set[str], list[Record]]:
        """Return the keys under which the records of a proved window are stored, and those that may not be, with their keys.

        Those are the equal ones, and those that are stored with other fields: perhaps under a former name of the source.
        """
        shown = Counter({key: scan.walk.keys[key] for key in {*scan.inner_keys, *scan.repeated}})
        if not shown:
            return set(), []
        moment = self._moment(connection, shown, read={*scan.repeated, *(self._found.keys() & shown.keys())})
        found = [pair for key, pair in self._found.items() if key in shown and key not in moment.aliases]
        self._adopt(connection, moment, found)
        if not scan.repeated and not moment.aliases:  # nearly always
            return {*scan.inner_keys}, []
        extra = [each for key, each in scan.repeated.items() for _ in range(shown[key] - moment.known_count(key))]
        proved, _ = self._judge(connection, moment.match(connection, extra, shown))
        self._adopt(connection, moment, proved)
        keys = {key: moment.stored_keys(key, count) for key, count in shown.items()}
        self._keep(connection, moment, keys)
        equal = [_with_key(record, each) for key, record in scan.repeated.items() for each in keys[key]]
        renewed = [_with_key(pair.record, pair.stored.key) for pair in found]
        return {each for key in scan.inner_keys for each in keys[key]}, [*equal, *renewed]

    def _moment(self, connection: Connection, keys: Collection[str], read: Collection[str] | None = None) -> _Moments:
        """Read what is stored at the times of keys, or of those to `read` and those with aliases, and their aliases."""
        aliases = _read_aliases(connection, keys)
        wanted = keys if read is None else {*read, *(key for key in keys if key in aliases)}
        times = {key[:TIME_CHARS] for key in wanted if key_time(key) is not None}
        return _Moments(record_aliases.read_keys(connection, self._organisation, times) if times else set(), aliases)

    def _judge(self, connection: Connection, found: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
        """Return the pairs of which the walk shows that they are one record each, and the others."""
        if not found:
            return [], []
        for pair in found:
            for each in pair.change.single():
                self._changed.setdefault(each, set()).add(pair.stored.key)
        unchanged = self._read_unchanged(connection)
        proved = [pair for pair in found if self._is_proved(pair, unchanged)]
        keys = {pair.stored.key for pair in proved}
        return proved, [pair for pair in found if pair.stored.key not in keys]

    def _is_proved(self, pair: Pair, unchanged: Unchanged) -> bool:
        if all(len(self._changed[each]) > 1 for each in pair.change.single()):
            return True
        return pair.is_likely and not is_denied(pair.change, pair.stored, unchanged)

    def _read_unchanged(self, connection: Connection) -> Unchanged:
        """Read what the records say that the walk shows under their own keys, and that have no other ones."""
        if not self._sample:
            return Unchanged()
        changed = {key for keys in _read_aliases(connection, self._sample).values() for key in keys}
        stored = record_aliases.read_raws(connection, self._sample.keys() - changed)
        return note_unchanged(self._sample, stored)

    def _note_new(self, unproved: Sequence[Pair]) -> set[str]:
        """Return the keys of records that are new: the walk before left them to this one. The others wait for the next one."""
        for pair in unproved:  # if it is new, the stored one counts as vanished: `window_shrunk` names it
            added, gone = map(sorted, pair.change)
            log.info("record_doubted", record=pair.record.key, stored=pair.stored.key, added=added, gone=gone)
        keys = {pair.record.key for pair in unproved}
        self._doubted |= keys - self._doubted_before
        return keys & self._doubted_before

    def _adopt(self, connection: Connection, moment: _Moments, found: Sequence[Pair]) -> None:
        """Store the keys of records as aliases of those that they were found as."""
        if not found:
            return
        record_aliases.insert(connection, [moment.add_alias(pair.record.key, pair.stored.key) for pair in found])
        changes = [pair.change for pair in found]
        added, gone = (sorted(frozenset().union(*names)) for names in zip(*changes, strict=True))
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

    def other_forms(self, connection: Connection, new: Sequence[Record], pages: Mapping[str, int]) -> set[str]:
        """Return the keys of new records that other pages may show with other fields."""
        of_time: dict[str, list[Shown]] = {}
        for record in new:
            shown = Shown(record.key, record.raw, pages.get(record.key, 0), is_stored=False)
            of_time.setdefault(record.key[:TIME_CHARS], []).append(shown)
        stored_on: dict[str, int] = {}
        for key, page in pages.items() if self.stored else ():  # nearly always, none is
            if any(each.page != page for each in of_time.get(key[:TIME_CHARS], ())):
                stored_on |= dict.fromkeys(self.stored & {key, *self.aliases.get(key, ())}, page)
        of_stored: dict[str, list[str]] = {}
        for key in stored_on:
            of_stored.setdefault(key[:TIME_CHARS], []).append(key)
        found: set[str] = set()
        for time, some in of_time.items():
            if time in of_stored or len({each.page for each in some}) > 1:  # nearly never
                stored = record_aliases.read_raws(connection, of_stored.get(time, ()))
                found |= other_forms(
                    [*(Shown(each.key, each.raw, stored_on[each.key], True) for each in stored), *some]
                )
        return found

    def match(self, connection: Connection, found: Sequence[Record], shown: Counter[str]) -> list[Pair]:
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
        counts = {key: max(shown[key], 1) - self.held[key] - len(self.aliases.get(key, ())) for key in mine}
        matched: list[Pair] = []
        for time in of_time.keys() & free.keys():
            stored = record_aliases.read_raws(connection, free[time][:MAX_OF_INSTANT])
            matched += pair_up(of_time[time][:MAX_OF_INSTANT], counts, stored)
        return matched


def _read_aliases(connection: Connection, keys: Collection[str]) -> dict[str, list[str]]:
    """Read the aliases of the time of keys."""
    return record_aliases.read(connection, min(keys)[:TIME_CHARS], f"{max(keys)[:TIME_CHARS]}.")


def _with_key(record: Record, key: str) -> Record:
    return record if record.key == key else msgspec.structs.replace(record, key=key)
