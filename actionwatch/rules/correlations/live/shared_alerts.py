"""Several groups that share one alert: whose alert leads, and which others join it.

Each group of a correlation is folded separately. If `alert.group_by` names fewer fields than `group-by`, an alert that fires in
one group within `realert` of the firing of a leading alert joins that alert. A missing group joins while another is missing.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from actionwatch.base.model import CorrelatedAlert
from actionwatch.rules.correlations.folds.found_alert import FiringOrder, FoundAlert
from actionwatch.rules.model import NEVER, Correlation, Group


@dataclass(slots=True)
class _Member:
    """An alert of one group: it is over at `until`, and joins `leader`. If it leads, others join up to `end`."""

    order: FiringOrder
    until: datetime
    end: datetime
    known: CorrelatedAlert | None = None
    leader: _Member | None = None


class SharedAlerts:
    """The alerts of the groups that share an alert, in the order of firing.

    A run is a leading alert and those that join it; they are neighbours. Alerts that are not judged yet are included: whether
    they count decides who leads those that fired later. Groups with later alerts are `held` until then.

    All groups that are due are updated before anything is asked: who leads whom is decided once for all of them.
    """

    def __init__(self, rule: Correlation) -> None:
        self.held: dict[Group, None] = {}
        self._rule = rule
        self._groups: set[Group] = set()
        self._members: list[_Member] = []
        self._undecided_from: int | None = None
        """The first position that has changed since it was decided who leads whom."""
        self._by_id: dict[str, _Member] = {}
        self._changeable: dict[Group, set[str]] = {}
        self._unjudged: dict[str, FiringOrder] = {}
        self._verified: datetime | None = None

    def restore(self, group: Group, known: Iterable[CorrelatedAlert]) -> None:
        """Take the alerts of a group that were known before a restart. `finish_restore` follows the last group."""
        for each in known:
            until = (each.resolved_at or NEVER) if self._rule.is_absence else each.fired_at + self._rule.realert
            order = (each.fired_at, True, each.origin, each.id)
            member = self._by_id[each.id] = _Member(order, until, until, each)
            self._members.append(member)
        self._groups.add(group)

    def finish_restore(self) -> None:
        """Put the alerts of all groups in order."""
        self._members.sort(key=lambda each: each.order)
        self._undecided_from = 0

    def update(
        self,
        group: Group,
        alerts: Sequence[FoundAlert],
        known: Mapping[str, CorrelatedAlert],
        turned: Sequence[CorrelatedAlert],
        verified: datetime | None,
    ) -> None:
        """Take the alerts that the fold of a group finds now and that can change, and the known ones that `turned`."""
        self._verified = verified
        self._groups.add(group)
        found = [
            each for each in alerts if not each.is_quiet and (not self._rule.is_absence or each.is_judged(verified))
        ]
        fallen = {each.id for each in turned if not each.is_current}
        gone = (self._changeable.pop(group, set()) | fallen) - {each.id for each in found}
        for name in gone & self._by_id.keys():
            self._remove(name)
        for each in found:
            self._put(each, known.get(each.id))
            self._unjudged.pop(each.id, None)
            if not each.is_judged(verified):
                self._unjudged[each.id] = each.firing_order
        if found:
            self._changeable[group] = {each.id for each in found}

    def is_held(self, found: FoundAlert) -> bool:
        """Return whether an alert that fired before it is still to be judged."""
        return any(order < found.firing_order for order in self._unjudged.values())

    def is_settled(self, found: FoundAlert) -> bool:
        """Return whether everything about it was reported, provided that it does not change."""
        return not self.is_held(found) and (found.resolved_at is None or self.is_verified(found.resolved_at))

    def shared_with(self, known: CorrelatedAlert) -> CorrelatedAlert | None:
        """Return the alert that this one is reported as: its leader, or one that it leads if people know that already."""
        member = self._by_id.get(known.id)
        if member is None:
            return None
        member.known = known
        self._decide_leaders()
        if member.leader is not member:
            return member.leader.known if member.leader is not None else None
        others = (each.known for each in self._run(member) if each.known is not known)
        return next((each for each in others if each is not None and each.is_reported), None)

    def is_verified(self, at: datetime) -> bool:
        """Return whether all that was missing at a time is known."""
        return self._verified is not None and self._verified >= at

    def end_of(self, known: CorrelatedAlert) -> tuple[datetime, list[CorrelatedAlert]] | None:
        """Return when the last missing group came back, and what was missing until then; None while something is."""
        self._decide_leaders()
        member = self._by_id.get(known.id)
        run = list(self._run(member.leader)) if member is not None and member.leader is not None else []
        end = max((each.until for each in run), default=NEVER)
        if end == NEVER:
            return None
        return end, [each.known for each in run if each.known is not None]

    def is_open(self, alert_id: str) -> bool:
        """Return whether anything is still missing in an alert that people see."""
        return any(known.is_open and known.alert_id == alert_id for member in self._members if (known := member.known))

    def settle(self, group: Group, found: FoundAlert) -> None:
        """Note that an alert no longer changes: the next update does not contain it, and it stays."""
        self._changeable.get(group, set()).discard(found.id)

    def hold(self, group: Group, *, is_held: bool) -> None:
        """Note whether a group must be judged again together with the next one here."""
        if is_held:
            self.held[group] = None
        else:
            self.held.pop(group, None)

    def drop(self, group: Group) -> bool:
        """Note that a group no longer changes, and return whether no other group is left."""
        for name in self._changeable.pop(group, ()):
            self._unjudged.pop(name, None)
        self.held.pop(group, None)
        self._groups.discard(group)
        return not self._groups

    def forget(self, before: datetime) -> None:
        """Forget the runs in which all was over before a time."""
        self._decide_leaders()
        count = 0
        for place, member in enumerate(self._members):
            if member.until >= before:
                break
            if member.leader is member:
                count = place  # forget a run as a whole: without its leader, another would seem to lead
        for member in self._members[:count]:
            self._by_id.pop(member.order[3], None)
        del self._members[:count]

    # -- the order of firing -------------------------------------------------------------------------------------------

    def _put(self, found: FoundAlert, known: CorrelatedAlert | None) -> None:
        """Put an alert in its place."""
        until = found.fired_at + self._rule.realert
        if self._rule.is_absence:
            until = (
                found.resolved_at if found.resolved_at is not None and self.is_verified(found.resolved_at) else NEVER
            )
        order, member = found.firing_order, self._by_id.get(found.id)
        if member is not None and (member.order, member.until) == (order, until):
            return
        if member is not None:
            self._remove(found.id)
        self._by_id[found.id] = member = _Member(order, until, until, known)
        self._members.insert(self._note_change(order), member)

    def _remove(self, name: str) -> None:
        self._unjudged.pop(name, None)
        del self._members[self._note_change(self._by_id.pop(name).order)]

    def _note_change(self, order: FiringOrder) -> int:
        """Note that the place of an alert changes, and return that place."""
        place = self._place(order)
        self._undecided_from = place if self._undecided_from is None else min(self._undecided_from, place)
        return place

    def _place(self, order: FiringOrder) -> int:
        return bisect.bisect_left(self._members, order, key=lambda each: each.order)

    def _decide_leaders(self) -> None:
        """Decide again who leads whom, from the first change on."""
        if self._undecided_from is None:
            return
        low, self._undecided_from = self._undecided_from, None
        while 0 < low < len(self._members) and self._members[low].leader is not self._members[low]:
            low -= 1  # a run counts from its beginning
        leader: _Member | None = None
        for member in self._members[low:]:
            if leader is None or not self._joins(member, leader):
                leader = member
                leader.end = leader.until
            elif self._rule.is_absence:
                leader.end = max(leader.end, member.until)
            member.leader = leader

    def _joins(self, member: _Member, leader: _Member) -> bool:
        at = member.order[0]
        return at < leader.end if self._rule.is_absence else at <= leader.end

    def _run(self, leader: _Member) -> Iterator[_Member]:
        place = self._place(leader.order)
        while place < len(self._members) and self._members[place].leader is leader:
            yield self._members[place]
            place += 1
