"""What people are told of a correlation's alert: one match that stands for all of its records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actionwatch.base.durations import spell_duration
from actionwatch.base.model import NOTHING, Entity, Level, Match, Record
from actionwatch.base.unicode import canonical
from actionwatch.rules.alert import level_of, make_match
from actionwatch.rules.alert_text import plain_body
from actionwatch.rules.fields import ENTITIES, Subject, field_named, spell
from actionwatch.rules.model import Correlation, Found, Group
from actionwatch.text.payloads import instant

STAND_IN = "NOTHING"  # the kind of the record that stands in where nothing was ever seen
MAX_LINES = 20  # of a body that says what is missing: more is a list nobody reads
MORE = "… and more."


@dataclass(frozen=True, slots=True)
class Telling:
    """An alert as it opens: its match, with the newest record and the highest level, and what its records add up to."""

    match: Match
    count: int
    first_at: datetime
    last_at: datetime
    late_by: timedelta | None


def tell(
    rule: Correlation, group: Group, found: Found, records: Sequence[Record], on_failure: Callable[[str, str], None]
) -> Telling:
    """Say what an alert with these records, in event order, tells. Failures go to `on_failure` as (record key, what)."""
    newest = records[-1] if records else found.last_seen or stand_in(rule, group, found)
    shown = _as_written(rule, group, newest)
    level = highest_level(rule, records) if records else None
    match = make_match(
        rule.name,
        rule.level,
        rule.alert,
        Subject(newest),
        lambda what: on_failure(newest.key, what),
        group=shown,
        count=len(records),
        plain=_plain(rule, found, records, rule.grouping(group) if rule.is_absence else shown),
    )
    if level is not None and level > match.level:
        match = dataclasses.replace(match, level=level)
    match = dataclasses.replace(match, realert=rule.realert)
    late = [record.late_by for record in records if record.late_by is not None]
    times = [record.occurred_at for record in records] or [found.first_at]
    # An inner alert is a hit at its firing time, after its records.
    first_at = min(found.first_at, times[0])
    return Telling(match, len(records), first_at, times[-1], max(late, default=None))


def _as_written(rule: Correlation, group: Group, newest: Record) -> dict[str, str | None]:
    """Give what an alert shows of a group, each value as the newest record writes it: a group holds canonical forms."""
    return {name: _written(rule, name, value, newest) for name, value in rule.shown_group(group).items()}


def _written(rule: Correlation, name: str, value: str | None, newest: Record) -> str | None:
    if value is None or value.isascii():
        return value
    names = dict.fromkeys((name, *(step.aliases[name] for step in rule.steps if name in step.aliases)))
    fields = [field for each in names if (field := field_named(each)) is not None]
    texts = [spell(candidate) for field in fields for candidate in field.read(Subject(newest))]
    return next((text for text in texts if canonical(text) == value), value)


def with_missing(body: str, missing: str) -> str:
    """Add to what an alert says is missing; beyond what is read, only that there is more."""
    lines = body.splitlines()
    if missing in body or lines[-1:] == [MORE]:
        return body
    return f"{body}\n{missing if len(lines) < MAX_LINES else MORE}"


def highest_level(rule: Correlation, records: Sequence[Record]) -> Level:
    """Give the highest level that any of these records has under the rule."""
    if not rule.alert.levels:
        return rule.alert.level or rule.level
    return max(level_of(rule.level, rule.alert, Subject(record)) for record in records)


def stand_in(rule: Correlation, group: Group, found: Found) -> Record:
    """Make a record of what was awaited and never came: it holds the values of the group, and is never stored."""
    told = rule.grouping(group)
    entities = {name: _entity(told, name) for name in ENTITIES}
    return Record(
        key="",
        source=told.get("source") or "",
        occurred_at=found.first_at,
        seen_at=found.first_at,
        action_kind=told.get("actionKind") or STAND_IN,
        raw="{}",
        user_name=told.get("userName"),
        description=told.get("description"),
        domain_type=told.get("domainType"),
        operation=told.get("crudOperation"),
        scope=told.get("scope"),
        account=entities["account"],
        cluster=entities["cluster"],
        organisation=entities["organisation"],
    )


def _entity(told: dict[str, str | None], name: str) -> Entity:
    by_id = told.get(f"{name}.id") or (told.get("clusterId") if name == "cluster" else None)
    by_name = told.get(f"{name}.name") or told.get(name)
    return Entity(by_id, by_name) if by_id or by_name else NOTHING


def _plain(rule: Correlation, found: Found, records: Sequence[Record], group: dict[str, str | None]) -> str:
    """Say in plain words what was found."""
    of = ", ".join(f"{name} {value or 'unknown'}" for name, value in group.items())
    where = f" for {of}" if of else ""
    if rule.is_absence:
        since = f"since {instant(found.last_seen.occurred_at)}" if found.last_seen is not None else "so far"
        return f"Nothing{where} {since}: expected within {spell_duration(rule.timespan)}, due at {instant(found.first_at)}."
    if len(records) == 1:
        return plain_body(records[0])
    if not records:  # it counts alerts of rules that watch for absence
        return f"Nothing came{where} where it was awaited, from {instant(found.first_at)} to {instant(found.fired_at)}."
    many = f"{len(records)} records{where} from {instant(found.first_at)} to {instant(records[-1].occurred_at)}"
    return f"{many}. The newest: {plain_body(records[-1])}"
