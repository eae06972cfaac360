"""Show what a correlation counted before a record, from the store or from a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from actionwatch.base.model import Record
from actionwatch.cli.rules.record_file import read_jsonl, reader_for
from actionwatch.cli.rules.spool import Spool

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.rules.correlations.live.view import View
    from actionwatch.rules.model import Rule
    from actionwatch.settings import Settings

ANY_ID = 2**62


def feeders_of(rule: Rule, rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules that a correlation refers to, without its own selections."""
    named = [step.rule_id for step in rule.correlation.steps] if rule.correlation is not None else []
    return [each for each in rules if each.name.id in named and each.document is not None]


def views_from_store(connection: Connection, rule: Rule, rules: Sequence[Rule], record: Record) -> list[View]:
    """Return what a correlation counted for a stored record, after the stored records before it."""
    from actionwatch.matching.correlating import read_known
    from actionwatch.rules.correlations.live.view import lookback_of, views_of
    from actionwatch.store import marks, records

    begins = [mark.begins_at for mark in marks.read_all(connection).values()]
    since = record.occurred_at - lookback_of(rule, rules)
    begin = max(begins, default=since)
    if rule.correlation is not None and rule.correlation.is_absence:
        begin = max(begin, since)  # ignore what was missing earlier
    earlier = _before(record, records.stream_since(connection, since, ANY_ID))
    correlations = [each.correlation for each in rules if each.correlation is not None]
    known = read_known(connection, correlations, {each.name.id: since for each in correlations})
    return views_of(rule, rules, earlier, record, begin, since=since, known=known)


def views_from_file(
    path: Path, settings: Settings | None, rule: Rule, rules: Sequence[Rule], record: Record
) -> list[View]:
    """Return what a correlation counts for a record after those of a file. Raises: ConfigError."""
    from actionwatch.rules.correlations.live.view import views_of

    with Spool() as spool:
        spool.add(read_jsonl(path, reader_for(settings)))
        return views_of(rule, rules, _before(record, spool), record, spool.first_at)


def _before(record: Record, records: Iterable[Record]) -> Iterator[Record]:
    end = (record.occurred_at, record.key)
    return takewhile(lambda each: (each.occurred_at, each.key) < end, records)
