"""Correlation, live: hits in any order -> which alerts open, are joined, or resolve.

Each group keeps the state of its fold. A hit in order is pushed into it; a hit out of order has the group folded again, and
what comes out is compared with what was told before: late records, any batching and a rebuild from the store are one path.
An alert is a hit of the rules above it; where it changes, so does that hit, and those are folded again in turn.
Pure: what the store knows comes in as arguments, and the caller writes down what comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actionwatch.base.model import Mode, Record
from actionwatch.rules.correlations.folds.fold import Machine
from actionwatch.rules.correlations.live.changes import Change, Look, Past, Place, Row, compare, turned_by
from actionwatch.rules.correlations.live.feed import Feed
from actionwatch.rules.correlations.live.merging import Merger
from actionwatch.rules.correlations.live.order import in_feeding_order, needs, waiting
from actionwatch.rules.correlations.live.restart import begin_again, go_on, learn, remember
from actionwatch.rules.correlations.live.track import State, Track
from actionwatch.rules.engine import Failure
from actionwatch.rules.model import Correlation, Found, Group, Hit, Rule

MAX_GROUPS = 100_000  # per rule; the least recently touched goes first
MAX_KEPT = 200_000  # hits kept to be folded again, over all rules; beyond it groups keep only what their state needs


@dataclass(frozen=True, slots=True)
class _Sight:
    """As of when alerts are judged: what is verified, and what of it is old (`cutoff`) or too much to be kept."""

    verified: datetime | None
    cutoff: datetime | None
    is_full: bool


class Correlator:
    """All correlations over one stream of records."""

    def __init__(
        self, rules: Sequence[Rule], past: Past, *, keep: timedelta | None = None, max_groups: int = MAX_GROUPS
    ) -> None:
        """`keep`: for how long hits are kept to be folded again when one comes late (None: for ever)."""
        running = [rule for rule in rules if rule.correlation is not None and rule.mode is not Mode.OFF]
        self.rules = in_feeding_order([rule.correlation for rule in running if rule.correlation is not None])
        self._feed = Feed(rules, self.rules)
        self._keep = keep
        self._too_late = False
        self._unjudged_from: datetime | None = None
        self._tracks = _tracks(self.rules, past, max_groups)

    @property
    def too_late(self) -> datetime | None:
        """Say from when on the caller must have all rebuilt, where a hit came too late for what is kept.

        That is from the oldest hit not judged yet: one that came in time would be taken for long judged afterwards.
        """
        return self._unjudged_from if self._too_late else None

    @property
    def evicted(self) -> int:
        """Say how many groups were dropped for want of room."""
        return sum(track.evicted for track in self._tracks)

    def restore(self, rows: Iterable[Row], records: Iterable[Record]) -> None:
        """Rebuild from the store: `rows` are the alerts it remembers, `records` those that any rule needs, by time.

        Each record is read once for all rules. What lies before what a rule needs is left out, and what has been judged long
        ago is folded at once: not all of the records are held, however many a rule learns from.
        """
        tracks = {track.rule.name.id: track for track in self._tracks}
        for row in rows:
            if (track := tracks.get(row.rule_id)) is not None:
                remember(track, row.group, row.told)
        for track in self._tracks:
            begin_again(track)
        for number, group, hit in self._feed.hits(records):
            learn(self._tracks[number], group, hit)
        for track in self._tracks:
            go_on(track)
            for number, group, hit in self._published(track):
                learn(self._tracks[number], group, hit)

    def take(self, records: Iterable[Record]) -> None:
        """Take further records, in any order."""
        for number, group, hit in self._feed.hits(records):
            self._insert(number, group, hit)

    def changes(self, verified: datetime | None) -> list[Change]:
        """Say what is to be told as of a verified time. Cheap where nothing is due and nothing came."""
        changes: list[Change] = []
        self._unjudged_from = None
        sight = _Sight(verified, self._cutoff(verified), self.count_hits() > MAX_KEPT)
        for track in self._tracks:
            if not track.is_due(verified):
                continue
            groups = track.take_due(verified)
            if track.rule.is_merging:
                changes.extend(self._judge_merged(track, groups, sight))
            else:
                for group in groups:
                    changes.extend(self._judge(track, [track.states[group]], sight))
            if sight.cutoff is not None:
                track.drop_idle(sight.cutoff)
        return changes

    def is_due(self, verified: datetime | None) -> bool:
        """Say whether `changes` has anything to look at."""
        return any(track.is_due(verified) for track in self._tracks)

    def hits_of(self, rule_id: str, record: Record) -> Iterator[tuple[Group, Machine, list[Hit], list[Hit]]]:
        """Give the groups of a rule that a record has hits in: what they begin with, what is kept since, and those hits."""
        for track in self._tracks:
            for group, state in track.states.items() if track.rule.name.id == rule_id else ():
                own = [hit for hit in state.hits if any(_is_same(each, record) for each in hit.records)]
                if own:
                    yield group, state.base.copy(), [hit for hit in state.hits if hit.order < own[0].order], own

    def take_failures(self) -> list[Failure]:
        """Give what went wrong with rules since the last call."""
        return self._feed.take_failures()

    def count_groups(self) -> int:
        """Count the groups held."""
        return sum(len(track.states) for track in self._tracks)

    def count_hits(self) -> int:
        """Count the hits kept to be folded again."""
        return sum(track.kept for track in self._tracks)

    # -- hits ----------------------------------------------------------------------------------------------------------

    def _insert(self, number: int, group: Group, hit: Hit) -> None:
        self._note(hit, is_in_time=self._tracks[number].insert(group, hit))

    def _remove(self, number: int, group: Group, hit: Hit) -> None:
        self._note(hit, is_in_time=self._tracks[number].remove(group, hit))

    def _note(self, hit: Hit, *, is_in_time: bool) -> None:
        self._unjudged_from = hit.at if self._unjudged_from is None else min(self._unjudged_from, hit.at)
        self._too_late = self._too_late or not is_in_time

    def _cutoff(self, verified: datetime | None) -> datetime | None:
        """Say what is old, told from verified time: while a backlog is read, the newest record says nothing."""
        newest = max((track.newest for track in self._tracks if track.newest is not None), default=None)
        if self._keep is None or newest is None or verified is None:
            return None
        return min(newest, verified) - self._keep

    # -- judging -------------------------------------------------------------------------------------------------------

    def _judge_merged(self, track: Track, dirty: Sequence[Group], sight: _Sight) -> list[Change]:
        """Judge groups, those together that are told as one, with what was held back there."""
        changes: list[Change] = []
        together: dict[Group, dict[Group, None]] = {}
        for group in dirty:
            together.setdefault(track.rule.merged(group), {})[group] = None
        for groups in together.values():
            merger = track.merger(next(iter(groups)))
            groups.update(merger.held)
            states = [track.states[group] for group in groups if group in track.states]
            changes.extend(self._judge(track, states, sight, merger))
            if sight.cutoff is not None:
                merger.forget(sight.cutoff)
        return changes

    def _judge(
        self, track: Track, states: Sequence[State], sight: _Sight, merger: Merger | None = None
    ) -> list[Change]:
        """Judge one group, or several that are told as one."""
        looks = [self._look(track, state, sight.verified, merger) for state in states]
        changes = list(compare(looks, lambda found: track.may_open(found, sight.verified), merger))
        for state, look in zip(states, looks, strict=True):
            track.settle(state, look.alerts, sight.verified, merger)
            if merger is not None:
                merger.hold(state.group, is_held=any(map(merger.is_held, look.judged)))
            track.wait(state, look.alerts, sight.verified)
            if sight.cutoff is not None:
                track.forget(state, sight.cutoff, is_full=sight.is_full)
        return changes

    def _look(self, track: Track, state: State, verified: datetime | None, merger: Merger | None) -> Look:
        track.refresh(state)
        is_again, state.is_refolded = state.is_refolded, False
        alerts = track.alerts(state, state.settled)
        judged = [found for found in alerts if found.is_judged(verified)]
        current = {found.id for found in alerts}
        # In order, only the newest alert can still fall away: one that waited for something not to come.
        suspects = {*state.told, *state.published} if is_again else {state.newest, *current}
        place = Place(track.rule, state.group, state.told, state.last_at)
        turned = turned_by(place, suspects, current)
        state.newest = alerts[-1].id if alerts else ""
        if track.is_feeding:
            self._feed_outer(track, state, suspects, judged, is_again=is_again)
        if merger is not None:
            merger.update(place, alerts, turned, verified)
        return Look(place, alerts, judged, turned)

    # -- the rules above -----------------------------------------------------------------------------------------------

    def _published(self, track: Track) -> Iterator[tuple[int, Group, Hit]]:
        """After a restore: give the hits that the rules above have of the inner alerts of the past."""
        for state in track.states.values() if track.is_feeding else ():
            track.refresh(state)
            for found in track.alerts(state):
                told = state.told.get(found.id)
                if found.judged_at is None or (told is not None and told.is_current):
                    hits = state.published[found.id] = self._hits_above(track, state, found)
                    yield from hits

    def _feed_outer(
        self, track: Track, state: State, suspects: Iterable[str], judged: Sequence[Found], *, is_again: bool
    ) -> None:
        """Have the rules above count the alerts as they are now: those that are judged, with what they hold, and no others."""
        # Where all came in order, only what waited for verified time can change once it is published.
        settled = {found.id for found in judged if not is_again and found.judged_at is None} & state.published.keys()
        now = {found.id: self._hits_above(track, state, found) for found in judged if found.id not in settled}
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

    def _hits_above(self, track: Track, state: State, found: Found) -> list[tuple[int, Group, Hit]]:
        """Give the hits that an alert is in the rules above; the one a state begins with is too long ago to matter there."""
        if found.is_quiet or (state.begun is not None and found.id == state.begun.id):
            return []
        return list(self._feed.inner_hits(track.rule, state.group, found))


def _tracks(rules: Sequence[Correlation], past: Past, max_groups: int) -> list[Track]:
    """Make a track for each rule; `rules` are in feeding order."""
    needed, waits = needs(rules), waiting(rules)
    correlated = {rule.name.id for rule in rules}
    fed = {step.rule_id for rule in rules for step in rule.steps}
    tracks = []
    for rule in rules:
        since, inner = past.since(rule), [step.rule_id for step in rule.steps if step.rule_id in correlated]
        track = Track(
            rule=rule,
            is_feeding=rule.name.id in fed,
            is_direct=not inner,
            is_waiting=not waits.isdisjoint(inner),
            since=since,
            zone_end=None if since is None else since + needed[rule.name.id],
            begin=past.begin(rule),
            floor=past.floors(rule),
            alerts_from=past.alerts_from,
            max_groups=max_groups,
        )
        for group in rule.expected or ():
            state = track.state(group)
            track.wait(state, track.alerts(state), None)
        tracks.append(track)
    return tracks


def _is_same(one: Record, other: Record) -> bool:
    return one.key == other.key
