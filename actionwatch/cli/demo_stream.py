"""`demo --stream`: the demo sends its records to a broker, and prints what a consumer there gets.

The consumer checks each statement with the records that it has, as docs/stream_consumer.py does.
"""

from __future__ import annotations

import asyncio
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
    from nats.aio.client import Client

TYPES = ("nats",)
_URL = "nats://127.0.0.1:4222"
_STREAM, _SUBJECTS = "actionwatch-demo", "actionwatch.demo.>"
_CONNECT_SECONDS = 3


def configuration_of(kind: str, now: datetime) -> str:
    """Return what the configuration of the demo has for its stream. It states what is complete since `now`."""
    return f"""\
streams:
  - name: demo
    {kind}: {{url: "{_URL}", subject: "actionwatch.demo.{{kind}}"}}
    start: {instant(now)}
    watermark: 10s
"""


@contextmanager
def consuming(show: Callable[[str], None]) -> Iterator[None]:
    """Show what arrives at the broker until the block ends.

    Raises: click.ClickException, if there is no broker.
    """
    try:
        from nats.aio.client import Client
    except ImportError as exc:
        raise click.ClickException("--stream needs the packages of the project's requirements/streams.txt") from exc
    loop, client = asyncio.new_event_loop(), Client()
    consumer = _Consumer(show)
    try:
        loop.run_until_complete(_subscribe(client, consumer))
    except Exception as exc:  # the client has no base class of its exceptions
        loop.close()
        remedy = "start one with the compose file in docs/deploy/streams"
        raise click.ClickException(f"no NATS server with JetStream answers at {_URL}: {remedy}") from exc
    thread = threading.Thread(target=loop.run_forever, name="consumer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(client.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _subscribe(client: Client, consumer: _Consumer) -> None:
    from nats.js.api import DeliverPolicy, StorageType

    await client.connect(
        _URL,
        connect_timeout=_CONNECT_SECONDS,
        error_cb=_ignore,
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=0,
    )
    jetstream = client.jetstream(timeout=_CONNECT_SECONDS)
    await jetstream.add_stream(name=_STREAM, subjects=[_SUBJECTS], storage=StorageType.MEMORY, max_age=3600)

    async def take(message: Any) -> None:
        consumer.take(json.loads(message.data))

    await jetstream.subscribe(_SUBJECTS, stream=_STREAM, cb=take, deliver_policy=DeliverPolicy.NEW)


async def _ignore(exc: Exception) -> None:
    """Do nothing: what failed is raised too."""


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
