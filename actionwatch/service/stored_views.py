"""Show what a correlation that runs counted for stored records, from its stored hits and alerts. For explanations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.model import Group, Record
from actionwatch.matching.rule_feeding import bounds_of
from actionwatch.matching.source_progress import read_progress
from actionwatch.matching.stored_rows import StoredRows, StoredRules
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.sources import SourceNames, sources_of
from actionwatch.rules.correlations.view import View, lookback_of, views_of
from actionwatch.rules.model import Correlation, Rule
from actionwatch.store import correlations, hits, positions
from actionwatch.store.correlations import CorrelationVersion


def views_from_store(
    connection: Connection, rule: Rule, rules: Sequence[Rule], shown: Sequence[Record], sources: Sequence[str]
) -> list[list[View] | None]:
    """Return for each record what a correlation counted for it, after the stored records before it.

    `sources` are those that are configured. None: the store does not have all that the rule counts for a record, because it
    does not run as it is, or did not run yet at that time.
    """
    correlation = rule.correlation
    if correlation is None:
        return [None for _ in shown]
    fed = correlations.read_versions(connection).get(rule.name.id)
    if fed is None or not _is_level(connection, correlation, fed, max(record.id for record in shown)):
        return [None for _ in shown]
    rows = StoredRows(connection, StoredRules.of([correlation], [fed.number]))
    progress = read_progress(connection, sources, SourceNames(sources_of(rules), ()))
    bounds = bounds_of({rule.name.id: fed}, lambda: progress)
    views: list[list[View] | None] = []
    for record in shown:
        start = record.occurred_at - lookback_of(correlation)
        if fed.fed_from is not None and fed.fed_from > start:
            start = fed.fed_from
        if record.occurred_at < start + correlation.reach:
            views.append(None)
            continue

        def begin(counting: Correlation, group: Group, start: datetime = start) -> datetime | None:
            at = bounds.begin(counting, group)
            return at if at is None or not counting.is_absence else max(at, start)  # ignore what was missing earlier

        its = StreamBounds(begin=begin, since=lambda _, start=start: start)  # type: ignore[misc]
        views.append(views_of(correlation, rules, rows, record, its))
    return views


def _is_level(connection: Connection, rule: Correlation, fed: CorrelationVersion, newest_id: int) -> bool:
    """Return whether a rule runs as it is, and was fed with all records up to an id, and evaluated."""
    if fed.version != rule.version.matching or fed.fed_through is not None:
        return False
    return positions.read(connection, positions.MATCHED) >= newest_id and fed.number not in hits.touched_rules(
        connection
    )
