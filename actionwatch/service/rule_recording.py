"""Record what each rule does, each time that changes: `rule_files.py` calls it in the transaction that changes what runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.model import Mode
from actionwatch.base.rule_state import GONE, RuleEntry, RuleState
from actionwatch.rules.last_good import Running, is_within
from actionwatch.rules.model import Rule
from actionwatch.store import rule_history, rule_versions
from actionwatch.store.rule_versions import StoredVersion


@dataclass(frozen=True, slots=True)
class Doing:
    """The present state of a document. `why` explains a state that its mode does not."""

    state: RuleState
    is_held: bool = False
    why: str = ""


def record(connection: Connection, running: Running, now: Mapping[str, Doing], at: datetime) -> None:
    """Append what changed; `now` is what the running documents do.

    The versions that run now are stored, and those that no longer run are not deleted yet.
    """
    recorded = rule_history.read_newest(connection)
    stored = {each.rule_id: each for each in rule_versions.read_all(connection)}
    broken = {fault.file for fault in running.rules.faults}
    entries = []
    for rule_id, doing in now.items():
        before, version = recorded.get(rule_id), stored.get(rule_id)
        if version is None:
            continue  # its text could not be stored: see `rule_version_not_kept`
        is_same = before is not None and (before.state, before.is_held, before.why, before.since) == (
            doing.state, doing.is_held, doing.why, version.since
        )  # fmt: skip
        if not is_same:
            entries.append(_entry(version, doing, at))
    for rule_id, before in recorded.items():
        if rule_id not in now and before.state not in GONE:
            file = stored[rule_id].file if rule_id in stored else before.file
            state = RuleState.BROKEN if is_within(file, broken) else RuleState.REMOVED
            entries.append(replace(before, at=at, state=state, is_held=False, why=""))
    rule_history.append(connection, entries)


def doings(running: Running) -> dict[str, Doing]:
    """Return what each document that runs does, by its id."""
    rules = {rule.name.id: rule for rule in running.rules.rules}
    starving = _starved(running.rules.rules)
    return {
        version.id: replace(
            _doing(rules.get(version.id), starving),
            is_held=version.name in running.held.get(version.document.file, ()),
        )
        for version in running.versions
    }


def _doing(rule: Rule | None, starving: Mapping[str, str]) -> Doing:
    if rule is None:
        return Doing(RuleState.FILTER)
    if rule.mode is not Mode.OFF and rule.name.id in starving:
        return Doing(RuleState.OFF, why=f"it counts {starving[rule.name.id]}, which has mode: off")
    if rule.mode is not Mode.OFF and rule.is_silent:
        return Doing(RuleState.FEEDS)
    return Doing(RuleState(rule.mode.value))


def _entry(version: StoredVersion, doing: Doing, at: datetime) -> RuleEntry:
    return RuleEntry(
        at=at,
        rule_id=version.rule_id,
        name=version.name,
        state=doing.state,
        is_held=doing.is_held,
        why=doing.why,
        since=version.since,
        file=version.file,
    )


def _starved(rules: Iterable[Rule]) -> dict[str, str]:
    """Return the correlations that cannot fire because a rule that feeds them is off, by id, with the name of that rule."""
    owners = {part.name.id: each for each in rules if each.correlation for part in each.correlation.parts}
    known = owners | {rule.name.id: rule for rule in rules}
    found: dict[str, str] = {}
    pending = [rule for rule in rules if rule.correlation is not None]
    is_more = True
    while is_more:
        is_more = False
        for rule in pending:
            if rule.name.id not in found and (feeder := _first_off(rule, known, found)):
                found[rule.name.id] = feeder
                is_more = True
    return found


def _first_off(rule: Rule, known: Mapping[str, Rule], starving: Mapping[str, str]) -> str | None:
    correlation = rule.correlation
    if correlation is None:
        return None
    needed = {place for pattern in correlation.patterns for place in pattern.wanted} or range(len(correlation.steps))
    for place in sorted(needed):
        feeder = known.get(correlation.steps[place].rule_id)
        if feeder is not None and feeder is not rule:
            if feeder.mode is Mode.OFF:
                return feeder.name.name
            if feeder.name.id in starving:
                return starving[feeder.name.id]
    return None
