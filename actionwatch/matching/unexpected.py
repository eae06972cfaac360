"""End the absence alerts that nothing can end any more: their rule is gone, or does not expect their group now.

Used by `matcher.py` whenever correlations begin. What is expected again later is judged as if for the first time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.alerts.grouping import resolve
from actionwatch.base.model import Mode, Status
from actionwatch.matching.addressing import Addressing
from actionwatch.rules.model import Correlation, Rule
from actionwatch.store import alert_history, alerts, correlations
from actionwatch.store.correlations import Correlated

RESOLVED_BY = "actionwatch"


@dataclass(frozen=True, slots=True)
class Unexpected:
    """Something that is missing and that no rule expects now; `is_shared`: its alert names others that are expected still."""

    row: Correlated
    is_shared: bool

    @property
    def alert_id(self) -> str:
        """The alert that people know it as."""
        return self.row.told_as or self.row.id


def read_unexpected(connection: Connection, rules: Sequence[Rule]) -> list[Unexpected]:
    """Read what is missing still and is not expected by any of these rules."""
    running = _running(rules)
    opened = correlations.read_open(connection)
    expected = {row.id for row in opened if _is_expected(row, running.get(row.rule_id))}
    shared = {row.told_as or row.id for row in opened if row.id in expected}
    return [Unexpected(row, (row.told_as or row.id) in shared) for row in opened if row.id not in expected]


def end(
    connection: Connection,
    found: Sequence[Unexpected],
    rules: Sequence[Rule],
    addressing: Addressing,
    now: datetime,
) -> None:
    """Forget that these are missing, and resolve each alert that names nothing else, saying why."""
    running = _running(rules)
    correlations.delete(connection, [each.row.id for each in found])
    for each in found:
        alert = alerts.read(connection, each.alert_id)
        if alert is None or alert.status is Status.RESOLVED:
            continue
        why = _why(each.row, alert.rule.name, running.get(each.row.rule_id))
        if each.is_shared:
            alert_history.append(connection, [alert_history.Entry(now, alert.id, "no longer expected", why)])
            continue
        over = resolve(alert, RESOLVED_BY, now, why)
        alerts.update(connection, over)
        addressing.resolve(connection, over, now, why)


def _running(rules: Sequence[Rule]) -> Mapping[str, Correlation]:
    return {
        rule.name.id: rule.correlation for rule in rules if rule.correlation is not None and rule.mode is not Mode.OFF
    }


def _is_expected(row: Correlated, rule: Correlation | None) -> bool:
    return rule is not None and rule.expected is not None and tuple(json.loads(row.group_values)) in rule.expected


def _why(row: Correlated, name: str, rule: Correlation | None) -> str:
    if rule is None:
        return f"the rule {name} no longer runs"
    if rule.expected is None:
        return f"the rule {name} no longer reports what is missing"
    group = ", ".join(f"'{value}'" for value in json.loads(row.group_values)) or "the group without fields"
    return f"the rule {name}: {group} is no longer in its 'expect-groups'"
