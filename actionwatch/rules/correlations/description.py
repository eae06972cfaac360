"""Describe the alert of a correlation to people: one match represents all of its records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from actionwatch.base.durations import spell_duration
from actionwatch.base.model import NOTHING, AlertChange, ChangeKind, Entity, Group, Level, Match, Record
from actionwatch.base.unicode import canonical
from actionwatch.rules.alert import level_of, make_match
from actionwatch.rules.alert_text import plain_body
from actionwatch.rules.correlations.changes import FoundChange
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.engine import RuleFailure
from actionwatch.rules.fields import ENTITIES, Subject, field_named, spell
from actionwatch.rules.model import Correlation
from actionwatch.text.payloads import instant

_PLACEHOLDER_KIND = "NOTHING"  # the kind of the record that represents a missing one


def describe(
    rule: Correlation, made: FoundChange, records: Sequence[Record], on_failure: Callable[[RuleFailure], None]
) -> AlertChange:
    """Return a change as the alert ledger takes it, with its records, the level, and the texts that people read.

    `records` are those that the change is `described_by`.
    """
    change, found = made.change, made.found
    if found is None or change.kind in (None, ChangeKind.RESOLVE):
        return change

    def failed(record: Record, what: str) -> None:
        on_failure(RuleFailure(rule.name, record.key, what))

    added = () if rule.is_absence else tuple(records)
    if change.kind is ChangeKind.JOIN and not rule.is_absence:
        return replace(change, records=added, level=_highest_level(rule, added, failed))
    newest = records[-1] if records else _placeholder(rule, change.known.group, found)
    match = _match(rule, change.known.group, found, newest, added, failed)
    return replace(change, records=added, level=match.level, match=match)


def _match(
    rule: Correlation,
    group: Group,
    found: FoundAlert,
    newest: Record,
    records: Sequence[Record],
    failed: Callable[[Record, str], None],
) -> Match:
    """Return the match that represents all records of an alert (in event order): the newest, at their highest level."""
    shown = _as_written(rule, group, newest)
    match = make_match(
        rule.name,
        rule.level,
        rule.alert,
        Subject(newest),
        partial(failed, newest),
        group=shown,
        count=len(records),
        plain=_plain(rule, found, records, rule.grouping(group) if rule.is_absence else shown),
    )
    others = records[:-1]  # the newest has its level already
    level = max(match.level, _highest_level(rule, others, failed)) if others else match.level
    return replace(match, level=level, realert=rule.realert)


def _as_written(rule: Correlation, group: Group, newest: Record) -> dict[str, str | None]:
    """Return what an alert shows of a group, each value as the newest record writes it: a group holds canonical forms."""
    return {name: _written(rule, name, value, newest) for name, value in rule.grouping(group).items()}


def _written(rule: Correlation, name: str, value: str | None, newest: Record) -> str | None:
    if value is None or value.isascii():
        return value
    names = dict.fromkeys((name, *(step.aliases[name] for step in rule.steps if name in step.aliases)))
    fields = [field for each in names if (field := field_named(each)) is not None]
    texts = [spell(candidate) for field in fields for candidate in field.read(Subject(newest))]
    return next((text for text in texts if canonical(text) == value), value)


def _highest_level(rule: Correlation, records: Sequence[Record], failed: Callable[[Record, str], None]) -> Level:
    """Return the highest level that any of these records has under the rule."""
    if not rule.alert.levels:
        return rule.alert.level or rule.level
    return max(level_of(rule.level, rule.alert, Subject(record), partial(failed, record)) for record in records)


def _placeholder(rule: Correlation, group: Group, found: FoundAlert) -> Record:
    """Return a record that represents a missing one: it holds the values of the group, and is never stored."""
    values = rule.grouping(group)
    entities = {name: _entity(values, name) for name in ENTITIES}
    return Record(
        key="",
        source=values.get("source") or "",
        occurred_at=found.first_at,
        seen_at=found.first_at,
        action_kind=values.get("actionKind") or _PLACEHOLDER_KIND,
        raw="{}",
        user_name=values.get("userName"),
        description=values.get("description"),
        domain_type=values.get("domainType"),
        operation=values.get("crudOperation"),
        scope=values.get("scope"),
        account=entities["account"],
        cluster=entities["cluster"],
        organisation=entities["organisation"],
    )


def _entity(values: dict[str, str | None], name: str) -> Entity:
    by_id = values.get(f"{name}.id") or (values.get("clusterId") if name == "cluster" else None)
    by_name = values.get(f"{name}.name") or values.get(name)
    return Entity(by_id, by_name) if by_id or by_name else NOTHING


def _plain(rule: Correlation, found: FoundAlert, records: Sequence[Record], group: dict[str, str | None]) -> str:
    of = ", ".join(f"{name} {value or 'unknown'}" for name, value in group.items())
    where = f" for {of}" if of else ""
    if rule.is_absence:
        since = f"since {instant(found.last_seen.occurred_at)}" if found.last_seen is not None else "so far"
        return f"Nothing{where} {since}: expected within {spell_duration(rule.timespan)}, due at {instant(found.first_at)}."
    if len(records) == 1:
        return plain_body(records[0])
    many = f"{len(records)} records{where} from {instant(found.first_at)} to {instant(records[-1].occurred_at)}"
    return f"{many}. The newest: {plain_body(records[-1])}"
