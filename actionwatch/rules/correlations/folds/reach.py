"""The hits of one group of a temporal rule within reach: what they begin, continue and exclude."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.model import Hit
from actionwatch.rules.correlations.folds.chains import Chains, Links
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.model import Correlation, CorrelationType, Pattern


class Shape:
    """The facts that all groups of a temporal rule have in common."""

    def __init__(self, rule: Correlation) -> None:
        self.patterns = rule.patterns
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

    def ending(self, pattern: Pattern) -> frozenset[int]:
        """Return the steps that must not occur until the time of a complete pattern has passed."""
        return pattern.trailing if self.is_ordered else frozenset(pattern.unwanted)


class Reach:
    """The hits within reach that can matter.

    Those that an alert has taken count for no other, but still exclude patterns. `_excluding` are, by step, those that exclude
    a pattern wherever they are before it or, in a set, at all; `_chains` are what the others begin, by pattern; `_fresh` counts
    them by step. The cost of a hit does not depend on how many others are within reach.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._recent = HitWindow()
        self._excluding = {step: HitWindow() for step in shape.excluding}
        self._chains = {place: Chains(links) for place, links in shape.links.items()}
        self._fresh: Counter[int] = Counter()
        self._taken_until: datetime | None = None

    def __len__(self) -> int:
        """Return how many hits are within reach."""
        return len(self._recent)

    def append(self, hit: Hit) -> None:
        """Take the next hit."""
        self._recent.append(hit)
        if hit.step in self._excluding:
            self._excluding[hit.step].append(hit)
        if not self.is_taken(hit.at):
            self._fresh[hit.step] += 1
            for chains in self._chains.values():
                chains.append(hit)

    def is_taken(self, at: datetime) -> bool:
        """Return whether the hits of a time belong to an alert."""
        return self._taken_until is not None and at <= self._taken_until

    def take(self, until: datetime) -> None:
        """Let an alert have all hits up to a time: all that are here, and the next ones."""
        self._taken_until = until
        self._fresh.clear()
        for chains in self._chains.values():
            chains.clear()

    def drop_before(self, horizon: datetime) -> None:
        """Drop the hits out of reach and, in an ordered rule, those before any with which a pattern can begin."""
        recent, dropped = self._recent, list(self._recent.drop_before(horizon))
        if self._shape.is_ordered and recent and recent.first.step not in self._shape.beginning:
            begins = (place for place, hit in enumerate(recent) if hit.step in self._shape.beginning)
            dropped += recent.drop_first(next(begins, len(recent)))
        for hit in dropped:
            if not self.is_taken(hit.at):
                self._fresh[hit.step] -= 1
        for hits in self._excluding.values():
            hits.drop_before(horizon)
        for chains in self._chains.values():
            chains.drop_before(horizon)

    def first_of(self, place: int, last: Hit) -> Hit | None:
        """Return the first hit of a pattern that the newest hit completes; None if it completes none."""
        pattern = self._shape.patterns[place]
        if any(self._fresh[step] <= 0 for step in pattern.wanted):
            return None
        return self._first_of_chain(place, last) if self._shape.is_ordered else self._first_of_set(pattern)

    def wanted_since(self, first: Hit) -> HitWindow:
        """Return the hits from one on that belong to an alert."""
        since = self._recent.since(self._recent.place_of(first.order))
        return HitWindow(hit for hit in since if hit.step in self._shape.wanted)

    def is_earliest(self, first: Hit) -> bool:
        """Check whether no hit of the same step at the same time precedes the first: it can begin the pattern later."""
        place = self._recent.place_of(first.order)
        before = self._recent[place - 1] if place else None
        return before is None or (before.at, before.step) != (first.at, first.step)

    def _first_of_set(self, pattern: Pattern) -> Hit | None:
        """Return the first hit of a complete set in any order; None if an unwanted hit is in reach."""
        if any(self._excluding[step] for step in pattern.unwanted):
            return None
        taken = self._recent.count_before(self._taken_until + MICROSECOND) if self._taken_until is not None else 0
        return next(hit for hit in self._recent.since(taken) if hit.step in pattern.wanted)

    def _first_of_chain(self, place: int, last: Hit) -> Hit | None:
        """Return the earliest hit from which the steps follow each other to `last`; None if there is none."""
        pattern = self._shape.patterns[place]
        if last.step != pattern.wanted[-1]:
            return None
        first = self._chains[place].first(last) if place in self._chains else last
        if first is not None:
            before = (self._excluding[step] for step in pattern.leading)
            if any(hits and hits.first.order < first.order for hits in before):
                return None
        return first
