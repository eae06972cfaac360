"""The fold for `temporal` and `temporal_ordered`: several rules in one window, in any order or in theirs, with exclusions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from actionwatch.base.model import Hit
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.correlations.folds.reach import Reach, Shape
from actionwatch.rules.model import Correlation


@dataclass(frozen=True, slots=True)
class _Pending:
    """A complete pattern that waits until no unwanted hit occurs up to `due` (inclusive).

    `is_firm`: no other hit at the time of its first hit can begin the pattern when another hit completes it.
    """

    first: Hit
    completing: Hit
    due: datetime
    is_firm: bool = True


class Sequences(Fold):
    """One group of a temporal rule.

    `_waiting` is the alert of the pattern that was due first when it was asked for: it grows with each hit.
    """

    def __init__(self, rule: Correlation, shape: Shape) -> None:
        super().__init__(rule)
        self._shape = shape
        self._reach = Reach(shape)
        self._pending: dict[int, _Pending] = {}  # by pattern
        self._waiting: tuple[_Pending, FoundAlert] | None = None

    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next hit; with `is_quiet` it fires nothing."""
        self._expire(hit.at)
        if self._is_taken(hit.at):
            if hit.step in self._shape.wanted:
                self.found[-1].hits.append(hit)
            self._reach.append(hit)
            return
        horizon = hit.at - self._rule.timespan
        self._reach.drop_before(horizon)
        self._reach.append(hit)
        if self._waiting is not None:
            self._waiting[1].hits.drop_before(horizon)
            if hit.step in self._shape.wanted:
                self._waiting[1].hits.append(hit)
        self._exclude(hit)
        if not is_quiet:
            self._complete(hit)

    def restore(self, found: FoundAlert) -> None:
        """Continue from a known alert; the window after it starts empty."""
        super().restore(found)
        self._waiting = None
        self._pending.clear()
        self._reach.take(found.until)

    def alerts(self) -> list[FoundAlert]:
        """Return the alerts in order. The last one can be pending until its time is verified."""
        return [*self.found, self._first_waiting()] if self._pending else self.found[:]

    @property
    def size(self) -> int:
        """How many hits it holds, roughly."""
        return super().size + 2 * len(self._reach)

    def _expire(self, at: datetime) -> None:
        """Fire the pending pattern whose time has passed without an unwanted hit."""
        if self._pending and self._first_due().due < at:
            self.restore(self._first_waiting())

    def _first_waiting(self) -> FoundAlert:
        """Return the alert of the pending pattern that is due first, with every hit until now."""
        first = self._first_due()
        if self._waiting is None or self._waiting[0] is not first:
            self._waiting = first, self._make(first)
        return self._waiting[1]

    def _first_due(self) -> _Pending:
        return min(self._pending.values(), key=lambda found: (found.due, found.first.order))

    def _exclude(self, hit: Hit) -> None:
        """Drop the pending patterns that must not be followed by this hit."""
        for place in list(self._pending):
            if hit.step in self._shape.ending(self._rule.patterns[place]):
                del self._pending[place]

    def _complete(self, hit: Hit) -> None:
        """Find the patterns that this hit completes. The one that began first fires, unless all must wait."""
        ready: list[_Pending] = []
        for place, pattern in enumerate(self._rule.patterns):
            pending = self._pending.get(place)
            if (pending is not None and pending.is_firm) or hit.step not in pattern.wanted:
                continue
            first = self._reach.first_of(place, hit)
            if first is None or (pending is not None and pending.first.order <= first.order):
                continue
            if self._shape.ending(pattern):
                is_firm = not self._shape.is_ordered or self._reach.is_earliest(first)
                self._pending[place] = _Pending(first, hit, first.at + self._rule.timespan, is_firm)
            else:
                ready.append(_Pending(first, hit, hit.at))
        if ready:
            found = self._make(min(ready, key=lambda each: each.first.order))
            found.judged_at, found.has_waited = None, False
            self.restore(found)

    def _make(self, pending: _Pending) -> FoundAlert:
        """Make the alert from every hit since the first step, which is still in reach when the alert fires."""
        first, until = pending.first, pending.due + self._rule.realert
        hits = self._hits_since(first)
        firing = pending.completing
        return FoundAlert(first.key, first.at, pending.due, until, hits, pending.due, firing=firing, has_waited=True)

    def _hits_since(self, first: Hit) -> HitWindow:
        """Return the hits of an alert. Those of the one that waited before it are used again if they include them."""
        if self._waiting is not None and self._waiting[0].first.order <= first.order:
            hits = self._waiting[1].hits
            hits.drop_first(hits.place_of(first.order))
            return hits
        return self._reach.wanted_since(first)
