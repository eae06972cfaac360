"""Rebuild the groups of a rule after a restart, from the alerts and the records that the store holds.

Before `zone_end` some hits that matter are unknown: the stored alerts say what fired there, and hits are folded quietly.
"""

from __future__ import annotations

import bisect

from actionwatch.base.model import CorrelatedAlert
from actionwatch.rules.correlations.live.rule_state import MICROSECOND, GroupState, RuleState
from actionwatch.rules.model import Correlation, Found, Group, Hit, Kind


def restore_alert(rule_state: RuleState, known: CorrelatedAlert) -> None:
    """Take an alert that the store holds."""
    group = known.group
    is_expected = not rule_state.rule.is_absence or group in rule_state.states
    if is_expected and len(group) == len(rule_state.rule.group_fields):
        rule_state.state(group).known[known.id] = known


def restore_groups(rule_state: RuleState) -> None:
    """Begin each group at the last of its alerts that began before all of its hits are known, if there is one."""
    for state in rule_state.states.values():
        if rule_state.rule.is_merging:
            reported = [each for each in state.known.values() if each.is_current and not _is_early(rule_state, each)]
            rule_state.merger(state.group).restore(state.group, reported)
        begun = [each for each in state.known.values() if each.is_current and _is_over(rule_state, each)]
        last = max(begun, key=lambda each: (each.first_at, each.fired_at), default=None)
        if last is not None:
            is_quiet = _is_early(rule_state, last)
            state.begun = Found(
                last.origin, last.first_at, last.fired_at, last.until, [], is_quiet=is_quiet, id=last.id
            )
            state.base.restore(state.begun)


def restore_hit(rule_state: RuleState, group: Group, hit: Hit) -> None:
    """Take a hit from before the restart."""
    if rule_state.since is not None and hit.at < rule_state.since:
        return
    state = rule_state.state(group)
    if (
        rule_state.is_direct
        and rule_state.zone_end is not None
        and state.hits
        and state.hits[-1].at < min(hit.at, rule_state.zone_end)
    ):
        _fold_quietly(rule_state, state)
    rule_state.keep(state, hit)


def finish_restore(rule_state: RuleState) -> None:
    """Finish, once all hits from before the restart are restored."""
    for state in rule_state.states.values():
        _fold_quietly(rule_state, state)
        state.is_stale = True
        rule_state.dirty[state.group] = None
        if rule_state.zone_end is not None:
            begun = state.begun
            # Its hits may be folded already.
            state.floor = (
                rule_state.zone_end if begun is None else max(rule_state.zone_end, begun.fired_at + MICROSECOND)
            )
            left = {rule_state.rule.alert_id(state.group, found.origin) for found in state.base.alerts()}
            state.known = {
                known.id: known for known in state.known.values() if not _is_over(rule_state, known) or known.id in left
            }


def _is_over(rule_state: RuleState, known: CorrelatedAlert) -> bool:
    """Return whether an alert began before all hits are known."""
    return rule_state.zone_end is not None and known.first_at < rule_state.zone_end


def _is_early(rule_state: RuleState, known: CorrelatedAlert) -> bool:
    return rule_state.rule.is_early(known.fired_at, rule_state.begin)


def _fold_quietly(rule_state: RuleState, state: GroupState) -> None:
    """Fold the hits whose alerts are stored: those from before all hits are known."""
    if rule_state.zone_end is None:
        return
    count = bisect.bisect_left(state.hits, rule_state.zone_end, key=lambda each: each.at)
    hits, state.hits = state.hits[:count], state.hits[count:]
    rule_state.kept -= count
    for hit in _since(rule_state.rule, state.begun, hits):
        state.base.push(hit, is_quiet=True)


def _since(rule: Correlation, begun: Found | None, hits: list[Hit]) -> list[Hit]:
    """Return the hits without those before the alert that a state begins with, also at its first instant."""
    if begun is None or rule.kind in (Kind.NEW_TERM, Kind.SPIKE):
        return hits
    if rule.is_absence:
        return [hit for hit in hits if hit.at > begun.first_at]
    kept = [hit for hit in hits if hit.at >= begun.first_at]
    place = next((n for n, hit in enumerate(kept) if hit.key == begun.origin), 0)
    return kept[place:]
