"""The live state of one correlation: its groups, the hits kept to fold each again, and when each must be judged next."""

from __future__ import annotations

import bisect
import heapq
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actionwatch.base.model import CorrelatedAlert, Record
from actionwatch.rules.correlations.folds.fold import Fold, new_fold
from actionwatch.rules.correlations.live.merging import GroupMerger
from actionwatch.rules.model import NEVER, Correlation, Found, Group, Hit

MICROSECOND = timedelta(microseconds=1)
FEW = 8  # hits that a group may keep even if there is no room


@dataclass(slots=True)
class GroupState:
    """One group: `base` is the fold of the hits that are no longer kept, `hits` are the later ones, `live` is the fold of both.

    `known` are its alerts that can still change, `published` the hits that these made in the rules above. A hit before `floor`
    comes too late.
    """

    group: Group
    base: Fold
    live: Fold
    hits: list[Hit] = field(default_factory=list)
    floor: datetime | None = None
    is_stale: bool = False
    is_refolded: bool = False
    """Whether it was folded again since it was last judged: any of its alerts may have changed."""
    settled: int = 0
    begun: Found | None = None
    """The alert that a restored state begins with."""
    newest: str = ""
    """The id of the newest alert, as last judged."""
    known: dict[str, CorrelatedAlert] = field(default_factory=dict)
    published: dict[str, list[tuple[int, Group, Hit]]] = field(default_factory=dict)
    waiting_at: datetime = NEVER
    last_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class RuleState:
    """One rule with its groups, the most recently used last."""

    rule: Correlation
    is_feeding: bool
    is_direct: bool
    """Whether its hits come in order when restored: it counts only records, no alerts of other rules."""
    is_waiting: bool
    """Whether its hits may come out of order even if records do not: alerts that feed it may wait for verified time."""
    since: datetime | None
    zone_end: datetime | None
    begin: datetime | None
    floor: int
    alerts_from: datetime | None
    max_groups: int
    kept: int = 0
    evicted: int = 0
    newest: datetime | None = None
    dropped_at: datetime | None = None
    """The newest hit of a group that was dropped as idle."""
    states: OrderedDict[Group, GroupState] = field(default_factory=OrderedDict)
    dirty: dict[Group, None] = field(default_factory=dict)
    waiting: list[tuple[datetime, int, Group]] = field(default_factory=list)
    mergers: dict[Group, GroupMerger] = field(default_factory=dict)
    """Where several groups share an alert, by the group values that the alert shows."""
    sequence: int = 0

    def state(self, group: Group) -> GroupState:
        """Return a group, now the one used last. If there are too many groups, the least recently used is dropped."""
        state = self.states.get(group)
        if state is None:
            base = new_fold(self.rule, self.begin)
            state = self.states[group] = GroupState(group, base, base.copy(), floor=self._unknown_before())
            if len(self.states) > self.max_groups:
                _, dropped = self.states.popitem(last=False)
                self._let_go(dropped)
                self.evicted += 1
        else:
            self.states.move_to_end(group)
        return state

    def merger(self, group: Group) -> GroupMerger:
        """Return the merger of the groups that share an alert with this one."""
        name = self.rule.merged(group)
        merger = self.mergers.get(name)
        if merger is None:
            merger = self.mergers[name] = GroupMerger(self.rule)
        return merger

    # -- hits ----------------------------------------------------------------------------------------------------------

    def insert(self, group: Group, hit: Hit) -> bool:
        """Take a hit, and return whether it came in time."""
        if self._is_too_late(group, hit.at):
            return False
        state = self.state(group)
        if self.keep(state, hit) and not state.is_stale:
            state.live.push(hit)
        return True

    def remove(self, group: Group, hit: Hit) -> bool:
        """Remove the hit of an inner alert that has changed or is no longer found, and return whether that came in time."""
        if self._is_too_late(group, hit.at):
            return False
        state = self.states.get(group)
        if state is None:
            return True
        place = bisect.bisect_left(state.hits, hit.order, key=lambda each: each.order)
        if place < len(state.hits) and state.hits[place].order == hit.order:
            del state.hits[place]
            self.kept -= 1
            state.is_stale = True
            self.dirty[group] = None
        return True

    def keep(self, state: GroupState, hit: Hit) -> bool:
        """Keep a hit in its place, once, and return whether that is after all others.

        A record that may alert replaces the same action that another source read as backlog.
        """
        hits = state.hits
        is_last = not hits or hit.order > hits[-1].order
        if is_last:
            hits.append(hit)
            self.kept += 1
        else:
            place = bisect.bisect_left(hits, hit.order, key=lambda each: each.order)
            if hits[place].order != hit.order:
                hits.insert(place, hit)
                self.kept += 1
            elif _is_backlog(hits[place]) and not _is_backlog(hit):
                hits[place] = hit
            else:
                return False
            state.is_stale = True
        self.dirty[state.group] = None
        state.last_at = hit.at if state.last_at is None else max(state.last_at, hit.at)
        self.newest = hit.at if self.newest is None else max(self.newest, hit.at)
        return is_last

    def _is_too_late(self, group: Group, at: datetime) -> bool:
        """Return whether a hit lies before what is kept of its group."""
        state = self.states.get(group)
        floor = self._unknown_before() if state is None else state.floor
        return floor is not None and at < floor

    def _unknown_before(self) -> datetime | None:
        """Return the time before which an unknown group may have existed: before all is known, or dropped as idle."""
        if self.dropped_at is None:
            return self.zone_end
        over = self.dropped_at + self.rule.reach + self.rule.realert
        return over if self.zone_end is None else max(self.zone_end, over)

    # -- folding again -------------------------------------------------------------------------------------------------

    def refresh(self, state: GroupState) -> None:
        """Fold a group again if a hit came out of order or was removed."""
        if not state.is_stale:
            return
        state.live = state.base.copy()
        for hit in state.hits:
            state.live.push(hit)
        state.is_stale, state.is_refolded = False, True
        state.settled = 0
        for known in state.known.values():
            known.taken = 0

    def alerts(self, state: GroupState, start: int = 0) -> list[Found]:
        """Return the alerts of a group, with their ids, from a position on."""
        alerts = state.live.alerts(start)
        for found in alerts:
            found.id = found.id or self.rule.alert_id(state.group, found.origin)
            if self.is_waiting:
                found.judged_at = max(found.judged_at or found.fired_at, found.fired_at)
        return alerts

    def may_open(self, found: Found, verified: datetime | None) -> bool:
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
        return not record.is_backlog and record.id > self.floor

    def settle(
        self, state: GroupState, alerts: Sequence[Found], verified: datetime | None, merger: GroupMerger | None
    ) -> None:
        """Note which alerts cannot change unless the group is folded again: all but the newest, as far as they are reported."""
        for found in alerts[:-1]:
            if not found.is_judged(verified) or (merger is not None and not merger.is_settled(found)):
                return
            state.settled += 1
            if merger is not None:
                merger.settle(state.group, found)

    # -- when to judge again --------------------------------------------------------------------------------------------

    def is_due(self, verified: datetime | None) -> bool:
        """Return whether any group is to be judged."""
        return bool(self.dirty) or (bool(self.waiting) and verified is not None and self.waiting[0][0] <= verified)

    def take_due(self, verified: datetime | None) -> list[Group]:
        """Return the groups to be judged as of a verified time."""
        while self.waiting and verified is not None and self.waiting[0][0] <= verified:
            _, _, group = heapq.heappop(self.waiting)
            if group in self.states:
                self.states[group].waiting_at = NEVER
                self.dirty[group] = None
        dirty, self.dirty = [group for group in self.dirty if group in self.states], {}
        return dirty

    def wait(self, state: GroupState, alerts: Sequence[Found], verified: datetime | None) -> None:
        """Note at which verified time this group is to be judged next."""
        due = [each.judged_at for each in alerts if each.judged_at is not None and not each.is_judged(verified)]
        if self.rule.is_merging:  # a group came back: first it must be verified whether others are missing
            ends = [each.resolved_at for each in alerts if each.resolved_at is not None]
            due += [end for end in ends if verified is None or end > verified]
        start = self.alerts_from
        if self.rule.is_absence and start is not None and (verified is None or verified < start):
            due.append(start)
        if due and min(due) < state.waiting_at and min(due) != NEVER:
            state.waiting_at = min(due)
            self.sequence += 1
            heapq.heappush(self.waiting, (state.waiting_at, self.sequence, state.group))

    # -- forgetting ----------------------------------------------------------------------------------------------------

    def forget(self, state: GroupState, cutoff: datetime, *, is_full: bool) -> None:
        """Drop the hits that are too old to keep, or all but a few if there is no room, after folding them into `base`."""
        count = bisect.bisect_left(state.hits, cutoff, key=lambda each: each.at)
        if is_full:
            count = max(count, len(state.hits) - FEW)
        if count <= FEW:
            return
        for hit in state.hits[:count]:
            state.base.push(hit)
        state.floor = state.hits[count - 1].at + MICROSECOND
        del state.hits[:count]
        self.kept -= count
        self._drop_settled(state)

    def _drop_settled(self, state: GroupState) -> None:
        """Forget the alerts that cannot change any more."""
        count = min(state.settled, len(state.base.found) - 1, len(state.live.found) - 1)
        if count <= 0:
            return
        del state.base.found[:count]
        del state.live.found[:count]
        state.settled -= count
        left = {found.id for found in self.alerts(state)}
        floor = state.floor or NEVER
        for known in list(state.known.values()):
            if known.id not in left and (known.is_current or known.until < floor):
                del state.known[known.id]
                state.published.pop(known.id, None)

    def drop_idle(self, cutoff: datetime) -> None:
        """Drop the groups in which nothing can change any more."""
        horizon = cutoff - self.rule.reach - self.rule.realert
        while self.states and not self.rule.is_absence:
            group, state = next(iter(self.states.items()))
            # An alert that is no longer found may be found again while hits of its time may still come.
            ends = [known.until for known in state.known.values()]
            last_at = max(ends if state.last_at is None else [state.last_at, *ends], default=None)
            if last_at is None or last_at >= horizon or group in self.dirty:
                return
            self._let_go(state)
            self.dropped_at = last_at if self.dropped_at is None else max(self.dropped_at, last_at)
            del self.states[group]

    def _let_go(self, state: GroupState) -> None:
        """Release what belongs to a group that is dropped."""
        self.kept -= len(state.hits)
        name = self.rule.merged(state.group)
        if (merger := self.mergers.get(name)) is not None and merger.drop(state.group):
            del self.mergers[name]


def _is_backlog(hit: Hit) -> bool:
    return bool(hit.records) and all(record.is_backlog for record in hit.records)
