"""What a fold finds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from actionwatch.rules.correlations.folds.hit_list import HitList
from actionwatch.rules.model import Hit, KeptRecord

FiringOrder = tuple[datetime, bool, str, str]


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
    hits: HitList
    judged_at: datetime | None = None
    resolved_at: datetime | None = None
    resolved_by: Hit | None = None
    last_seen: KeptRecord | None = None
    firing: Hit | None = None
    is_quiet: bool = False
    """The alert fired while its rule was still learning: it is remembered but not sent."""
    id: str = ""

    @property
    def firing_order(self) -> FiringOrder:
        """The sort key of firing: at one instant, what a record fired comes before what waited for that instant."""
        firing = self.firing
        if firing is not None and firing.at == self.fired_at:
            return self.fired_at, False, firing.key, self.id
        return self.fired_at, True, self.origin, self.id

    def is_judged(self, verified: datetime | None) -> bool:
        """Check whether enough time is verified to notify people."""
        return self.judged_at is None or (verified is not None and verified >= self.judged_at)

    def copy(self) -> FoundAlert:
        """Return a copy that grows independently."""
        return replace(self, hits=self.hits.copy())
