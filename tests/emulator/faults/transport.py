"""Faults of the transport, which the client sees on its socket: broken bodies and connections."""

import asyncio
import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Annotated, Final, Literal

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from actionwatch.emulator.connection import connection_of
from actionwatch.emulator.faults.kinds import Play
from actionwatch.emulator.faults.transport import send_half, until_gone

_RESET_DELAY_SECONDS = 0.05  # a reset directly after data may overtake it in the kernel of the client
_CHUNK = b" " * 65_536


class Oversize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The size of a response; a packed one is small on the wire and large when decompressed."""

    mib: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    form: Literal["plain", "packed"] = "plain"


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


async def packed(play: Play, inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a body as `Content-Encoding: gzip`, with valid or invalid compression."""
    if (whole := await _collect(inner, scope, receive)) is not None:
        start, body = whole
        await _send_packed(send, start, PACKINGS[play.arg](body))


async def oversize(play: Play, inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Put spaces before a body, so that it is valid JSON but too large."""
    if (whole := await _collect(inner, scope, receive)) is None:
        return
    start, body = whole
    chunk_count = play.arg.mib * 2**20 // len(_CHUNK)
    if play.arg.form == "packed":
        await _send_packed(send, start, b"".join(_bomb(chunk_count, body)))
        return
    MutableHeaders(scope=start)["content-length"] = str(chunk_count * len(_CHUNK) + len(body))
    await send(start)
    for _ in range(chunk_count):
        if connection_of(scope).is_gone:
            return
        await send({"type": "http.response.body", "body": _CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": body})


def _bomb(chunk_count: int, body: bytes) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(chunk_count):
        yield packer.compress(_CHUNK)
    yield packer.compress(body) + packer.flush()


async def truncated(play: Play, inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Close the connection after half the body, with the full Content-Length or without the last chunk."""
    if (whole := await _collect(inner, scope, receive)) is None:
        return
    start, body = whole
    if play.arg == "chunked":
        del MutableHeaders(scope=start)["content-length"]
    await send(start)
    await send_half(send, body)
    connection_of(scope).close()
    await until_gone(receive)


async def reset(play: Play, inner: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Reset the connection before the response, after its headers, or within its body."""
    if play.arg != "request":
        if (whole := await _collect(inner, scope, receive)) is None:
            return
        start, body = whole
        await send(start)
        if play.arg == "body":
            await send_half(send, body)
        await asyncio.sleep(_RESET_DELAY_SECONDS)
    connection_of(scope).reset()
    await until_gone(receive)


async def dropped(_play: Play, _inner: Response, scope: Scope, receive: Receive, _send: Send) -> None:
    connection_of(scope).close()
    await until_gone(receive)


async def not_http(_play: Play, _inner: Response, scope: Scope, receive: Receive, _send: Send) -> None:
    """Send bytes that are not HTTP instead of a response, and close the connection."""
    connection_of(scope).close(b"SSH-2.0-OpenSSH_9.9\r\n")
    await until_gone(receive)


async def _collect(inner: Response, scope: Scope, receive: Receive) -> tuple[Message, bytes] | None:
    """Return the start and the body of a response, which is small; None if another fault broke the connection."""
    messages: list[Message] = []

    async def collect(message: Message) -> None:
        messages.append(message)

    await inner(scope, receive, collect)
    if not messages or messages[-1].get("more_body") or messages[-1]["type"] == "http.response.start":
        return None
    return messages[0], b"".join(message.get("body", b"") for message in messages[1:])


async def _send_packed(send: Send, start: Message, body: bytes) -> None:
    headers = MutableHeaders(scope=start)
    headers["content-encoding"], headers["content-length"] = "gzip", str(len(body))
    await send(start)
    await send({"type": "http.response.body", "body": body})
