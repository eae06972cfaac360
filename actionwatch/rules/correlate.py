"""Correlation, live: hits in any order -> which alerts open, are joined, or resolve.

Each group keeps the state of its fold. A hit in order is pushed into it; a hit out of order has the group folded again, and
what comes out is compared with what was told before: late records, any batching and a rebuild from the store are one path.
Pure: what the store knows comes in as arguments, and the caller writes down what comes out.
"""

from __future__ import annotations

import bisect
import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actionwatch.model import Mode, Record
from actionwatch.rules.correlations.changes import Change, Look, Past, Place, Row, Told, compare, turned_by
from actionwatch.rules.correlations.feed import Feed
from actionwatch.rules.correlations.fold import Machine, machine
from actionwatch.rules.correlations.merging import Merger
from actionwatch.rules.correlations.order import in_feeding_order, needs
from actionwatch.rules.correlations.spec import NEVER, Correlation, Found, Group, Hit, Kind
from actionwatch.rules.engine import Failure, Rule

MAX_GROUPS = 100_000  # per rule; the least recently touched goes first
MAX_KEPT = 200_000  # hits kept to be folded again, over all rules; beyond it groups keep only what their state needs
MICROSECOND = timedelta(microseconds=1)
FEW = 8  # hits a group may keep even then


@dataclass(slots=True)
class _State:
    """One group: `base` holds what was folded for good, `hits` what came since, `live` both."""

    group: Group
    base: Machine
    live: Machine
    hits: list[Hit] = field(default_factory=list)
    floor: datetime | None = None
    is_stale: bool = False
    settled: int = 0
    begun: Found | None = None
    """The alert that a restored state begins with."""
    newest: str = ""
    """The id of the newest alert, as last judged."""
    told: dict[str, Told] = field(default_factory=dict)
    published: dict[str, list[tuple[int, Group, Hit]]] = field(default_factory=dict)
    waiting_at: datetime = NEVER
    last_at: datetime | None = None


@dataclass(slots=True)
class _Track:
    """One rule with its groups, the most recently touched last."""

    number: int
    rule: Correlation
    is_feeding: bool
    is_direct: bool
    """Whether its hits come in order when restored: it counts records alone, no alerts of other rules."""
    since: datetime | None
    zone_end: datetime | None
    begin: datetime | None
    floor: int
    dropped_at: datetime | None = None
    """The newest hit of a group that was dropped as idle."""
    states: OrderedDict[Group, _State] = field(default_factory=OrderedDict)
    dirty: dict[Group, None] = field(default_factory=dict)
    waiting: list[tuple[datetime, int, Group]] = field(default_factory=list)
    mergers: dict[Group, Merger] = field(default_factory=dict)
    """Where several groups are told as one, by what people are told of the group."""


