"""Several groups that people hear of as one alert: whose alert leads, and which others are told with it.

Each group of a correlation is folded by itself. Where `alert.group_by` names fewer fields than `group-by`, what fires in one
group within `realert` of a leading alert's firing joins that alert; what is missing joins while something else is.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from actionwatch.rules.correlations.live.changes import FiringOrder, Place, Told, firing_order
from actionwatch.rules.model import NEVER, Correlation, Found, Group


@dataclass(slots=True)
class Member:
    """An alert of one group. `until`: where it is over; `end`: up to when others join, where it leads; `leader`: of its run."""

    order: FiringOrder
    group: Group
    until: datetime
    end: datetime
    told: Told | None = None
    leader: Member | None = None


@dataclass(slots=True)
class Merger:
    """The alerts of the groups that are told as one, in the order of firing.

    A run is a leading alert and those told with it: they stand side by side. What is not judged yet is among them, since
    whether it counts decides who leads those that fired later: they are `held` until then.
    """

    rule: Correlation
    groups: set[Group] = field(default_factory=set)
    held: dict[Group, None] = field(default_factory=dict)
    _members: list[Member] = field(default_factory=list)
    _by_id: dict[str, Member] = field(default_factory=dict)
    _changeable: dict[Group, set[str]] = field(default_factory=dict)
    _unjudged: dict[str, FiringOrder] = field(default_factory=dict)
    _verified: datetime | None = None

    def remember(self, group: Group, known: Iterable[Told]) -> None:
        """Take what was told of a group before a restart."""
        for told in known:
            until = (told.resolved_at or NEVER) if self.rule.is_absence else told.fired_at + self.rule.realert
            order = (told.fired_at, True, told.origin, told.id)
            self._settle(self._insert(Member(order, group, until, until, told), told.id))
        self.groups.add(group)

    def update(self, place: Place, alerts: Iterable[Found], turned: Iterable[Told], verified: datetime | None) -> None:
        """Take what a group's fold gives now, as far as it can change, and what `turned`."""
        self._verified, group = verified, place.group
        self.groups.add(group)
        found = [
            each for each in alerts if not each.is_quiet and (not self.rule.is_absence or each.is_judged(verified))
        ]
        fallen = {told.id for told in turned if not told.is_current}
        gone = (self._changeable.pop(group, set()) | fallen) - {each.id for each in found}
        low = min((self._remove(name) for name in gone if name in self._by_id), default=len(self._members))
        for each in found:
            low = min(low, self._put(group, each, place.told.get(each.id)))
            self._unjudged.pop(each.id, None)
            if not each.is_judged(verified):
                self._unjudged[each.id] = firing_order(each)
        if found:
            self._changeable[group] = {each.id for each in found}
        self._settle(low)

    def is_held(self, found: Found) -> bool:
        """Say whether something fired before it that is still to be judged."""
        return any(order < firing_order(found) for order in self._unjudged.values())

    def is_settled(self, found: Found) -> bool:
        """Say whether all was told of it that can be, if it changes no more."""
        return not self.is_held(found) and (found.resolved_at is None or self.is_seen(found.resolved_at))

    def tell_as(self, told: Told) -> Told | None:
        """Give the alert that this one is told as: its leader, or one that it leads if people know that already."""
        member = self._by_id.get(told.id)
        if member is None:
            return None
        member.told = told
        if member.leader is not member:
            return member.leader.told if member.leader is not None else None
        others = (each.told for each in self._run(member) if each.told is not told)
        return next((each for each in others if each is not None and each.is_told), None)

    def is_seen(self, at: datetime) -> bool:
        """Say whether all that was missing at a time is among what is known."""
        return self._verified is not None and self._verified >= at

    def over(self, told: Told) -> tuple[datetime, list[tuple[Group, Told]]] | None:
        """Say when nothing was missing any more, and what was told by then; None while something is."""
        member = self._by_id.get(told.id)
        run = list(self._run(member.leader)) if member is not None and member.leader is not None else []
        end = max((each.until for each in run), default=NEVER)
        if end == NEVER:
            return None
        return end, [(each.group, each.told) for each in run if each.told is not None]

    def is_open(self, public_id: str) -> bool:
        """Say whether anything is still missing in an alert that people know."""
        known = (each.told for each in self._members if each.told is not None)
        return any(told.is_open and told.public_id == public_id for told in known)

    def settle(self, group: Group, found: Found) -> None:
        """Take it that an alert changes no more: it is not among those of the next update, and stays."""
        self._changeable.get(group, set()).discard(found.id)

    def hold(self, group: Group, *, is_held: bool) -> None:
        """Note whether something in a group must be looked at again with the next that is judged here."""
        if is_held:
            self.held[group] = None
        else:
            self.held.pop(group, None)

    def drop(self, group: Group) -> bool:
        """Take it that a group changes no more; say whether none is left that does."""
        for name in self._changeable.pop(group, ()):
            self._unjudged.pop(name, None)
        self.held.pop(group, None)
        self.groups.discard(group)
        return not self.groups

    def forget(self, before: datetime) -> None:
        """Forget the runs in which all was over before a time."""
        count = 0
        for place, member in enumerate(self._members):
            if member.until >= before:
                break
            if member.leader is member:
                count = place  # a run goes as a whole: without its leader another would seem to lead
        for member in self._members[:count]:
            self._by_id.pop(member.order[3], None)
        del self._members[:count]

    # -- the order of firing -------------------------------------------------------------------------------------------

    def _put(self, group: Group, found: Found, told: Told | None) -> int:
        """Have an alert where it belongs; give the first place that changed."""
        until = found.fired_at + self.rule.realert
        if self.rule.is_absence:
            until = found.resolved_at if found.resolved_at is not None and self.is_seen(found.resolved_at) else NEVER
        order, known = firing_order(found), self._by_id.get(found.id)
        if known is not None and (known.order, known.until) == (order, until):
            return len(self._members)
        low = self._remove(found.id) if known is not None else len(self._members)
        return min(low, self._insert(Member(order, group, until, until, told), found.id))

    def _insert(self, member: Member, name: str) -> int:
        place = bisect.bisect_left(self._members, member.order, key=lambda each: each.order)
        self._members.insert(place, member)
        self._by_id[name] = member
        return place

    def _remove(self, name: str) -> int:
        member = self._by_id.pop(name)
        self._unjudged.pop(name, None)
        place = bisect.bisect_left(self._members, member.order, key=lambda each: each.order)
        del self._members[place]
        return place

    def _settle(self, low: int) -> None:
        """Say anew who leads whom, from a place on."""
        while 0 < low < len(self._members) and self._members[low].leader is not self._members[low]:
            low -= 1  # a run is measured from its beginning
        leader = self._members[low - 1].leader if low else None
        for member in self._members[low:]:
            if leader is None or not self._joins(member, leader):
                leader = member
                leader.end = leader.until
            elif self.rule.is_absence:
                leader.end = max(leader.end, member.until)
            member.leader = leader

    def _joins(self, member: Member, leader: Member) -> bool:
        at = member.order[0]
        return at < leader.end if self.rule.is_absence else at <= leader.end

    def _run(self, leader: Member) -> Iterator[Member]:
        place = bisect.bisect_left(self._members, leader.order, key=lambda each: each.order)
        while place < len(self._members) and self._members[place].leader is leader:
            yield self._members[place]
            place += 1
