"""Rate and CPU of each driver of streams beside the plain client: `python -m tests.benchmarks stream_drivers [COUNT] [TYPE]`.

Sends COUNT messages of 1 kB (20,000 by default) to the far end of the tests, on the same machine: first with the driver, in
batches as large as a stream makes them, then with the client of the protocol as its documentation shows it, with the same
promise. The far ends of HTTP and S3 are programs in Python, which limit both.
"""

from __future__ import annotations

import json
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import confluent_kafka
import redis

from actionwatch.streams.driver import StreamMessage, driver_module
from tests.integration.streams.end import End
from tests.integration.streams.ends import ENDS
from tests.integration.streams.kit import driver

BODY = b'{"number":%d,"text":"' + b"x" * 980 + b'"}'
AT = datetime(2026, 11, 25, 9, tzinfo=UTC)


def main(count: int = 20_000, only: str = "") -> None:
    """Print two lines for each type."""
    for name, start in ENDS.items():
        if only in name:
            with tempfile.TemporaryDirectory() as folder, closing(start(Path(folder))) as end:
                _measure(name, end, count)


def _measure(name: str, end: End, count: int) -> None:
    size = 10_000 if (traits := driver_module(end.type_name).TRAITS).is_object else traits.max_batch
    messages = _messages("driver", count)
    if end.type_name == "http":
        end.too_large_bytes = 10**9  # the small limit is for tests
    with closing(driver(end, timeout="60s")) as ours:
        ours.open()
        with _timed(f"{name}: driver", count):
            for first in range(0, count, size):
                assert not ours.send(messages[first : first + size])
    if plain := PLAIN.get(name):
        messages = _messages("plain", count)
        with _timed(f"{name}: plain client", count):
            plain(end, messages)


def _messages(prefix: str, count: int) -> list[StreamMessage]:
    return [StreamMessage(f"{prefix}/{number}", "record", number, AT, "acme", BODY % number) for number in range(count)]


@contextmanager
def _timed(what: str, count: int) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"  {what:<28} {count / wall:>9,.0f} a second, {cpu / count * 1e6:>6.1f} µs of CPU each", flush=True)


def _context(end: End) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=end.options()["ca_file"])


def _kafka(end: End, messages: Sequence[StreamMessage]) -> None:
    options = end.options()
    brokers = options["brokers"] if isinstance(options["brokers"], str) else ",".join(options["brokers"])
    config = {"bootstrap.servers": brokers, "enable.idempotence": True, "acks": "all"}
    producer = confluent_kafka.Producer(config)
    for message in messages:
        producer.produce(options.get("topic", "actionwatch"), message.body, "acme", headers=[("id", message.id)])
    producer.flush()


def _redis(end: End, messages: Sequence[StreamMessage]) -> None:
    options = end.options()
    login = {"username": options.get("username"), "password": options.get("password")}
    client = redis.Redis.from_url(options["url"], ssl_ca_certs=options["ca_file"], **login)
    with closing(client):
        for first in range(0, len(messages), 500):
            pipeline = client.pipeline()
            for message in messages[first : first + 500]:
                pipeline.xadd("plain", {"id": message.id, "body": message.body})
            pipeline.execute()
            client.execute_command("WAITAOF", 1, 0, 0)


def _syslog(end: End, messages: Sequence[StreamMessage]) -> None:
    parts = urlsplit(end.options()["url"])
    assert parts.hostname is not None
    address = (parts.hostname, parts.port or 0)
    with _context(end).wrap_socket(socket.create_connection(address), server_hostname=parts.hostname) as tls:
        for message in messages:
            line = f"<110>1 {message.at.isoformat()} - actionwatch - record - ".encode() + message.body
            tls.sendall(b"%d %s" % (len(line), line))
        tls.unwrap().close()  # when the server has read everything


def _files(_: End, messages: Sequence[StreamMessage]) -> None:
    import gzip
    import os

    for first in range(0, len(messages), 10_000):
        with tempfile.NamedTemporaryFile(suffix=".jsonl.gz") as file:
            lines = (
                json.dumps({"id": each.id, "offset": each.offset, "body": json.loads(each.body)}).encode()
                for each in messages[first : first + 10_000]
            )
            file.write(gzip.compress(b"\n".join(lines)))
            file.flush()
            os.fsync(file.fileno())


PLAIN: Mapping[str, Callable[[End, Sequence[StreamMessage]], Any]] = {
    "kafka": _kafka,
    "redis": _redis,
    "syslog": _syslog,
    "files": _files,
}
