"""A NATS server with one JetStream stream, over TLS with a password."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nats
from nats.js.api import DiscardPolicy

from tests.debian import find
from tests.integration.streams.end import Fault, Received
from tests.integration.streams.ends.certificates import write_certificates
from tests.integration.streams.ends.server import ServerEnd, ServerProcess, free_port

PASSWORD = "s3cret-nats-password"
_CONFIG = """\
listen: "127.0.0.1:{port}"
max_payload: 100000
jetstream {{ store_dir: "{folder}/data" }}
authorization {{ user: actionwatch, password: "{password}" }}
tls {{ cert_file: "{cert}", key_file: "{key}" }}
"""


class NatsEnd(ServerEnd):
    """One server for all tests; a second one has an expired certificate."""

    type_name = "nats"
    secrets = (PASSWORD, "s3cret-wrong")
    too_large_bytes = 100_000
    cannot: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = write_certificates(folder)
        self._server = self._started("main", self._files.cert, self._files.key)
        self._others: list[ServerProcess] = []
        asyncio.run(self._create())
        self.faults = {
            "wrong credentials": lambda: Fault({**self.options(), "password": "s3cret-wrong"}, "check username"),
            "missing destination": lambda: Fault({**self.options(), "subject": "elsewhere.{kind}"}, "nats stream add"),
            "full destination": lambda: Fault({**self.options(), "subject": "full.{kind}"}, "raise its limits"),
            "unknown authority": lambda: Fault({**self.options(), "ca_file": self._files.other_ca}, "ca_file"),
            "expired certificate": self._expired,
        }

    def options(self) -> Mapping[str, Any]:
        return self._options(self._server.port)

    def received(self) -> list[Received]:
        return asyncio.run(self._read())

    def close(self) -> None:
        for server in (self._server, *self._others):
            server.stop()

    def publish(self, subject: str, data: bytes) -> None:
        """Store a message of somebody else."""
        asyncio.run(self._with_jetstream(lambda jetstream: jetstream.publish(subject, data)))

    def last(self, name: str) -> tuple[int, str]:
        """Return the number of messages in a JetStream stream, and the subject of the last one."""
        info = asyncio.run(self._with_jetstream(lambda jetstream: jetstream.stream_info(name)))
        last = asyncio.run(self._with_jetstream(lambda jetstream: jetstream.get_msg(name, info.state.last_seq)))
        return info.state.messages, last.subject

    def _options(self, port: int) -> Mapping[str, Any]:
        return {
            "url": f"tls://127.0.0.1:{port}",
            "ca_file": self._files.ca,
            "username": "actionwatch",
            "password": PASSWORD,
        }

    def _expired(self) -> Fault:
        server = self._started("expired", self._files.expired_cert, self._files.expired_key)
        self._others.append(server)
        return Fault(self._options(server.port), "fix the certificate")

    def _started(self, name: str, cert: Path, key: Path) -> ServerProcess:
        folder = self._folder / name
        folder.mkdir()
        port = free_port()
        config = folder / "nats.conf"
        config.write_text(_CONFIG.format(port=port, folder=folder, password=PASSWORD, cert=cert, key=key))
        program = find("nats-server", "nats-server", Path(sys.executable).parent)
        server = ServerProcess([program, "-c", config], port, folder)
        server.start()
        return server

    async def _create(self) -> None:
        client = await self._connected()
        jetstream = client.jetstream()
        await jetstream.add_stream(name="actionwatch", subjects=["actionwatch.>"])
        await jetstream.add_stream(name="small", subjects=["small.>"], max_msg_size=10_000)
        await jetstream.add_stream(name="full", subjects=["full.>"], max_bytes=1, discard=DiscardPolicy.NEW)
        await client.close()

    async def _with_jetstream(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        client = await self._connected()
        found = await work(client.jetstream())
        await client.close()
        return found

    async def _read(self) -> list[Received]:
        client = await self._connected()
        jetstream = client.jetstream()
        count = (await jetstream.stream_info("actionwatch")).state.messages
        found = []
        if count:
            subscription = await jetstream.subscribe("actionwatch.>", ordered_consumer=True)
            messages = [await subscription.next_msg(timeout=30) for _ in range(count)]
            found = [_received(each) for each in messages if each.headers]
        await client.close()
        return found

    async def _connected(self) -> Any:
        context = ssl.create_default_context(cafile=self._files.ca)
        url = f"tls://127.0.0.1:{self._server.port}"
        return await nats.connect(url, tls=context, user="actionwatch", password=PASSWORD)


def _received(message: Any) -> Received:
    headers = message.headers
    return Received(
        headers["Nats-Msg-Id"],
        headers["actionwatch-kind"],
        int(headers["actionwatch-offset"]),
        unquote(headers["actionwatch-key"]),
        message.data,
    )
