"""Make the TCP connection accessible to the app, so that faults can break it."""

import asyncio
import socket
import struct
from typing import Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_EXTENSION: Final = "emulator.connection"
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: closing sends RST, not FIN


class ClientConnection:
    """A TCP connection of a client.

    `is_held`: a fault has withheld a response on it, so that the server need not wait for it when it ends.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.is_held = False

    @property
    def is_gone(self) -> bool:
        """Whether the connection is closed or closing."""
        return self._transport.is_closing()

    def close(self, farewell: bytes = b"") -> None:
        """Close after sending pending data and some last bytes."""
        if farewell:
            self._transport.write(farewell)
        self._transport.close()

    def reset(self) -> None:
        """Close with a reset, so that the next read of the client fails."""
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()


def connection_of(scope: Scope) -> ClientConnection:
    """Return the connection of a request. The app must run in the server of `server.py`."""
    found: ClientConnection = scope["extensions"][_EXTENSION]
    return found


class ConnectedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with the connection in the scope of each request."""

    connection: ClientConnection | None = None

    # `web/connections.py` wraps the app in the same way. The emulator cannot share that code: it imports nothing of ours.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base does
        super().connection_made(transport)
        self.connection = connection = ClientConnection(transport)
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await inner({**scope, "extensions": {**scope.get("extensions", {}), _EXTENSION: connection}}, receive, send)

        self.app = app

    def shutdown(self) -> None:
        super().shutdown()
        if self.connection is not None and self.connection.is_held:
            self.transport.abort()
