"""Record the steps as spans of OpenTelemetry. Nothing is made while nobody collects them.

Each alert is a trace. Its ids are derived from that of the alert, so that the spans of all processes belong together. A span
has names of the configuration and ids, and no text of the audit log or of an error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from actionwatch.base.delivery import Delivery
from actionwatch.base.model import Alert


@dataclass(frozen=True, slots=True)
class Span:
    """A step that took some time. `trace_id` has 16 bytes; `id` and `parent_id`, which a root has not, have 8."""

    name: str
    start: datetime
    end: datetime
    attributes: Mapping[str, str | int]
    error: str | None = None
    """The kind of error with which it ended."""
    trace_id: bytes = field(default_factory=lambda: os.urandom(16))
    id: bytes = field(default_factory=lambda: os.urandom(8))
    parent_id: bytes = b""


class _Collecting:
    """The collector of the spans of this process."""

    take: Callable[[Span], None] | None = None


def collect_with(take: Callable[[Span], None] | None) -> None:
    """Give all spans of this process to a function from now on, or to none. It must not wait, nor raise."""
    _Collecting.take = take


def poll_ended(
    source: str, start: datetime, end: datetime, request_count: int, new_count: int, error: BaseException | None
) -> None:
    """Note how a poll of a source went."""
    if _Collecting.take is not None:
        attributes: dict[str, str | int] = {"source": source, "requests": request_count, "new_records": new_count}
        _Collecting.take(Span("poll", start, end, _prefixed(attributes), _kind(error)))


def alert_opened(alert: Alert, now: datetime) -> None:
    """Note that an alert is committed: how long its record took to appear in a poll, and matching after that."""
    if _Collecting.take is None:
        return
    trace_id, root = _ids_of(alert.id)
    happened_at = alert.happened_at or alert.opened_at
    named = {"alert": alert.id, "rule": alert.rule.name, "level": alert.level.word, "source": alert.source}
    _Collecting.take(Span("alert", happened_at, now, _prefixed(named), trace_id=trace_id, id=root))
    if alert.seen_at is not None:
        for name, start, end in (("wait for poll", happened_at, alert.seen_at), ("match", alert.seen_at, now)):
            _Collecting.take(Span(name, start, end, {}, trace_id=trace_id, parent_id=root))


def attempt_ended(delivery: Delivery, start: datetime, end: datetime, error: BaseException | None) -> None:
    """Note an attempt to send a message."""
    if _Collecting.take is not None:
        trace_id, root = _ids_of(delivery.alert_id)
        attributes: dict[str, str | int] = {
            "receiver": delivery.receiver,
            "event": delivery.event.word,
            "message": delivery.id,
            "attempt": delivery.attempts,
        }
        made = Span("deliver", start, end, _prefixed(attributes), _kind(error), trace_id=trace_id, parent_id=root)
        _Collecting.take(made)


def _ids_of(alert_id: str) -> tuple[bytes, bytes]:
    """Return the id of the trace of an alert, and that of its root."""
    digest = hashlib.sha256(alert_id.encode("utf-8", "replace")).digest()
    return digest[:16], digest[16:24]


def _kind(error: BaseException | None) -> str | None:
    return None if error is None else type(error).__name__


def _prefixed(attributes: Mapping[str, str | int]) -> dict[str, str | int]:
    return {f"actionwatch.{name}": value for name, value in attributes.items()}
