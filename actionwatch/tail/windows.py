"""Read one frozen window of the upstream: every record stored, and proof that these were all.

Used by the tail for its polls and by the sweeps for what they find changed. A window is *proved* by a walk that counts: as many
records came as the upstream claims before and after, or two walks in other page boundaries brought the same. What the proof
leaves behind (twins, receipt, and whatever the caller adds) is committed in one transaction.

The records of a walk that may alert are stored when it is over, oldest first, whatever the order of the pages: rules meet them
as if all had been on one page, in whatever portions they are matched, and with which record an alert begins is the same.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Protocol

import msgspec
import structlog
from sqlalchemy import Connection

from actionwatch.base.model import Entity, Record
from actionwatch.instaclustr.identity import twin_key
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.store import marks, receipts, records, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.timestamps import MICROSECOND
from actionwatch.store.unproved_windows import SECOND_LOOK, Unproved
from actionwatch.tail import bounds
from actionwatch.tail.cursor import (
    EDGE,
    MAX_WINDOW_RECORDS,
    TWO_WALKS,
    Claim,
    Walk,
    Window,
    confirms_totals,
    judge,
    refutes_totals,
    slice_count,
)
from actionwatch.tail.untimed import Untimed
from actionwatch.tail.window_scan import PollReport, Reading

WALKS = 3  # readings of one window before it is cut in halves
MAX_PAGE_SIZE = 1000  # the documented maximum
PARTITION_EVERY = timedelta(days=1)
SECOND_LOOK_AFTER = timedelta(minutes=1)
MAX_SKEW = timedelta(seconds=5)  # below it, the one-second resolution of `Date` says less than our own clock

log = structlog.get_logger()


AccountName = Callable[[str, datetime, str | None], str | None]
"""Names an account as of a time, given its id and what a record calls it."""


class Upstream(Protocol):
    """The reading client of `instaclustr/`."""

    def user_actions(self, query: Query, *, page_size: int = 1000, trusts_total: bool | None = None) -> Iterator[Page]:
        """Give the pages of a window, in order; up to the empty one, unless a trusted total was reached before."""
        ...

    def counts(self, query: Query) -> Page:
        """Ask what the window holds, with a page of one."""
        ...


class Stopped(Exception):
    """The service is ending: what is under way is left where it is; the next poll resumes from the marks."""


class ServerClock:
    """The upstream's clock, kept from its `Date` header where that differs from ours by more than its resolution explains."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._is_heard = False
        self.skew = timedelta(0)

    def now(self) -> datetime:
        """Give the server's time."""
        return self._clock() + self.skew

    def watch(self, page: Page) -> None:
        """Compare with an answer's `Date`."""
        if page.server_date is not None:
            skew = page.server_date + timedelta(milliseconds=500) - self._clock()
            self.skew = skew if abs(skew) > MAX_SKEW else timedelta(0)
            self._is_heard = True

    def follow_clock(self, step: timedelta) -> None:
        """Go on from before: our clock was set, the upstream's was not. Where that is never heard, ours is all there is."""
        if self._is_heard:
            self.skew -= step


