"""Send a heartbeat while the proof of every source is recent. When it stops, an external service raises the alarm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog

from actionwatch.base.clock import STEP
from actionwatch.base.errors import TransportError
from actionwatch.net.http import HttpClient
from actionwatch.queries.status import read_sources
from actionwatch.store.database import Database
from actionwatch.tail.planning import lag_limit
from actionwatch.text.redaction import Redaction, in_url

_TIMEOUT = timedelta(seconds=10)
_EXCERPT_CHARS = 300

log = structlog.get_logger()


class HeartbeatSender:
    """One outgoing heartbeat for all sources. `intervals` returns their poll intervals."""

    def __init__(
        self,
        url: str,
        intervals: Callable[[], Mapping[str, timedelta]],
        database: Database,
        clock: Callable[[], datetime],
    ) -> None:
        self._url = url
        self._redact = Redaction(in_url(url))
        self._intervals = intervals
        self._database = database
        self._clock = clock
        self._http = HttpClient(timeout=_TIMEOUT, is_body_optional=True)

    def run_once(self) -> bool:
        """Send the heartbeat, unless the proof of a source lags. Return whether the service accepted it."""
        now, lags = self._clock(), {name: lag_limit(interval) for name, interval in self._intervals().items()}
        with self._database.read() as connection:
            sources = read_sources(connection, lags)
        stale = [
            each.name
            for each in sources
            # A mark in the future proves nothing: a clock was set back.
            if each.marks is None or not -STEP <= each.upstream_time(now) - each.marks.proved_through <= lags[each.name]
        ]
        if stale:
            log.warning("heartbeat_withheld", stale=stale)
            return False
        try:
            answer = self._http.request("GET", self._url)
        except TransportError as exc:
            log.warning("heartbeat_failed", error=self._redact.excerpt(str(exc), _EXCERPT_CHARS))
            return False
        if answer.status >= 300:
            log.warning("heartbeat_failed", status=answer.status)
        return answer.status < 300

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
