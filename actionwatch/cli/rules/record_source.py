"""Read the records of a backtest from a file, the store or the upstream: only those that the rules can match.

A file has JSON lines in the format of the upstream (objects or whole pages) or of `records export`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from actionwatch.base.clock import to_micros, utc_now
from actionwatch.base.errors import BadResponse, ConfigError, Fault
from actionwatch.base.model import Entity, Record, RecordFilter, seen_at_once
from actionwatch.base.plurals import counted
from actionwatch.cli.context import reading_client, reading_store
from actionwatch.cli.output import progress_bar
from actionwatch.cli.rules.spool import Spool
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.records import RecordReader
from actionwatch.instaclustr.wire import parse_page

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.matching.source_progress import SourceProgress
    from actionwatch.rules.correlations.context import Beginning
    from actionwatch.rules.correlations.sources import Verified
    from actionwatch.rules.model import Rule
    from actionwatch.rules.prefilter import Prefilter
    from actionwatch.settings import Settings

_BATCH = 1000  # lines decoded at once
_FILE_SOURCE = "file"


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
        return max(begin, self.since or begin), min(end, self.until or end)


@dataclass(frozen=True, slots=True)
class BacktestRecords:
    """Records in event order from `begin` to `end`. `progress` is that of their sources; None: they are complete.

    `notes` say why rules may find nothing.
    """

    records: Spool
    begin: datetime
    end: datetime
    progress: SourceProgress | None = None
    notes: Sequence[str] = ()

    def known_to(self, rules: Sequence[Rule]) -> tuple[Beginning, Verified]:
        """Return since when, and up to when, each group of some rules knows its records."""
        from actionwatch.rules.correlations.sources import SourceNames, VerifiedTime, sources_of

        if self.progress is None:
            return lambda *_: self.begin, VerifiedTime(self.end)
        progress = self.progress.named(SourceNames(sources_of(rules), self.progress.names.sources))
        return lambda rule, group: progress.of_group(rule, group).begin, progress


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
    return BacktestRecords(into, begin, end) if begin <= end else None


def from_store(
    into: Spool, config: str, about: Prefilter, source: str | None, span: TimeRange
) -> BacktestRecords | None:
    """Read the stored records; None before the first poll. Raises: ConfigError, StoreError."""
    from actionwatch.matching.source_progress import SourceProgress
    from actionwatch.rules.correlations.sources import SourceNames
    from actionwatch.store import marks

    with reading_store(config) as (settings, connection), counting("reading", None) as advance:
        known = marks.read_all(connection)
        names = [each.name for each in settings.sources] if source is None else [source]
        if source is None and known.keys().isdisjoint(names):
            names = list(known)  # a copy of a store, or renamed sources
        into.add(_stored(connection, about, source, span, advance))
    read = [known[name] for name in names if name in known]
    if not read:
        return None
    seen = max(mark.seen_through for mark in read)
    begin, end = span.within(min(mark.begins_at for mark in read), max(seen, into.last_at or seen))
    spans = {
        mark.name: (to_micros(max(mark.begins_at, begin)), to_micros(min(mark.proved_through, end)), to_micros(begin))
        for mark in read
    }
    unread = [name for name in names if name not in known]
    return BacktestRecords(into, begin, end, SourceProgress(spans, SourceNames({}, names)), list(_notes(unread)))


def _notes(unread: Sequence[str]) -> Iterator[str]:
    """Yield that sources were never read: like the service, a backtest cannot judge what depends on them."""
    if unread:
        which = f"{unread[0]} was" if len(unread) == 1 else f"{counted(len(unread), 'source')} were"
        yield f"{which} not read yet: rules that wait for all sources find nothing"


def _stored(
    connection: Connection, about: Prefilter, source: str | None, span: TimeRange, advance: Callable[[int], None]
) -> Iterator[Record]:
    """Yield the records of a source, or of all: those of a renamed one as if it had always had its name."""
    from actionwatch.store import marks, record_search, records

    owners = marks.owners(connection, marks.read_all(connection) if source is None else [source])
    if source is None:
        newest = records.newest_id(connection)
        found = records.stream_since(connection, span.since, newest, until=span.until, kinds=about.kinds or ())
    else:
        wanted = RecordFilter(kinds=about.kinds or (), since=span.since, until=span.until)
        found = record_search.stream(connection, wanted)
    for record in found:
        name = owners.get(record.source)
        if source is None or name is not None:
            advance(1)
            seen = seen_at_once(record)
            yield seen if name in (None, record.source) else msgspec.structs.replace(seen, source=name)


def from_upstream(
    into: Spool, config: str, about: Prefilter, source: str | None, span: TimeRange
) -> BacktestRecords | None:
    """Query the upstream with filters derived from the rules. Raises: ConfigError, SourceError."""
    query = _query(about, span)
    with reading_client(config, source) as client, counting("querying", None) as advance:
        client.linked_accounts()  # provides the names of accounts
        for page in client.user_actions(query):
            kept = [record for record in page.records if query.matches(record, client.reader.known_accounts)]
            into.add(map(seen_at_once, kept))
            advance(len(page.records))
    begin, now = query.start or into.first_at, utc_now()
    end = min(now, query.end or now)
    return None if begin is None else BacktestRecords(into, begin, end)


@contextlib.contextmanager
def counting(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal, but not in a pipe."""
    with progress_bar() as bar:
        if bar is None:
            yield lambda _: None
        else:
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


