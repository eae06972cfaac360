"""Faults of the transport, which the client sees on its socket."""

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Annotated, Final, Literal

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from actionwatch.emulator.connection import connection_of
from actionwatch.emulator.durations import Duration
from actionwatch.emulator.state import Clock

RESET_DELAY_SECONDS = 0.05  # a reset directly after data may overtake it in the kernel of the client
CHUNK = b" " * 65_536

Carrier = Callable[[Response, Scope, Receive, Send], Awaitable[None]]
Where = Literal["request", "headers", "body"]


class FaultyResponse(Response):
    """A response that a fault transmits; several faults are nested responses."""

    def __init__(self, inner: Response, carrier: Carrier, status_code: int) -> None:
        super().__init__(status_code=status_code)
        self.inner, self.carrier = inner, carrier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.carrier(self.inner, scope, receive, send)


class Oversize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The size of a response; a packed one is small on the wire and large when decompressed."""

    mib: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    form: Literal["plain", "packed"] = "plain"


class Drip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How slowly a body is sent."""

    pause: Duration = Duration(milliseconds=100)
    count_bytes: Annotated[int, msgspec.Meta(ge=1)] = 1


class Hang(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a response stops, and for how long; None: until the client disconnects."""

    lasts: Duration | None = None
    at: Where = "request"


# What is sent


def dated(clock: Clock, offset: timedelta | None) -> Carrier:
    """Send a `Date` with an offset; None: no `Date` (an empty one keeps the app from adding it)."""
    text = "" if offset is None else format_datetime(clock() + offset, usegmt=True)

    async def carry(inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["date"] = text
            await send(message)

        await inner(scope, receive, send_dated)

    return carry


def _broken_checksum(body: bytes) -> bytes:
    packed = gzip.compress(body)
    return packed[:-8] + bytes(byte ^ 0xFF for byte in packed[-8:-4]) + packed[-4:]


PACKINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "sound": gzip.compress,
    "cut": lambda body: gzip.compress(body)[:-12],
    "checksum": _broken_checksum,
    "plain": lambda body: body,
    "garbage": lambda body: b"\x1f\x8b\x08\x00" + bytes(reversed(body)),
}


def packed(form: str) -> Carrier:
    """Send a body as `Content-Encoding: gzip`, with valid or invalid compression."""

    async def carry(inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_packed(start: Message, body: bytes) -> None:
            await _send_whole(send, start, PACKINGS[form](body), {"content-encoding": "gzip"})

        await inner(scope, receive, _whole(send_packed))

    return carry


def oversize(size: Oversize) -> Carrier:
    """Put spaces before a body, so that it is valid JSON but too large."""

    async def carry(inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_plain(start: Message, body: bytes) -> None:
            blanks = size.mib * 2**20
            _set_headers(start, {"content-length": str(blanks + len(body))})
            await send(start)
            for _ in range(blanks // len(CHUNK)):
                if connection_of(scope).is_gone:
                    return
                await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            await send({"type": "http.response.body", "body": body})

        async def send_packed(start: Message, body: bytes) -> None:
            await _send_whole(send, start, b"".join(_bomb(size.mib, body)), {"content-encoding": "gzip"})

        await inner(scope, receive, _whole(send_plain if size.form == "plain" else send_packed))

    return carry


def _bomb(mib: int, body: bytes) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(mib * 2**20 // len(CHUNK)):
        yield packer.compress(CHUNK)
    yield packer.compress(body) + packer.flush()


# How the connection ends


def truncated(form: str) -> Carrier:
    """Close the connection after half the body, with the full Content-Length or without the last chunk."""

    async def carry(inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_half(start: Message, body: bytes) -> None:
            if form == "chunked":
                del MutableHeaders(scope=start)["content-length"]
            await send(start)
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            connection_of(scope).close()
            await _until_gone(receive)

        await inner(scope, receive, _whole(send_half))

    return carry


def reset(where: Where) -> Carrier:
    """Reset the connection before the response, after its headers, or within its body."""

    async def carry(inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
        connection = connection_of(scope)
        if where == "request":
            connection.reset()
            await _until_gone(receive)
            return

        async def send_part(start: Message, body: bytes) -> None:
            await send(start)
            if where == "body":
                await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            await asyncio.sleep(RESET_DELAY_SECONDS)
            connection.reset()
            await _until_gone(receive)

        await inner(scope, receive, _whole(send_part))

    return carry


def ended(farewell: bytes) -> Carrier:
    """Close the connection instead of a response, after some bytes that are not HTTP."""

    async def carry(inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
        del inner, send
        connection_of(scope).close(farewell)
        await _until_gone(receive)

    return carry


# When the response is sent


def dripping(drip: Drip) -> Carrier:
    """Send a body a few bytes at a time."""

    async def carry(inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
        connection = connection_of(scope)

        async def send_slowly(message: Message) -> None:
            body = message.get("body", b"")
            for at in range(0, len(body), drip.count_bytes):
                if connection.is_gone:
                    return
                part = body[at : at + drip.count_bytes]
                await send({"type": "http.response.body", "body": part, "more_body": True})
                await asyncio.sleep(drip.pause.total_seconds())
            await send({**message, "body": b""} if body else message)

        with connection.held():
            await inner(scope, receive, send_slowly)

    return carry


def is_answered(hang: Hang) -> bool:
    """Return whether any part of a response is sent."""
    return hang.lasts is not None or hang.at != "request"


def hanging(hang: Hang) -> Carrier:
    """Stop for some time, or until the client disconnects: before the response, after its headers, or within its body."""

    async def carry(inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
        connection = connection_of(scope)
        seconds = None if hang.lasts is None else hang.lasts.total_seconds()

        async def send_halted(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] == "http.response.body" and hang.at == "body" and len(body) > 1:
                await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
                await wait()
                message = {**message, "body": body[len(body) // 2 :]}
            if not connection.is_gone:
                await send(message)
            if message["type"] == "http.response.start" and hang.at == "headers":
                await wait()

        async def wait() -> None:
            try:
                await asyncio.wait_for(_until_gone(receive), seconds)
            except TimeoutError:
                return

        with connection.held():
            if hang.at == "request":
                await wait()
            if not connection.is_gone:
                await inner(scope, receive, send_halted)

    return carry


def _whole(then: Callable[[Message, bytes], Awaitable[None]]) -> Send:
    """Collect a response and pass it on as a whole; responses of the emulator are small."""
    start: Message = {}
    parts: list[bytes] = []

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            await then(start, b"".join(parts))

    return collect


async def _send_whole(send: Send, start: Message, body: bytes, headers: dict[str, str]) -> None:
    _set_headers(start, {**headers, "content-length": str(len(body))})
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _set_headers(start: Message, headers: dict[str, str]) -> None:
    for name, value in headers.items():
        MutableHeaders(scope=start)[name] = value


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
