"""Read which alerts inhibit others, and which ones a message must name because they are inhibited.

Works in the claiming transaction. A batch of matching commits its alerts together, so an inhibiting alert is never missed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Connection

from actionwatch.alerts.inhibition import InhibitRule, Labelled, inhibitor_of, rules_with_source, rules_with_target
from actionwatch.alerts.routes import newest_labels
from actionwatch.base.model import Alert
from actionwatch.store import alerts, records


def read_inhibitors(
    connection: Connection, rules: Sequence[InhibitRule], targets: Iterable[Labelled]
) -> list[Labelled]:
    """Read the alerts that may inhibit any of these. It reads nothing unless a rule has one of them as a target."""
    alerts_at = [each.alert.last_at for each in targets if rules_with_target(each.labels, rules)]
    if not alerts_at:
        return []
    names = _all_names([rule.source_rules for rule in rules])
    return _labelled(connection, alerts.read_at_work(connection, min(alerts_at), max(alerts_at), names))


def read_inhibited(
    connection: Connection, rules: Sequence[InhibitRule], sources: Iterable[Labelled]
) -> dict[str, list[Alert]]:
    """Read the alerts that each of these inhibits, oldest first; sources that inhibit nothing are left out."""
    found: dict[str, list[Alert]] = {}
    for source in sources:
        if own := rules_with_source(source.labels, rules):
            first, last = source.alert.first_at, source.alert.last_at + source.alert.realert
            near = alerts.read_at_work(connection, first, last, _all_names([rule.target_rules for rule in own]))
            inhibited = [each.alert for each in _labelled(connection, near) if inhibitor_of(each, own, [source])]
            found |= {source.alert.id: inhibited} if inhibited else {}
    return found


def _labelled(connection: Connection, found: Collection[Alert]) -> list[Labelled]:
    newest = records.read_of_alerts(connection, [alert.id for alert in found], 1)
    return [Labelled(alert, newest_labels(alert, newest)) for alert in found]


def _all_names(named: Sequence[tuple[str, ...]]) -> set[str] | None:
    """Return the rule names that any of these matchers allow; None if some matchers do not name rules."""
    return {name for names in named for name in names} if all(named) else None
