"""The folds of the groups that were used last, so that the next hit of a group, in order, reads nothing. An optimisation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from actionwatch.base.model import CorrelatedAlert, Group, HitOrder
from actionwatch.rules.correlations.folds.fold import Fold

MOST = 60_000  # hits, with those that the rest of a fold takes as much as: about 18 MB
_OF_FOLD = 6
_OF_WINDOW = 60  # one hit in so many, so 1,000: to read as many again costs little


@dataclass(slots=True)
class CachedFold:
    """A fold that has taken all hits of its group; `newest` is the place of the last.

    `known` are its alerts, by id; `whole` are the ids of those of which it has all hits.
    """

    fold: Fold
    newest: HitOrder
    known: dict[str, CorrelatedAlert]
    whole: frozenset[str]

    def size(self) -> int:
        """Return how much it takes, in hits."""
        return self.fold.size + _OF_FOLD * (1 + len(self.known))


class FoldCache:
    """Folds by rule and group. Whoever uses them clears it if what they were used for does not last."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.most_of_window = most // _OF_WINDOW
        """How many hits a window that is counted may hold; if it has more, an alert reads them again."""
        self._folds: OrderedDict[tuple[int, Group], tuple[CachedFold, int]] = OrderedDict()
        self._size = 0

    def take_fold(self, number: int, group: Group) -> CachedFold | None:
        """Return the fold of a group, and forget it: it is put back when it has changed."""
        found = self._folds.pop((number, group), None)
        if found is None:
            return None
        self._size -= found[1]
        return found[0]

    def put(self, number: int, group: Group, cached: CachedFold) -> None:
        """Remember a fold. Forget those that were not used for the longest time if there is no room."""
        self.take_fold(number, group)
        size = cached.size()
        if size > self._most:
            return
        self._folds[number, group] = cached, size
        self._size += size
        while self._size > self._most:
            _, (_, freed) = self._folds.popitem(last=False)
            self._size -= freed

    def drop(self, number: int, groups: Iterable[Group]) -> None:
        """Forget the folds of groups that get hits which these do not take."""
        for group in groups:
            self.take_fold(number, group)

    def clear(self) -> None:
        """Forget all."""
        self._folds.clear()
        self._size = 0
