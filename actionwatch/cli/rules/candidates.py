"""The records a backtest runs over: from a file, the store or the upstream, only those that the rules can be about."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from actionwatch.instaclustr.query import Query
    from actionwatch.model import Record
    from actionwatch.rules.reach import Reach
    from actionwatch.settings import Settings


@dataclass(frozen=True, slots=True)
class Span:
    """The time asked for, both ends included; None: whatever there is."""

    since: datetime | None
    until: datetime | None

    def holds(self, at: datetime) -> bool:
        """Say whether a time lies within."""
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Records in event order, and the time over which nothing is missing among them."""

    records: Sequence[Record]
    begin: datetime
    end: datetime


def from_file(path: Path, settings: Settings | None, span: Span) -> Candidates | None:
    """Read a file whole, or the part of it that was asked for; None where it holds nothing. Raises: ConfigError."""
    from actionwatch.cli.rules.reading import read_jsonl, reader_for

    with counting("reading", path.stat().st_size) as advance:
        records = read_jsonl(path, reader_for(settings), advance)
    found = [record for record in records if span.holds(record.occurred_at)]
    if not found:
        return None
    return Candidates(found, span.since or found[0].occurred_at, span.until or found[-1].occurred_at)


def from_store(config: str, about: Reach, source: str | None, span: Span) -> Candidates | None:
    """Read what is stored; what no poll has seen is not known. None before the first poll. Raises: ConfigError, StoreError."""
    from actionwatch.cli.opened import opened_store
    from actionwatch.store import marks, records
    from actionwatch.store.records import RecordFilter

    wanted = RecordFilter(kinds=about.kinds or (), since=span.since, until=span.until)
    found: list[Record] = []
    with opened_store(config) as (_, database), database.read() as connection, counting("reading", None) as advance:
        known = [mark for name, mark in marks.read_all(connection).items() if source in (None, name)]
        for record in records.stream(connection, wanted):
            if source in (None, record.source):
                found.append(msgspec.structs.replace(record, seen_at=record.occurred_at))
                advance(1)
    if not known:
        return None
    begin = max(mark.begins_at for mark in known)
    end = min(mark.seen_through for mark in known)
    records_in_order = sorted(found, key=lambda record: (record.occurred_at, record.key))
    newest = [records_in_order[-1].occurred_at] if found else []
    return Candidates(
        records_in_order, max([begin, *_given(span.since)]), min([max([end, *newest]), *_given(span.until)])
    )


def from_upstream(config: str, about: Reach, source: str | None, span: Span) -> Candidates | None:
    """Ask the upstream, with filters derived from the rules. Raises: ConfigError, SourceError."""
    from actionwatch import app
    from actionwatch.cli.opened import chosen_source
    from actionwatch.cli.rules.reading import told_apart

    query = _query(about, span)
    found: list[Record] = []
    with app.reading_client(chosen_source(config, source)) as client, counting("asking", None) as advance:
        client.linked_accounts()  # names of accounts are known from here
        for page in client.user_actions(query):
            kept = [record for record in page.records if query.matches(record, client.reader.known_accounts)]
            found += [msgspec.structs.replace(record, seen_at=record.occurred_at) for record in kept]
            advance(len(page.records))
    records = sorted(told_apart(found), key=lambda record: (record.occurred_at, record.key))
    if not records and query.start is None:
        return None
    begin = query.start or records[0].occurred_at
    return Candidates(records, begin, query.end or datetime.now(UTC))


def count(config: str, about: Reach, origin: str, source: str | None, span: Span) -> dict[str, int]:
    """Count the records that the rules can be about, by kind: one small request, or a look at the store."""
    from actionwatch import app
    from actionwatch.cli.opened import chosen_source

    if origin == "store":
        stored = from_store(config, about, source, span)
        return dict(Counter(record.action_kind for record in stored.records)) if stored else {}
    with app.reading_client(chosen_source(config, source)) as client:
        page = client.counts(_query(about, span))
    return dict(page.counts or {})


@contextlib.contextmanager
def counting(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal, none in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)


def _query(about: Reach, span: Span) -> Query:
    from actionwatch.instaclustr.query import Query

    return Query(
        start=span.since,
        end=span.until or datetime.now(UTC),
        kinds=about.kinds or (),
        cluster_id=about.cluster_id,
        account=about.account_id,
    )


def _given(at: datetime | None) -> list[datetime]:
    return [] if at is None else [at]
