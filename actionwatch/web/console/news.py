"""Server-sent events for an open page: how many alerts opened since the page was made.

Nothing is done while no page is open. A stream looks at the version of the store, which is cheaper than a query, and reads
only after a commit.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import datetime

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.errors import StoreError
from actionwatch.store import alerts
from actionwatch.web.connections import Bound, BoundedStream
from actionwatch.web.headers import UNBUFFERED
from actionwatch.web.parts import Parts
from actionwatch.web.query import read_time

MAX_STREAMS = 20
MAX_NEW = 100  # counted; more are "or more"
LOOK_SECONDS = 0.5
LIFE_SECONDS = 45.0  # the listener ends a request after 60 s; the browser connects again, and shows its session again
PING_SECONDS = 15.0  # a write notices a client that has left
_TOO_MANY = f"{MAX_STREAMS} pages are open, which is the maximum that is updated automatically: reload this one"
_RETRY = b"retry: 5000\n\n"
_PING = b": nothing new\n\n"


def stream(request: Request, parts: Parts) -> Response:
    """Send the number of alerts that opened after a time, now and when it changes."""
    try:
        after = read_time(request.query_params.get("after", "").strip(), parts.clock())
    except ValueError as exc:
        raise HTTPException(400, "after: give the time after which alerts are new") from exc
    headers = {"content-type": "text/event-stream", **UNBUFFERED}
    return BoundedStream(Bound("news", MAX_STREAMS, _TOO_MANY), _events(parts, after), headers)


async def _events(parts: Parts, after: datetime) -> AsyncIterator[bytes]:
    look = _Look(parts, after)
    began = sent = time.monotonic()
    yield _RETRY
    while time.monotonic() - began < LIFE_SECONDS and not parts.service.is_stopping():
        try:
            event = await run_in_threadpool(look.event)
        except StoreError:
            return  # the browser connects again
        if event is None and time.monotonic() - sent >= PING_SECONDS:
            event = _PING
        if event is not None:
            sent = time.monotonic()
            yield event
        await asyncio.sleep(LOOK_SECONDS)


class _Look:
    """Looks at the store, and notes what it has seen."""

    def __init__(self, parts: Parts, after: datetime) -> None:
        self._parts = parts
        self._after = after
        self._version: int | None = None
        self._count = 0

    def event(self) -> bytes | None:
        """Return the event with the number of new alerts, if it has changed."""
        version = self._parts.database.version()
        if version == self._version:
            return None
        self._version = version
        with self._parts.database.read() as connection:
            count = alerts.count_opened_after(connection, self._after, MAX_NEW)
        if count == self._count:
            return None
        self._count = count
        return f"data: {json.dumps({'count': count, 'more': count == MAX_NEW})}\n\n".encode()
