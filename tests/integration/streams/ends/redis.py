"""A Valkey server with one stream, over TLS with a password. Its append-only file is written before it confirms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis

from tests.debian import find
from tests.integration.streams.end import Fault, Received
from tests.integration.streams.ends.certificates import write_certificates
from tests.integration.streams.ends.server import ServerEnd, ServerProcess, free_port

PASSWORD = "s3cret-redis-password"


class RedisEnd(ServerEnd):
    """One server for all tests; others have an expired certificate, no memory, or no file."""

    type_name = "redis"
    secrets = (PASSWORD, "s3cret-wrong")
    too_large_bytes = None
    cannot: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = write_certificates(folder)
        self._servers: list[ServerProcess] = []
        self._server = self._started("main")
        with self._client() as client:
            client.set("taken", "no stream")
        self.faults = {
            "wrong credentials": lambda: Fault({**self.options(), "password": "s3cret-wrong"}, "check username"),
            "missing destination": lambda: Fault({**self.options(), "stream": "taken"}, "choose another stream"),
            "unknown authority": lambda: Fault({**self.options(), "ca_file": self._files.other_ca}, "ca_file"),
            "expired certificate": self._expired,
            "full": lambda: self._other("full", "max_length", "--maxmemory", "1mb"),
            "no file": lambda: self._other("no_file", "durable: false", "--appendonly", "no"),
        }

    def options(self) -> Mapping[str, Any]:
        return self._options(self._server.port)

    def received(self) -> list[Received]:
        with self._client() as client:
            entries: Any = client.xrange("actionwatch")
        return [
            Received(
                fields[b"id"].decode(),
                fields[b"kind"].decode(),
                int(fields[b"offset"]),
                fields[b"key"].decode(),
                fields[b"body"],
            )
            for _, fields in entries
        ]

    def close(self) -> None:
        for server in self._servers:
            server.stop()

    def _options(self, port: int) -> Mapping[str, Any]:
        return {
            "url": f"rediss://127.0.0.1:{port}",
            "ca_file": self._files.ca,
            "username": "default",
            "password": PASSWORD,
        }

    def _expired(self) -> Fault:
        files = ("--tls-cert-file", self._files.expired_cert, "--tls-key-file", self._files.expired_key)
        return self._other("expired", "fix the certificate", *files)

    def _other(self, name: str, remedy: str, *settings: str | Path) -> Fault:
        return Fault(self._options(self._started(name, *settings).port), remedy)

    def _started(self, name: str, *settings: str | Path) -> ServerProcess:
        folder = self._folder / name
        folder.mkdir()
        port = free_port()
        given: list[str | Path] = [find("valkey-server", "valkey-server"), "--save", "", "--dir", folder]
        given += ["--appendonly", "yes", "--appendfsync", "always", "--requirepass", PASSWORD]
        given += ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
        given += ["--tls-cert-file", self._files.cert, "--tls-key-file", self._files.key]
        server = ServerProcess([*given, "--tls-ca-cert-file", self._files.ca, *settings], port, folder)
        server.start()
        self._servers.append(server)
        return server

    def _client(self) -> redis.Redis:
        return redis.Redis(
            "127.0.0.1", self._server.port, password=PASSWORD, ssl=True, ssl_ca_certs=str(self._files.ca)
        )
