"""The streams: how far each has come, what waits, and what its destination refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from actionwatch.base.source_labels import is_configured
from actionwatch.settings import Stream
from actionwatch.store import streams
from actionwatch.store.streams import Health, KeptMessage, Mark
from actionwatch.text.payloads import instant

_COUNTED = 1_000_000  # records that wait; more are "at least so many"


@dataclass(frozen=True, slots=True)
class StreamState:
    """The progress of a stream. `lag` is how long its oldest message has been waiting."""

    name: str
    configured: Stream
    health: Health
    waiting_count: int = 0
    refused_count: int = 0
    lag: timedelta = timedelta(0)
    marks: dict[str, Mark] | None = None

    @property
    def complete_through(self) -> datetime | None:
        """Through when the stream has stated that it sent all records of all configured sources; None if it has not."""
        marks = [mark for name, mark in (self.marks or {}).items() if is_configured(name)]
        return min((mark.complete_through for mark in marks), default=None)

    @property
    def status(self) -> str:
        """The state in one word: failing, or running."""
        return "failing" if self.health.failing_since is not None else "running"

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        configured, health = self.configured, self.health
        return {
            "name": self.name,
            "type": configured.type,
            "what": configured.what,
            "status": self.status,
            "sent": health.sent_count,
            "waiting": self.waiting_count,
            "refused": self.refused_count,
            "lag_seconds": self.lag.total_seconds(),
            "complete_through": {name: instant(mark.complete_through) for name, mark in (self.marks or {}).items()},
            "last_sent_at": instant(health.last_sent_at) if health.last_sent_at else None,
            "failing_since": instant(health.failing_since) if health.failing_since else None,
            "last_error": health.last_error,
        }


def read_streams(connection: Connection, configured: Iterable[Stream], now: datetime) -> list[StreamState]:
    """Return the state of each configured stream."""
    health, kept = streams.read_all(connection), streams.count_kept(connection)
    return [
        _state(connection, each, health.get(each.name, Health()), kept.get(each.name, (0, 0)), now)
        for each in configured
    ]


def _state(connection: Connection, stream: Stream, health: Health, kept: tuple[int, int], now: datetime) -> StreamState:
    waiting, refused = kept
    since = health.failing_since if waiting else None
    if stream.has_records and (position := streams.read_positions(connection, stream.name).get(streams.RECORD_FEED)):
        waiting += streams.count_waiting(connection, position.row_id, _COUNTED)
        first = streams.first_waiting(connection, position.row_id)
        seen_at = max(first[1], health.started_at) if first else None
        since = min((each for each in (since, seen_at) if each), default=None)
    lag = max(now - since, timedelta(0)) if since else timedelta(0)
    return StreamState(stream.name, stream, health, waiting, refused, lag, streams.read_marks(connection, stream.name))


def refused(connection: Connection, name: str | None, limit: int) -> Sequence[KeptMessage]:
    """Return the messages that destinations refused, newest first: of a stream, or of all."""
    return streams.read_refused(connection, name, limit)


def refused_document(message: KeptMessage) -> dict[str, Any]:
    """Return a refused message as JSON."""
    return {
        "number": message.id,
        "stream": message.stream,
        "id": message.message_id,
        "kind": message.kind,
        "offset": message.row_id,
        "at": instant(message.at),
        "refused_at": instant(message.refused_at) if message.refused_at else None,
        "why": message.why,
        "bytes": len(message.body),
    }
