"""The connections of the listener: how many may be open, and how long each may wait.

uvicorn itself closes neither a connection whose request never becomes complete nor one that does not take its response, and its
`limit_concurrency` refuses requests, not connections. Strangers could take every descriptor of the process.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 100  # probes and scrapers use a handful
_DESCRIPTOR_SHARE = 4  # connections take at most a quarter: store, upstream and receivers need the other descriptors
_WAIT_SECONDS = 10.0  # until the next request is complete, and the response before it taken
SERVE_SECONDS = 60.0  # until a request is answered; of a download, until its client has taken the next part
_PART_BYTES = 65536  # of a download: as much as uvicorn buffers before it waits for the client, who needs about 1 KB/s
_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
_RENEW, _DROP = "renew_deadline", "drop_connection"

log = structlog.get_logger()


def _most_connections() -> int:
    """Return how many connections may be open: few enough that the process keeps descriptors for its work."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(min(MAX_CONNECTIONS, allowed // _DESCRIPTOR_SHARE), 1)


class BoundedConnection(H11Protocol):
    """uvicorn's HTTP/1.1 with a deadline for each wait. One connection too many drops the one that has waited longest.

    So a client that sends its request at once is served, even while others hold all connections open.
    """

    is_waiting = True
    """The client must send the rest of a request. Otherwise a complete request is being answered."""
    is_dropped = False
    since = 0.0
    """When its deadline started: since then the client has completed no request, and taken no part of a download."""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base does
        super().connection_made(transport)
        self.app_state = {**self.app_state, _RENEW: self._renew, _DROP: self._drop}
        self._start_deadline()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        request = self.cycle
        if request is not before and {name for name, _ in self.headers} >= _LENGTHS:
            # As if the client had asked for it (RFC 9112 §6.1): a proxy may see another request in the body.
            self.headers.append(CLOSE_HEADER)
        if self.is_waiting and request is not None and not (request.more_body or request.response_complete):
            self.is_waiting = False
            self._start_deadline()

    def on_response_complete(self) -> None:
        if not self.is_waiting:  # otherwise the body is still incomplete, and its deadline goes on
            self.is_waiting = True
            self._start_deadline()
        super().on_response_complete()

    def _renew(self) -> None:
        """Start the deadline again, because the client has taken a part of the response."""
        if not self.is_waiting:  # it may have begun before the body is complete
            self._start_deadline()

    def _start_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self not in self.connections:
            return  # lost while it was served
        self.since = self.loop.time()
        self._deadline = self.loop.call_later(_WAIT_SECONDS if self.is_waiting else SERVE_SECONDS, self._drop)

    def _make_room(self) -> None:
        """Drop another connection if this is one too many: one that waits, or else one whose client takes nothing."""
        most = _most_connections()
        opened = [each for each in self.connections if isinstance(each, BoundedConnection) and not each.is_dropped]
        if len(opened) <= most:
            return
        min((each for each in opened if each is not self), key=lambda each: (not each.is_waiting, each.since))._drop()
        remedy = "find out who connects to web.listen, and block other addresses with a firewall"
        log.warning("web_connection_dropped", reason=f"more than {most} connections are open", remedy=remedy)

    def _drop(self) -> None:
        """Close without waiting until the client has taken what was sent."""
        self.is_dropped = True
        self.transport.abort()


@dataclass(frozen=True, slots=True)
class Bound:
    """The number of streams of a kind that are sent at a time: probes and scrapers need connections too."""

    kind: str
    most: int
    refusal: str


class BoundedStream(StreamingResponse):
    """A response in parts that is one of a bounded number. It is counted where no other request runs in between."""

    def __init__(self, bound: Bound, content: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(content, headers=headers)
        self._bound = bound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises: HTTPException, if too many are being sent."""
        counts: Counter[str] = scope["app"].state.stream_counts
        if counts[self._bound.kind] >= self._bound.most:
            raise HTTPException(503, self._bound.refusal)
        counts[self._bound.kind] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            counts[self._bound.kind] -= 1


def download(request: Request, bound: Bound, chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> BoundedStream:
    """Make a response of any length. Its deadline starts again with each part: it bounds how long a client takes nothing.

    An empty chunk says that the server is still at work. The deadline of other responses also bounds how long they hold a
    connection; this one has no other bound than their number.
    """
    return BoundedStream(bound, _parts(chunks, request.scope["state"][_RENEW]), headers)


def break_off(request: Request) -> None:
    """End the connection of a request in the middle of its response, so that its client does not take it for the whole."""
    request.scope["state"][_DROP]()


async def _parts(chunks: AsyncIterator[bytes], renew: Callable[[], None]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        for start in range(0, len(chunk) or 1, _PART_BYTES):
            yield chunk[start : start + _PART_BYTES]  # returns when the client has taken most of the parts before it
            renew()
