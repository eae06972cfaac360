"""The WebSocket on which Slack sends presses: websocket-client on a connection that takes nothing from the environment.

The client of Slack's SDK for websocket-client cannot be kept from the proxies of the environment, and has no option for the
certificates to trust or for the size of a frame.
"""

from __future__ import annotations

import base64
import contextlib
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import socket
from urllib.parse import unquote, urlsplit

import websocket

from actionwatch.text.escaping import one_line, shorten

MAX_ENVELOPE_BYTES = 1_000_000  # a press contains the message, of at most 50 blocks of 3,000 characters
MAX_FRAME_BYTES = 4 * MAX_ENVELOPE_BYTES  # a longer frame or message ends the connection
# To connect, and to send. Also how long Slack may be silent until we send a ping, and again until it answers.
_TIMEOUT_SECONDS = 10.0
_DATA = (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY)
_SHOWN_CHARS = 300  # of an error, which may contain headers of the response


class Unreadable(ConnectionError):
    """Slack never sends such a frame. Close the connection, and make another one."""


class SlackSocket:
    """A connection for one reader. Others may only call `abort`."""

    def __init__(self, web_socket: websocket.WebSocket) -> None:
        self._web_socket = web_socket

    def receive(self) -> bytes:
        """Return the next message, however long it takes. Raises: OSError, if the connection is lost; Unreadable."""
        try:
            while True:
                opcode, data = self._receive_frame()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    raise ConnectionError("Slack closed the connection")
                if opcode in _DATA:
                    return data
        except (websocket.WebSocketProtocolException, websocket.WebSocketPayloadException) as exc:
            raise Unreadable(str(exc)) from exc
        except (websocket.WebSocketException, ValueError) as exc:  # ValueError: TLS was ended by `abort`
            raise _lost(exc) from exc

    def _receive_frame(self) -> tuple[int, bytes]:
        """Return the opcode and the data of the next message or control frame. If none comes, ask whether Slack is there."""
        with contextlib.suppress(websocket.WebSocketTimeoutException):
            return self._web_socket.recv_data(control_frame=True)
        self._web_socket.ping()
        return self._web_socket.recv_data(control_frame=True)

    def send(self, text: str) -> None:
        """Send a message. Raises: OSError."""
        try:
            self._web_socket.send(text)
        except websocket.WebSocketException as exc:
            raise _lost(exc) from exc

    def abort(self) -> None:
        """Let `receive` end in the thread that waits there."""
        self._web_socket.abort()

    def close(self) -> None:
        """Close the connection without waiting for the other end."""
        with contextlib.suppress(OSError, ValueError, websocket.WebSocketException):
            self._web_socket.send_close()
        self._web_socket.shutdown()


def connect(url: str, tls: ssl.SSLContext, proxy: str | None) -> SlackSocket:
    """Connect to an address of `ws://` or `wss://`. Raises: OSError, ValueError."""
    # Whatever is no JSON is ignored, and the next message is read.
    web_socket = websocket.WebSocket(skip_utf8_validation=True)
    web_socket.frame_buffer = _BoundedFrames(web_socket.frame_buffer.recv, skip_utf8_validation=True)
    try:
        web_socket.connect(url, socket=_open(url, tls, proxy), redirect_limit=0, suppress_origin=True)
    except (HTTPException, websocket.WebSocketException) as exc:
        raise _lost(exc) from exc
    return SlackSocket(web_socket)


def _open(url: str, tls: ssl.SSLContext, proxy: str | None) -> socket:
    """Open the TCP connection of a WebSocket, through a proxy if one is given."""
    target = urlsplit(url)
    is_secure = target.scheme == "wss"
    port = target.port or (443 if is_secure else 80)
    via = urlsplit(proxy) if proxy else target
    host, via_port = via.hostname or "", (via.port or 80) if proxy else port
    connection = (
        HTTPSConnection(host, via_port, timeout=_TIMEOUT_SECONDS, context=tls)
        if is_secure
        else HTTPConnection(host, via_port, timeout=_TIMEOUT_SECONDS)
    )
    if proxy:
        login = ":".join(unquote(part or "") for part in (via.username, via.password))
        encoded = base64.b64encode(login.encode()).decode()
        headers = {"Proxy-Authorization": f"Basic {encoded}"} if via.username else {}
        connection.set_tunnel(target.hostname or "", port, headers)
    try:
        connection.connect()
    except BaseException:
        connection.close()
        raise
    return connection.sock


def _lost(exc: Exception) -> ConnectionError:
    return ConnectionError(one_line(shorten(str(exc) or type(exc).__name__, _SHOWN_CHARS)))


class _BoundedFrames(websocket.frame_buffer):
    """Refuses frames and messages that are larger than any press before they are in memory, and what only clients send."""

    _message_bytes = 0

    def recv_frame(self) -> websocket.ABNF:
        frame = super().recv_frame()
        if frame.opcode in _DATA:
            self._message_bytes = 0
        if frame.opcode in (*_DATA, websocket.ABNF.OPCODE_CONT):
            self._message_bytes += len(frame.data)
        _check_size(self._message_bytes)
        return frame

    def recv_length(self) -> None:
        super().recv_length()
        _check_size(self.length or 0)

    def recv_mask(self) -> None:
        if self.has_mask():
            raise Unreadable("its frame has a mask, which only clients use")
        super().recv_mask()


def _check_size(size: int) -> None:
    if size > MAX_FRAME_BYTES:
        raise Unreadable(f"it has {size} bytes, and a press at most {MAX_FRAME_BYTES}")
