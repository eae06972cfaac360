"""One walk through the pages of a window: what it received, and what the upstream claimed. `Pager` makes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from actionwatch.base.model import Record
from actionwatch.instaclustr.wire import Page
from actionwatch.tail.cursor import EDGE_SECOND, Window
from actionwatch.tail.proof import Claim, Walk


@dataclass(slots=True)
class WindowScan:
    """One walk through a window, counted page by page without keeping the records, and which of them lie in the window itself.

    Requests cover more than the window, so that the bounds of the upstream hide nothing. A proof is about the window only, up
    to `through`.
    """

    window: Window
    asked: Window
    """What is requested: the window, with its bounds widened to whole units of the upstream."""
    walk: Walk = field(default_factory=Walk)
    through: datetime = field(init=False)
    """From the first page on: the end of the window, or the upstream's clock if that is earlier, as far as ours confirms it."""
    inner_keys: set[str] = field(default_factory=set)
    outer_kinds: Counter[str] = field(default_factory=Counter)
    """Kinds of the records outside the window, and of those without a readable time."""
    repeated: dict[str, Record] = field(default_factory=dict)
    """A record for each key that was received more than once."""
    newest: datetime | None = None
    """The time of the newest record in the window."""
    is_whole: bool = True
    """False if the walk was broken off: the window is too large, or the unit of the bounds turned out to be another."""
    is_unbounded: bool = False
    """The upstream ignores the bounds, so that each part of the window would return everything again."""

    digest: bytes = b""
    """That of the first response."""
    has_later: bool = False
    """Whether it showed records that a later poll may find in the window: after `through`, or without a readable time."""

    @property
    def is_repeatable(self) -> bool:
        """Whether the same response to the same request, up to a later time, shows the same records of the window."""
        return len(self.walk.claims) == 1 and not self.has_later

    def size(self, *, is_total_trusted: bool) -> int:
        """Return how many records the window has, as far as is known. A total that is not trusted may be of the whole log."""
        return max(self.walk.received, self.walk.before.size or 0) if is_total_trusted else self.walk.received

    @property
    def kind_counts(self) -> Counter[str]:
        """Count the records of the window itself per kind."""
        return self.walk.kinds - self.outer_kinds

    def take_page(self, page: Page, *, is_unbounded: bool, prove_until: datetime) -> None:
        """Count a page; `is_unbounded` says whether it exceeds the bounds of the request."""
        if not self.walk.claims:
            self.digest = page.digest
            self.through = proved_until(self.window, page.server_date, prove_until)
        keys = [record.key for record in page.records]
        self.walk.take_page(keys, [record.action_kind for record in page.records], Claim(page.total, page.counts))
        self.is_unbounded = self.is_unbounded or is_unbounded
        if self.walk.has_repeats or len(set(keys)) < len(keys):
            self.repeated |= {record.key: record for record in page.records if self.walk.keys[record.key] > 1}
        self._take_inner(page.records)

    def _take_inner(self, shown: Sequence[Record]) -> None:
        start, through = self.window.start, self.through
        inner = [record for record in shown if record.is_time_readable and start <= record.occurred_at <= through]
        if inner:
            self.inner_keys.update([record.key for record in inner])
            newest = max([record.occurred_at for record in inner])
            self.newest = newest if self.newest is None else max(self.newest, newest)
        if len(inner) < len(shown):
            outer = [record for record in shown if record.key not in self.inner_keys]
            self.outer_kinds.update([record.action_kind for record in outer])
            is_earlier = all(record.is_time_readable and record.occurred_at < start for record in outer)
            self.has_later = self.has_later or not is_earlier


def proved_until(window: Window, server_date: datetime | None, prove_until: datetime) -> datetime:
    """Return up to which time a response can prove a window; `server_date` is its `Date`."""
    return min(window.end, server_date or window.end, prove_until)


def ignored_bounds(page: Page, asked: Window) -> set[str]:
    """Name the bounds that a page exceeds by more than rounding explains."""
    times = [record.occurred_at for record in page.records if record.is_time_readable]
    ignored = {"startTime"} if times and min(times) < asked.start - EDGE_SECOND else set()
    return ignored | ({"endTime"} if times and max(times) > asked.end + EDGE_SECOND else set())
