"""Show what a correlation counted for stored records, after the stored records before them. For explanations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from sqlalchemy import Connection

from actionwatch.base.model import Record
from actionwatch.rules.correlations.view import View, Viewer, before, lookback_of
from actionwatch.rules.model import Rule
from actionwatch.rules.prefilter import prefilter_of
from actionwatch.store import correlations, marks, records
from actionwatch.store.record_rows import place_of

_ANY_ID = 2**62


def views_from_store(
    connection: Connection, rule: Rule, rules: Sequence[Rule], shown: Sequence[Record]
) -> list[list[View]]:
    """Return for each record what a correlation counted for it, after the stored records before it.

    The store is read once for all of them, and only the records that can matter: of the kinds that the rule needs and, where it
    groups by a column, of the groups of these records.
    """
    correlation = rule.correlation
    viewer = Viewer(rule, rules, shown, partial(records.read_by_ids, connection))
    if correlation is None or not viewer.has_groups:
        return [[] for _ in shown]
    lookback = lookback_of(correlation, rules)
    in_time = sorted(shown, key=place_of)
    since, last = in_time[0].occurred_at - lookback, in_time[-1]
    span = since, last.occurred_at
    columns = {name.replace(".", "_"): values for name, values in viewer.needed_values().items()}
    only: list[tuple[str, Collection[str | None]]] = [
        (column, records.read_spellings(connection, column, columns[column], *span)) for column in columns
    ]
    kinds = prefilter_of([rule], rules).kinds
    if kinds is not None:
        only.append(("action_kind", kinds))
    viewer.take(before(last, records.stream_since(connection, since, _ANY_ID, until=last.occurred_at, only=only)))
    known = [each for rule in viewer.correlations for each in correlations.read_since(connection, rule.name.id, since)]
    begins = [mark.begins_at for mark in marks.read_all(connection).values()]
    views = list[list[View]]()
    for record in shown:
        start = record.occurred_at - lookback
        begin = max(begins, default=start)
        if correlation.is_absence:
            begin = max(begin, start)  # ignore what was missing earlier
        views.append(viewer.views(record, begin, since=start, known=known))
    return views
