"""A minimal real HTTP proxy on loopback: CONNECT, and plain requests with a complete URL."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

from tests.integration.notifiers.listener import Listener


class ProxyEnd(Listener):
    """Serves until closed. `seen` contains the heads of the requests; `answer`, if set, replaces a tunnel."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.seen: list[str] = []
        self._answer = answer
        self._closing = threading.Event()
        super().__init__()
        self.url = f"http://user:p%40ss@127.0.0.1:{self.port}"

    def close(self) -> None:
        self._closing.set()
        super().close()

    def treat(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65_536)
            text, _, rest = head.partition(b"\r\n\r\n")
            self.seen.append(text.decode())
            if self._answer is not None:
                client.sendall(self._answer)
                return
            method, target, _ = text.decode().split("\r\n")[0].split(" ")
            place = target if method == "CONNECT" else target.removeprefix("http://").partition("/")[0]
            host, _, port = place.rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    server.sendall(text.replace(f"http://{place}".encode(), b"", 1) + b"\r\n\r\n" + rest)
                self._pump(client, server)

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        while not self._closing.is_set():
            readable, _, _ = select.select([one, other], [], [], 0.02)
            for source in readable:
                data = source.recv(65_536)
                if not data:
                    return
                (other if source is one else one).sendall(data)
