"""What does not change about a rule while it runs: from when on its stream is known, and which of its alerts may open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from actionwatch.base.model import CorrelatedAlert, Record
from actionwatch.rules.correlations.live.order import needs, waiting
from actionwatch.rules.model import Correlation, FoundAlert


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBounds:
    """From when on the stream of records is known.

    `begin` returns, for a rule, from when on the stream is known completely; `since`, from when on the rule is given records at
    first (None: all there are). A record may alert if its id is above its rule's `floors` and it is no backlog; what is missing
    may alert once verified time has reached `alerts_from`.
    """

    begin: Callable[[Correlation], datetime | None]
    since: Callable[[Correlation], datetime | None] = lambda _: None
    floors: Callable[[Correlation], int] = lambda _: -1
    alerts_from: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleContext:
    """A rule, and what does not change about it while it runs.

    It is given the hits from `since` on; all that matter are known from `complete_from` on (None: always). A record may alert
    if its id is above `record_floor` and it is no backlog; what is missing may alert once `alerts_from` is verified.
    """

    rule: Correlation
    begin: datetime | None
    since: datetime | None
    complete_from: datetime | None
    record_floor: int
    alerts_from: datetime | None
    is_direct: bool
    """Whether its hits come in order when restored: it counts only records, no alerts of other rules."""
    is_waiting: bool
    """Whether its hits may come out of order even if records do not: alerts that feed it may wait for verified time."""

    def is_early(self, known: CorrelatedAlert) -> bool:
        """Return whether an alert fired while the rule was still learning."""
        return self.rule.is_early(known.fired_at, self.begin)

    def began_before(self, known: CorrelatedAlert) -> bool:
        """Return whether an alert began before all hits are known."""
        return self.complete_from is not None and known.first_at < self.complete_from

    def may_open(self, found: FoundAlert, verified: datetime | None) -> bool:
        """Return whether an alert may open: at least one of its records is no backlog and newer than the rule."""
        if self.rule.is_silent or found.is_quiet:
            return False
        hits = found.hits
        if self.rule.is_absence:
            is_over = verified is not None and found.resolved_at is not None and found.resolved_at <= verified
            if found.resolved_by is None or not is_over:
                return self.alerts_from is None or (verified is not None and verified >= self.alerts_from)
            hits = [found.resolved_by]
        return any(not hit.records or any(map(self._is_new, hit.records)) for hit in hits)

    def _is_new(self, record: Record) -> bool:
        return not record.is_backlog and record.id > self.record_floor


def contexts_of(rules: Sequence[Correlation], bounds: StreamBounds) -> Iterator[RuleContext]:
    """Return what does not change about each rule; `rules` are in feeding order."""
    needed, waits = needs(rules), waiting(rules)
    correlated = {rule.name.id for rule in rules}
    for rule in rules:
        since, inner = bounds.since(rule), [step.rule_id for step in rule.steps if step.rule_id in correlated]
        yield RuleContext(
            rule=rule,
            begin=bounds.begin(rule),
            since=since,
            complete_from=None if since is None else since + needed[rule.name.id],
            record_floor=bounds.floors(rule),
            alerts_from=bounds.alerts_from,
            is_direct=not inner,
            is_waiting=not waits.isdisjoint(inner),
        )
