"""The alerts and their records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    type_coerce,
)

from actionwatch.base.clock import MICROSECOND, Spans, to_micros
from actionwatch.base.model import Alert, Level, RecordFilter, RuleName, Status
from actionwatch.base.search_words import words_of
from actionwatch.base.unicode import forms
from actionwatch.store import record_search, record_values, row_versions
from actionwatch.store.column_types import RowFormat
from actionwatch.store.statements import (
    LAST_CHARACTER,
    PageKey,
    bulk_insert,
    bulk_join,
    first_two,
    has_prefix,
    has_row,
    portions,
)
from actionwatch.store.tables import (
    ALERT,
    ALERT_HISTORY,
    ALERT_RECORD,
    CORRELATED_ALERT,
    DELIVERY,
    MESSAGE_REFERENCE,
    NEEDS_PERSON,
    RECORD,
    RULE_VERSION,
    SELF_ALERT,
)

_LEAST_ID_CHARS = 6  # of the beginning of an id in a search: people copy eight
# The column of each attribute.
_RULE = {"rule_id": "rule.id", "rule_name": "rule.name", "rule_title": "rule.title", "tags": "rule.tags"}
_COLUMN_NAMES = {"count": "match_count", "group": "group_values", "user": "user_name", "cluster": "cluster_name"}
_OTHERS = {_COLUMN_NAMES.get(name, name): name for name in Alert.__struct_fields__[2:]}
_ROWS = RowFormat(ALERT, {"id": "id", **_RULE, **_OTHERS})
_CHANGING = (
    "body", "level", "status", "acked_by", "resolved_by", "resolved_at", "match_count", "first_at", "last_at", "late_by",
    "labels", "assigned_to", "note", "noted_by", "reopened_by", "reopened_at",
)  # fmt: skip
READ = _ROWS.columns
"""The columns that `alert_of` reads, in its order."""
_ALERTS = select(*READ)
# Built once, because every message runs it.
_ONE = _ALERTS.where(ALERT.c.id == bindparam("alert_id"))
# `given`: a grouping key, the first and the last time of its matches. The index by group serves the bounds with the longest
# `realert` (which its own index has), but no sum of two columns.
_LONGEST = "(SELECT max(realert) FROM alert)"
_IS_JOINABLE = f"""
    alert.group_key = given.column1 AND alert.status <> '{Status.RESOLVED.value}'
    AND alert.first_at BETWEEN given.column2 - {_LONGEST} AND given.column3 + {_LONGEST}
    AND alert.first_at + alert.realert >= given.column2 AND alert.first_at - alert.realert <= given.column3
