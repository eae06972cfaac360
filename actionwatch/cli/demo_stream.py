"""`demo --stream`: the demo sends its records to a broker, and prints what a consumer there gets.

The consumer checks each statement with the records that it has, as docs/stream_consumer.py does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.plurals import counted
from actionwatch.text.payloads import instant

if TYPE_CHECKING:
    from redis import Redis

TYPES = ("redis",)
_URL = "redis://127.0.0.1:6390"  # not the usual port, where a server for other things may listen
_STREAM = "actionwatch-demo"
_TIMEOUT_SECONDS = 3
_WAIT_MILLISECONDS = 500  # for the next entries


def configuration_of(kind: str, now: datetime) -> str:
    """Return what the configuration of the demo has for its stream. It states what is complete since `now`."""
    return f"""\
streams:
  - name: demo
    {kind}: {{url: "{_URL}", stream: {_STREAM}, max_length: 10000, durable: false}}
    start: {instant(now)}
    watermark: 10s
"""


@contextmanager
def consuming(show: Callable[[str], None]) -> Iterator[None]:
    """Show what arrives at the broker until the block ends.

    Raises: click.ClickException, if there is no broker.
    """
    try:
        from redis import Redis
        from redis.exceptions import RedisError
    except ImportError as exc:
        raise click.ClickException("--stream needs the packages of the project's requirements/streams.txt") from exc
    client = Redis.from_url(_URL, socket_timeout=_TIMEOUT_SECONDS)
    try:
        client.ping()
        last = client.xrevrange(_STREAM, count=1)
    except (RedisError, OSError) as exc:
        remedy = "start one with the compose file in docs/deploy/streams"
        raise click.ClickException(f"no Redis or Valkey server answers at {_URL}: {remedy}") from exc
    has_ended = threading.Event()
    after = last[0][0] if last else b"0"  # an earlier demo may have left entries
    thread = threading.Thread(
        target=_consume, args=(client, after, _Consumer(show), has_ended), name="consumer", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()
        client.close()


def _consume(client: Redis, after: bytes, consumer: _Consumer, has_ended: threading.Event) -> None:
    while not has_ended.is_set():
        found: Any = client.xread({_STREAM: after}, block=_WAIT_MILLISECONDS)
        for _, entries in found:
            for _, fields in entries:
                consumer.take(json.loads(fields[b"body"]))
            after = entries[-1][0]


class _Consumer:
    """Counts records, and checks each statement."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._keys: dict[int, str] = {}
        self._new_count = 0

    def take(self, message: dict[str, Any]) -> None:
        """Take the next message. Records are shown together, before the statement that follows them."""
        from actionwatch.store.receipts import digest_of  # takes long to import

        data = message["data"]
        if message["type"] == "record":
            self._keys[message["offset"]] = data["key"]
            self._new_count += 1
            return
        wanted = [offset for first, last in data["offsets"] for offset in range(first, last + 1)]
        is_whole = digest_of(self._keys[offset] for offset in wanted if offset in self._keys) == data["digest"]
        through = datetime.fromisoformat(data["complete_through"]).astimezone()
        verdict = f"{counted(data['count'], 'record')} in 10 s, digest matches" if is_whole else "records are missing"
        self._show(f"{counted(self._new_count, 'record')} arrived at the broker")
        self._show(f"{message['type']} {through:%H:%M:%S}: {verdict}")
        self._new_count = 0
