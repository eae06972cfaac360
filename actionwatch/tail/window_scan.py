"""One window while it is read, and what a whole poll did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actionwatch.base.errors import SourceError
from actionwatch.base.model import Record
from actionwatch.instaclustr.identity import twin_key
from actionwatch.instaclustr.wire import Page
from actionwatch.store.unproved_windows import Unproved
from actionwatch.tail.cursor import EDGE_SECOND, MAX_WINDOW_RECORDS, MIN_WINDOW, Claim, Walk, Window


@dataclass(slots=True)
class PollReport:
    """What one poll did."""

    new_count: int = 0
    request_count: int = 0
    proved_count: int = 0
    unproved: list[str] = field(default_factory=list)
    """Why, for each window that stayed without proof."""
    doubts: list[Unproved] = field(default_factory=list)
    """Older windows that could not be proved for so long by now that people should know."""
    vanished: list[Record] = field(default_factory=list)
    ignored_filters: set[str] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)
    error: SourceError | None = None


@dataclass(slots=True)
class Reading:
    """A window, and what `take` was given of it since `begin_walk`.

    `method` names what proved it; `parts` are what to read instead where it is too large; `doubt` says why it is not proved.
    """

    window: Window
    asked: Window
    """What is asked for, the bounds in whole units: the window lies well within it, so that no bound can hide any of it."""
    unit: timedelta
    """How finely the upstream takes bounds."""
    method: str | None = None
    doubt: str = ""
    parts: list[Window] = field(default_factory=list)
    vanished: list[Record] = field(default_factory=list)
    keys: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    claims: list[Claim] = field(default_factory=list)
    repeated: dict[str, Record] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    has_repeats: bool = False
    inner_keys: set[str] = field(default_factory=set)
    """Keys of the records within the window, as far as it is `through`: what a proof is about."""
    outer_kinds: Counter[str] = field(default_factory=Counter)
    """Kinds of the other records: those asked for beside it, and those without a readable time."""
    untimed_kinds: dict[str, str] = field(default_factory=dict)
    """The kind of each record without a readable time, by key."""
    page_count: int = 0
    record_count: int = 0
    request_count: int = 0
    """Of all walks."""
    is_last_empty: bool = False
    is_unbounded: bool = False
    """The upstream ignores the window's bounds: cutting it into parts would bring everything again for each."""
    newest: datetime | None = None
    server_time: datetime | None = None
    """The server's clock at the first answer: it cannot have shown us anything later."""

    def begin_walk(self) -> None:
        """Forget the walk before; what was stored stays stored."""
        self.keys, self.kinds, self.claims, self.repeated, self.inner_keys = Counter(), Counter(), [], {}, set()
        self.outer_kinds, self.untimed_kinds = Counter(), {}
        self.order, self.has_repeats, self.is_last_empty = [], False, False
        self.page_count = self.record_count = 0
        self.newest = self.server_time = None

    def note_server_time(self, page: Page) -> None:
        """Keep the clock of the walk's first answer."""
        if self.server_time is None:
            self.server_time = page.server_date

    def is_bound_ignored(self, page: Page) -> set[str]:
        """Name the bounds that a page does not keep to, by more than rounding explains."""
        start, end = self.asked.start - EDGE_SECOND, self.asked.end + EDGE_SECOND
        times = [record.occurred_at for record in page.records if record.is_time_readable]
        ignored = {"startTime"} if times and min(times) < start else set()
        ignored |= {"endTime"} if times and max(times) > end else set()
        self.is_unbounded = self.is_unbounded or bool(ignored)
        return ignored

    def take(self, page: Page) -> None:
        """Count a page in."""
        self.page_count += 1
        self.record_count += len(page.records)
        self.is_last_empty = not page.records
        self.claims.append(Claim(page.total, page.counts))
        self._count(page.records)
        start, end = self.window.start, self.through
        inner = [record for record in page.records if record.is_time_readable and start <= record.occurred_at <= end]
        if inner:
            self.inner_keys.update([record.key for record in inner])
            newest = max([record.occurred_at for record in inner])
            self.newest = newest if self.newest is None else max(self.newest, newest)
        if len(inner) < len(page.records):
            outer = [record for record in page.records if record.key not in self.inner_keys]
            self.outer_kinds.update([record.action_kind for record in outer])
            self.untimed_kinds |= {record.key: record.action_kind for record in outer if not record.is_time_readable}

    def _count(self, shown: Sequence[Record]) -> None:
        keys = [record.key for record in shown]
        distinct = set(keys)
        known = distinct & self.keys.keys()
        self.has_repeats = self.has_repeats or bool(known)
        self.order += keys
        self.keys.update(keys)
        self.kinds.update([record.action_kind for record in shown])
        if known or len(distinct) < len(keys):
            self.repeated |= {record.key: record for record in shown if self.keys[record.key] > 1}

    def proved_keys(self) -> set[str]:
        """Give the keys of the records that a proof is about, those that twins are stored under too."""
        repeated = self.repeated.keys() & self.inner_keys
        twins = {twin_key(key, ordinal) for key in repeated for ordinal in range(1, self.keys[key])}
        return self.inner_keys | twins

    @property
    def through(self) -> datetime:
        """How far the window really reached: not past its end, nor past what the server's clock said when it answered."""
        return min(self.window.end, self.server_time or self.window.end)

    @property
    def size(self) -> int:
        """How many records the window holds, as far as that is known by now."""
        return max(self.record_count, (self.claims[0].size or 0) if self.claims else 0)

    def is_too_large(self, *, is_total_trusted: bool) -> bool:
        """Say whether it should be read in parts. A total that may be about something else must not have it cut to pieces."""
        size = self.size if is_total_trusted else self.record_count
        return size > MAX_WINDOW_RECORDS and self.is_divisible

    def is_all_told(self, *, is_short: bool, is_total_trusted: bool) -> bool:
        """Say whether as many came as the upstream counts; before that can be trusted, only of a page that was not full."""
        size = self.claims[0].size
        return size is not None and self.record_count >= size and (is_short or is_total_trusted)

    @property
    def is_divisible(self) -> bool:
        """Say whether reading it in parts would ask for less."""
        return self.window.end - self.window.start >= 2 * self.least and not self.is_unbounded

    @property
    def least(self) -> timedelta:
        """The shortest part that is worth asking for."""
        return max(self.unit, MIN_WINDOW)

    def walk(self) -> Walk:
        """Give the walk just read."""
        first = self.claims[0] if self.claims else Claim()
        last = self.claims[-1] if self.claims else Claim()
        return Walk(
            self.keys,
            self.kinds,
            first,
            last,
            self.page_count - self.is_last_empty,
            order=self.order,
            has_repeats=self.has_repeats,
            is_ended=self.is_last_empty,
        )
