"""What does not change about a rule while it runs: from when on its stream is known, and which of its alerts may open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from actionwatch.base.model import CorrelatedAlert
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.live.order import needs, waiting
from actionwatch.rules.correlations.live.saved import RuleIdentity
from actionwatch.rules.model import NEVER, Correlation


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBounds:
    """From when on the stream of records is known.

    `begin` returns, for a rule, from when on the stream is known completely; `since`, from when on the rule is given records at
    first (None: all there are). What came before `settled_before` was judged before a restart. A record may alert if its id is
    above its rule's `floors` and it is no backlog; what is missing may alert once verified time has reached `alerts_from`.
    """

    begin: Callable[[Correlation], datetime | None]
    since: Callable[[Correlation], datetime | None] = lambda _: None
    floors: Callable[[Correlation], int] = lambda _: -1
    alerts_from: datetime | None = None
    settled_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveContext:
    """A rule, and what does not change about it while it runs.

    It is given the hits from `since` on; all that matter are known from `complete_from` on (None: always). Those before
    `settled_before` were judged before a restart. A record may alert if its id is above `record_floor` and it is no backlog;
    what is missing may alert once `alerts_from` is verified.
    """

    rule: Correlation
    begin: datetime | None
    since: datetime | None
    complete_from: datetime | None
    record_floor: int
    alerts_from: datetime | None
    is_direct: bool
    """Whether its hits come in order when restored: it counts only records, no alerts of other rules."""
    above: tuple[str, ...]
    """The ids of the rules that count its alerts."""
    settled_before: datetime | None
    is_thinned: bool
    """Whether hits that change nothing are dropped. Those that can be removed, or are kept to be explained, are not."""
    is_waiting: bool
    """Whether its hits may come out of order even if records do not: alerts that feed it may wait for verified time."""

    @property
    def is_final(self) -> bool:
        """Whether its alerts matter to nothing else: no rule counts them, and no two groups share one."""
        return not self.above and not self.rule.is_merging

    @property
    def identity(self) -> RuleIdentity:
        """What a saved state must have in common with the rule to belong to it."""
        rule = self.rule
        return RuleIdentity(
            rule.name.id,
            rule.version,
            self.record_floor,
            self.begin,
            rule.realert,
            rule.alert.group_by,
            rule.is_silent,
            self.above,
            tuple(step.rule_id for step in rule.steps),
        )

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
        if self.rule.is_absence:
            is_over = verified is not None and found.resolved_at is not None and found.resolved_at <= verified
            if found.resolved_by is None or not is_over:
                return self.alerts_from is None or (verified is not None and verified >= self.alerts_from)
            return found.resolved_by.may_alert(self.record_floor)
        return found.hits.may_alert(self.record_floor)

    def is_over(self, found: FoundAlert, known: CorrelatedAlert) -> bool:
        """Return whether nothing changes about an alert that is not the newest of its group, and was judged."""
        if not known.is_current or known.is_open:
            return False
        if known.is_reported:
            return all(record.key in known.keys for hit in found.hits for record in hit.records)
        return not self.may_open(found, NEVER)


def contexts_of(
    rules: Sequence[Correlation], bounds: StreamBounds, *, is_thinned: bool = False
) -> Iterator[LiveContext]:
    """Return what does not change about each rule; `rules` are in feeding order.

    `is_thinned`: rules that count only records drop the hits that change nothing.
    """
    needed, waits = needs(rules), waiting(rules)
    correlated = {rule.name.id for rule in rules}
    above: dict[str, set[str]] = {}
    for rule in rules:
        for step in rule.steps:
            above.setdefault(step.rule_id, set()).add(rule.name.id)
    for rule in rules:
        since, inner = bounds.since(rule), [step.rule_id for step in rule.steps if step.rule_id in correlated]
        yield LiveContext(
            rule=rule,
            begin=bounds.begin(rule),
            since=since,
            complete_from=None if since is None else since + needed[rule.name.id],
            record_floor=bounds.floors(rule),
            alerts_from=bounds.alerts_from,
            is_direct=not inner,
            above=tuple(sorted(above.get(rule.name.id, ()))),
            settled_before=bounds.settled_before,
            is_thinned=not inner and is_thinned,
            is_waiting=not waits.isdisjoint(inner),
        )
