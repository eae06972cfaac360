"""A restart: the groups of a rule rebuilt from the alerts that the store remembers, and from its records.

Before `zone_end` not all hits are known that matter: which alerts there were is remembered, and hits are folded quietly there.
"""

from __future__ import annotations

import bisect

from actionwatch.rules.correlations.live.changes import Told
from actionwatch.rules.correlations.live.track import MICROSECOND, State, Track
from actionwatch.rules.model import Correlation, Found, Group, Hit, Kind


def remember(track: Track, group: Group, told: Told) -> None:
    """Take an alert that the store remembers."""
    is_expected = not track.rule.is_absence or group in track.states
    if is_expected and len(group) == len(track.rule.group_fields):
        track.state(group).told[told.id] = told


def begin_again(track: Track) -> None:
    """Begin each group at the last of its alerts that began before its hits are all known, if there is one."""
    for state in track.states.values():
        if track.rule.is_merging:
            heard = [each for each in state.told.values() if each.is_current and not _is_early(track, each)]
            track.merger(state.group).remember(state.group, heard)
        known = [each for each in state.told.values() if each.is_current and _is_over(track, each)]
        last = max(known, key=lambda each: (each.first_at, each.fired_at), default=None)
        if last is not None:
            is_quiet = _is_early(track, last)
            state.begun = Found(
                last.origin, last.first_at, last.fired_at, last.until, [], is_quiet=is_quiet, id=last.id
            )
            state.base.restore(state.begun)


def learn(track: Track, group: Group, hit: Hit) -> None:
    """Take a hit from before the restart."""
    if track.since is not None and hit.at < track.since:
        return
    state = track.state(group)
    if (
        track.is_direct
        and track.zone_end is not None
        and state.hits
        and state.hits[-1].at < min(hit.at, track.zone_end)
    ):
        _fold_quietly(track, state)
    track.keep(state, hit)


def go_on(track: Track) -> None:
    """Take it that all from before the restart is known."""
    for state in track.states.values():
        _fold_quietly(track, state)
        state.is_stale = True
        track.dirty[state.group] = None
        if track.zone_end is not None:
            begun = state.begun
            # What it was made of may have been folded for good.
            state.floor = track.zone_end if begun is None else max(track.zone_end, begun.fired_at + MICROSECOND)
            left = {track.rule.alert_id(state.group, found.origin) for found in state.base.alerts()}
            state.told = {told.id: told for told in state.told.values() if not _is_over(track, told) or told.id in left}


def _is_over(track: Track, told: Told) -> bool:
    """Say whether an alert began before all is known."""
    return track.zone_end is not None and told.first_at < track.zone_end


def _is_early(track: Track, told: Told) -> bool:
    return track.rule.is_early(told.fired_at, track.begin)


def _fold_quietly(track: Track, state: State) -> None:
    """Fold the hits for good whose alerts are known: those from before all is known."""
    if track.zone_end is None:
        return
    count = bisect.bisect_left(state.hits, track.zone_end, key=lambda each: each.at)
    hits, state.hits = state.hits[:count], state.hits[count:]
    track.kept -= count
    for hit in _since(track.rule, state.begun, hits):
        state.base.push(hit, is_quiet=True)


def _since(rule: Correlation, begun: Found | None, hits: list[Hit]) -> list[Hit]:
    """Leave out the hits from before the alert that a state begins with, at its first instant too."""
    if begun is None or rule.kind in (Kind.NEW_TERM, Kind.SPIKE):
        return hits
    if rule.is_absence:
        return [hit for hit in hits if hit.at > begun.first_at]
    kept = [hit for hit in hits if hit.at >= begun.first_at]
    place = next((n for n, hit in enumerate(kept) if hit.key == begun.origin), 0)
    return kept[place:]
