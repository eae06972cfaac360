"""Several groups that share one alert: whose alert leads, and which others join it. Pure.

Each group of a correlation is folded separately. If `alert.group_by` names fewer fields than `group-by`, an alert that fires in
one group within `realert` of the firing of a leading alert joins that alert. A missing group joins while another is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter

from actionwatch.base.model import CorrelatedAlert
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import NEVER, Correlation


class Sharing:
    """The order of the alerts of all groups that share one: each follows the leader that fired before it.

    A run is a leading alert and those that join it. Alerts that are not judged yet are included: whether they count decides who
    leads those that fired later, which are held until then.
    """

    def __init__(self, rule: Correlation, alerts: Iterable[CorrelatedAlert], verified: datetime | None) -> None:
        """`alerts`: those of a run's leader and of all that fire after it."""
        self._rule = rule
        self._verified = verified
        self._ordered = sorted((each for each in alerts if self._counts(each)), key=attrgetter("firing_order"))
        self._runs: dict[str, list[CorrelatedAlert]] = {}
        self._first_unjudged = next((each.firing_order for each in self._ordered if not each.is_judged), None)
        self._decide_leaders()

    def is_held(self, found: FoundAlert) -> bool:
        """Return whether an alert that fired before it is still to be judged."""
        return self._first_unjudged is not None and self._first_unjudged < found.firing_order

    def is_verified(self, at: datetime) -> bool:
        """Return whether all that was missing at a time is known."""
        return self._verified is not None and self._verified >= at

    def shared_with(self, known: CorrelatedAlert) -> CorrelatedAlert | None:
        """Return the alert that this one is reported as: its leader, or one that it leads if people know that already."""
        run = self._runs.get(known.leader or "")
        if run is None:
            return None
        if known.leader != known.id:
            return run[0]
        return next((each for each in run if each is not known and each.is_reported), None)

    def end_of(self, known: CorrelatedAlert) -> tuple[datetime, list[CorrelatedAlert]] | None:
        """Return when the last missing group came back, and what was missing until then; None while something is."""
        run = self._runs.get(known.leader or "", [])
        end = max(map(self._until, run), default=NEVER)
        return None if end == NEVER else (end, run)

    def is_open(self, alert_id: str) -> bool:
        """Return whether anything is still missing in an alert that people see."""
        return any(each.is_open and each.alert_id == alert_id for each in self._ordered)

    def _counts(self, known: CorrelatedAlert) -> bool:
        return known.is_current and not known.is_quiet and (known.is_judged or not self._rule.is_absence)

    def _until(self, known: CorrelatedAlert) -> datetime:
        if self._rule.is_absence:
            return known.back_at if known.back_at is not None and self.is_verified(known.back_at) else NEVER
        return known.fired_at + self._rule.realert

    def _decide_leaders(self) -> None:
        leader, end = "", NEVER
        for each in self._ordered:
            until = self._until(each)
            joins = bool(leader) and (each.fired_at < end if self._rule.is_absence else each.fired_at <= end)
            if not joins:
                leader, end = each.id, until
            elif self._rule.is_absence:
                end = max(end, until)
            each.leader = leader
            self._runs.setdefault(leader, []).append(each)
