"""The alerts of correlations as the store has them, for the state that is loaded or rebuilt from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.model import CorrelatedAlert
from actionwatch.rules.correlations.live.saved import SavedState
from actionwatch.rules.model import Correlation
from actionwatch.store import correlations


def read_known(
    connection: Connection, rules: Iterable[Correlation], starts: Mapping[str, datetime]
) -> list[CorrelatedAlert]:
    """Return the alerts that each rule found since its start, by rule id (no start: all), with the records that they hold."""
    found = read_without_records(connection, rules, starts)
    note_records(connection, found)
    return found


def read_without_records(
    connection: Connection, rules: Iterable[Correlation], starts: Mapping[str, datetime]
) -> list[CorrelatedAlert]:
    """Return the alerts that each rule found since its start, without the records that they hold."""
    found: list[CorrelatedAlert] = []
    for rule in rules:
        start = starts.get(rule.name.id)
        found += correlations.read(connection, rule.name.id, None if start is None else _earliest(rule, start))
    return found


def found_since(
    known: Iterable[CorrelatedAlert], rules: Iterable[Correlation], start: datetime
) -> list[CorrelatedAlert]:
    """Return those of the alerts of these rules that `read_without_records` returns for a later start."""
    earliest = {rule.name.id: _earliest(rule, start) for rule in rules}
    return [each for each in known if each.is_open or each.until >= earliest[each.rule_id]]


def _earliest(rule: Correlation, start: datetime) -> datetime:
    """Return since when a rule needs its alerts: the leading one of those that share an alert may have fired earlier."""
    return start - rule.realert if rule.is_merging else start


def note_records(connection: Connection, found: Collection[CorrelatedAlert]) -> None:
    """Note which records alerts hold. All that are reported in one alert share them."""
    keys: dict[str, set[str]] = {}
    for alert_id, key in correlations.read_keys(connection, [each.alert_id for each in found if each.is_reported]):
        keys.setdefault(alert_id, set()).add(key)
    for each in found:
        each.keys = keys.setdefault(each.alert_id, set())


def rules_with_deleted_alerts(connection: Connection, state: SavedState) -> set[str]:
    """Return the ids of the rules with an alert that is open in a state and no longer stored: `end_unexpected` deleted it.

    Such a rule did not run for a while, or did not expect the group. When it comes back, what is missing is reported again.
    """
    opened = {known.id: known.rule_id for known in state.known() if known.is_open}
    stored = {known.id for known in correlations.read_all_of(connection, opened)}
    return {rule_id for alert_id, rule_id in opened.items() if alert_id not in stored}
