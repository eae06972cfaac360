"""How long `/healthz` takes while 80 clients misuse the listener: `python -m tests.benchmarks strangers [RECORDS]`.

The real service runs on a store that is filled as in the benchmark `growth`; its listener is open, so that strangers can do the
most. Twenty clients each send half a body, take no response, search with a query of 8 KB, and export. They begin
again as soon as that ends. A probe opens a connection for each request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from actionwatch.service.service import Service
from actionwatch.web.query import MAX_QUERY_BYTES
from tests import http_client
from tests.benchmarks.growth import fill_folder, open_app
from tests.benchmarks.upstream import upstream
from tests.integration.web.console_kit import form_token

OF_EACH_KIND = 20
PROBES = 200
PROBE_PAUSE_SECONDS = 0.02
WARM_UP_SECONDS = 3.0


def main(count: int = 100_000) -> None:
    """Fill a store and print the times of the probes."""
    with tempfile.TemporaryDirectory() as name, upstream(count) as served:
        fill_folder(Path(name), count, served)
        with _running("serve", name) as url:
            print("                      p50        p99     longest", flush=True)
            _print("/healthz alone", url, "/healthz")
            _print("/readyz alone", url, "/readyz")
            with _running("misuse", url):
                time.sleep(WARM_UP_SECONDS)
                _print("/healthz", url, "/healthz")
                _print("/readyz", url, "/readyz")


@contextlib.contextmanager
def _running(step: str, argument: str) -> Iterator[str]:
    """Run a step in its own process until the block ends. The value is the first line of its output."""
    command = [sys.executable, "-m", "tests.benchmarks.strangers", step, argument]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdout.readline().strip()
        process.stdin.close()
        for line in process.stdout:
            print(line, end="", flush=True)


def _print(title: str, url: str, path: str) -> None:
    found = []
    for _ in range(PROBES):
        began = time.perf_counter()
        _ask(url, path)
        found.append((time.perf_counter() - began) * 1000)
        time.sleep(PROBE_PAUSE_SECONDS)
    p99 = statistics.quantiles(found, n=100)[-1]
    print(f"  {title:<16} {statistics.median(found):>6.1f} ms  {p99:>6.1f} ms  {max(found):>6.1f} ms", flush=True)


def _ask(url: str, path: str) -> None:
    """Send a request on a new connection, as a probe does. (httpx takes longer than the service.)"""
    address = urlsplit(url)
    with contextlib.closing(HTTPConnection(address.hostname or "", address.port)) as connection:
        connection.request("GET", path)
        connection.getresponse().read()


def _serve(folder: str) -> None:
    app = open_app(Path(folder))
    service = Service(app)
    with service.running():
        print(service.url, flush=True)
        sys.stdin.read()
    app.close()


async def _misuse(url: str) -> None:
    """Be 80 strangers until the input ends."""
    counts = dict.fromkeys(REQUESTS, 0)
    with http_client.client(base_url=url) as client:
        token = form_token(client, "/silences")
    tasks = [
        asyncio.create_task(_repeat(url, kind, request(token), counts))
        for kind, request in REQUESTS.items()
        for _ in range(OF_EACH_KIND)
    ]
    print("begun", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(f"  requests of the clients: {', '.join(f'{kind} {count}' for kind, count in counts.items())}", flush=True)


async def _repeat(url: str, kind: str, request: bytes, counts: dict[str, int]) -> None:
    while True:
        with contextlib.suppress(OSError):
            async with _connection(url) as (reader, writer):
                writer.write(request)
                counts[kind] += 1
                while kind != "readers" and await reader.read(65536):
                    pass
                while kind == "readers":  # nothing is read: only writing shows that the connection was dropped
                    await asyncio.sleep(1)
                    writer.write(b"\r\n")
                    await writer.drain()
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def _connection(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1)
    try:
        yield reader, writer
    finally:
        writer.close()


def _request(method: str, target: str, body: str = "", sent: int | None = None) -> bytes:
    """Return a request with as many bytes of its body as are sent. The connection ends with its response."""
    head = [f"{method} {target} HTTP/1.1", "Host: localhost", "Accept: text/html", "Connection: close"]
    if body:
        head += [f"Content-Length: {len(body)}", "Content-Type: application/x-www-form-urlencoded"]
    return "\r\n".join([*head, "", body[:sent]]).encode()


_LONG = "&".join([f"text={'x' * 400}", *[f"kind={'E' * 70}"] * 90])[:MAX_QUERY_BYTES]
REQUESTS: dict[str, Callable[[str], bytes]] = {
    "bodies": lambda token: _request(
        "POST", "/silences", urlencode({"form_token": token, "comment": "x" * 500}), sent=1
    ),
    "readers": lambda _: b"".join([_request("GET", "/records").replace(b"Connection: close\r\n", b"")] * 50),
    "queries": lambda _: _request("GET", f"/records?{_LONG}"),
    "exports": lambda _: _request("GET", "/records/export?format=jsonl"),
}


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
    else:
        asyncio.run(_misuse(sys.argv[2]))
