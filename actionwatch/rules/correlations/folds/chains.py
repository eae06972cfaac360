"""The chains of an ordered pattern: from which hits its steps follow each other, without a look at every hit since then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from actionwatch.base.model import Hit
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.model import Pattern

_MAX_WAYS = 32  # ways to use the records of one time, per step; beyond it only bursts at one time are less exact

_Ways = set[frozenset[str]]
"""The ways to build a part of a chain: the records of one time that each uses, because one record cannot be two steps."""


class Links:
    """The steps of a pattern in their order, and which must not occur between two of them."""

    def __init__(self, pattern: Pattern) -> None:
        self.steps = pattern.wanted
        self.between = [pattern.between(place) for place in range(len(pattern.wanted) - 1)]


class Chains:
    """The hits that begin chains of one pattern and can still be continued to its last step.

    `_begun` are those before the time of the newest hits, oldest first, each time with the places up to which a chain goes
    that no unwanted hit has ended, as bits. Hits that go equally far are together. An older hit goes as far as a newer one, or
    further: so there are few of these, however many hits there are. `_now` are the hits of the newest time.
    """

    __slots__ = ("_begun", "_between", "_now", "_steps")

    def __init__(self, links: Links) -> None:
        self._steps, self._between = links.steps, links.between
        self._begun: list[tuple[int, HitWindow]] = []
        self._now: list[Hit] = []

    def append(self, hit: Hit) -> None:
        """Take the next hit."""
        if self._now and self._now[0].at < hit.at:
            self._finish_time()
        if hit.step in self._steps or any(hit.step in unwanted for unwanted in self._between):
            self._now.append(hit)

    def drop_before(self, horizon: datetime) -> None:
        """Drop what begins before a time. Only hits that were taken after it can complete a pattern."""
        while self._begun and self._begun[0][1].drop_before(horizon) and not self._begun[0][1]:
            del self._begun[0]

    def clear(self) -> None:
        """Drop everything."""
        self._begun, self._now = [], []

    def first(self, last: Hit) -> Hit | None:
        """Return the earliest hit from which the steps follow each other to `last`, the newest; None if there is none.

        At its time, chains are built backwards: `ways[place]` are the ways to build the steps from this place on.
        """
        ways: list[_Ways] = [set() for _ in self._steps]
        first: Hit | None = None
        for hit in reversed(self._now):
            for place, unwanted in enumerate(self._between):
                if hit.step in unwanted:
                    ways[place + 1].clear()  # later steps cannot follow an earlier step across this hit
            if hit is last:
                ways[-1].add(frozenset({hit.key}))
            elif hit.step in self._steps[:-1]:
                place = self._steps.index(hit.step)
                if _add_ways(ways[place], ways[place + 1], hit) and place == 0:
                    first = hit
        wanted = _bits(ways[1:])
        return next((hits.first for places, hits in self._begun if places & wanted), first)

    def _finish_time(self) -> None:
        """Continue what had begun with the hits of one time, and begin with them: later hits are of other records."""
        begun, self._begun = self._begun, []
        ends = (self._steps[0], self._steps[-1])
        between = [hit for hit in self._now if hit.step not in ends]  # after those that begin
        for places, hits in begun:
            ways: list[_Ways] = [{frozenset()} if places >> place & 1 else set() for place in range(len(self._between))]
            self._begin(self._continued(ways, between), hits)
        for hit in self._now:
            if hit.step == self._steps[0]:
                ways = [{frozenset({hit.key})}, *(set() for _ in self._between[1:])]
                self._begin(self._continued(ways, between), HitWindow([hit]))
        self._now = []

    def _continued(self, ways: list[_Ways], hits: Sequence[Hit]) -> int:
        """Return up to which places a chain goes after the hits of one time. `ways` are the ways to get to each place."""
        for hit in hits:
            for place, unwanted in enumerate(self._between):
                if hit.step in unwanted:
                    ways[place].clear()
            if hit.step in self._steps[1:-1]:
                place = self._steps.index(hit.step)
                _add_ways(ways[place], ways[place - 1], hit)
            if not any(ways):
                break
        return _bits(ways)

    def _begin(self, places: int, hits: HitWindow) -> None:
        """Note hits that begin chains up to some places, unless all of them were ended."""
        if self._begun and self._begun[-1][0] == places:
            for hit in hits:
                self._begun[-1][1].append(hit)
        elif places:
            self._begun.append((places, hits))


def _add_ways(ways: _Ways, others: _Ways, hit: Hit) -> bool:
    """Add the ways that a hit makes of others, and return whether it makes any."""
    new = [way | {hit.key} for way in others if hit.key not in way]
    ways.update(new[: max(_MAX_WAYS - len(ways), 0)])
    return bool(new)


def _bits(ways: Sequence[_Ways]) -> int:
    """Return a number with a bit for each place that there is a way to."""
    return sum(1 << place for place, each in enumerate(ways) if each)
