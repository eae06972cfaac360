"""What all folds share. A fold turns the ordered hits of a group into its alerts; it alone defines what a correlation means."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from datetime import datetime
from typing import Self

from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.saved import HitReader, HitWriter, SavedFold
from actionwatch.rules.model import Correlation, Hit


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

    def restore(self, found: FoundAlert) -> None:
        """Continue from a known alert. The one before it is final."""
        if self.found:
            self.found[-1].hits.pack_all()
        self.found.append(found)

    def alerts(self, start: int = 0) -> list[FoundAlert]:
        """Return the alerts in order, from an index, including those that wait for verified time."""
        return self.found[start:]

    def is_redundant(self, _before: Hit, _hit: Hit, _after: Hit | None) -> bool:
        """Return whether a hit between two others changes nothing, whatever else comes. None follows the newest hit."""
        return False

    def copy(self) -> Self:
        """Return an independent copy of the state. Subclasses copy their own containers."""
        other = copy.copy(self)
        other.found = [*self.found[:-1], *(newest.copy() for newest in self.found[-1:])]
        return other

    def save(self, writer: HitWriter) -> SavedFold:
        """Return the state as it is saved. Subclasses add what they have."""
        return SavedFold([writer.alert(found) for found in self.found])

    def load(self, saved: SavedFold, reader: HitReader) -> None:
        """Continue a new fold from what was saved.

        Raises: DoesNotFit, if the store no longer has a record that it needs.
        """
        self.found = [reader.alert(found) for found in saved.found]

    def _is_taken(self, at: datetime) -> bool:
        """Return whether the hits of a time belong to the newest alert, or to those before it."""
        return bool(self.found) and at <= self.found[-1].until
