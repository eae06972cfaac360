"""Slack with Socket Mode on loopback: `apps.connections.open`, a WebSocket, and button presses of a test."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Any

from tests.integration.notifiers.ends import slack_error, slack_reply
from tests.integration.notifiers.http_end import HttpEnd, Reply, Request
from tests.integration.notifiers.listener import Listener
from tests.waiting import wait_until

APP_TOKEN = "xapp-1-A0-s3cret-app-token"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class SocketEnd(Listener):
    """Serves until closed. `acks` contains the acknowledged envelopes, `connections` the number of connections."""

    def __init__(self) -> None:
        self.acks: list[str] = []
        self.connections = 0
        self.piece_bytes = 0
        """How many bytes to send at once; 0 means all."""
        self.opening: list[Reply] = []
        """What to answer `apps.connections.open` with, before it works."""
        self.api = HttpEnd(self._reply)
        self._live: list[socket.socket] = []
        self._sending = threading.Lock()  # a response to a ping must not be sent in the middle of another frame
        super().__init__()

    def press(
        self,
        *names: str,
        envelope_id: str,
        value: str = "alert-1",
        changed: Mapping[str, Any] | None = None,
        **user: Any,
    ) -> None:
        """Send what Slack sends if somebody presses a button. `changed` are members with other values."""
        posted = next(request.json for request in self.api.requests if request.path.endswith("chat.postMessage"))
        payload = {
            "type": "block_actions",
            "user": {"id": "U123", "username": "sam", "team_id": "T1", **user},
            "team": {"id": "T1", "domain": "example"},
            "enterprise": None,
            "channel": {"id": "C0123456789"},
            "message": {"ts": "1700000000.000100", **posted},
            "actions": [{"action_id": name, "value": value, "block_id": "actionwatch"} for name in names],
            **(changed or {}),
        }
        self.say({"type": "interactive", "envelope_id": envelope_id, "payload": payload})

    def say(self, document: Any) -> None:
        """Send a document to the connected client."""
        self.say_text(json.dumps(document))

    def say_text(self, text: str) -> None:
        """Send a text frame to the connected client."""
        self.say_bytes(_frame(TEXT, text.encode("utf-8", "surrogatepass")))

    def say_bytes(self, data: bytes) -> None:
        """Send bytes to the connected client. The client may know of the connection slightly before the server does."""
        wait_until(lambda: self._live, "a connection")
        size = self.piece_bytes or len(data)
        with self._sending:
            for start in range(0, len(data), size):
                self._live[-1].sendall(data[start : start + size])

    def hang_up(self) -> None:
        """Break the connection."""
        self._live[-1].shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()
        self.api.close()

    def close_connections(self) -> None:
        for connection in self._live:
            connection.close()

    def _reply(self, request: Request) -> Reply:
        if request.path.endswith("auth.test"):
            return Reply(200, json.dumps({"ok": True, "team_id": "T1"}).encode(), {"content-type": "application/json"})
        if not request.path.endswith("apps.connections.open"):
            return slack_reply(request)
        if self.opening:
            return self.opening.pop(0)
        if request.headers.get("authorization") != f"Bearer {APP_TOKEN}":
            return slack_error("invalid_auth")
        url = f"ws://127.0.0.1:{self.port}/link/?ticket=abc"
        return Reply(200, json.dumps({"ok": True, "url": url}).encode(), {"content-type": "application/json"})

    def treat(self, connection: socket.socket) -> None:
        try:
            stream = connection.makefile("rb")
            self._shake_hands(connection, stream)
            while True:
                opcode, data = _read_frame(stream)
                if opcode == PING:
                    with self._sending:
                        connection.sendall(_frame(PONG, data))
                elif opcode == TEXT:
                    self.acks.append(json.loads(data)["envelope_id"])
                elif opcode == CLOSE:
                    return
        except (OSError, ValueError, EOFError):
            return
        finally:
            stream.close()

    def _shake_hands(self, connection: socket.socket, stream: Any) -> None:
        lines = iter(stream.readline, b"\r\n")
        headers = dict(line.decode().rstrip().split(": ", 1) for line in lines if b": " in line)
        digest = hashlib.sha1(f"{headers['Sec-WebSocket-Key']}{GUID}".encode()).digest()
        accept = base64.b64encode(digest).decode()
        head = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        connection.sendall("\r\n".join((*head, f"Sec-WebSocket-Accept: {accept}", "", "")).encode())
        self._live.append(connection)
        self.connections += 1
        self.say({"type": "hello", "num_connections": 1})


def _frame(opcode: int, data: bytes) -> bytes:
    if len(data) < 126:
        length = bytes([len(data)])
    else:
        length = (
            b"\x7e" + struct.pack(">H", len(data)) if len(data) < 65_536 else b"\x7f" + struct.pack(">Q", len(data))
        )
    return bytes([0x80 | opcode]) + length + data


def _read_frame(stream: Any) -> tuple[int, bytes]:
    """Read one masked frame, as clients send it."""
    first, second = _exactly(stream, 2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack(">H", _exactly(stream, 2))
    mask = _exactly(stream, 4)
    return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(_exactly(stream, length)))


def _exactly(stream: Any, count: int) -> bytes:
    data: bytes = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
