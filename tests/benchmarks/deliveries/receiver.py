"""The receiver, in its own process: it accepts every post, and stores when each message first arrived."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

FIRST_SEEN: dict[bytes, float] = {}


class Receiver(asyncio.Protocol):
    """One connection.

    `POST` is a delivery; `GET /count` and `GET /arrivals` return what arrived; the latter also clears it.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        """Respond to every complete request."""
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, rest = self._data.partition(b"\r\n\r\n")
            head = head.lower()
            if head.startswith(b"get"):
                self._send(b"/count" in head)
                self._data = rest
                continue
            length = int(_field(head, b"content-length:"))
            if len(rest) < length:
                return
            FIRST_SEEN.setdefault(_field(head, b"webhook-id:"), time.monotonic())
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            self._data = rest[length:]

    def _send(self, is_count: bool) -> None:
        if is_count:
            body = str(len(FIRST_SEEN)).encode()
        else:
            body = "\n".join(f"{name.decode()} {at}" for name, at in FIRST_SEEN.items()).encode()
            FIRST_SEEN.clear()
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def _field(head: bytes, name: bytes) -> bytes:
    return head.split(name, 1)[1].split(b"\r\n", 1)[0].strip()


@contextlib.contextmanager
def receiving() -> Iterator[str]:
    """Run the receiver, and return its address."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/hook"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


class Arrivals:
    """Queries the receiver over one connection, so that the queries cost the contestant almost nothing."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def count(self) -> int:
        """Count the messages that arrived."""
        return int(self._get("/count"))

    def take(self) -> dict[str, float]:
        """Return when each message first arrived, on the monotonic clock, which all processes of a machine share; and clear."""
        lines = self._get("/arrivals").splitlines()
        return {name: float(at) for name, at in (line.split(" ") for line in lines)}

    def _get(self, path: str) -> str:
        self._connection.request("GET", path)
        return self._connection.getresponse().read().decode()


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
