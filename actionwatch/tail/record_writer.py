"""Store the records of a walk, oldest first, when it is over.

Rules thus see the records as if all had been on one page, in whatever order the upstream lists them: the record that opens an
alert does not depend on the pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from operator import attrgetter

from sqlalchemy import Connection

from actionwatch.base.model import Record
from actionwatch.store import records
from actionwatch.tail.cursor import MAX_WINDOW_RECORDS
from actionwatch.tail.record_aliases import RecordAliases
from actionwatch.tail.state import PollReport, TailState

BATCH = 1000  # records in one transaction: no other writer waits for long
_MAX_HELD_CHARS = 64 * 1024 * 1024  # of raw texts; as many records as fit into a window have about 20 MB

_NameAccounts = Callable[[Sequence[Record]], Sequence[Record]]
"""Returns records with the names that their accounts had at the time."""


class RecordWriter:
    """Stores the records of one source: calls `on_found` before they are kept, and `on_stored` after new ones were stored."""

    def __init__(
        self,
        state: TailState,
        on_stored: Callable[[], None],
        name_accounts: _NameAccounts,
        on_found: Callable[[Sequence[Record]], None],
        aliases: RecordAliases,
    ) -> None:
        self.aliases = aliases
        self._state = state
        self._on_stored = on_stored
        self._name_accounts = name_accounts
        self._on_found = on_found
        self._held: list[Record] = []
        self._held_chars = 0
        self._waiting: list[Record] = []
        """Those of the walk that may be stored under other keys, which shows at its end."""
        self._is_new_stored = False

    def begin_walk(self) -> None:
        """Begin a walk. What waited in one that an error broke off comes again."""
        self._waiting.clear()
        self.aliases.begin_walk()

    def hold(self, found: Sequence[Record], report: PollReport) -> None:
        """Keep the records of a page until the walk is over, unless they are too many to keep."""
        if not found:
            return
        self._on_found(found)
        self._held += found
        self._held_chars += sum(len(record.raw) for record in found)
        if len(self._held) >= MAX_WINDOW_RECORDS or self._held_chars >= _MAX_HELD_CHARS:
            self.flush(report, is_over=False)
        if len(self._waiting) >= MAX_WINDOW_RECORDS:  # the upstream ignores bounds: what it showed so far decides
            self.flush(report, is_over=True)

    def flush(self, report: PollReport, *, is_over: bool) -> None:
        """Store the records that are kept, oldest first, and have them matched. `is_over`: the walk showed all there is."""
        if is_over:
            self._held += self._waiting
            self._waiting = []
        held, self._held, self._held_chars = sorted(self._held, key=attrgetter("key")), [], 0
        for start in range(0, len(held), BATCH):
            self._store(held[start : start + BATCH], report, is_over=is_over)
        self.notify()

    def insert(self, connection: Connection, found: Sequence[Record]) -> int:
        """Store those of the records that are not stored yet; return their number."""
        return records.insert_new(connection, self._name_accounts(found), self._classify)

    def note_new(self, new_count: int, report: PollReport) -> None:
        """Note that new records were committed."""
        report.new_count += new_count
        self._is_new_stored = self._is_new_stored or new_count > 0

    def notify(self) -> None:
        """Call `on_stored` if new records were committed since the last call."""
        if self._is_new_stored:
            self._is_new_stored = False
            self._on_stored()

    def _store(self, found: Sequence[Record], report: PollReport, *, is_over: bool) -> None:
        """Commit the distinct records. Further equal ones are stored with a proof, which alone shows how many there are."""
        with self._state.database.write() as connection:
            unknown = records.find_unknown(connection, found)
            resolved, waiting = self.aliases.resolve(connection, list(unknown), is_over=is_over)
            new_count = self.insert(connection, resolved)
        self._waiting += waiting
        self.note_new(new_count, report)

    def _classify(self, record: Record) -> tuple[bool, timedelta | None]:
        """Return whether a record is backlog, and how late it is."""
        known, at = self._state.marks, record.occurred_at
        if at < known.alerts_from:
            return True, None
        late_by = known.seen_through - at
        return False, late_by if late_by > self._state.options.overlap and record.is_time_readable else None
