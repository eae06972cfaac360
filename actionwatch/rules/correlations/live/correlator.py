"""Correlate live records: hits in any order decide which alerts open, are joined, or resolve.

Each group keeps the state of its fold. A hit in order is pushed into it. After a hit out of order the group is folded again,
and the result is compared with the known alerts: late records, any batching and a rebuild from the store take the same path.
An alert is a hit of the rules above it; when it changes, so does that hit, and their groups are folded again in turn.
Pure: the caller passes in what the store knows, and stores the changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actionwatch.base.model import AlertChange, CorrelatedAlert, Mode, Record
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.live.changes import Change, Evaluation, StreamBounds, compare, turned_by
from actionwatch.rules.correlations.live.description import alert_change
from actionwatch.rules.correlations.live.feed import Feed
from actionwatch.rules.correlations.live.merging import GroupMerger
from actionwatch.rules.correlations.live.order import in_feeding_order, needs, waiting
from actionwatch.rules.correlations.live.restart import finish_restore, restore_alert, restore_groups, restore_hit
from actionwatch.rules.correlations.live.rule_state import GroupState, RuleState
from actionwatch.rules.engine import MAX_FAILURES, Failure
from actionwatch.rules.model import Correlation, Found, Group, Hit, Rule

MAX_GROUPS = 100_000  # per rule; beyond it the least recently used is dropped
MAX_KEPT = 200_000  # hits kept to fold again, over all rules; beyond it groups keep only what their state needs


@dataclass(frozen=True, slots=True)
class _Limits:
    """Up to when time is verified, what is older than hits are kept (`cutoff`), and whether there is no room for more hits."""

    verified: datetime | None
    cutoff: datetime | None
    is_full: bool


class Correlator:
    """All correlations over one stream of records."""

    def __init__(
        self,
        rules: Sequence[Rule],
        bounds: StreamBounds,
        *,
        keep: timedelta | None = None,
        max_groups: int = MAX_GROUPS,
    ) -> None:
        """`keep`: for how long hits are kept to fold them again when one comes late (None: for ever)."""
        running = [rule for rule in rules if rule.correlation is not None and rule.mode is not Mode.OFF]
        self.rules = in_feeding_order([rule.correlation for rule in running if rule.correlation is not None])
        self._feed = Feed(rules, self.rules)
        self._keep = keep
        self._too_late = False
        self._failures: deque[Failure] = deque(maxlen=MAX_FAILURES)
        self._unjudged_from: datetime | None = None
        self._rules = _rule_states(self.rules, bounds, max_groups)

    @property
    def too_late(self) -> datetime | None:
        """The time from which the caller must rebuild the state, where a hit came too late for the hits that are kept.

        It is the time of the oldest hit that is not judged yet: a state that begins later would count that hit as judged.
        """
        return self._unjudged_from if self._too_late else None

    @property
    def evicted(self) -> int:
        """How many groups were dropped because there was no room."""
        return sum(rule_state.evicted for rule_state in self._rules)

    def restore(self, known: Iterable[CorrelatedAlert], records: Iterable[Record]) -> None:
        """Rebuild the state from the alerts that the store holds, and from the records that any rule needs, by time.

        Each record is read once for all rules. Records before what a rule needs are left out, and hits that were judged long
        ago are folded at once: memory is bounded, however many records a rule learns from.
        """
        by_id = {each.rule.name.id: each for each in self._rules}
        for each in known:
            if (rule_state := by_id.get(each.rule_id)) is not None:
                restore_alert(rule_state, each)
        for rule_state in self._rules:
            restore_groups(rule_state)
        for number, group, hit in self._feed.hits(records):
            restore_hit(self._rules[number], group, hit)
        for rule_state in self._rules:
            finish_restore(rule_state)
            for number, group, hit in self._published(rule_state):
                restore_hit(self._rules[number], group, hit)

    def take(self, records: Iterable[Record]) -> None:
        """Take further records, in any order."""
        for number, group, hit in self._feed.hits(records):
            self._insert(number, group, hit)

    def changes(self, verified: datetime | None) -> list[AlertChange]:
        """Return what becomes of alerts as of a verified time. Cheap where nothing is due and nothing came."""
        changes: list[Change] = []
        self._unjudged_from = None
        limits = _Limits(verified, self._cutoff(verified), self.count_hits() > MAX_KEPT)
        for rule_state in self._rules:
            if not rule_state.is_due(verified):
                continue
            groups = rule_state.take_due(verified)
            if rule_state.rule.is_merging:
                changes.extend(self._judge_merged(rule_state, groups, limits))
            else:
                for group in groups:
                    changes.extend(self._judge(rule_state, [rule_state.states[group]], limits))
            if limits.cutoff is not None:
                rule_state.drop_idle(limits.cutoff)
        return [alert_change(change, self._failures.append) for change in changes]

    def is_due(self, verified: datetime | None) -> bool:
        """Return whether `changes` has anything to look at."""
        return any(rule_state.is_due(verified) for rule_state in self._rules)

    def hits_of(self, rule_id: str, record: Record) -> Iterator[tuple[Group, Fold, list[Hit], list[Hit]]]:
        """Return the groups of a rule that a record has hits in: the fold they begin with, the hits before, and its own."""
        for rule_state in self._rules:
            for group, state in rule_state.states.items() if rule_state.rule.name.id == rule_id else ():
                own = [hit for hit in state.hits if any(_is_same(each, record) for each in hit.records)]
                if own:
                    yield group, state.base.copy(), [hit for hit in state.hits if hit.order < own[0].order], own

    def take_failures(self) -> list[Failure]:
        """Return what went wrong with rules since the last call."""
        taken = [*self._feed.take_failures(), *self._failures]
        self._failures.clear()
        return taken

    def count_groups(self) -> int:
        """Count the groups held."""
        return sum(len(rule_state.states) for rule_state in self._rules)

    def count_hits(self) -> int:
        """Count the hits kept to be folded again."""
        return sum(rule_state.kept for rule_state in self._rules)

    # -- hits ----------------------------------------------------------------------------------------------------------

    def _insert(self, number: int, group: Group, hit: Hit) -> None:
        self._note(hit, is_in_time=self._rules[number].insert(group, hit))

    def _remove(self, number: int, group: Group, hit: Hit) -> None:
        self._note(hit, is_in_time=self._rules[number].remove(group, hit))

    def _note(self, hit: Hit, *, is_in_time: bool) -> None:
        self._unjudged_from = hit.at if self._unjudged_from is None else min(self._unjudged_from, hit.at)
        self._too_late = self._too_late or not is_in_time

    def _cutoff(self, verified: datetime | None) -> datetime | None:
        """Return before when hits are old. Verified time counts too: the newest record means little while a backlog is read."""
        newest = max((rule_state.newest for rule_state in self._rules if rule_state.newest is not None), default=None)
        if self._keep is None or newest is None or verified is None:
            return None
        return min(newest, verified) - self._keep

    # -- judging -------------------------------------------------------------------------------------------------------

    def _judge_merged(self, rule_state: RuleState, dirty: Sequence[Group], limits: _Limits) -> list[Change]:
        """Judge groups. Those that share an alert are judged together, with the groups that wait there."""
        changes: list[Change] = []
        together: dict[Group, dict[Group, None]] = {}
        for group in dirty:
            together.setdefault(rule_state.rule.merged(group), {})[group] = None
        for groups in together.values():
            merger = rule_state.merger(next(iter(groups)))
            groups.update(merger.held)
            states = [rule_state.states[group] for group in groups if group in rule_state.states]
            changes.extend(self._judge(rule_state, states, limits, merger))
            if limits.cutoff is not None:
                merger.forget(limits.cutoff)
        return changes

    def _judge(
        self, rule_state: RuleState, states: Sequence[GroupState], limits: _Limits, merger: GroupMerger | None = None
    ) -> list[Change]:
        """Judge one group, or several that share an alert."""
        evaluations = [self._evaluate(rule_state, state, limits.verified, merger) for state in states]
        changes = list(compare(evaluations, lambda found: rule_state.may_open(found, limits.verified), merger))
        for state, evaluation in zip(states, evaluations, strict=True):
            rule_state.settle(state, evaluation.alerts, limits.verified, merger)
            if merger is not None:
                merger.hold(state.group, is_held=any(map(merger.is_held, evaluation.judged)))
            rule_state.wait(state, evaluation.alerts, limits.verified)
            if limits.cutoff is not None:
                rule_state.forget(state, limits.cutoff, is_full=limits.is_full)
        return changes

    def _evaluate(
        self, rule_state: RuleState, state: GroupState, verified: datetime | None, merger: GroupMerger | None
    ) -> Evaluation:
        rule_state.refresh(state)
        is_again, state.is_refolded = state.is_refolded, False
        alerts = rule_state.alerts(state, state.settled)
        judged = [found for found in alerts if found.is_judged(verified)]
        current = {found.id for found in alerts}
        # In order, only the newest alert can still disappear: one that waited for something not to come.
        suspects = {*state.known, *state.published} if is_again else {state.newest, *current}
        turned = turned_by(state.known, suspects, current)
        evaluation = Evaluation(rule_state.rule, state.group, state.known, state.last_at, alerts, judged, turned)
        state.newest = alerts[-1].id if alerts else ""
        if rule_state.is_feeding:
            self._feed_outer(rule_state, state, suspects, judged, is_again=is_again)
        if merger is not None:
            merger.update(evaluation, verified)
        return evaluation

    # -- the rules above -----------------------------------------------------------------------------------------------

    def _published(self, rule_state: RuleState) -> Iterator[tuple[int, Group, Hit]]:
        """After a restore, return the hits that the inner alerts of the past make in the rules above."""
        for state in rule_state.states.values() if rule_state.is_feeding else ():
            rule_state.refresh(state)
            for found in rule_state.alerts(state):
                known = state.known.get(found.id)
                if found.judged_at is None or (known is not None and known.is_current):
                    hits = state.published[found.id] = self._hits_above(rule_state, state, found)
                    yield from hits

    def _feed_outer(
        self,
        rule_state: RuleState,
        state: GroupState,
        suspects: Iterable[str],
        judged: Sequence[Found],
        *,
        is_again: bool,
    ) -> None:
        """Let the rules above count the judged alerts as they are now, and no others."""
        # If all hits came in order, only alerts that waited for verified time can change once they are published.
        settled = {found.id for found in judged if not is_again and found.judged_at is None} & state.published.keys()
        now = {found.id: self._hits_above(rule_state, state, found) for found in judged if found.id not in settled}
        for name in [name for name in suspects if name in state.published and name not in settled and name not in now]:
            now[name] = []
        for name, hits in now.items():
            before, state.published[name] = state.published.get(name, []), hits
            for old in before:
                if old not in hits:
                    self._remove(*old)
            for new in hits:
                if new not in before:
                    self._insert(*new)

    def _hits_above(self, rule_state: RuleState, state: GroupState, found: Found) -> list[tuple[int, Group, Hit]]:
        """Return the hits that an alert makes in the rules above; the one a state begins with is too old to matter there."""
        if found.is_quiet or (state.begun is not None and found.id == state.begun.id):
            return []
        return list(self._feed.inner_hits(rule_state.rule, state.group, found))


def _rule_states(rules: Sequence[Correlation], bounds: StreamBounds, max_groups: int) -> list[RuleState]:
    """Make the state of each rule; `rules` are in feeding order."""
    needed, waits = needs(rules), waiting(rules)
    correlated = {rule.name.id for rule in rules}
    fed = {step.rule_id for rule in rules for step in rule.steps}
    states = []
    for rule in rules:
        since, inner = bounds.since(rule), [step.rule_id for step in rule.steps if step.rule_id in correlated]
        rule_state = RuleState(
            rule=rule,
            is_feeding=rule.name.id in fed,
            is_direct=not inner,
            is_waiting=not waits.isdisjoint(inner),
            since=since,
            zone_end=None if since is None else since + needed[rule.name.id],
            begin=bounds.begin(rule),
            floor=bounds.floors(rule),
            alerts_from=bounds.alerts_from,
            max_groups=max_groups,
        )
        for group in rule.expected or ():
            state = rule_state.state(group)
            rule_state.wait(state, rule_state.alerts(state), None)
        states.append(rule_state)
    return states


def _is_same(one: Record, other: Record) -> bool:
    return one.key == other.key
