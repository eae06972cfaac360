"""The alerts that need a person: open ones that people are notified about. Worst first, counted, grouped, and folded.

An index holds them alone, with all that counts and groups need.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
)

from actionwatch.base.model import Alert, Level
from actionwatch.store import alerts
from actionwatch.store.alerts import READ, AlertFilter, alert_of
from actionwatch.store.statements import PageKey
from actionwatch.store.tables import ALERT, ALERT_RECORD, CORRELATED_ALERT, DELIVERY, NEEDS_PERSON

GROUPINGS = {
    "rule": ALERT.c.rule_name,
    "user": ALERT.c.user_name,
    "cluster": ALERT.c.cluster_name,
    "source": ALERT.c.source,
}
"""By what the list can be grouped."""
_FOLDED_READ = 500  # alerts below those of one page
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

    A place begins with the number of the level. Without another filter, alerts that are shown below another one are left out.
    """
    also = () if is_narrowed(wanted) or wanted.levels else (~is_folded(),)
    found: list[Alert] = []
    first = Level(int(str(after[0]))) if after else max(Level)
    for level in sorted(wanted.levels or Level, reverse=True):
        if level > first:
            continue
        place = after[1:] if after and level is first else None
        some, following = alerts.search(
            connection, replace(wanted, levels=[level]), limit - len(found), place, most, *also
        )
        found += some
        if following is not None:
            return found, (str(level.value), *following)
    return found, None


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
    order = (ALERT.c.level.desc(), ALERT.c.opened_at.desc(), ALERT.c.id)
    return [alert_of(row) for row in connection.execute(select(*READ).where(*its).order_by(*order).limit(limit))]


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


def is_folded() -> ColumnElement[bool]:
    """Return whether an alert is shown below another one: it inhibits it, or its correlation holds its newest record.

    That one needs a person too, and is not folded itself, so that each alert is shown.
    """
    return _has_above(ALERT, lambda above: ~_has_above(above, lambda _: true()))


def read_folded(connection: Connection, shown: Sequence[Alert]) -> dict[str, list[tuple[str, Alert]]]:
    """Return the alerts that are shown below these, by the id of the one above: each with `inhibited` or `explained`."""
    ids = [alert.id for alert in shown]
    held, own = ALERT_RECORD.alias(), ALERT_RECORD.alias()
    inhibited = (
        select(DELIVERY.c.ref, *READ)
        .join(ALERT, ALERT.c.id == DELIVERY.c.alert_id)
        .where(DELIVERY.c.why == _INHIBITION, DELIVERY.c.ref.in_(ids), NEEDS_PERSON)
    )
    explained = (
        select(held.c.alert_id, *READ)
        .select_from(held.join(own, own.c.record_id == held.c.record_id).join(ALERT, ALERT.c.id == own.c.alert_id))
        .where(held.c.alert_id.in_(_read_correlated(connection, ids)), NEEDS_PERSON)
        .where(~_is_correlated(ALERT), held.c.record_id == _newest_record(ALERT))
    )
    found: dict[str, dict[str, tuple[str, Alert]]] = {}
    for why, statement in (("inhibited", inhibited), ("explained", explained)):
        for row in connection.execute(statement.limit(_FOLDED_READ)):
            below = alert_of(row[1:])
            found.setdefault(row[0], {}).setdefault(below.id, (why, below))
    return {above: list(below.values()) for above, below in found.items()}


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


def _read_correlated(connection: Connection, ids: Sequence[str]) -> list[str]:
    return list(connection.execute(select(ALERT.c.id).where(ALERT.c.id.in_(ids), _is_correlated(ALERT))).scalars())


def _newest_record(alert: FromClause) -> ColumnElement[int]:
    """Return the newest record of an alert. `alert_record_by_time` finds it."""
    own = ALERT_RECORD.alias()
    its = select(own.c.record_id).where(own.c.alert_id == alert.c.id).order_by(own.c.occurred_at.desc()).limit(1)
    return its.correlate(alert).scalar_subquery()
