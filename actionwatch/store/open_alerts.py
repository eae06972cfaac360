"""The alerts that need a person: open ones that people are notified about. Worst first, counted, grouped, and folded.

An index holds them alone, with all that counts and groups need.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

from actionwatch.base.model import Alert, Level
from actionwatch.store.alerts import READ, AlertFilter, alert_of
from actionwatch.store.statements import LAST_CHARACTER, PageKey
from actionwatch.store.tables import ALERT, ALERT_RECORD, CORRELATED_ALERT, DELIVERY, NEEDS_PERSON

GROUPINGS = {
    "rule": ALERT.c.rule_name,
    "user": ALERT.c.user_name,
    "cluster": ALERT.c.cluster_name,
    "source": ALERT.c.source,
}
"""By what the list can be grouped."""
FIRST_BELOW = 50
"""How many of the alerts below another one are read."""
_ORDER = (ALERT.c.level.desc(), ALERT.c.opened_at.desc(), ALERT.c.id)
_PLACE = (ALERT.c.level, ALERT.c.opened_at)  # with the id, where an alert is in this order
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_INHIBITION: ColumnElement[str] = literal_column("'inhibition'")


def count_by_level(connection: Connection) -> dict[Level, int]:
    """Count the alerts that need a person, by level."""
    statement = select(ALERT.c.level, func.count()).where(NEEDS_PERSON).group_by(ALERT.c.level)
    return {row[0]: row[1] for row in connection.execute(statement)}


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """The alerts with one value of what they are grouped by; None: it is absent."""

    value: str | None
    counts: dict[Level, int]

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts.values())


def search(
    connection: Connection, wanted: AlertFilter, limit: int, after: PageKey | None, most: int | None
) -> tuple[list[Alert], PageKey | None]:
    """Read the next alerts that need a person and match a filter, the worst level first, then newest; see `alerts.search`.

    A place begins with the level. Looks at about `most` alerts of all levels together. Without another filter, alerts that are
    shown below another one are left out.
    """
    bounds = [_compare("<=", after), or_(_compare("<", after), ALERT.c.id > after[2])] if after else []
    end = _read_end(connection, wanted, bounds, most) if most is not None else None
    reached = [_compare(">=", end)] if end else []
    also = [~is_folded()] if is_folding(wanted) else []
    statement = select(*READ).where(*wanted.conditions(), *bounds, *reached, *also).order_by(*_ORDER)
    found = [alert_of(row) for row in connection.execute(statement.limit(limit + 1))]
    if len(found) > limit:
        last = found[limit - 1]
        return found[:limit], (last.level, last.opened_at, last.id)
    return found, end and (*end, LAST_CHARACTER)


def _compare(operator: str, place: PageKey) -> ColumnElement[bool]:
    """Compare the level and the time of an alert with those of a place. As one value, so that an index serves it."""
    values = (literal(value, column.type) for value, column in zip(place, _PLACE, strict=False))
    return tuple_(*_PLACE).bool_op(operator)(tuple_(*values))


def _read_end(
    connection: Connection, wanted: AlertFilter, bounds: Sequence[ColumnElement[bool]], most: int
) -> PageKey | None:
    """Return the level and the time of the alert that is the last one to look at; None: fewer are left.

    An index alone finds it: only what it has counts.
    """
    its = AlertFilter(levels=wanted.levels, since=wanted.since, until=wanted.until, needs_person=True)
    statement = select(*_PLACE).where(*its.conditions(), *bounds).order_by(*_ORDER[:2]).offset(most - 1).limit(1)
    row = connection.execute(statement).first()
    return tuple(row) if row else None


def is_folding(wanted: AlertFilter) -> bool:
    """Return whether a list shows alerts below others: without a filter."""
    return not wanted.levels and not is_narrowed(wanted)


def is_narrowed(wanted: AlertFilter) -> bool:
    """Return whether a filter is more than what needs a person, and its levels."""
    return bool(not wanted.needs_person or wanted.is_searching or wanted.statuses or wanted.since or wanted.until)


def read_of_group(
    connection: Connection, grouping: str, value: str | None, levels: Collection[Level], limit: int
) -> list[Alert]:
    """Read the first alerts of a group, the worst first, then newest."""
    its = (
        NEEDS_PERSON,
        GROUPINGS[grouping].is_not_distinct_from(value),
        *AlertFilter(levels=list(levels)).conditions(),
    )
    return [alert_of(row) for row in connection.execute(select(*READ).where(*its).order_by(*_ORDER).limit(limit))]


def read_groups(connection: Connection, grouping: str, levels: Collection[Level] = ()) -> list[AlertGroup]:
    """Return the groups of the alerts that need a person, those with the worst alerts first, then the largest."""
    column = GROUPINGS[grouping]
    statement = select(column, ALERT.c.level, func.count()).where(NEEDS_PERSON).group_by(column, ALERT.c.level)
    if levels:
        statement = statement.where(ALERT.c.level.in_(levels))
    counts: dict[str | None, dict[Level, int]] = {}
    for value, level, count in connection.execute(statement):
        counts.setdefault(value, {})[level] = count
    groups = [AlertGroup(value, of_value) for value, of_value in counts.items()]
    return sorted(groups, key=lambda each: (-max(each.counts), -each.count, each.value or ""))


@functools.cache  # building the condition takes several times as long as reading a page
def is_folded() -> ColumnElement[bool]:
    """Return whether an alert is shown below another one: it inhibits it, or its correlation holds its newest record.

    That one needs a person too, and is not folded itself, so that each alert is shown.
    """
    return _has_above(ALERT, lambda above: ~_has_above(above, lambda _: true()))


@dataclass(frozen=True, slots=True)
class Below:
    """The alerts that are shown below another one: how many, and the first, each with `inhibited` or `explained`."""

    count: int
    first: Sequence[tuple[str, Alert]]


def read_folded(connection: Connection, shown: Sequence[Alert]) -> dict[str, Below]:
    """Return the alerts that are shown below these, by the id of the one above; of each the first, in the order of the list."""
    ids = [alert.id for alert in shown]
    correlated = connection.execute(_correlated(), {"ids": ids}).scalars().all()
    rows = groupby(
        connection.execute(_folded(), {"ids": ids, "correlated": correlated}), key=lambda row: (row[0], row[1])
    )
    return {above: Below(count, [(row[2], alert_of(row[3:])) for row in its]) for (above, count), its in rows}


@functools.cache
def _folded() -> Select[Any]:
    """Return the query of what is below alerts with some `ids`, of which a correlation opened those in `correlated`."""
    once = _pairs().subquery()
    place = func.row_number().over(partition_by=once.c.above, order_by=_ORDER).label("place")
    count = func.count().over(partition_by=once.c.above).label("count")
    ranked = select(once, place, count).join(ALERT, ALERT.c.id == once.c.below).where(NEEDS_PERSON).subquery()
    return (
        select(ranked.c.above, ranked.c.count, ranked.c.why, *READ)
        .join(ALERT, ALERT.c.id == ranked.c.below)
        .where(ranked.c.place <= FIRST_BELOW)
        .order_by(ranked.c.above, ranked.c.place)
    )


def _pairs() -> Select[Any]:
    """Return the query of the alerts below these, in whatever status, each once: `above`, `below` (ids) and `why`."""
    held, own = ALERT_RECORD.alias(), ALERT_RECORD.alias()
    inhibited = select(
        DELIVERY.c.ref.label("above"), DELIVERY.c.alert_id.label("below"), literal_column("'inhibited'").label("why")
    ).where(DELIVERY.c.why == _INHIBITION, DELIVERY.c.ref.in_(_IDS))
    explained = (
        select(held.c.alert_id, ALERT.c.id, literal_column("'explained'"))
        .select_from(held.join(own, own.c.record_id == held.c.record_id).join(ALERT, ALERT.c.id == own.c.alert_id))
        .where(held.c.alert_id.in_(bindparam("correlated", expanding=True)), NEEDS_PERSON)
        .where(~_is_correlated(ALERT), held.c.record_id == _newest_record(ALERT))
    )
    pairs = union_all(inhibited, explained).subquery()
    key = (pairs.c.above, pairs.c.below)
    return select(*key, func.max(pairs.c.why).label("why")).group_by(*key)  # inhibited, if it is both


def _has_above(alert: FromClause, condition: Callable[[FromClause], ColumnElement[bool]]) -> ColumnElement[bool]:
    """Return whether there is an alert to show another one below, which meets a condition."""
    row, held, above, over = DELIVERY.alias(), ALERT_RECORD.alias(), ALERT.alias(), ALERT.alias()
    inhibits: Select[Any] = (
        select(literal_column("1"))
        .select_from(row.join(above, above.c.id == row.c.ref))
        .where(row.c.alert_id == alert.c.id, row.c.why == _INHIBITION, _needs_person(above), condition(above))
    )
    explains: Select[Any] = (
        select(literal_column("1"))
        .select_from(held.join(over, over.c.id == held.c.alert_id))
        .where(held.c.record_id == _newest_record(alert), over.c.id != alert.c.id, _needs_person(over))
        .where(_is_correlated(over), ~_is_correlated(alert), condition(over))
    )
    found = (each.correlate(alert).limit(1).scalar_subquery().is_not(None) for each in (inhibits, explains))
    return or_(*found)


def _needs_person(alert: FromClause) -> ColumnElement[bool]:
    """Return `NEEDS_PERSON` of an alias."""
    return and_(alert.c.status == literal_column("'open'"), alert.c.is_shadow == false())


def _is_correlated(alert: FromClause) -> ColumnElement[bool]:
    """Return whether a correlation opened an alert."""
    its = (CORRELATED_ALERT.c.id, CORRELATED_ALERT.c.reported_as)
    found: list[Select[Any]] = [select(literal_column("1")).where(column == alert.c.id).limit(1) for column in its]
    return or_(*(each.correlate(alert).scalar_subquery().is_not(None) for each in found))


@functools.cache
def _correlated() -> Select[Any]:
    """Return the query of the alerts with some `ids` that a correlation opened."""
    return select(ALERT.c.id).where(ALERT.c.id.in_(_IDS), _is_correlated(ALERT))


def _newest_record(alert: FromClause) -> ColumnElement[int]:
    """Return the newest record of an alert. `alert_record_by_time` finds it."""
    own = ALERT_RECORD.alias()
    its = select(own.c.record_id).where(own.c.alert_id == alert.c.id).order_by(own.c.occurred_at.desc()).limit(1)
    return its.correlate(alert).scalar_subquery()
