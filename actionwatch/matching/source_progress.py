"""The progress of the sources: the beginning of correlations, and the time up to which they may judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.clock import from_micros
from actionwatch.base.plurals import counted
from actionwatch.store import marks

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class SourceProgress:
    """The common progress of sources: its beginning, its proved end, and the time from which on records may alert."""

    begin: datetime | None = None
    verified: datetime | None = None
    alerts_from: datetime | None = None
    names: tuple[str, ...] = ()

    @property
    def spelled_sources(self) -> str:
        """The sources in an alert about what is missing in all of them: their names, or how many there are."""
        return ", ".join(self.names) if len(self.names) <= _MOST_NAMED else counted(len(self.names), "source")

    @property
    def is_past_backlog(self) -> bool:
        """Whether all sources have proved the time before which records are backlog."""
        return self.alerts_from is not None and self.verified is not None and self.verified >= self.alerts_from

    def has_beginning_of(self, other: SourceProgress) -> bool:
        """Whether the stream of records begins as it did then: a state that was built then is still right."""
        return (self.begin, self.alerts_from) == (other.begin, other.alerts_from)


def read_progress(connection: Connection, sources: Sequence[str] | None) -> SourceProgress:
    """Read the progress that sources have in common (None: all that were ever polled); nothing while one has none."""
    known = marks.read_spans(connection)
    names = sorted(known) if sources is None else sources
    if not names or any(name not in known for name in names):
        return SourceProgress()
    begins, proved, alerts = zip(*(known[name] for name in names), strict=True)
    return SourceProgress(from_micros(max(begins)), from_micros(min(proved)), from_micros(max(alerts)), tuple(names))
