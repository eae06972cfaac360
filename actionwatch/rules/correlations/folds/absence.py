"""The folds for absence (no match within the timespan) and for `new_term`."""

from __future__ import annotations

from datetime import datetime

from actionwatch.base.model import Hit
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.model import BASELINE, NEVER, Correlation


class Absence(Fold):
    """One expected group. Its alert is due at the last match + timespan; the next match resolves it, and it is `found`."""

    def __init__(self, rule: Correlation, begin: datetime | None) -> None:
        super().__init__(rule)
        self._due = NEVER if begin is None else begin + rule.timespan
        self._last_key = ""
        self._last: Hit | None = None

    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next match."""
        if hit.at > self._due and not is_quiet:
            found = self._missing()
            found.resolved_at, found.resolved_by = hit.at, hit
            self.found.append(found)
        self._last, self._last_key = hit, hit.key
        self._due = hit.at + self._rule.timespan

    def restore(self, found: FoundAlert) -> None:
        """Continue from a known alert, which also determines the last match before it."""
        self._last_key, self._due = found.origin, found.first_at

    def alerts(self) -> list[FoundAlert]:
        """Return the alerts in order. The last one counts when its time is verified."""
        return self.found[:] if self._due == NEVER else [*self.found, self._missing()]

    def _missing(self) -> FoundAlert:
        last = self._last.records[-1] if self._last is not None and self._last.records else None
        return FoundAlert(self._last_key, self._due, self._due, NEVER, HitWindow(), self._due, last_seen=last)


class NewTerm(Fold):
    """One term. A hit fires if nothing made the term known within `history` before it."""

    def __init__(self, rule: Correlation, begin: datetime | None) -> None:
        super().__init__(rule)
        self._begin = begin
        self._known_from = NEVER if begin is None else begin + rule.history
        self._seen_at: datetime | None = None

    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next hit or, as step 1, the next record that makes the term known."""
        if hit.step == BASELINE:
            self._seen_at = hit.at if self._seen_at is None else max(self._seen_at, hit.at)
            return
        is_known = self._seen_at is not None and self._seen_at >= hit.at - self._rule.history
        if is_known or is_quiet:
            return
        self._seen_at = hit.at  # a hit makes the term known, even if it is only learned
        is_early = self._rule.is_early(hit.at, self._begin)
        judged_at = self._known_from if self._rule.is_learning and not is_early else None
        hits = HitWindow([hit])
        self.found.append(FoundAlert(hit.key, hit.at, hit.at, hit.at, hits, judged_at, firing=hit, is_quiet=is_early))

    def restore(self, found: FoundAlert) -> None:
        """Continue from a known alert."""
        self._seen_at = found.first_at
        super().restore(found)
