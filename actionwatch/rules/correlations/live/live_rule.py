"""The live state of one correlation: it alone owns and changes the states of its groups and the alerts that they share."""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.model import CorrelatedAlert, Record
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.saved import DoesNotFit
from actionwatch.rules.correlations.live.changes import FoundChange, OuterChange, OuterHit, compare
from actionwatch.rules.correlations.live.context import LiveContext
from actionwatch.rules.correlations.live.group_state import GroupState, HitsAbove
from actionwatch.rules.correlations.live.saved import SavedRule
from actionwatch.rules.correlations.live.shared_alerts import SharedAlerts
from actionwatch.rules.model import NEVER, Group, Hit


@dataclass(frozen=True, slots=True)
class Limits:
    """Up to when time is verified, before when hits are dropped (`cutoff`), and whether there is no room for more hits."""

    verified: datetime | None
    cutoff: datetime | None
    is_full: bool


class LiveRule:
    """One rule with its groups, the most recently used last.

    `kept` counts their hits, `evicted` the groups without room. It is given hits from `since` on (None: all there are).
    """

    def __init__(
        self,
        context: LiveContext,
        hits_above: HitsAbove | None,
        max_groups: int,
    ) -> None:
        """`hits_above` returns the hits that an alert makes in the rules above; None if the rule feeds none."""
        self.rule = context.rule
        self.since = context.since
        self.kept = 0
        self.evicted = 0
        self.newest: datetime | None = None
        self._context = context
        self._hits_above = hits_above
        self._max_groups = max_groups
        self._groups: OrderedDict[Group, GroupState] = OrderedDict()
        # By the group values that the shared alert shows.
        self._shared: dict[Group, SharedAlerts] = defaultdict(lambda: SharedAlerts(self.rule))
        self._dirty: dict[Group, None] = {}
        self._waiting: list[tuple[datetime, int, Group]] = []
        self._sequence = itertools.count()
        # An unknown group may have existed before this time: all hits are known from then on, or it was dropped as idle.
        self._unknown_before = context.complete_from
        for group in self.rule.expected or ():
            state = self._group(group)
            self._wait(state, state.next_due(state.alerts(), None))

    # -- hits ----------------------------------------------------------------------------------------------------------

    def insert(self, group: Group, hit: Hit) -> bool:
        """Take a hit, and return whether it arrived in time."""
        if self._is_too_late(group, hit.at):
            return False
        state = self._group(group)
        before = len(state.hits)
        if state.keep(hit):
            self.kept += len(state.hits) - before
            self._dirty[group] = None
            self.newest = hit.at if self.newest is None else max(self.newest, hit.at)
        return True

    def remove(self, group: Group, hit: Hit) -> bool:
        """Remove the hit of an inner alert that has changed or is no longer found, and return whether that came in time."""
        if self._is_too_late(group, hit.at):
            return False
        state = self._groups.get(group)
        if state is not None and state.remove(hit):
            self.kept -= 1
            self._dirty[group] = None
        return True

    def _is_too_late(self, group: Group, at: datetime) -> bool:
        """Return whether a hit lies before what is kept of its group."""
        state = self._groups.get(group)
        floor = self._unknown_before if state is None else state.floor
        return floor is not None and at < floor

    # -- evaluating ----------------------------------------------------------------------------------------------------

    def is_due(self, verified: datetime | None) -> bool:
        """Return whether any group is to be evaluated."""
        return bool(self._dirty) or (bool(self._waiting) and verified is not None and self._waiting[0][0] <= verified)

    def evaluate(self, limits: Limits) -> tuple[list[FoundChange], list[OuterChange]]:
        """Return what becomes of the alerts of the groups that are due, and of their hits in the rules above."""
        changes: list[FoundChange] = []
        outer: list[OuterChange] = []
        for shared, states in self._take_due(limits.verified):
            changes += self._evaluate(states, limits, shared, outer)
            if shared is not None and limits.cutoff is not None:
                shared.forget(limits.cutoff)
        if limits.cutoff is not None:
            self._drop_idle(limits.cutoff)
        return changes, outer

    def _take_due(self, verified: datetime | None) -> Iterator[tuple[SharedAlerts | None, list[GroupState]]]:
        """Return the groups to be evaluated. Those that share an alert come together, with the groups that wait there."""
        while self._waiting and verified is not None and self._waiting[0][0] <= verified:
            _, _, group = heapq.heappop(self._waiting)
            if group in self._groups:
                self._groups[group].waiting_at = NEVER
                self._dirty[group] = None
        dirty, self._dirty = [group for group in self._dirty if group in self._groups], {}
        if not self.rule.is_merging:
            yield from ((None, [self._groups[group]]) for group in dirty)
            return
        together: dict[Group, dict[Group, None]] = {}
        for group in dirty:
            together.setdefault(self.rule.merged(group), {})[group] = None
        for name, groups in together.items():
            shared = self._shared[name]
            groups.update(shared.held)
            yield shared, [self._groups[group] for group in groups]

    def _evaluate(
        self, states: Sequence[GroupState], limits: Limits, shared: SharedAlerts | None, outer: list[OuterChange]
    ) -> list[FoundChange]:
        """Evaluate one group, or several that share an alert."""
        verified, evaluations = limits.verified, []
        for state in states:
            evaluation = state.evaluate(verified, self._hits_above)
            evaluations.append(evaluation)
            outer += evaluation.outer
            if shared is not None:
                shared.update(state.group, evaluation.alerts, evaluation.known, evaluation.turned, verified)
        changes = list(compare(evaluations, lambda found: self._context.may_open(found, verified), shared))
        for state, evaluation in zip(states, evaluations, strict=True):
            state.settle(evaluation.alerts, verified, shared)
            if shared is not None:
                shared.hold(state.group, is_held=any(map(shared.is_held, evaluation.judged)))
            self._wait(state, state.next_due(evaluation.alerts, verified))
            if limits.cutoff is not None:
                self.kept -= state.forget(limits.cutoff, is_full=limits.is_full)
        return changes

    def forget(self, cutoff: datetime, *, is_full: bool) -> None:
        """Drop old hits from all groups, also where nothing comes: a rebuild may have held those of many records."""
        self.kept -= sum(state.forget(cutoff, is_full=is_full) for state in self._groups.values())

    def _wait(self, state: GroupState, due: datetime) -> None:
        """Note at which verified time this group is to be judged next."""
        if due < state.waiting_at:
            state.waiting_at = due
            heapq.heappush(self._waiting, (due, next(self._sequence), state.group))

    # -- groups --------------------------------------------------------------------------------------------------------

    def count_groups(self) -> int:
        """Count the groups held."""
        return len(self._groups)

    def hits_around(self, record: Record) -> Iterator[tuple[Group, Fold, list[Hit], list[Hit]]]:
        """Return the groups that a record has hits in: the fold they begin with, the hits before, and its own."""
        for group, state in self._groups.items():
            if (around := state.around(record)) is not None:
                yield group, *around

    def _group(self, group: Group) -> GroupState:
        """Return a group, now the one used last. If there are too many groups, the least recently used is dropped."""
        state = self._groups.get(group)
        if state is not None:
            self._groups.move_to_end(group)
            return state
        state = self._groups[group] = GroupState(self._context, group, self._unknown_before)
        if len(self._groups) > self._max_groups:
            _, dropped = self._groups.popitem(last=False)
            self._let_go(dropped)
            self.evicted += 1
        return state

    def _drop_idle(self, cutoff: datetime) -> None:
        """Drop the groups in which nothing can change."""
        span = self.rule.reach + self.rule.realert
        horizon = cutoff - span
        while self._groups and not self.rule.is_absence:
            group, state = next(iter(self._groups.items()))
            if (ended_at := state.ended_at()) is not None:
                if ended_at >= horizon:
                    return
                over = ended_at + span + MICROSECOND  # the last instant that it reaches is not over
                self._unknown_before = max(over, self._unknown_before or over)
            self._let_go(state)
            del self._groups[group]

    def _let_go(self, state: GroupState) -> None:
        """Release what belongs to a group that is dropped."""
        self.kept -= len(state.hits)
        name = self.rule.merged(state.group)
        if (shared := self._shared.get(name)) is not None and shared.drop(state.group):
            del self._shared[name]

    # -- saved, for a restart ------------------------------------------------------------------------------------------

    def save(self, rule_ids: Sequence[str]) -> SavedRule:
        """Return the state as it is saved. `rule_ids` are the ids of the rules by number."""
        states = self._groups.values()
        known = [each for state in states for each in state.known()]
        groups = (state.save(rule_ids) for state in states)
        return SavedRule(self._context.identity, self._unknown_before, self.newest, known, groups)

    def load(
        self,
        saved: SavedRule,
        known: Mapping[str, CorrelatedAlert],
        numbers: Mapping[str, int],
    ) -> None:
        """Continue from what was saved: every group is judged next.

        Raises: DoesNotFit.
        """
        self._unknown_before, self.newest = saved.unknown_before, saved.newest
        deleted = {each.id: each for each in saved.known if each.id not in known}
        loaded: set[Group] = set()
        for each in saved.groups:
            if each.group in loaded or len(each.group) != len(self.rule.group_fields):
                raise DoesNotFit(f"it has groups that the rule {self.rule.name.name} cannot have")
            state = self._groups[each.group] = GroupState(self._context, each.group, each.floor)
            state.load(each, known, deleted, numbers)
            self.kept += len(state.hits)
            self._dirty[each.group] = None
            loaded.add(each.group)

    def share(self, others: Iterable[CorrelatedAlert]) -> None:
        """Let stored alerts lead those that fire after them, once all are loaded. `others` are those that may still lead."""
        by_group: dict[Group, list[CorrelatedAlert]] = defaultdict(list)
        for known in others:
            by_group[known.group].append(known)
        for group, state in self._groups.items():
            state.share(self._shared[self.rule.merged(group)], by_group[group])
        self._finish_sharing()

    # -- after a restart -----------------------------------------------------------------------------------------------

    def restore_alert(self, known: CorrelatedAlert) -> None:
        """Take an alert that the store holds. Its group is judged next: what made the alert may be gone."""
        is_expected = not self.rule.is_absence or known.group in self._groups
        if is_expected and len(known.group) == len(self.rule.group_fields):
            self._group(known.group).restore_alert(known)
            self._dirty[known.group] = None

    def begin_groups(self) -> None:
        """Begin each group, once all alerts of the store are restored."""
        for state in self._groups.values():
            state.begin(self._shared[self.rule.merged(state.group)] if self.rule.is_merging else None)
        self._finish_sharing()

    def _finish_sharing(self) -> None:
        for shared in self._shared.values():
            shared.finish_restore()

    def restore_hit(self, group: Group, hit: Hit) -> None:
        """Take a hit from before the restart."""
        if self.since is not None and hit.at < self.since:
            return
        self.kept += self._group(group).restore_hit(hit)
        if self.newest is None or hit.at > self.newest:
            self.newest = hit.at

    def finish_restore(self) -> Iterable[OuterHit]:
        """Finish, once all hits from before the restart are restored. Return the hits that its alerts make above."""
        for state in self._groups.values():
            self.kept -= state.finish_restore()
            self._dirty[state.group] = None
        hits_above = self._hits_above
        if hits_above is None:
            return []
        return [hit for state in self._groups.values() for hit in state.republish(hits_above)]
