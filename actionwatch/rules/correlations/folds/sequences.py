"""The fold for `temporal` and `temporal_ordered`: several rules in one window, in any order or in theirs, with exclusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_list import HitList, UnpackedHits
from actionwatch.rules.correlations.folds.saved import HitReader, HitWriter, SavedFold, SavedPending
from actionwatch.rules.model import Correlation, CorrelationType, Hit, Pattern

_MAX_WAYS = 32  # ways to use the records of one time, per step; beyond it only bursts at one time are less exact


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

    `_recent` are the hits within reach that can matter. Those that are taken by an alert count for no other, but still
    exclude patterns. `_hopeless` are the patterns, by place, that no hit completes as the window is. `_waiting` is the alert
    of the pattern that is due first, if it was asked for: it grows with each hit.
    """

    def __init__(self, rule: Correlation) -> None:
        super().__init__(rule)
        self._is_ordered = rule.type is CorrelationType.TEMPORAL_ORDERED
        self._wanted = frozenset(step for pattern in rule.patterns for step in pattern.wanted)
        self._beginning = frozenset(step for pattern in rule.patterns for step in (pattern.wanted[0], *pattern.leading))
        self._excluding = frozenset(
            step for pattern in rule.patterns for step in (pattern.leading if self._is_ordered else pattern.unwanted)
        )
        self._recent = UnpackedHits()
        self._hopeless: set[int] = set()
        self._fresh: Counter[int] = Counter()  # by step: the recent hits that are not taken
        self._pending: dict[int, _Pending] = {}
        self._waiting: tuple[_Pending, FoundAlert] | None = None

    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next hit; with `is_quiet` it fires nothing."""
        self._recent.unpack()
        self._expire(hit.at)
        if self._is_taken(hit.at):
            if hit.step in self._wanted:
                self.found[-1].hits.append(hit)
            self._recent.append(hit)
            return
        self._drop_old(hit.at - self._rule.timespan)
        self._recent.append(hit)
        if self._waiting is not None and hit.step in self._wanted:
            self._waiting[1].hits.append(hit)
        self._fresh[hit.step] += 1
        self._reconsider(hit)
        self._block(hit)
        if not is_quiet:
            self._complete(hit)

    def restore(self, found: FoundAlert) -> None:
        """Continue from a known alert; the window after it starts empty."""
        super().restore(found)
        self._waiting = None
        self._hopeless.clear()
        self._pending.clear()
        self._fresh.clear()

    def alerts(self, start: int = 0) -> list[FoundAlert]:
        """Return the alerts in order, from an index. The last one can be pending until its time is verified."""
        found = super().alerts(start)
        return [*found, self._first_waiting()] if self._pending else found

    def copy(self) -> Self:
        """Return an independent copy of the state."""
        other = super().copy()
        other._recent, other._fresh, other._pending = self._recent.copy(), Counter(self._fresh), dict(self._pending)
        other._waiting, other._hopeless = None, set(self._hopeless)
        return other

    def save(self, writer: HitWriter) -> SavedFold:
        """Return the state as it is saved."""
        saved = super().save(writer)
        saved.windows, saved.fresh = [writer.hit_list(self._recent)], dict(self._fresh)
        saved.pending = {
            place: SavedPending(writer.number(each.first), writer.number(each.completing), each.due, each.is_firm)
            for place, each in self._pending.items()
        }
        return saved

    def load(self, saved: SavedFold, reader: HitReader) -> None:
        """Continue from what was saved."""
        super().load(saved, reader)
        (recent,) = saved.windows
        self._recent, self._fresh = UnpackedHits.of_packed(reader.packed(recent)), Counter(saved.fresh)
        self._pending = {
            place: _Pending(reader.hit(each.first), reader.hit(each.completing), each.due, each.is_firm)
            for place, each in saved.pending.items()
        }

    # -- the window ----------------------------------------------------------------------------------------------------

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
            dropped += recent.take_first(next(begins, len(recent)))
        if self._hopeless and any(hit.step in self._excluding for hit in dropped):
            self._hopeless.clear()
        for hit in dropped:
            if not self._is_taken(hit.at):
                self._fresh[hit.step] -= 1

    def _reconsider(self, hit: Hit) -> None:
        """Consider ordered patterns again of which an earlier step came. A set becomes possible only when a hit leaves."""
        if self._hopeless and self._is_ordered:
            self._hopeless = {
                place for place in self._hopeless if hit.step not in self._rule.patterns[place].wanted[:-1]
            }

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
            if (pending is not None and pending.is_firm) or hit.step not in pattern.wanted or place in self._hopeless:
                continue
            if any(self._fresh[step] <= 0 for step in pattern.wanted):
                continue
            first = self._first_of_chain(pattern, hit) if self._is_ordered else self._first_of_set(pattern)
            if first is None and self._is_hopeless(pattern, hit):
                self._hopeless.add(place)
            if first is None or (pending is not None and pending.first.order <= first.order):
                continue
            if pattern.trailing if self._is_ordered else pattern.unwanted:
                is_firm = not self._is_ordered or self._is_earliest(pattern, first)
                self._pending[place] = _Pending(first, hit, first.at + self._rule.timespan, is_firm)
            else:
                ready.append(_Pending(first, hit, hit.at))
        if ready:
            found = self._make(min(ready, key=lambda each: each.first.order))
            found.judged_at = None
            self.restore(found)

    def _make(self, pending: _Pending) -> FoundAlert:
        """Make the alert from every hit since the first step, which is still in reach when the alert fires."""
        first = pending.first
        hits = HitList(hit for hit in self._recent if hit.order >= first.order and hit.step in self._wanted)
        until = pending.due + self._rule.realert
        return FoundAlert(first.key, first.at, pending.due, until, hits, pending.due, firing=pending.completing)

    # -- the patterns --------------------------------------------------------------------------------------------------

    def _first_of_set(self, pattern: Pattern) -> Hit | None:
        """Return the first hit of a complete set in any order; None if an unwanted hit is in reach."""
        if any(hit.step in pattern.unwanted for hit in self._recent):
            return None
        return next(hit for hit in self._recent if not self._is_taken(hit.at) and hit.step in pattern.wanted)

    def _first_of_chain(self, pattern: Pattern, last: Hit) -> Hit | None:
        """Return the earliest hit from which the steps follow each other to `last`; None if there is none."""
        if last.step != pattern.wanted[-1]:
            return None
        chain = _Chain(pattern)
        first: Hit | None = None
        for hit in reversed(self._recent):
            if chain.take_earlier(hit, last, is_taken=self._is_taken(hit.at)):
                first = hit
        if first is not None and pattern.leading:
            before = (hit for hit in self._recent if hit.order < first.order)
            if any(hit.step in pattern.leading for hit in before):
                return None
        return first

    def _is_hopeless(self, pattern: Pattern, hit: Hit) -> bool:
        """Return whether no later hit completes a pattern either, unless an earlier step comes or an unwanted hit leaves.

        A record that is an earlier step too, at this time, cannot complete a chain that the next one can.
        """
        if not self._is_ordered:
            return True
        is_alone = len(self._recent) < 2 or self._recent[-2].at < hit.at
        return is_alone and hit.step == pattern.wanted[-1]

    def _is_earliest(self, pattern: Pattern, first: Hit) -> bool:
        """Check whether no hit at the same time precedes the first: such a hit can begin the pattern later."""
        return not any(
            hit.step == pattern.wanted[0] and hit.at == first.at and hit.order < first.order
            for hit in self._recent
            if not self._is_taken(hit.at)
        )


class _Chain:
    """Builds chains backwards from the completing hit.

    `_ways[place]` contains the ways to build the steps from this index on: the sets of records that they use at the current
    time, because one record cannot be two steps.
    """

    def __init__(self, pattern: Pattern) -> None:
        self._steps = pattern.wanted
        self._unwanted = [pattern.between(place) for place in range(len(pattern.wanted) - 1)]
        self._ways: list[set[frozenset[str]]] = [set() for _ in pattern.wanted]
        self._at: datetime | None = None

    def take_earlier(self, hit: Hit, last: Hit, *, is_taken: bool) -> bool:
        """Take the next earlier hit, and return whether a complete chain begins with it."""
        if hit.at != self._at:
            self._at = hit.at
            self._ways = [{frozenset()} if ways else set() for ways in self._ways]
        for place, unwanted in enumerate(self._unwanted):
            if hit.step in unwanted:
                self._ways[place + 1].clear()  # later steps cannot follow an earlier step across this hit
        if is_taken or hit.step not in self._steps:
            return False
        place = self._steps.index(hit.step)
        if place == len(self._steps) - 1:
            ways: Iterable[frozenset[str]] = [frozenset({hit.key})] if hit is last else []
        else:
            ways = [way | {hit.key} for way in self._ways[place + 1] if hit.key not in way]
        new = list(ways)
        room = _MAX_WAYS - len(self._ways[place])
        self._ways[place].update(new[: max(room, 0)])
        return place == 0 and bool(new)
