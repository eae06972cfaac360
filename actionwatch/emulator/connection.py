"""Return the app a hand on the connection below HTTP, so that a fault can break it for real."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

EXTENSION: Final = "emulator.connection"
NO_LINGER: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: closing sends RST, not FIN


class ClientConnection:
    """One client's connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._holds = 0

    @property
    def is_gone(self) -> bool:
        """Return whether nothing more can be sent."""
        return self._transport.is_closing()

    @property
    def is_held(self) -> bool:
        """Return whether a fault keeps the answer back: the end of the server need not wait for it."""
        return self._holds > 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Mark the connection as kept by a fault."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    def close(self, farewell: bytes = b"") -> None:
        """Close in an orderly way, after what was written and some last bytes."""
        if farewell:
            self._transport.write(farewell)
        self._transport.close()

    def reset(self) -> None:
        """Close with a reset, so that the client's next read fails."""
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self._transport.abort()

    def abort(self) -> None:
        """Close at once, whatever is still to be sent."""
        self._transport.abort()


def connection_of(scope: Scope) -> ClientConnection:
    """Return the connection of a request.

    Raises: `RuntimeError` under another server than `server.py` starts.
    """
    found = scope.get("extensions", {}).get(EXTENSION)
    if not isinstance(found, ClientConnection):
        raise RuntimeError("faults of the transport need the emulator's own server")
    return found


class ConnectedProtocol(H11Protocol):
    """HTTP/1.1 that hands the app its connection."""

    connection: ClientConnection | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base does
        super().connection_made(transport)
        self.connection = connection = ClientConnection(transport)
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await inner({**scope, "extensions": {**scope.get("extensions", {}), EXTENSION: connection}}, receive, send)

        self.app = app

    def shutdown(self) -> None:
        super().shutdown()
        if self.connection is not None and self.connection.is_held:
            self.connection.abort()
