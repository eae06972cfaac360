"""Correlation, live: hits in any order -> which alerts open, are joined, or resolve.

Each group keeps the state of its fold. A hit in order is pushed into it; a hit out of order has the group folded again, and
what comes out is compared with what was told before: late records, any batching and a rebuild from the store are one path.
Pure: what the store knows comes in as arguments, and the caller writes down what comes out.
"""

from __future__ import annotations

import bisect
import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actionwatch.model import Mode, Record
from actionwatch.rules.correlations.changes import Change, Past, Place, Row, Told, compare, turned_by
from actionwatch.rules.correlations.feed import Feed
from actionwatch.rules.correlations.fold import Machine, machine
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
    zone_end: datetime | None
    begin: datetime | None
    floor: int
    dropped_at: datetime | None = None
    """The newest hit of a group that was dropped as idle."""
    states: OrderedDict[Group, _State] = field(default_factory=OrderedDict)
    dirty: dict[Group, None] = field(default_factory=dict)
    waiting: list[tuple[datetime, int, Group]] = field(default_factory=list)


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
        self.too_late: datetime | None = None
        """The time of the oldest hit that came too late for what is kept: the caller rebuilds from before it."""
        fed = {step.rule_id for rule in self.rules for step in rule.steps}
        self._tracks = [self._track(number, rule, rule.name.id in fed) for number, rule in enumerate(self.rules)]

    def restore(self, rows: Iterable[Row], records: Iterable[Record]) -> None:
        """Rebuild from the store: `rows` are the alerts it remembers, `records` those since `past.since`, in any order."""
        tracks = {track.rule.name.id: track for track in self._tracks}
        remembered: dict[tuple[int, Group], list[Told]] = {}
        for row in rows:
            track = tracks.get(row.rule_id)
            if track is not None and len(row.group) == len(track.rule.group_fields):
                remembered.setdefault((track.number, row.group), []).append(row.told)
        for number, group, hit in self._feed.hits(records):
            self._insert(self._tracks[number], group, hit, is_restoring=True)
        for track in self._tracks:
            for (number, group), told in remembered.items():
                if number == track.number:
                    state = self._state(track, group)
                    state.told = {each.id: each for each in told}
            for state in list(track.states.values()):
                self._found_base(track, state)
                track.dirty[state.group] = None
            self._publish(track)

    def take(self, records: Iterable[Record]) -> None:
        """Take further records, in any order."""
        for number, group, hit in self._feed.hits(records):
            self._insert(self._tracks[number], group, hit)

    def changes(self, verified: datetime | None) -> list[Change]:
        """Say what is to be told as of a verified time. Cheap where nothing is due and nothing came."""
        changes: list[Change] = []
        for track in self._tracks:
            while track.waiting and verified is not None and track.waiting[0][0] <= verified:
                _, _, group = heapq.heappop(track.waiting)
                if group in track.states:
                    track.states[group].waiting_at = NEVER
                    track.dirty[group] = None
            if not track.dirty:
                continue
            dirty, track.dirty = list(track.dirty), {}
            for group in dirty:
                if (state := track.states.get(group)) is not None:
                    changes.extend(self._judge(track, state, verified))
            self._drop_idle(track, verified)
        return changes

    def is_due(self, verified: datetime | None) -> bool:
        """Say whether `changes` has anything to look at."""
        return any(
            track.dirty or (track.waiting and verified is not None and track.waiting[0][0] <= verified)
            for track in self._tracks
        )

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
        since = self._past.since
        zone_end = None if since is None else since + self._needs[rule.name.id]
        track = _Track(number, rule, is_feeding, zone_end, self._past.begin(rule), self._past.floors(rule))
        for group in rule.expected or ():
            state = self._state(track, group)
            self._wait(track, state)
        return track

    def _state(self, track: _Track, group: Group) -> _State:
        state = track.states.get(group)
        if state is None:
            base = machine(track.rule, track.begin)
            state = track.states[group] = _State(group, base, base.copy(), floor=track.zone_end)
            if len(track.states) > self._max_groups:
                _, dropped = track.states.popitem(last=False)
                self._kept -= len(dropped.hits)
                self.evicted += 1
        else:
            track.states.move_to_end(group)
        return state

    def _insert(self, track: _Track, group: Group, hit: Hit, *, is_restoring: bool = False) -> None:
        if not is_restoring and self._is_too_late(track, group, hit.at):
            self.too_late = hit.at if self.too_late is None else min(self.too_late, hit.at)
            return
        state = self._state(track, group)
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
        floor = track.zone_end if state is None else state.floor
        if state is None and track.dropped_at is not None:
            over = track.dropped_at + track.rule.reach + track.rule.realert
            floor = over if floor is None else max(floor, over)
        return floor is not None and at < floor

    def _found_base(self, track: _Track, state: _State) -> None:
        """Begin a group in the middle: at the last alert that began before its hits are all known, else with its window."""
        zone_end = track.zone_end
        if zone_end is None:
            state.is_stale = True
            return
        known = [each for each in state.told.values() if each.is_current and each.first_at < zone_end]
        last = max(known, key=lambda each: (each.first_at, each.fired_at), default=None)
        hits = state.hits
        state.base = machine(track.rule, track.begin)
        if last is not None:
            found = Found(last.origin, last.first_at, last.fired_at, last.until, [], id=last.id)
            state.base.restore(found)
            state.published[found.id] = []  # too long ago to matter to the rules above
            if track.rule.is_absence:
                hits = [hit for hit in hits if hit.at > last.first_at]
            elif track.rule.kind not in (Kind.NEW_TERM, Kind.SPIKE):
                hits = [hit for hit in hits if hit.at >= last.first_at]
        quiet = [hit for hit in hits if hit.at < zone_end]
        for hit in quiet:
            state.base.push(hit, is_quiet=True)
        self._kept -= len(state.hits) - (len(hits) - len(quiet))
        state.hits = hits[len(quiet) :]
        state.floor = zone_end
        state.is_stale = True

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

    def _judge(self, track: _Track, state: _State, verified: datetime | None) -> list[Change]:
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
        changes = list(compare(place, judged, turned, self._may_open(track, verified)))
        for found in alerts[:-1]:
            if not found.is_judged(verified):
                break
            state.settled += 1
        self._wait(track, state, alerts, verified)
        self._forget(state, verified)
        return changes

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
            self._kept -= len(state.hits)
            track.dropped_at = max(track.dropped_at or state.last_at, state.last_at)
            del track.states[group]


def _is_new(record: Record, floor: int) -> bool:
    return not record.is_backlog and record.id > floor
