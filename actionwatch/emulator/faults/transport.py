"""Faults of the transport, which the client sees on its socket."""

import asyncio
import contextlib
from email.utils import format_datetime
from typing import Annotated, Literal

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from actionwatch.emulator.connection import connection_of
from actionwatch.emulator.durations import Duration
from actionwatch.emulator.faults.kinds import Play

Where = Literal["request", "headers", "body"]


class Drip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pause: Duration = Duration(milliseconds=100)
    count_bytes: Annotated[int, msgspec.Meta(ge=1)] = 1


class Hang(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The place where a response stops, and for how long; None: until the client disconnects."""

    lasts: Duration | None = None
    at: Where = "request"


async def dated(play: Play, inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a `Date` with an offset; None: no `Date` (an empty one keeps the app from adding it)."""
    text = "" if play.arg is None else format_datetime(play.clock() + play.arg, usegmt=True)

    async def send_dated(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["date"] = text
        await send(message)

    await inner(scope, receive, send_dated)


async def dripping(play: Play, inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a body a few bytes at a time."""
    connection = connection_of(scope)

    async def send_slowly(message: Message) -> None:
        body = message.get("body", b"")
        for at in range(0, len(body), play.arg.count_bytes):
            if connection.is_gone:
                return
            part = body[at : at + play.arg.count_bytes]
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(play.arg.pause.total_seconds())
        await send({**message, "body": b""} if body else message)

    connection.is_held = True
    await inner(scope, receive, send_slowly)


def is_answered(hang: Hang) -> bool:
    """Return whether any part of a response is sent."""
    return hang.lasts is not None or hang.at != "request"


async def hanging(play: Play, inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Stop for some time, or until the client disconnects: before the response, after its headers, or within its body."""
    hang: Hang = play.arg
    connection = connection_of(scope)
    seconds = None if hang.lasts is None else hang.lasts.total_seconds()

    async def send_halted(message: Message) -> None:
        body = message.get("body", b"")
        if message["type"] == "http.response.body" and hang.at == "body" and len(body) > 1:
            await send_half(send, body)
            await wait()
            message = {**message, "body": body[len(body) // 2 :]}
        if not connection.is_gone:
            await send(message)
        if message["type"] == "http.response.start" and hang.at == "headers":
            await wait()

    async def wait() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until_gone(receive), seconds)

    connection.is_held = True
    if hang.at == "request":
        await wait()
    if not connection.is_gone:
        await inner(scope, receive, send_halted)


async def send_half(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})


async def until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