class Correlator:
    """All correlations over one stream of records."""

    def __init__(
        self, rules: Sequence[Rule], past: Past, *, keep: timedelta | None = None, max_groups: int = MAX_GROUPS
    ) -> None:
        """`keep`: for how long hits are kept to be folded again when one comes late (None: for ever)."""
        running = [rule for rule in rules if rule.correlation is not None and rule.mode is not Mode.OFF]
        self.rules = in_feeding_order([rule.correlation for rule in running if rule.correlation is not None])
        self._feed = Feed(rules, self.rules)
        self._past = past
        self._keep = keep
        self._max_groups = max_groups
        self._needs = needs(self.rules)
        self._newest: datetime | None = None
        self._kept = 0
        self._sequence = 0
        self.evicted = 0
        self._too_late = False
        self._unjudged_from: datetime | None = None
        fed = {step.rule_id for rule in self.rules for step in rule.steps}
        self._tracks = [self._track(number, rule, rule.name.id in fed) for number, rule in enumerate(self.rules)]

    @property
    def too_late(self) -> datetime | None:
        """Say from when on the caller must have all rebuilt, where a hit came too late for what is kept.

        That is from the oldest hit not judged yet: one that came in time would be taken for long judged afterwards.
        """
        return self._unjudged_from if self._too_late else None

    def restore(self, rows: Iterable[Row], records: Iterable[Record]) -> None:
        """Rebuild from the store: `rows` are the alerts it remembers, `records` those that any rule needs, by time.

        Each record is read once for all rules. What lies before what a rule needs is left out, and what has been judged long
        ago is folded at once: not all of the records are held, however many a rule learns from.
        """
        tracks = {track.rule.name.id: track for track in self._tracks}
        for row in rows:
            track = tracks.get(row.rule_id)
            if track is not None and len(row.group) == len(track.rule.group_fields):
                self._state(track, row.group).told[row.told.id] = row.told
        for track in self._tracks:
            for state in list(track.states.values()):
                self._begin(track, state)
        for number, group, hit in self._feed.hits(records):
            track = self._tracks[number]
            if track.since is None or hit.at >= track.since:
                self._insert(track, group, hit, is_restoring=True)
        for track in self._tracks:
            for state in list(track.states.values()):
                self._fold_quietly(track, state)
                state.floor, state.is_stale = track.zone_end, True
                track.dirty[state.group] = None
            self._publish(track)

    def take(self, records: Iterable[Record]) -> None:
        """Take further records, in any order."""
        for number, group, hit in self._feed.hits(records):
            self._insert(self._tracks[number], group, hit)

    def changes(self, verified: datetime | None) -> list[Change]:
        """Say what is to be told as of a verified time. Cheap where nothing is due and nothing came."""
        changes: list[Change] = []
        self._unjudged_from = None
        for track in self._tracks:
            while track.waiting and verified is not None and track.waiting[0][0] <= verified:
                _, _, group = heapq.heappop(track.waiting)
                if group in track.states:
                    track.states[group].waiting_at = NEVER
                    track.dirty[group] = None
            if not track.dirty:
                continue
            dirty, track.dirty = [group for group in track.dirty if group in track.states], {}
            if track.rule.is_merging:
                changes.extend(self._judge_merged(track, dirty, verified))
            else:
                for group in dirty:
                    changes.extend(self._judge(track, [track.states[group]], verified))
            self._drop_idle(track, verified)
        return changes

    def is_due(self, verified: datetime | None) -> bool:
        """Say whether `changes` has anything to look at."""
        return any(
            track.dirty or (track.waiting and verified is not None and track.waiting[0][0] <= verified)
            for track in self._tracks
        )

    def hits_of(self, rule_id: str, record: Record) -> Iterator[tuple[Group, list[Hit], list[Hit]]]:
        """Give the groups of a rule that a record has hits in: what is kept from before them, and those hits."""
        for track in self._tracks:
            for group, state in track.states.items() if track.rule.name.id == rule_id else ():
                own = [hit for hit in state.hits if any(_is_same(each, record) for each in hit.records)]
                if own:
                    yield group, [hit for hit in state.hits if hit.order < own[0].order], own

    def take_failures(self) -> list[Failure]:
        """Give what went wrong with rules since the last call."""
        return self._feed.take_failures()

    def count_groups(self) -> int:
        """Count the groups held."""
        return sum(len(track.states) for track in self._tracks)

    def count_hits(self) -> int:
        """Count the hits kept to be folded again."""
        return self._kept

    # -- groups --------------------------------------------------------------------------------------------------------

    def _track(self, number: int, rule: Correlation, is_feeding: bool) -> _Track:
        since = self._past.since(rule)
        zone_end = None if since is None else since + self._needs[rule.name.id]
        correlated = {each.name.id for each in self.rules}
        is_direct = not any(step.rule_id in correlated for step in rule.steps)
        begin, floor = self._past.begin(rule), self._past.floors(rule)
        track = _Track(number, rule, is_feeding, is_direct, since, zone_end, begin, floor)
        for group in rule.expected or ():
            state = self._state(track, group)
            self._wait(track, state)
        return track

    def _state(self, track: _Track, group: Group) -> _State:
        state = track.states.get(group)
        if state is None:
            base = machine(track.rule, track.begin)
            state = track.states[group] = _State(group, base, base.copy(), floor=_floor(track))
            if len(track.states) > self._max_groups:
                _, dropped = track.states.popitem(last=False)
                self._let_go(track, dropped)
                self.evicted += 1
        else:
            track.states.move_to_end(group)
        return state

    def _merger(self, track: _Track, group: Group) -> Merger:
        """Give what holds together the groups that are told as this one."""
        name = track.rule.merged(group)
        merger = track.mergers.get(name)
        if merger is None:
            merger = track.mergers[name] = Merger(track.rule)
        return merger

    def _insert(self, track: _Track, group: Group, hit: Hit, *, is_restoring: bool = False) -> None:
        if not is_restoring:
            self._unjudged_from = hit.at if self._unjudged_from is None else min(self._unjudged_from, hit.at)
        if not is_restoring and self._is_too_late(track, group, hit.at):
            self._too_late = True
            return
        state = self._state(track, group)
        quiet_end = track.zone_end if is_restoring and track.is_direct else None
        if quiet_end is not None and state.hits and state.hits[-1].at < min(hit.at, quiet_end):
            self._fold_quietly(track, state)
        hits = state.hits
        if not hits or hit.order > hits[-1].order:
            hits.append(hit)
            if not state.is_stale and not is_restoring:
                state.live.push(hit)
        else:
            place = bisect.bisect_left(hits, hit.order, key=lambda each: each.order)
            if hits[place].order == hit.order:
                return
            hits.insert(place, hit)
            state.is_stale = True
        self._kept += 1
        track.dirty[group] = None
        state.last_at = hit.at if state.last_at is None else max(state.last_at, hit.at)
        self._newest = hit.at if self._newest is None else max(self._newest, hit.at)

    def _remove(self, track: _Track, group: Group, hit: Hit) -> None:
        """Take back the hit of an inner alert that fell away."""
        state = track.states.get(group)
        if state is None:
            return
        place = bisect.bisect_left(state.hits, hit.order, key=lambda each: each.order)
        if place < len(state.hits) and state.hits[place].order == hit.order:
            del state.hits[place]
            self._kept -= 1
            state.is_stale = True
            track.dirty[group] = None

    def _is_too_late(self, track: _Track, group: Group, at: datetime) -> bool:
        """Say whether a hit lies before what is kept of its group."""
        state = track.states.get(group)
        floor = _floor(track) if state is None else state.floor
        return floor is not None and at < floor

    def _begin(self, track: _Track, state: _State) -> None:
        """Begin a group in the middle: at the last alert that began before its hits are all known, if there is one."""
        if track.rule.is_merging:
            heard = [told for told in state.told.values() if told.is_current and not self._is_early(track, told)]
            self._merger(track, state.group).remember(state.group, heard)
        zone_end = track.zone_end
        known = [each for each in state.told.values() if each.is_current and zone_end and each.first_at < zone_end]
        last = max(known, key=lambda each: (each.first_at, each.fired_at), default=None)
        if last is not None:
            is_quiet = self._is_early(track, last)
            found = Found(last.origin, last.first_at, last.fired_at, last.until, [], is_quiet=is_quiet, id=last.id)
            state.base.restore(found)
            state.begun = found
            state.published[found.id] = []  # too long ago to matter to the rules above

    def _fold_quietly(self, track: _Track, state: _State) -> None:
        """Fold the hits for good whose alerts are known: those from before all is known."""
        if track.zone_end is None:
            return
        count = bisect.bisect_left(state.hits, track.zone_end, key=lambda each: each.at)
        hits, state.hits = state.hits[:count], state.hits[count:]
        self._kept -= count
        for hit in _since(track.rule, state.begun, hits):
            state.base.push(hit, is_quiet=True)

    def _is_early(self, track: _Track, told: Told) -> bool:
        return track.rule.is_early(told.fired_at, track.begin)

    # -- folding again, and what follows -------------------------------------------------------------------------------

    def _refresh(self, state: _State) -> bool:
        """Fold a group again where a hit came out of order; say whether it was."""
        if not state.is_stale:
            return False
        state.live = state.base.copy()
        for hit in state.hits:
            state.live.push(hit)
        state.is_stale = False
        state.settled = 0
        for told in state.told.values():
            told.taken = 0
        return True

    def _judge_merged(self, track: _Track, dirty: Sequence[Group], verified: datetime | None) -> list[Change]:
        """Judge groups, those together that are told as one, with what was held back there."""
        changes: list[Change] = []
        together: dict[Group, dict[Group, None]] = {}
        for group in dirty:
            together.setdefault(track.rule.merged(group), {})[group] = None
        for groups in together.values():
            merger = self._merger(track, next(iter(groups)))
            groups.update(merger.held)
            states = [track.states[group] for group in groups if group in track.states]
            changes.extend(self._judge(track, states, verified, merger))
            cutoff = self._cutoff(verified)
            if cutoff is not None:
                merger.forget(cutoff)
        return changes

    def _judge(
        self, track: _Track, states: Sequence[_State], verified: datetime | None, merger: Merger | None = None
    ) -> list[Change]:
        """Judge one group, or several that are told as one."""
        looks = [self._look(track, state, verified, merger) for state in states]
        changes = list(compare(looks, self._may_open(track, verified), merger))
        for state, look in zip(states, looks, strict=True):
            for found in look.alerts[:-1]:
                if not found.is_judged(verified) or (merger is not None and not merger.is_settled(found)):
                    break
                state.settled += 1
                if merger is not None:
                    merger.settle(state.group, found)
            if merger is not None:
                merger.hold(state.group, is_held=any(map(merger.is_held, look.judged)))
            self._wait(track, state, look.alerts, verified)
            self._forget(state, verified)
        return changes

    def _look(self, track: _Track, state: _State, verified: datetime | None, merger: Merger | None) -> Look:
        is_again = self._refresh(state)
        alerts = state.live.alerts(state.settled)
        judged = [found for found in alerts if found.is_judged(verified)]
        for found in alerts:
            if not found.id:
                found.id = track.rule.alert_id(state.group, found.origin)
        # In order, only the newest alert can still fall away: one that waited for something not to come.
        suspects = state.told if is_again else {state.newest: None, **{found.id: None for found in alerts}}
        place = Place(track.rule, state.group, state.told, state.last_at)
        turned = turned_by(place, state.floor, suspects, {found.id for found in alerts})
        state.newest = alerts[-1].id if alerts else state.newest
        if track.is_feeding:
            self._feed_outer(track, state, turned, judged)
        if merger is not None:
            merger.update(place, alerts, turned, verified)
        return Look(place, alerts, judged, turned)

    def _publish(self, track: _Track) -> None:
        """After a restore: let the rules above have the inner alerts of the past."""
        if not track.is_feeding:
            return
        for state in list(track.states.values()):
            self._refresh(state)
            for found in state.live.alerts():
                found.id = found.id or track.rule.alert_id(state.group, found.origin)
                if found.judged_at is None or found.id in state.told:
                    self._hand_on(track, state, found, is_restoring=True)

    def _feed_outer(self, track: _Track, state: _State, turned: list[Told], judged: list[Found]) -> None:
        for told in turned:
            if not told.is_current:
                for number, group, hit in state.published.pop(told.id, ()):
                    self._remove(self._tracks[number], group, hit)
        for found in judged:
            if found.id not in state.published:
                self._hand_on(track, state, found)

    def _hand_on(self, track: _Track, state: _State, found: Found, *, is_restoring: bool = False) -> None:
        if found.id in state.published or found.is_quiet:
            return
        state.published[found.id] = list(self._feed.inner_hits(track.rule, state.group, found))
        for number, group, hit in state.published[found.id]:
            self._insert(self._tracks[number], group, hit, is_restoring=is_restoring)

    def _may_open(self, track: _Track, verified: datetime | None) -> Callable[[Found], bool]:
        """Make the test whether an alert may be told of: one of its records is no backlog and newer than the rule."""

        def may(found: Found) -> bool:
            if track.rule.is_silent or found.is_quiet:
                return False
            if track.rule.is_absence:
                resolving = found.resolved_by.records if found.resolved_by is not None else ()
                is_over = found.resolved_at is not None and verified is not None and found.resolved_at <= verified
                if is_over:
                    return any(_is_new(record, track.floor) for record in resolving)
                start = self._past.alerts_from
                return start is None or (verified is not None and verified >= start)
            return any(
                not hit.records or any(_is_new(record, track.floor) for record in hit.records) for hit in found.hits
            )

        return may

    def _wait(
        self, track: _Track, state: _State, alerts: Sequence[Found] | None = None, verified: datetime | None = None
    ) -> None:
        """Note when verified time next lets this group's alerts be judged."""
        found = state.live.alerts() if alerts is None else alerts
        due = [each.judged_at for each in found if each.judged_at is not None and not each.is_judged(verified)]
        if track.rule.is_merging:  # one group is back: whether others are missing must be seen first
            ends = [each.resolved_at for each in found if each.resolved_at is not None]
            due += [end for end in ends if verified is None or end > verified]
        start = self._past.alerts_from
        if track.rule.is_absence and start is not None and (verified is None or verified < start):
            due.append(start)
        if due and min(due) < state.waiting_at and min(due) != NEVER:
            state.waiting_at = min(due)
            self._sequence += 1
            heapq.heappush(track.waiting, (state.waiting_at, self._sequence, state.group))

    def _forget(self, state: _State, verified: datetime | None) -> None:
        """Fold for good what is older than is kept."""
        cutoff = self._cutoff(verified)
        if cutoff is None:
            return
        count = bisect.bisect_left(state.hits, cutoff, key=lambda each: each.at)
        if self._kept > MAX_KEPT:
            count = max(count, len(state.hits) - FEW)
        if count <= FEW:
            return
        for hit in state.hits[:count]:
            state.base.push(hit)
        state.floor = state.hits[count - 1].at + MICROSECOND
        del state.hits[:count]
        self._kept -= count
        self._drop_settled(state)

    def _drop_settled(self, state: _State) -> None:
        """Forget the alerts that can change no more."""
        count = min(state.settled, len(state.base.found) - 1, len(state.live.found) - 1)
        if count <= 0:
            return
        del state.base.found[:count]
        del state.live.found[:count]
        state.settled -= count
        left = {found.id for found in state.live.alerts()}
        floor = state.floor or NEVER
        for name in [each.id for each in state.told.values() if each.id not in left and each.until < floor]:
            del state.told[name]
            state.published.pop(name, None)

    def _cutoff(self, verified: datetime | None) -> datetime | None:
        """Say what is old, told from verified time: while a backlog is read, the newest record says nothing."""
        if self._keep is None or self._newest is None or verified is None:
            return None
        return min(self._newest, verified) - self._keep

    def _drop_idle(self, track: _Track, verified: datetime | None) -> None:
        """Drop the groups in which nothing can go on any more."""
        cutoff = self._cutoff(verified)
        if cutoff is None:
            return
        horizon = cutoff - track.rule.reach - track.rule.realert
        while track.states and not track.rule.is_absence:
            group, state = next(iter(track.states.items()))
            if state.last_at is None or state.last_at >= horizon or group in track.dirty:
                return
            self._let_go(track, state)
            track.dropped_at = max(track.dropped_at or state.last_at, state.last_at)
            del track.states[group]

    def _let_go(self, track: _Track, state: _State) -> None:
        """Leave nothing behind of a group that is dropped."""
        self._kept -= len(state.hits)
        name = track.rule.merged(state.group)
        if (merger := track.mergers.get(name)) is not None and merger.drop(state.group):
            del track.mergers[name]


def _since(rule: Correlation, begun: Found | None, hits: list[Hit]) -> list[Hit]:
    """Leave out the hits from before the alert that a state begins with, at its first instant too."""
    if begun is None or rule.kind in (Kind.NEW_TERM, Kind.SPIKE):
        return hits
    if rule.is_absence:
        return [hit for hit in hits if hit.at > begun.first_at]
    kept = [hit for hit in hits if hit.at >= begun.first_at]
    place = next((n for n, hit in enumerate(kept) if hit.key == begun.origin), 0)
    return kept[place:]


def _floor(track: _Track) -> datetime | None:
    """Give the time before which a group that is not there may have been: before what is known, or dropped as idle."""
    if track.dropped_at is None:
        return track.zone_end
    over = track.dropped_at + track.rule.reach + track.rule.realert
    return over if track.zone_end is None else max(track.zone_end, over)


def _is_same(one: Record, other: Record) -> bool:
    return (one.source, one.key) == (other.source, other.key)


def _is_new(record: Record, floor: int) -> bool:
    return not record.is_backlog and record.id > floor
