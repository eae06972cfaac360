"""The fold for `temporal` and `temporal_ordered`: several rules in one window, in any order or in theirs, with exclusions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.model import Hit
from actionwatch.rules.correlations.folds.chains import Chains, Links
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.model import Correlation, CorrelationType, Pattern


@dataclass(frozen=True, slots=True)
class _Pending:
    """A complete pattern that waits until no unwanted hit occurs up to `due` (inclusive).

    `is_firm`: no other hit at the time of its first hit can begin the pattern when another hit completes it.
    """

    first: Hit
    completing: Hit
    due: datetime
    is_firm: bool = True


class Shape:
    """What the states of all groups of a temporal rule have in common."""

    def __init__(self, rule: Correlation) -> None:
        self.is_ordered = rule.type is CorrelationType.TEMPORAL_ORDERED
        self.wanted = frozenset(step for pattern in rule.patterns for step in pattern.wanted)
        self.beginning = frozenset(step for each in rule.patterns for step in (each.wanted[0], *each.leading))
        self.excluding = frozenset(
            step for each in rule.patterns for step in (each.leading if self.is_ordered else each.unwanted)
        )
        self.links = {
            place: Links(pattern)
            for place, pattern in enumerate(rule.patterns)
            if self.is_ordered and len(pattern.wanted) > 1
        }


class Sequences(Fold):
    """One group of a temporal rule.

    `_recent` are the hits within reach that can matter. Those that are taken by an alert count for no other, but still
    exclude patterns. `_excluding` are, by step, those that exclude a pattern wherever they are before it or, in a set, at
    all; `_chains` are what the others begin, by pattern. `_waiting` is the alert of the pattern that was due first when it was
    asked for: it grows with each hit.

    The cost of a hit does not depend on how many others are within reach.
    """

    def __init__(self, rule: Correlation, shape: Shape) -> None:
        super().__init__(rule)
        self._is_ordered, self._wanted, self._beginning = shape.is_ordered, shape.wanted, shape.beginning
        self._recent = HitWindow()
        self._excluding = {step: HitWindow() for step in shape.excluding}
        self._chains = {place: Chains(links) for place, links in shape.links.items()}
        self._fresh: Counter[int] = Counter()  # by step: the recent hits that are not taken
        self._pending: dict[int, _Pending] = {}
        self._waiting: tuple[_Pending, FoundAlert] | None = None

    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next hit; with `is_quiet` it fires nothing."""
        self._expire(hit.at)
        if self._is_taken(hit.at):
            if hit.step in self._wanted:
                self.found[-1].hits.append(hit)
            self._recent.append(hit)
            self._note(hit)
            return
        self._drop_old(hit.at - self._rule.timespan)
        self._recent.append(hit)
        self._note(hit)
        if self._waiting is not None and hit.step in self._wanted:
            self._waiting[1].hits.append(hit)
        self._fresh[hit.step] += 1
        self._block(hit)
        if not is_quiet:
            self._complete(hit)

    def restore(self, found: FoundAlert) -> None:
        """Continue from a known alert; the window after it starts empty."""
        super().restore(found)
        self._waiting = None
        self._pending.clear()
        self._fresh.clear()
        for chains in self._chains.values():
            chains.clear()

    def alerts(self) -> list[FoundAlert]:
        """Return the alerts in order. The last one can be pending until its time is verified."""
        return [*self.found, self._first_waiting()] if self._pending else self.found[:]

    @property
    def size(self) -> int:
        """How many hits it holds, roughly."""
        return super().size + 2 * len(self._recent)

    def _note(self, hit: Hit) -> None:
        """Note what a hit excludes, begins and continues."""
        if hit.step in self._excluding:
            self._excluding[hit.step].append(hit)
        if not self._is_taken(hit.at):
            for chains in self._chains.values():
                chains.append(hit)

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

    def _drop_old(self, horizon: datetime) -> None:
        """Drop the hits out of reach and, in an ordered rule, those before any with which a pattern can begin."""
        recent, dropped = self._recent, list(self._recent.drop_before(horizon))
        if self._is_ordered and recent and recent.first.step not in self._beginning:
            begins = (place for place, hit in enumerate(recent) if hit.step in self._beginning)
            dropped += recent.drop_first(next(begins, len(recent)))
        for hit in dropped:
            if not self._is_taken(hit.at):
                self._fresh[hit.step] -= 1
        for hits in self._excluding.values():
            hits.drop_before(horizon)
        for chains in self._chains.values():
            chains.drop_before(horizon)
        if self._waiting is not None:
            self._waiting[1].hits.drop_before(horizon)

    def _block(self, hit: Hit) -> None:
        for place in list(self._pending):
            pattern = self._rule.patterns[place]
            if hit.step in (pattern.trailing if self._is_ordered else pattern.unwanted):
                del self._pending[place]

    def _complete(self, hit: Hit) -> None:
        """Find the patterns that this hit completes. The one that began first fires, unless all must wait."""
        ready: list[_Pending] = []
        for place, pattern in enumerate(self._rule.patterns):
            pending = self._pending.get(place)
            if (pending is not None and pending.is_firm) or hit.step not in pattern.wanted:
                continue
            if any(self._fresh[step] <= 0 for step in pattern.wanted):
                continue
            first = self._first_of_chain(place, hit) if self._is_ordered else self._first_of_set(pattern)
            if first is None or (pending is not None and pending.first.order <= first.order):
                continue
            if pattern.trailing if self._is_ordered else pattern.unwanted:
                is_firm = not self._is_ordered or self._is_earliest(first)
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
        since = self._recent.since(self._recent.place_of(first.order))
        return HitWindow(hit for hit in since if hit.step in self._wanted)

    # -- the patterns --------------------------------------------------------------------------------------------------

    def _first_of_set(self, pattern: Pattern) -> Hit | None:
        """Return the first hit of a complete set in any order; None if an unwanted hit is in reach."""
        if any(self._excluding[step] for step in pattern.unwanted):
            return None
        taken = self._recent.count_before(self.found[-1].until + MICROSECOND) if self.found else 0
        return next(hit for hit in self._recent.since(taken) if hit.step in pattern.wanted)

    def _first_of_chain(self, place: int, last: Hit) -> Hit | None:
        """Return the earliest hit from which the steps follow each other to `last`; None if there is none."""
        pattern = self._rule.patterns[place]
        if last.step != pattern.wanted[-1]:
            return None
        first = self._chains[place].first(last) if place in self._chains else last
        if first is not None:
            before = (self._excluding[step] for step in pattern.leading)
            if any(hits and hits.first.order < first.order for hits in before):
                return None
        return first

    def _is_earliest(self, first: Hit) -> bool:
        """Check whether no hit of the same step at the same time precedes the first: it can begin the pattern later."""
        place = self._recent.place_of(first.order)
        before = self._recent[place - 1] if place else None
        return before is None or (before.at, before.step) != (first.at, first.step)
