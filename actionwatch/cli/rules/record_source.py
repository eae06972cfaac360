"""Read the records of a backtest from a file, the store or the upstream: only those that the rules can match."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from actionwatch.base.clock import utc_now
from actionwatch.base.model import Record
from actionwatch.cli.context import chosen_source, reading_store
from actionwatch.cli.rules.record_file import read_jsonl, reader_for
from actionwatch.cli.rules.spool import Spool
from actionwatch.instaclustr.query import Query

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.rules.prefilter import Prefilter
    from actionwatch.settings import Settings


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The requested time, both ends included; None is unlimited."""

    since: datetime | None
    until: datetime | None

    def holds(self, at: datetime) -> bool:
        """Return whether a time is within the range."""
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)

    def within(self, begin: datetime, end: datetime) -> tuple[datetime, datetime]:
        """Return the part of the range between two times."""
        return max([begin, *_given(self.since)]), min([end, *_given(self.until)])


@dataclass(frozen=True, slots=True)
class BacktestRecords:
    """Records in event order from `begin` to `end`, complete up to `complete_until`."""

    records: Spool
    begin: datetime
    end: datetime
    complete_until: datetime


def from_file(into: Spool, path: Path, settings: Settings | None, span: TimeRange) -> BacktestRecords | None:
    """Read the requested time from a file; None if the file is empty. Raises: ConfigError.

    Nothing is known about the time before its first record and after its last.
    """
    with counting("reading", path.stat().st_size) as advance:
        ends: tuple[datetime, datetime] | None = None
        for record in read_jsonl(path, reader_for(settings), advance):
            at = record.occurred_at
            ends = (at, at) if ends is None else (min(ends[0], at), max(ends[1], at))
            if span.holds(at):
                into.add([record])
    if ends is None:
        return None
    begin, end = span.within(*ends)
    return BacktestRecords(into, begin, end, end) if begin <= end else None


def from_store(
    into: Spool, config: str, about: Prefilter, source: str | None, span: TimeRange
) -> BacktestRecords | None:
    """Read the stored records; None before the first poll. Raises: ConfigError, StoreError."""
    from actionwatch.store import marks

    with reading_store(config) as (_, connection), counting("reading", None) as advance:
        known = [mark for name, mark in marks.read_all(connection).items() if source in (None, name)]
        into.add(_stored(connection, about, source, span, advance))
    if not known:
        return None
    seen = max([min(mark.seen_through for mark in known), *_given(into.last_at)])
    begin, end = span.within(max(mark.begins_at for mark in known), seen)
    return BacktestRecords(into, begin, end, min([end, *(mark.proved_through for mark in known)]))


def _stored(
    connection: Connection, about: Prefilter, source: str | None, span: TimeRange, advance: Callable[[int], None]
) -> Iterator[Record]:
    from actionwatch.store import records
    from actionwatch.store.records import RecordFilter

    wanted = RecordFilter(kinds=about.kinds or (), since=span.since, until=span.until)
    for record in records.stream(connection, wanted, is_once=source is None):
        if source in (None, record.source):
            advance(1)
            yield msgspec.structs.replace(record, seen_at=record.occurred_at)


def from_upstream(
    into: Spool, config: str, about: Prefilter, source: str | None, span: TimeRange
) -> BacktestRecords | None:
    """Query the upstream with filters derived from the rules. Raises: ConfigError, SourceError."""
    from actionwatch.service import upstream

    query = _query(about, span)
    with upstream.reading_client(chosen_source(config, source)) as client, counting("querying", None) as advance:
        client.linked_accounts()  # provides the names of accounts
        for page in client.user_actions(query):
            kept = [record for record in page.records if query.matches(record, client.reader.known_accounts)]
            into.add(msgspec.structs.replace(record, seen_at=record.occurred_at) for record in kept)
            advance(len(page.records))
    begin, end = query.start or into.first_at, min([utc_now(), *_given(query.end)])
    return None if begin is None else BacktestRecords(into, begin, end, end)


def count(config: str, about: Prefilter, origin: str, source: str | None, span: TimeRange) -> dict[str, int]:
    """Count by kind the records that the rules can match, with one small request or from the store."""
    from actionwatch.service import upstream

    if origin == "store":
        with reading_store(config) as (_, connection):
            stored = _stored(connection, about, source, span, lambda _: None)
            return dict(Counter(record.action_kind for record in stored))
    with upstream.reading_client(chosen_source(config, source)) as client:
        page = client.counts(_query(about, span))
    return dict(page.counts or {})


@contextlib.contextmanager
def counting(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal, but not in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)


def _query(about: Prefilter, span: TimeRange) -> Query:
    return Query(
        start=span.since,
        end=span.until or utc_now(),
        kinds=about.kinds or (),
        cluster_id=about.cluster_id,
        account=about.account_id,
    )


def _given(at: datetime | None) -> list[datetime]:
    return [] if at is None else [at]
