"""One walk through the pages of a window, as a value: what came, and what the upstream claimed. `WalkCounter` makes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from actionwatch.base.model import Record
from actionwatch.instaclustr.identity import twin_key
from actionwatch.instaclustr.wire import Page
from actionwatch.tail.cursor import EDGE_SECOND, Window
from actionwatch.tail.proof import Claim, Walk


@dataclass(frozen=True, slots=True)
class WindowScan:
    """One walk through a window, and which of its records lie in the window itself.

    Requests cover more than the window, so that the bounds of the upstream hide nothing. A proof is about the window only, up
    to `through`.
    """

    window: Window
    asked: Window
    """What was requested: the window, with its bounds widened to whole units of the upstream."""
    through: datetime
    """The end of the window, or the upstream's clock at the first response if that is earlier, as far as ours confirms it."""
    walk: Walk
    inner_keys: Set[str]
    outer_kinds: Counter[str]
    """Kinds of the records outside the window, and of those without a readable time."""
    repeated: Mapping[str, Record]
    """A record for each key that came more than once."""
    newest: datetime | None
    """The time of the newest record in the window."""
    is_whole: bool
    """False if the walk was broken off: the window is too large, or the unit of the bounds turned out to be another."""
    is_unbounded: bool
    """The upstream ignores the bounds, so that each part of the window would bring everything again."""
    request_count: int

    @property
    def size(self) -> int:
        """The number of records in the window, as far as it is known."""
        return max(self.walk.received, self.walk.before.size or 0)

    @property
    def kind_counts(self) -> Counter[str]:
        """Count the records of the window itself per kind."""
        return self.walk.kinds - self.outer_kinds

    def present_keys(self) -> set[str]:
        """Return the keys of the records of the window itself, including those under which twins are stored."""
        repeated = self.repeated.keys() & self.inner_keys
        return {*self.inner_keys, *(twin_key(key, ordinal) for key in repeated for ordinal in self.twin_ordinals(key))}

    def twin_ordinals(self, key: str) -> range:
        """Return the ordinals of the twins of a record."""
        return range(1, self.walk.keys[key])


class WalkCounter:
    """Counts the pages of one walk, without keeping their records."""

    def __init__(self, window: Window, asked: Window) -> None:
        self.window, self.asked = window, asked
        self._keys, self._kinds = Counter[str](), Counter[str]()
        self._order: list[str] = []
        self._repeated: dict[str, Record] = {}
        self._has_repeats = False
        self._inner_keys: set[str] = set()
        self._outer_kinds = Counter[str]()
        self._newest: datetime | None = None
        self._through: datetime | None = None
        self.is_unbounded = False
        """Whether the upstream ignores the bounds."""
        self.claims: list[Claim] = []
        self.page_count = 0
        """Pages with records."""
        self.is_ended = False
        """Whether the last page was empty."""

    @property
    def received(self) -> int:
        """The number of records so far."""
        return len(self._order)

    def take(self, page: Page, *, is_unbounded: bool, prove_until: datetime) -> None:
        """Count a page; `is_unbounded` says whether it exceeds the bounds of the request."""
        self.page_count += bool(page.records)
        self.is_ended = not page.records
        self.claims.append(Claim(page.total, page.counts))
        self.is_unbounded = self.is_unbounded or is_unbounded
        if self._through is None:
            self._through = min(self.window.end, page.server_date or self.window.end, prove_until)
        self._count_keys(page.records)
        self._kinds.update([record.action_kind for record in page.records])
        self._count_inner(page.records, self._through)

    def scan(self, after: Claim | None, *, is_whole: bool) -> WindowScan:
        """Return the walk; `after` is the claim of a response after the last page, if there was one."""
        walk = Walk(
            keys=self._keys,
            kinds=self._kinds,
            before=self.claims[0],
            after=after or self.claims[-1],
            page_count=self.page_count,
            order=self._order,
            has_repeats=self._has_repeats,
            is_ended=self.is_ended,
        )
        return WindowScan(
            window=self.window,
            asked=self.asked,
            through=self._through or self.window.end,
            walk=walk,
            inner_keys=self._inner_keys,
            outer_kinds=self._outer_kinds,
            repeated=self._repeated,
            newest=self._newest,
            is_whole=is_whole,
            is_unbounded=self.is_unbounded,
            request_count=len(self.claims) + (after is not None),
        )

    def _count_keys(self, shown: Sequence[Record]) -> None:
        keys = [record.key for record in shown]
        distinct = set(keys)
        known = distinct & self._keys.keys()
        self._has_repeats = self._has_repeats or bool(known)
        self._order += keys
        self._keys.update(keys)
        if known or len(distinct) < len(keys):
            self._repeated |= {record.key: record for record in shown if self._keys[record.key] > 1}

    def _count_inner(self, shown: Sequence[Record], through: datetime) -> None:
        start = self.window.start
        inner = [record for record in shown if record.is_time_readable and start <= record.occurred_at <= through]
        if inner:
            self._inner_keys.update([record.key for record in inner])
            newest = max([record.occurred_at for record in inner])
            self._newest = newest if self._newest is None else max(self._newest, newest)
        if len(inner) < len(shown):
            self._outer_kinds.update([record.action_kind for record in shown if record.key not in self._inner_keys])


def ignored_bounds(page: Page, asked: Window) -> set[str]:
    """Name the bounds that a page exceeds by more than rounding explains."""
    times = [record.occurred_at for record in page.records if record.is_time_readable]
    ignored = {"startTime"} if times and min(times) < asked.start - EDGE_SECOND else set()
    return ignored | ({"endTime"} if times and max(times) > asked.end + EDGE_SECOND else set())
