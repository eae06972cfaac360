"""Show what a correlation counted for a stored record, after the stored records before it. For explanations."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from actionwatch.base.model import Record
from actionwatch.matching.known_alerts import read_known
from actionwatch.rules.correlations.live.view import View, before, lookback_of, views_of
from actionwatch.rules.model import Rule
from actionwatch.store import marks, records

_ANY_ID = 2**62


def views_from_store(connection: Connection, rule: Rule, rules: Sequence[Rule], record: Record) -> list[View]:
    """Return what a correlation counted for a stored record, after the stored records before it."""
    correlation = rule.correlation
    if correlation is None:
        return []
    begins = [mark.begins_at for mark in marks.read_all(connection).values()]
    since = record.occurred_at - lookback_of(correlation, rules)
    begin = max(begins, default=since)
    if correlation.is_absence:
        begin = max(begin, since)  # ignore what was missing earlier
    earlier = before(record, records.stream_since(connection, since, _ANY_ID))
    correlations = [each.correlation for each in rules if each.correlation is not None]
    known = read_known(connection, correlations, {each.name.id: since for each in correlations})
    return views_of(rule, rules, earlier, record, begin, since=since, known=known)
