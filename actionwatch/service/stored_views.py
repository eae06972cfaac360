"""Show what a correlation counted for stored records, from its stored hits or, without them, from records. For explanations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from actionwatch.base.model import CorrelatedAlert, Group, Record
from actionwatch.matching.rule_feeding import bounds_of
from actionwatch.matching.source_progress import read_progress
from actionwatch.matching.stored_rows import StoredRows, StoredRules
from actionwatch.rules.correlations.sources import SourceNames, sources_of
from actionwatch.rules.correlations.view import View, Viewer, before, lookback_of
from actionwatch.rules.model import Correlation, Rule
from actionwatch.rules.prefilter import prefilter_of
from actionwatch.store import correlations, hits, positions, records
from actionwatch.store.correlations import CorrelationVersion
from actionwatch.store.record_rows import place_of

_ANY_ID = 2**62


def views_from_store(
    connection: Connection, rule: Rule, rules: Sequence[Rule], shown: Sequence[Record], sources: Sequence[str]
) -> list[list[View]]:
    """Return for each record what a correlation counted for it, after the stored records before it.

    `sources` are those that are configured. If the rule runs as it is, its hits and alerts are stored. If not, or if it did
    not run yet at that time, records are read.
    """
    correlation = rule.correlation
    viewer = Viewer(rule, rules, shown, partial(records.read_by_ids, connection))
    if correlation is None or not viewer.has_groups:
        return [[] for _ in shown]
    lookback = lookback_of(correlation, rules)
    since = min(record.occurred_at for record in shown) - lookback
    versions = correlations.read_versions(connection)
    rows = _stored_rows(connection, viewer.correlations, versions, since, max(record.id for record in shown))
    known = _take_records(connection, viewer, prefilter_of([rule], rules).kinds, since, shown) if rows is None else []
    progress = read_progress(connection, sources, SourceNames(sources_of(rules), ()))
    runs = all(_runs(rule, versions) for rule in viewer.correlations)
    fed = bounds_of(versions, lambda: progress) if runs else None
    views = list[list[View]]()
    for record in shown:
        start = record.occurred_at - lookback

        def begin(counting: Correlation, group: Group, start: datetime = start) -> datetime | None:
            at = progress.of_group(counting, group).begin if fed is None else fed.begin(counting, group)
            return at if at is None or not correlation.is_absence else max(at, start)  # ignore what was missing earlier

        if rows is None:
            views.append(viewer.views(record, begin, since=start, known=known))
        else:
            views.append(viewer.views_in(rows, record, begin, start))
    return views


def _stored_rows(
    connection: Connection,
    rules: Sequence[Correlation],
    versions: Mapping[str, CorrelationVersion],
    since: datetime,
    newest_id: int,
) -> StoredRows | None:
    """Return the rows of rules, if these run as they are, and were fed with all records from a time on up to an id."""
    if positions.read(connection, positions.MATCHED) < newest_id:
        return None
    unjudged, numbers = hits.touched_rules(connection), list[int]()
    for rule in rules:
        if not _runs(rule, versions):
            return None
        fed = versions[rule.name.id]
        if fed.fed_through is not None or fed.number in unjudged or (fed.fed_from is not None and fed.fed_from > since):
            return None
        numbers.append(fed.number)
    return StoredRows(connection, StoredRules.of(rules, numbers))


def _runs(rule: Correlation, versions: Mapping[str, CorrelationVersion]) -> bool:
    return rule.name.id in versions and versions[rule.name.id].version == rule.version.matching


def _take_records(
    connection: Connection, viewer: Viewer, kinds: Collection[str] | None, since: datetime, shown: Sequence[Record]
) -> list[CorrelatedAlert]:
    """Give the records since a time to the viewer, and return the alerts that are stored since then.

    Records are read once, and only those that can matter: of the `kinds` that the rule needs (None: all) and, where it groups
    by a column, of the groups of the records that are shown.
    """
    last = max(shown, key=place_of)
    span = since, last.occurred_at
    columns = {name.replace(".", "_"): values for name, values in viewer.needed_values().items()}
    only: list[tuple[str, Collection[str | None]]] = [
        (column, records.read_spellings(connection, column, columns[column], *span)) for column in columns
    ]
    if kinds is not None:
        only.append(("action_kind", kinds))
    viewer.take_history(
        before(last, records.stream_since(connection, since, _ANY_ID, until=last.occurred_at, only=only))
    )
    return [each for rule in viewer.correlations for each in correlations.read_since(connection, rule.name.id, since)]