"""
_MANY = _ALERTS.where(ALERT.c.id.in_(bindparam("alert_ids", expanding=True)))
_JOINED = (
    select(ALERT.c.rule_id, ALERT.c.id, ALERT_RECORD.c.record_id)
    .join(ALERT_RECORD, ALERT_RECORD.c.alert_id == ALERT.c.id)
    .where(ALERT_RECORD.c.record_id.in_(bindparam("record_ids", expanding=True)))
)


def insert_new(connection: Connection, alerts: Sequence[tuple[Alert, str]]) -> int:
    """Insert (alert, group key) pairs and skip known ids. Return how many are new."""
    stored = dict(_ROWS.store([alert for alert, _ in alerts]))
    stored["is_shadow"] = [alert.is_shadow for alert, _ in alerts]
    count = bulk_insert(connection, ALERT, {**stored, "group_key": [group_key for _, group_key in alerts]})
    row_versions.note(connection, ALERT, [alert.id for alert, _ in alerts])
    return count


def join(connection: Connection, joined: Sequence[tuple[str, int, datetime]]) -> int:
    """Join records to alerts, as (alert id, record id, the record's `occurred_at`), and skip known pairs.

    Return how many are new.
    """
    alert_ids, record_ids, times = zip(*joined, strict=True) if joined else ((), (), ())
    columns = {"alert_id": alert_ids, "record_id": record_ids, "occurred_at": [*map(to_micros, times)]}
    return bulk_insert(connection, ALERT_RECORD, columns)


def read_joined(connection: Connection, record_ids: Collection[int]) -> set[tuple[str, str, int]]:
    """Return the alerts that hold these records, as (rule id, alert id, record id)."""
    parts = (connection.execute(_JOINED, {"record_ids": some}) for some in portions(record_ids))
    return {(row.rule_id, row.id, row.record_id) for rows in parts for row in rows}


def read_of_record(connection: Connection, record_id: int) -> list[str]:
    """Return the ids of the alerts that hold a record."""
    ids = select(ALERT_RECORD.c.alert_id).where(ALERT_RECORD.c.record_id == record_id)
    return list(connection.execute(ids.order_by(ALERT_RECORD.c.alert_id)).scalars())


def update(connection: Connection, alert: Alert) -> None:
    """Store the fields of an alert that can change after its opening."""
    values = {name: getattr(alert, _OTHERS[name]) for name in _CHANGING}
    if connection.execute(ALERT.update().where(ALERT.c.id == alert.id).values(values)).rowcount:
        row_versions.note(connection, ALERT, [alert.id])


def read(connection: Connection, alert_id: str) -> Alert | None:
    """Read one alert."""
    row = connection.execute(_ONE, {"alert_id": alert_id}).first()
    return alert_of(row) if row else None


def read_many(connection: Connection, alert_ids: Collection[str]) -> dict[str, Alert]:
    """Read several alerts by id."""
    parts = (connection.execute(_MANY, {"alert_ids": some}) for some in portions(alert_ids))
    return {row[0]: alert_of(row) for rows in parts for row in rows}


def read_joinable(connection: Connection, spans: Collection[tuple[str, datetime, datetime]]) -> dict[str, list[Alert]]:
    """Read the unresolved alerts that matches may join, by grouping key; keys without alerts are left out.

    `spans` has the grouping key, the first and the last time of the matches of each group. An alert that began before or after
    them is read if one of them lies within the `realert` that it opened with.
    """
    given = [(group_key, to_micros(first), to_micros(last)) for group_key, first, last in spans]
    names, like = (*_ROWS.names, "group_key"), ("group_key", "first_at", "first_at")
    found: dict[str, list[Alert]] = {}
    for *row, group_key in bulk_join(connection, ALERT, names, like, given, _IS_JOINABLE):
        found.setdefault(group_key, []).append(alert_of(row))
    return found


def read_at_work(connection: Connection, first: datetime, last: datetime, rules: Collection[str] | None) -> list[Alert]:
    """Read the unresolved alerts of these rules (None: all) whose span, plus `realert`, overlaps the given span."""
    last_at, realert = type_coerce(ALERT.c.last_at, BigInteger), type_coerce(ALERT.c.realert, BigInteger)
    longest = select(func.max(realert)).scalar_subquery()
    is_near = last_at >= to_micros(first) - longest  # an index serves it; it serves no sum of two columns
    reaches = (is_near, last_at + realert >= to_micros(first))
    statement = _ALERTS.where(ALERT.c.status != Status.RESOLVED.value, ALERT.c.first_at <= last, *reaches)
    if rules is not None:
        statement = statement.where(ALERT.c.rule_name.in_(rules))
    return [alert_of(row) for row in connection.execute(statement.order_by(ALERT.c.first_at, ALERT.c.id))]


def read_by_prefix(connection: Connection, beginning: str) -> list[Alert]:
    """Read at most two alerts whose id has this prefix: two show that it is not unique."""
    return [alert_of(row) for row in connection.execute(first_two(_ALERTS, ALERT.c.id, beginning))]


def read_newest_of_rule(connection: Connection, rule_id: str) -> Alert | None:
    """Read the newest alert of a rule."""
    statement = _ALERTS.where(ALERT.c.rule_id == rule_id).order_by(ALERT.c.opened_at.desc(), ALERT.c.id).limit(1)
    row = connection.execute(statement).first()
    return alert_of(row) if row else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFilter:
    """A filter of alerts; None and empty mean everything. `since` and `until` are times of opening, both included.

    `rules` are names or ids. An alert belongs to a user, an account or a cluster (its id or name) if one of its records does.
    Each word of `text` is in its title, its body, the name of its rule or its id, or in a user, a cluster, an account or a kind
    of its records. `needs_person`: only open ones, without those of shadow rules.
    """

    levels: Sequence[Level] = ()
    statuses: Sequence[Status] = ()
    rules: Sequence[str] = ()
    user: str | None = None
    cluster: str | None = None
    account: str | None = None
    source: str | None = None
    assigned: str | None = None
    is_unassigned: bool = False
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    needs_person: bool = False

    @property
    def is_searching(self) -> bool:
        """Whether it may have to look at many alerts to find one."""
        people = self.user or self.assigned or self.is_unassigned
        places = self.cluster or self.account or self.source
        is_by_state = not self.needs_person and (self.levels or self.statuses)
        return bool(is_by_state or self.rules or people or places or self.text)

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield its SQL conditions."""
        if self.needs_person:
            yield NEEDS_PERSON
        if self.source:
            yield ALERT.c.source == self.source
        if self.assigned:
            yield ALERT.c.assigned_to == self.assigned
        if self.is_unassigned:
            yield ALERT.c.assigned_to.is_(None)
        if self.levels:
            yield ALERT.c.level.in_(self.levels)
        if self.statuses:
            yield ALERT.c.status.in_([status.value for status in self.statuses])
        if self.rules:
            yield or_(ALERT.c.rule_name.in_(self.rules), ALERT.c.rule_id.in_(self.rules))
        if self.user or self.cluster or self.account:
            wanted = RecordFilter(user=self.user, cluster=self.cluster, account=self.account)
            yield _has_record(*record_search.conditions(wanted))
        yield from map(_has_word, words_of(self.text))
        if self.since:
            yield ALERT.c.opened_at >= self.since
        if self.until:
            yield ALERT.c.opened_at <= self.until


def _has_record(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    held = select(ALERT_RECORD.c.record_id).join(RECORD, RECORD.c.id == ALERT_RECORD.c.record_id)
    return held.where(ALERT_RECORD.c.alert_id == ALERT.c.id, *conditions).exists()


def _has_word(word: str) -> ColumnElement[bool]:
    texts = (ALERT.c.title, ALERT.c.body, ALERT.c.rule_name)
    is_written = (each.icontains(form, autoescape=True) for form in forms(word) for each in texts)
    is_id = [has_prefix(ALERT.c.id, word.lower())] if len(word) >= _LEAST_ID_CHARS else []
    return or_(*is_written, *is_id, _has_record(record_values.has_value_with(word)))


EVERY = AlertFilter()


def read_newest(connection: Connection, limit: int, wanted: AlertFilter = EVERY) -> list[Alert]:
    """Read the newest alerts that match a filter, newest first."""
    statement = _ALERTS.where(*wanted.conditions()).order_by(ALERT.c.opened_at.desc(), ALERT.c.id).limit(limit)
    return [alert_of(row) for row in connection.execute(statement)]


def search(
    connection: Connection,
    wanted: AlertFilter,
    limit: int,
    after: PageKey | None,
    most: int | None,
) -> tuple[list[Alert], PageKey | None]:
    """Read the next alerts that match a filter, newest first, after a place. Also return after which place the list continues.

    A place is the time of opening and the id; None: the list ends. Looks at about `most` alerts (None: at all), so that even a
    list without any alert may continue.
    """
    # The time is bounded once on each side: of two bounds SQLite uses the first for the index, and reads all rows between them.
    until = min((at for at in (wanted.until, after and after[0]) if at), default=None)
    behind = [or_(ALERT.c.opened_at < after[0], ALERT.c.id > after[1])] if after else []
    opened = select(ALERT.c.opened_at).where(*AlertFilter(until=until).conditions(), *behind)
    horizon: datetime | None = None
    if wanted.is_searching and most is not None:
        nth = opened.order_by(ALERT.c.opened_at.desc()).offset(most - 1).limit(1)
        horizon = connection.execute(nth).scalar()
    since = max((at for at in (wanted.since, horizon) if at), default=None)
    near = replace(wanted, since=since, until=until).conditions()
    statement = _ALERTS.where(*near, *behind).order_by(ALERT.c.opened_at.desc(), ALERT.c.id)
    found = [alert_of(row) for row in connection.execute(statement.limit(limit + 1))]
    if len(found) > limit:
        return found[:limit], (found[limit - 1].opened_at, found[limit - 1].id)
    is_over = horizon is not None and wanted.since is not None and horizon < wanted.since
    return found, None if horizon is None or is_over else (horizon, LAST_CHARACTER)


def count_by_rule(connection: Connection, since: datetime, most: int) -> dict[str, tuple[int, datetime | None]]:
    """Return how many alerts of each rule in use had a match since a time, at most `most`, and the time of the last match."""
    name = RULE_VERSION.c.name
    its = select(ALERT.c.last_at).where(ALERT.c.rule_name == name).correlate(RULE_VERSION)
    recent = select(func.count()).select_from(its.where(ALERT.c.last_at >= since).limit(most).subquery())
    newest = its.order_by(ALERT.c.last_at.desc()).limit(1)
    statement = select(name, recent.scalar_subquery(), newest.scalar_subquery()).where(RULE_VERSION.c.mode.is_not(None))
    return {row[0]: (row[1], row[2]) for row in connection.execute(statement)}


def count_opened_after(connection: Connection, at: datetime, most: int) -> int:
    """Count the alerts that opened after a time, at most `most`."""
    newer = select(ALERT.c.opened_at).where(ALERT.c.opened_at > at).limit(most).subquery()
    return connection.execute(select(func.count()).select_from(newer)).scalar_one()


def count(connection: Connection) -> dict[tuple[Level, Status], int]:
    """Count the alerts of each level and status."""
    statement = select(ALERT.c.level, ALERT.c.status, func.count()).group_by(ALERT.c.level, ALERT.c.status)
    return {(row[0], row[1]): row[2] for row in connection.execute(statement)}


def count_by_time(connection: Connection, spans: Spans, most: int, rule: str | None = None) -> list[dict[Level, int]]:
    """Count the alerts of each level that opened in each span; of a rule, by its name. Only the newest `most` are counted."""
    within = [ALERT.c.opened_at >= spans.start, ALERT.c.opened_at < spans.end]
    if rule is not None:
        within.append(ALERT.c.rule_name == rule)
    newest = (
        select(ALERT.c.opened_at, ALERT.c.level)
        .where(*within)
        .order_by(ALERT.c.opened_at.desc())
        .limit(most)
        .subquery()
    )
    since_start = type_coerce(newest.c.opened_at, BigInteger) - to_micros(spans.start)
    number = since_start // literal(spans.width // MICROSECOND, BigInteger)
    statement = select(number, newest.c.level, func.count()).group_by(number, newest.c.level)
    found: list[dict[Level, int]] = [{} for _ in range(spans.count)]
    for place, level, count in connection.execute(statement):
        found[place][level] = count
    return found


def is_at_work(now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition for alerts that matches may still join, or that report something that lasts."""
    reaches = type_coerce(ALERT.c.last_at, BigInteger) + ALERT.c.realert >= to_micros(now)
    return or_(
        and_(ALERT.c.status != Status.RESOLVED.value, reaches),
        has_row(CORRELATED_ALERT.c.id == ALERT.c.id),
        has_row(CORRELATED_ALERT.c.reported_as == ALERT.c.id),
        has_row(SELF_ALERT.c.alert_id == ALERT.c.id),
    )


def delete_settled(connection: Connection, before: datetime, now: datetime, limit: int) -> int:
    """Delete at most `limit` alerts that were opened before a time, are over and have no deliveries. Return how many."""
    doomed = (
        select(ALERT.c.id)
        .where(ALERT.c.opened_at < before, ~is_at_work(now))
        .where(~has_row(DELIVERY.c.alert_id == ALERT.c.id))
        .order_by(ALERT.c.opened_at)
        .limit(limit)
    )
    ids = connection.execute(doomed).scalars().all()
    connection.execute(MESSAGE_REFERENCE.delete().where(MESSAGE_REFERENCE.c.alert_id.in_(ids)))
    for table in (ALERT_RECORD, ALERT_HISTORY):
        connection.execute(table.delete().where(table.c.alert_id.in_(ids)))
    row_versions.forget(connection, ALERT, ids)
    return connection.execute(ALERT.delete().where(ALERT.c.id.in_(ids))).rowcount


def alert_of(row: Sequence[Any]) -> Alert:
    """Make an alert from a row that begins with the columns of `READ`."""
    alert_id, rule_id, rule_name, rule_title, tags, *others = _ROWS.restore(row[: len(READ)])
    return Alert(alert_id, RuleName(rule_id, rule_name, rule_title, tags), *others)
