"""While the sources read their backlog, correlations only store hits: each group is evaluated once, when they have read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sqlalchemy import Connection

from actionwatch.base.model import Record
from actionwatch.matching.source_progress import SourceProgress, read_progress
from actionwatch.rules.correlations.sources import RuleSources, SourceNames
from actionwatch.store import records


class BacklogWatch:
    """The progress of the sources, and whether only backlog is stored so far. `sources`: see `Correlating`."""

    def __init__(self, sources: Callable[[], Sequence[str]] | None, rules: Mapping[str, RuleSources]) -> None:
        self._sources = sources
        self.progress = SourceProgress({}, SourceNames(rules, ()))
        self._only_backlog_through = 0  # no record up to this id may alert
        self._waits_for_sources = self._is_more = False
        self._has_seen_live = False  # from then on, each batch may alert

    @property
    def is_reading(self) -> bool:
        """Whether no correlation can alert yet."""
        return self._waits_for_sources or self._is_more

    def read_progress(self, connection: Connection) -> SourceProgress:
        """Return how far the sources are now."""
        self._read(connection)
        self._waits_for_sources = not self.progress.is_past_backlog and not self._has_any_that_may_alert(connection)
        return self.progress

    def note_read(self, connection: Connection, batch: Iterable[Record]) -> None:
        """Note records that were read. A source that is new among them has a beginning now."""
        if not all(map(self.progress.knows, {record.source for record in batch})):
            self._read(connection)

    def note_batch(self, batch: Sequence[Record], *, is_more: bool) -> None:
        """Note a batch, and whether more records wait."""
        self._has_seen_live = self._has_seen_live or not all(record.is_backlog for record in batch)
        self._is_more = is_more and not self._has_seen_live

    def _read(self, connection: Connection) -> None:
        self.progress = read_progress(
            connection, self._sources() if self._sources is not None else None, self.progress.names
        )

    def _has_any_that_may_alert(self, connection: Connection) -> bool:
        newest = records.newest_id(connection)
        if records.has_any_that_may_alert(connection, self._only_backlog_through):
            return True
        self._only_backlog_through = newest
        return False
