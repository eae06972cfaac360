"""End the alerts that nothing else can end: their rule was removed, or no longer has their group.

`correlating.py` calls it whenever the rules of this process may not be those that found what is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.alerts.ledger import RESOLVED_BY, resolve
from actionwatch.base.model import CorrelatedAlert, Group, Status
from actionwatch.matching.addressing import Addressing
from actionwatch.rules.model import Correlation
from actionwatch.store import alerts, correlations


def end_unexpected(
    connection: Connection,
    rules: Sequence[Correlation],
    changed: Collection[int],
    addressing: Addressing,
    now: datetime,
) -> None:
    """Forget what is missing and not expected by any of these rules, and resolve its alerts.

    `changed` are the places of the rules that are not what they were. If one groups by other fields than before, its alerts
    of before wait for nothing. A group that is expected again later is judged as if for the first time.
    """
    by_id = {rule.name.id: rule for rule in rules}
    opened = correlations.read_open(connection)
    unexpected = [known for known in opened if not _expects(by_id.get(known.rule_id), known.group)]
    # Those that wait for their time would open then, because no record of their groups is a hit now.
    waiting, foreign = list[str](), list[str]()
    for place in changed:
        rule = rules[place]
        for name, group, is_waiting in correlations.read_current(connection, rule.name.id):
            if len(group) != len(rule.group_fields):
                foreign.append(name)
            elif rule.is_absence and is_waiting and not _expects(rule, group):
                waiting.append(name)
    correlations.retire(connection, foreign)
    correlations.delete(connection, [*(known.id for known in unexpected), *waiting])
    for known in unexpected:
        alert = alerts.read(connection, known.alert_id)
        if alert is None or alert.status is Status.RESOLVED:
            continue
        why = _why(known, alert.rule.name, by_id.get(known.rule_id))
        over = resolve(alert, RESOLVED_BY, now, why)
        alerts.update(connection, over)
        addressing.resolve(connection, over, now, why)


def _expects(rule: Correlation | None, group: Group) -> bool:
    return rule is not None and rule.expected is not None and group in rule.expected


def _why(known: CorrelatedAlert, name: str, rule: Correlation | None) -> str:
    if rule is None:
        return f"the rule {name} no longer runs"
    if rule.expected is None:
        return f"the rule {name} no longer reports what is missing"
    group = ", ".join(f"'{value}'" for value in known.group) or "the group without fields"
    return f"the rule {name}: {group} is no longer in its 'expect-groups'"
