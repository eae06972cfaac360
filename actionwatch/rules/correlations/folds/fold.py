"""The common part of all folds. A fold turns the ordered hits of a group into alerts; it alone defines a correlation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from datetime import datetime

from actionwatch.base.model import Hit
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import Correlation


class Fold(ABC):
    """The state of one group. It takes hits in order and returns their alerts, as if all time were verified.

    `found` are the alerts that have fired, in order; the last one can still grow.
    """

    def __init__(self, rule: Correlation) -> None:
        self.found: list[FoundAlert] = []
        self._rule = rule

    @abstractmethod
    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next hit; with `is_quiet` it fires nothing."""

    @property
    def size(self) -> int:
        """How many hits it holds, roughly."""
        return sum(len(found.hits) for found in self.found)

    def restore(self, found: FoundAlert) -> None:
        """Continue from a known alert. The one before it is final."""
        self.found.append(found)

    def forget_hits(self, alerts: Collection[str], _: int) -> None:
        """Forget the hits of some alerts, by id: they are reported, and only rows need them.

        Also those of a window with more than a number, if only alerts need them: one that fires later is partial.
        """
        for found in self.found:
            if found.id in alerts:
                found.hits.clear()
                found.is_partial = True

    def alerts(self) -> list[FoundAlert]:
        """Return the alerts in order, including those that wait for verified time."""
        return self.found[:]

    def _is_taken(self, at: datetime) -> bool:
        """Return whether the hits of a time belong to the newest alert, or to those before it."""
        return bool(self.found) and at <= self.found[-1].until
