"""Record what each rule does, each time that changes: `rule_files.py` calls it in the transaction that changes what runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.clock import ALWAYS
from actionwatch.base.model import Mode
from actionwatch.base.rule_state import GONE, EntryOrigin, RuleEntry, RuleState
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


@dataclass(frozen=True, slots=True)
class Moment:
    """The time of a change, and the times of actions to which it may, and surely does, apply from then on."""

    at: datetime
    may_begin_at: datetime
    begins_at: datetime

    @classmethod
    def of(cls, at: datetime, matched: tuple[datetime, datetime] | None, *, is_start: bool) -> Moment:
        """Return the moment of a change, when everything up to two times was read and matched: of all sources, and of any.

        None: nothing was read yet. At a start, nothing is being matched. On a reload, a batch that began before it may still be
        matched as before.
        """
        of_all, of_any = matched or (ALWAYS, ALWAYS)
        return cls(at, of_all, of_any if is_start else max(at, of_any))


def reconcile(connection: Connection, stored: Sequence[StoredVersion], at: datetime) -> None:
    """At a start, append what ran unrecorded while a replica of an older actionwatch led."""
    recorded = rule_history.read_newest(connection)
    entries = []
    for version in stored:
        before = recorded.pop(version.rule_id, None)
        if before is None or before.state in GONE or before.since != version.since:
            state = RuleState.FILTER if version.mode is None else RuleState(version.mode)
            moment = Moment(at, version.since, version.since)
            entries.append(_entry(version, Doing(state), EntryOrigin.FOUND, moment, before))
    gone = [each for each in recorded.values() if each.state not in GONE]
    entries += [_gone(each, RuleState.REMOVED, EntryOrigin.FOUND, Moment(at, at, at)) for each in gone]
    rule_history.append(connection, entries)


def record(
    connection: Connection,
    running: Running,
    now: Mapping[str, Doing],
    sources: Collection[str],
    at: datetime,
    *,
    is_start: bool,
) -> None:
    """Append what changed; `now` is what the running documents do.

    The versions that run now are stored, and those that no longer run are not deleted yet.
    """
    moment = Moment.of(at, rule_history.matched_between(connection, sources), is_start=is_start)
    recorded = rule_history.read_newest(connection)
    stored = {each.rule_id: each for each in rule_versions.read_all(connection)}
    broken = {fault.file for fault in running.rules.faults}
    entries = []
    for rule_id, doing in now.items():
        before, version = recorded.get(rule_id), stored.get(rule_id)
        if version is None:
            continue  # its text could not be stored: see `rule_version_not_kept`
        if before is None or before.state in GONE:
            entries.append(_entry(version, doing, EntryOrigin.ADDED, moment, before))
        elif doing != Doing(before.state, before.is_held, before.why) or before.since != version.since:
            entries.append(_entry(version, doing, EntryOrigin.CHANGED, moment, before))
    for rule_id, before in recorded.items():
        if rule_id not in now and before.state not in GONE:
            file = stored[rule_id].file if rule_id in stored else before.file
            state = RuleState.BROKEN if is_within(file, broken) else RuleState.REMOVED
            entries.append(_gone(before, state, EntryOrigin.CHANGED, moment))
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


def _entry(
    version: StoredVersion, doing: Doing, origin: EntryOrigin, moment: Moment, before: RuleEntry | None
) -> RuleEntry:
    return RuleEntry(
        at=moment.at,
        rule_id=version.rule_id,
        name=version.name,
        state=doing.state,
        origin=origin,
        may_begin_at=moment.may_begin_at,
        begins_at=_in_order(moment.begins_at, before),
        is_held=doing.is_held,
        why=doing.why,
        since=version.since,
        file=version.file,
        document=version.document,
        lists=version.lists,
    )


def _gone(before: RuleEntry, state: RuleState, origin: EntryOrigin, moment: Moment) -> RuleEntry:
    return replace(
        before,
        at=moment.at,
        state=state,
        origin=origin,
        may_begin_at=moment.may_begin_at,
        begins_at=_in_order(moment.begins_at, before),
        is_held=False,
        why="",
    )


def _in_order(begins_at: datetime, before: RuleEntry | None) -> datetime:
    """Return when an entry begins: not before the previous one, although a clock may have been set back."""
    return max(begins_at, before.begins_at) if before else begins_at


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