def reader_for(settings: Settings | None) -> RecordReader:
    """Return the reader of a file. It uses the aliases of the source if exactly one is configured."""
    if settings is not None and len(settings.sources) == 1:
        source = settings.sources[0]
        return RecordReader(source.name, organisation_id=source.organisation_id, aliases=source.field_aliases)
    return RecordReader(_FILE_SOURCE, organisation_id="")


def read_jsonl(path: Path, reader: RecordReader, on_read: Callable[[int], None] = lambda _: None) -> Iterator[Record]:
    """Read a file in its order, without distinguishing equal records. `on_read` gets the size of each batch in bytes.

    Raises: ConfigError, with the line that is not a record.
    """
    number = 0
    try:
        with path.open("rb") as file:
            while lines := list(islice(file, _BATCH)):
                yield from _read_lines(lines, reader, str(path), number)
                number += len(lines)
                on_read(sum(map(len, lines)))
    except OSError as exc:
        raise ConfigError(Fault(str(path), 0, 0, f"cannot read the file: {exc.strerror}")) from exc


def _read_lines(lines: Sequence[bytes], reader: RecordReader, file: str, before: int) -> list[Record]:
    """Read a batch at once if it is in the format of the upstream, otherwise line by line."""
    texts = [line.strip() for line in lines]
    kept = [text for text in texts if text]
    if not any(text.startswith(b"[") or b'"raw"' in text for text in kept):
        try:
            page = parse_page(b"[" + b",".join(kept) + b"]", reader, utc_now())
            return [seen_at_once(record) for record in page.records]
        except (BadResponse, ValueError):
            pass  # read line by line to find the broken one
    found: list[Record] = []
    for number, text in enumerate(texts, before + 1):
        if not text:
            continue
        try:
            value = json.loads(text)
            if isinstance(value, dict) and "resources" not in map(str.lower, value):  # not a page
                found.append(read_object(value, reader))
            elif isinstance(value, dict | list):
                page = parse_page(text, reader, utc_now())
                found += [seen_at_once(record) for record in page.records]
            else:
                raise ValueError("a record is a JSON object")
        except (BadResponse, ValueError, RecursionError) as exc:
            what = f"not a record: {exc}" if not isinstance(exc, RecursionError) else "not a record: nested too deeply"
            raise ConfigError(Fault(file, number, 1, what[:300], "write one JSON object per line")) from exc
    return found


def read_object(value: dict[str, Any], reader: RecordReader) -> Record:
    """Read one decoded object in the format of the upstream or of `records export`.

    An exported document adds the source, the account names and the key to the raw object.
    """
    is_ours = isinstance(value.get("raw"), dict) and isinstance(value.get("key"), str) and "actionKind" in value
    fields = value["raw"] if is_ours else value
    (record,) = reader.read_all([fields], [json.dumps(fields, ensure_ascii=False)], utc_now())
    return seen_at_once(_with_exported_fields(record, value) if is_ours else record)


def _with_exported_fields(record: Record, value: dict[str, Any]) -> Record:
    def entity(name: str, otherwise: Entity) -> Entity:
        found = value.get(name)
        return Entity(found.get("id"), found.get("name")) if isinstance(found, dict) else otherwise

    try:
        at = datetime.fromisoformat(str(value.get("timestamp")))
    except ValueError:
        at = record.occurred_at
    return msgspec.structs.replace(
        record,
        key=value["key"],
        source=str(value.get("source") or record.source),
        occurred_at=at if at.tzinfo else at.replace(tzinfo=UTC),
        action_kind=str(value["actionKind"]),
        user_name=value.get("userName"),
        description=value.get("description"),
        account=entity("account", record.account),
        cluster=entity("cluster", record.cluster),
        scope=value.get("scope"),
        operation=value.get("crudOperation"),
    )
