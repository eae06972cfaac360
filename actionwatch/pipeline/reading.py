"""One window while it is read: what its pages brought, walk by walk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from actionwatch.cursor import MAX_WINDOW_RECORDS, Claim, Walk, Window
from actionwatch.instaclustr.wire import Page
from actionwatch.model import Record


@dataclass(slots=True)
class Reading:
    """A window, and what `take` was given of it since `begin_walk`. `method` is set by the walk that proved it."""

    window: Window
    keys: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    claims: list[Claim] = field(default_factory=list)
    repeated: dict[str, Record] = field(default_factory=dict)
    page_count: int = 0
    record_count: int = 0
    newest: datetime | None = None
    server_time: datetime | None = None
    """The server's clock at the first answer: it cannot have shown us anything later."""
    method: str | None = None
    doubt: str = ""

    def begin_walk(self) -> None:
        """Forget the walk before; what was stored stays stored."""
        self.keys, self.kinds, self.claims, self.repeated = Counter(), Counter(), [], {}
        self.page_count = self.record_count = 0
        self.newest = self.server_time = None

    def note_server_time(self, page: Page) -> None:
        """Keep the clock of the walk's first answer."""
        if self.server_time is None:
            self.server_time = page.server_date

    def take(self, page: Page) -> None:
        """Count a page in."""
        self.page_count += 1
        self.record_count += len(page.records)
        self.claims.append(Claim(page.total, page.counts))
        for record in page.records:
            if record.key in self.keys:
                self.repeated[record.key] = record
            self.keys[record.key] += 1
            self.kinds[record.action_kind] += 1
            if record.is_time_readable and self.window.start <= record.occurred_at <= self.window.end:
                self.newest = max(self.newest or record.occurred_at, record.occurred_at)

    @property
    def size(self) -> int:
        """How many records the window holds, as far as that is known by now."""
        return max(self.record_count, (self.claims[0].total or 0) if self.claims else 0)

    @property
    def is_too_large(self) -> bool:
        """Say whether it should be read in parts."""
        return self.size > MAX_WINDOW_RECORDS and self.window.is_divisible

    def walk(self) -> Walk:
        """Give the walk just read."""
        first = self.claims[0] if self.claims else Claim()
        last = self.claims[-1] if self.claims else Claim()
        return Walk(self.keys, self.kinds, first, last, self.page_count)
