"""An alert that a fold finds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from actionwatch.base.model import Hit, HitOrder, KeptRecord, firing_place
from actionwatch.rules.correlations.folds.hit_window import HitWindow


@dataclass(slots=True)
class FoundAlert:
    """An alert that a fold finds. It grows while it is open, until `until` (inclusive).

    `judged_at` is the verified time from which the alert counts; None: at once. `origin` is the key from which its id is made.
    `last_seen` is, for an absence, the newest match before it.
    """

    origin: str
    first_at: datetime
    fired_at: datetime
    until: datetime
    hits: HitWindow
    judged_at: datetime | None = None
    resolved_at: datetime | None = None
    resolved_by: Hit | None = None
    last_seen: KeptRecord | None = None
    firing: Hit | None = None
    """The hit that completed it; None for an absence, and if a fold continues from it."""
    has_waited: bool = False
    """Whether it fires only after a time in which something else did not happen."""
    is_quiet: bool = False
    """The alert fired while its rule was still learning: it is remembered but not sent."""
    is_partial: bool = False
    """Whether `hits` lacks older ones: those that were in it when a fold continued from it, or that are reported."""
    id: str = ""

    @property
    def place(self) -> HitOrder:
        """Where it fires among the hits of its group."""
        firing = None if self.firing is None else self.firing.order
        return firing_place(self.fired_at, firing, has_waited=self.has_waited)

    def is_judged(self, verified: datetime | None) -> bool:
        """Check whether enough time is verified to notify people."""
        return self.judged_at is None or (verified is not None and verified >= self.judged_at)

    def may_alert(self, record_floor: int) -> bool:
        """Return whether any of its hits may alert, the newest first: see `Hit`."""
        return any(self.hits[place].may_alert(record_floor) for place in reversed(range(len(self.hits))))