class WindowReader:
    """Reads windows of one source. `marks` are the source's, as this process last committed them."""

    def __init__(
        self,
        source: str,
        page_size: int,
        overlap: timedelta,
        upstream: Upstream,
        database: Database,
        clock: Callable[[], datetime],
        on_stored: Callable[[], None],
        account_name: AccountName,
    ) -> None:
        self._source = source
        self.page_size = page_size
        self._overlap = overlap
        self._upstream = upstream
        self._database = database
        self._clock = clock
        self._on_stored = on_stored
        self._account_name = account_name
        self._partitioned_at: datetime | None = None
        self._held: list[Record] = []  # until the walk is over
        self._is_untold = False  # whether records were stored that nobody was told of
        self._ignored: set[str] = set()  # filters that the last partition showed to be ignored
        self.server = ServerClock(clock)
        self.untimed = Untimed()
        self.stopping = threading.Event()
        self.marks: marks.Marks

    def read(
        self,
        window: Window,
        report: PollReport,
        *,
        advance: Callable[[Reading], marks.Marks],
        walks: int = WALKS,
        is_new: bool = False,
        is_passed: bool = False,
    ) -> Reading:
        """Read a window until a walk counts, at most `walks` times. `is_new`: nobody has read it before.

        `is_passed`: it is part of a backlog that goes on after it, so that the polls to come begin later.

        Returns: a reading with `method` set where it was proved, `parts` to read instead where it is too large, or neither.
        `advance` gives the marks to commit with the proof.
        """
        reading = self._reading(window)
        earlier: Walk | None = None
        for number in range(walks):
            walk = self._walk(reading, report, number, earlier)
            if reading.asked != self.asked(window):  # a page just showed how finely bounds are taken
                return self.read(window, report, advance=advance, walks=walks, is_new=is_new, is_passed=is_passed)
            if walk is None:
                reading.parts = window.slices(slice_count(reading.size), reading.least)
                return reading
            self._weigh_totals(walk)
            reading.method, reading.doubt = judge(walk, earlier, is_total_trusted=self._is_total_trusted())
            if reading.method == TWO_WALKS:
                self._check_partition(reading, walk, report)
            if reading.method:
                self._complete(reading, walk, report, advance, is_new=is_new, is_passed=is_passed)
                return reading
            earlier = walk
        log.warning("window_unproved", source=self._source, start=window.start, end=window.end, why=reading.doubt)
        return reading

    def glance(self, window: Window, report: PollReport) -> None:
        """Read a window once and store what it brings, proving nothing."""
        self._walk(self._reading(window), report, 0, None)

    def count(self, window: Window, report: PollReport) -> Claim:
        """Ask what the upstream counts in a window: one small request."""
        asked = self.asked(window)
        page = self._upstream.counts(Query(start=asked.start, end=asked.end))
        report.request_count += 1
        self.server.watch(page)
        return Claim(page.total, page.counts)

    def asked(self, window: Window) -> Window:
        """Give what is asked for in a window's place: its bounds in the units that the upstream takes them in."""
        return window.widened(self.marks.bounds_unit)

    @property
    def unit(self) -> timedelta:
        """How finely the upstream takes bounds; as finely as can be, until it is settled."""
        return self.marks.bounds_unit or EDGE

    def _reading(self, window: Window) -> Reading:
        return Reading(window, self.asked(window), self.unit)

    # -- one walk ------------------------------------------------------------------------------------------------------

    def _walk(self, reading: Reading, report: PollReport, number: int, earlier: Walk | None) -> Walk | None:
        try:
            walk = self._read_pages(reading, report, number, earlier)
        except Exception:
            self._store_held(report)  # what came before it need not wait for the next poll
            raise
        self._store_held(report)
        return walk

    def _read_pages(self, reading: Reading, report: PollReport, number: int, earlier: Walk | None) -> Walk | None:
        """Read all pages once, storing each; None where it has to be asked for in another way, or in parts."""
        # Every other walk has other page boundaries: what a shifted page hid in one, the next one shows.
        size = self.page_size if number % 2 == 0 else max(self.page_size * 2 // 3, 1)
        if earlier is not None and earlier.has_repeats and earlier.received < MAX_PAGE_SIZE:
            size = MAX_PAGE_SIZE  # on one page, twins are twins: where the order changes, two walks may agree by chance
        # Where one page was all there is, the walk before asked for what follows it: this one need not.
        is_one_page = earlier is not None and earlier.page_count == 1 and earlier.received < size
        reading.begin_walk()
        query = Query(start=reading.asked.start, end=reading.asked.end, with_counts=True)
        for page in self._upstream.user_actions(query, page_size=size, trusts_total=self._is_total_trusted()):
            self._take(reading, page, report)
            reading.take(page)
            if reading.is_all_told(is_short=len(page.records) < size, is_total_trusted=self._is_total_trusted()):
                self._store_held(report)  # what proves that it was all comes after it
            self._settle_bounds(page, report)
            if reading.asked != self.asked(reading.window):
                return None
            if self.stopping.is_set():
                raise Stopped
            if reading.is_too_large(is_total_trusted=self._is_total_trusted()):
                return None
            if is_one_page and not self._is_total_trusted():
                return reading.walk()
        self._close_walk(reading, query, report)
        return reading.walk()

    def _close_walk(self, reading: Reading, query: Query, report: PollReport) -> None:
        """Ask once more what the window holds, unless the last page told it after all records, or no total is ever told."""
        is_told = reading.claims[0].size is not None
        is_one_page = reading.page_count == 1 and self._is_total_trusted()
        if is_told and not is_one_page and not reading.is_last_empty:
            page = self._upstream.counts(query)
            self._take(reading, page, report)
            reading.claims.append(Claim(page.total, page.counts))

    def _settle_bounds(self, page: Page, report: PollReport) -> None:
        """Learn from a record that was just shown how finely bounds are taken, once a day."""
        if not page.records or not bounds.is_due(self.marks, self._clock()):
            return
        record = bounds.telling(page.records)
        if record is not None:
            self.marks, request_count = bounds.settle(self._upstream, record, self.marks, self._clock())
            report.request_count += request_count

    def _weigh_totals(self, walk: Walk) -> None:
        """Learn whether totals are about the window, from a walk that did not end by one; unlearn it where one is too small."""
        is_trusted = not refutes_totals(walk) if self._is_total_trusted() else confirms_totals(walk)
        if is_trusted != self._is_total_trusted():
            self.marks = replace(self.marks, totals_cover_pages=is_trusted)

    def _check_partition(self, reading: Reading, walk: Walk, report: PollReport) -> None:
        """Where nothing counts, once a day: neither the organisation's nor the accounts' log may hold what the whole does not.

        Where the two together make the whole, the method says so; where one of them is the whole, its filter is ignored.
        """
        at, now = self._partitioned_at, self._clock()
        is_done = at is not None and timedelta(0) <= now - at < PARTITION_EVERY  # in the future: the clock was set back
        if not is_done and walk.received:
            whole = Query(start=reading.asked.start, end=reading.asked.end)
            of_organisation = self._keys(replace(whole, organisation_only=True), reading, report)
            of_accounts = self._keys(replace(whole, account_only=True), reading, report)
            if not (of_organisation | of_accounts) <= walk.keys:
                reading.method = None
                reading.doubt = "the organisation's or the accounts' log holds records that the whole does not"
                return
            self._partitioned_at, self._ignored = now, set()
            if of_organisation + of_accounts == walk.keys:
                reading.method = f"{TWO_WALKS}, partition"
            elif of_organisation and of_accounts:
                self._ignored |= {"organisationLogsOnly"} if of_organisation == walk.keys else set()
                self._ignored |= {"accountLogsOnly"} if of_accounts == walk.keys else set()
        report.ignored_filters |= self._ignored

    def _keys(self, part: Query, reading: Reading, report: PollReport) -> Counter[str]:
        keys: Counter[str] = Counter()
        for page in self._upstream.user_actions(part, page_size=self.page_size, trusts_total=False):
            self._take(reading, page, report)
            keys.update(record.key for record in page.records)
        self._store_held(report)
        return keys

    def _take(self, reading: Reading, page: Page, report: PollReport) -> None:
        """Take from an answer its records, and what it says beside them: the clock, what totals are worth, ignored filters."""
        report.request_count += 1
        reading.request_count += 1
        self.server.watch(page)
        reading.note_server_time(page)
        report.ignored_filters |= reading.is_bound_ignored(page)
        report.kinds.update([record.action_kind for record in page.records])
        self._hold(page, report)

    def _hold(self, page: Page, report: PollReport) -> None:
        """Keep a page's records until the walk is over; at once is stored what alerts nobody, or would be too much to keep."""
        if all(record.occurred_at < self.marks.alerts_from for record in page.records):
            self._store(page.records, report)
            return
        self._held += page.records
        if len(self._held) >= MAX_WINDOW_RECORDS:
            self._store_held(report)

    def _store_held(self, report: PollReport) -> None:
        """Store what is held, oldest first, a page at a time so that no other writer waits long; have it matched."""
        held, self._held = sorted(self._held, key=attrgetter("key")), []
        for start in range(0, len(held), MAX_PAGE_SIZE):
            self._store(held[start : start + MAX_PAGE_SIZE], report)
        self._tell()

    def _store(self, found: Sequence[Record], report: PollReport) -> None:
        """Commit the distinct ones of some records. Further equal ones wait for a walk that counts."""
        if not found:
            return
        with self._database.write() as connection:
            new_count = records.insert_new(connection, map(self._named, found), self._judge)
        self._count_new(new_count, report)

    def _named(self, record: Record) -> Record:
        """Name a record's account as of its day, where the record tells none, or the name it got since."""
        account = record.account
        if account.id is None:
            return record
        name = self._account_name(account.id, record.occurred_at, account.name)
        return record if name == account.name else msgspec.structs.replace(record, account=Entity(account.id, name))

    def _judge(self, record: Record) -> tuple[bool, timedelta | None]:
        """Say whether a record is backlog, and by how much it is late."""
        known, at = self.marks, record.occurred_at
        if at < known.alerts_from:
            return True, None
        late_by = known.seen_through - at
        return False, late_by if late_by > self._overlap and record.is_time_readable else None

    def _count_new(self, new_count: int, report: PollReport) -> None:
        report.new_count += new_count
        self._is_untold = self._is_untold or new_count > 0

    def _tell(self) -> None:
        """Tell who waits for records of those that are new."""
        if self._is_untold:
            self._is_untold = False
            self._on_stored()

    # -- what a proof leaves behind ------------------------------------------------------------------------------------

    def _complete(
        self,
        reading: Reading,
        walk: Walk,
        report: PollReport,
        advance: Callable[[Reading], marks.Marks],
        *,
        is_new: bool,
        is_passed: bool,
    ) -> None:
        """Commit what only a walk that counts can say: the twins, what is gone, the receipt, and how far the marks moved."""
        twins = [
            msgspec.structs.replace(self._named(record), key=twin_key(key, ordinal))
            for key, record in reading.repeated.items()
            for ordinal in range(1, walk.keys[key])
        ]
        moved, present = advance(reading), reading.proved_keys()
        with self._database.write() as connection:
            new_count = records.insert_new(connection, twins, self._judge)
            judged_at = self._next_time(connection)
            reading.vanished = self._mark_vanished(connection, reading, present, judged_at)
            marks.write(connection, moved)
            receipts.insert(connection, self._receipt(reading, walk, present, judged_at))
            is_left = is_passed or self._is_backlog(reading.window, moved)
            if is_new and is_left and self._is_taken_on_count(reading, walk):
                unproved_windows.write(connection, [self._second_look(reading.window)])
        self.marks = moved
        self.untimed.note(reading.asked, reading.untimed_kinds, walk.keys)
        report.proved_count += 1
        report.vanished += reading.vanished
        self._count_new(new_count, report)
        self._tell()

    def _is_taken_on_count(self, reading: Reading, walk: Walk) -> bool:
        """Say whether pages were read one after the other, once, and only counts say that nothing changed meanwhile."""
        return walk.page_count > 1 and TWO_WALKS not in (reading.method or "")

    def _is_backlog(self, window: Window, moved: marks.Marks) -> bool:
        """Say whether a window begins before what the polls to come read again, and again."""
        return window.start < moved.mark - 2 * self._overlap

    def _second_look(self, window: Window) -> Unproved:
        """Have the sweeps read a window once more, a page at a time: counts do not tell what changed behind the reader."""
        due_at = self.server.now() + SECOND_LOOK_AFTER
        return Unproved(
            source=self._source, starts_at=window.start, ends_at=window.end, reach=SECOND_LOOK, due_at=due_at
        )

    def _mark_vanished(
        self, connection: Connection, reading: Reading, present: Set[str], judged_at: datetime
    ) -> list[Record]:
        """Find what the store holds of the window and the upstream does not any more; ours to keep, and to tell of."""
        start, end = reading.window.start, reading.through
        records.unmark_vanished(connection, self._source, start, end, present)
        # Every record that came is stored by now: as many and no more means the same ones.
        if records.count_held(connection, self._source, start, end) == len(present):
            return []
        return records.mark_vanished(connection, self._source, start, end, present, judged_at)

    def _next_time(self, connection: Connection) -> datetime:
        """Return the time of a receipt, later than the one before: what is found gone now was there by that time."""
        before = receipts.read_newest_time(connection, self._source)
        return self._clock() if before is None else max(self._clock(), before + MICROSECOND)

    def _receipt(self, reading: Reading, walk: Walk, present: Set[str], judged_at: datetime) -> receipts.WindowReceipt:
        """Attest what came of the window itself: no more, so that who holds the records can make the same digest of them."""
        return receipts.WindowReceipt(
            source=self._source,
            starts_at=reading.window.start,
            ends_at=reading.through,
            judged_at=judged_at,
            method=reading.method or "",
            record_count=len(present),
            kind_counts=walk.kinds - reading.outer_kinds,
            digest=receipts.digest_of(present),
            request_count=reading.request_count,
        )

    def _is_total_trusted(self) -> bool:
        return self.marks.totals_cover_pages
