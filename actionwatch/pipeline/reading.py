"""One window while it is read, and what a whole poll did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from actionwatch.cursor import EDGE_SECOND, MAX_WINDOW_RECORDS, Claim, Walk, Window
from actionwatch.errors import SourceError
from actionwatch.instaclustr.wire import Page
from actionwatch.model import Record


@dataclass(slots=True)
class PollReport:
    """What one poll did."""

    new_count: int = 0
    request_count: int = 0
    proved_count: int = 0
    unproved: list[str] = field(default_factory=list)
    """Why, for each window that stayed without proof."""
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
    """Keys of the records so far within the window that no reading of its bounds can leave them out."""
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
        self.order, self.has_repeats, self.is_last_empty = [], False, False
        self.page_count = self.record_count = 0
        self.newest = self.server_time = None

    def note_server_time(self, page: Page) -> None:
        """Keep the clock of the walk's first answer."""
        if self.server_time is None:
            self.server_time = page.server_date

    def is_bound_ignored(self, page: Page) -> set[str]:
        """Name the bounds that a page does not keep to, by more than rounding explains."""
        start, end = self.window.start - EDGE_SECOND, self.window.end + EDGE_SECOND
        times = [record.occurred_at for record in page.records if record.is_time_readable]
        ignored = {"startTime"} if any(at < start for at in times) else set()
        ignored |= {"endTime"} if any(at > end for at in times) else set()
        self.is_unbounded = self.is_unbounded or bool(ignored)
        return ignored

    def take(self, page: Page) -> None:
        """Count a page in."""
        self.page_count += 1
        self.record_count += len(page.records)
        self.is_last_empty = not page.records
        self.claims.append(Claim(page.total, page.counts))
        start, end = self.window.start + EDGE_SECOND, self.window.end - EDGE_SECOND
        on_this_page: set[str] = set()
        for record in page.records:
            key, at = record.key, record.occurred_at
            if key in self.keys:
                self.repeated[key] = record
                self.has_repeats = self.has_repeats or key not in on_this_page
            on_this_page.add(key)
            self.order.append(key)
            self.keys[key] += 1
            self.kinds[record.action_kind] += 1
            if record.is_time_readable and start <= at <= end:
                self.inner_keys.add(key)
            if record.is_time_readable and self.window.start <= at <= self.window.end:
                self.newest = at if self.newest is None or at > self.newest else self.newest

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
        return size > MAX_WINDOW_RECORDS and self.window.is_divisible and not self.is_unbounded

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
