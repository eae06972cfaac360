"""A RabbitMQ broker with an exchange that is bound to a queue, over TLS with a password."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pika

from tests.children import run_child
from tests.debian import find
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.integration.streams.end import Fault, Received
from tests.integration.streams.ends.certificates import write_certificates
from tests.integration.streams.ends.server import ServerEnd, ServerProcess, free_port

PASSWORD = "s3cret-rabbitmq-password"
_PROGRAMS = Path("/usr/lib/rabbitmq/bin")  # the one in the path must be root
_ERLANG = Path("/usr/lib/erlang/bin")
_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{plain_port}
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.certfile = {cert}
ssl_options.keyfile = {key}
load_definitions = {definitions}
max_message_size = 100000
log.console.level = error
log.file = false
"""
_ONE_THREAD = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"  # an idle scheduler must not take the CPU of other tests
FULL_LENGTH = 3


class RabbitMqEnd(ServerEnd):
    """One broker for all tests of a process."""

    type_name = "rabbitmq"
    secrets = (PASSWORD, "s3cret-wrong")
    too_large_bytes = 100_001
    cannot: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = write_certificates(folder)
        self._expired = HttpEnd(lambda _: Reply(), self._files.server_context(is_expired=True))
        name_port, self._plain_port = free_port(), free_port()
        self._names = ServerProcess([find("epmd", "erlang-base"), "-port", str(name_port)], name_port, folder)
        self._server = self._broker(folder, name_port)
        self._names.start()
        self._server.start()
        self._taken: list[Received] = []
        self.faults = {
            "wrong credentials": lambda: self._fault("check username and password", password="s3cret-wrong"),
            "missing virtual host": lambda: self._fault("check that the virtual host exists", url=f"{self._url}/other"),
            "missing exchange": lambda: self._fault("declare elsewhere", exchange="elsewhere"),
            "missing queue": lambda: self._fault("declare elsewhere", exchange=None, queue="elsewhere"),
            "no bound queue": lambda: self._fault("bind a queue to the exchange unbound", exchange="unbound"),
            "forbidden exchange": lambda: self._fault("allow the user to write there", exchange="forbidden"),
            "full queue": lambda: self._fault("reject-publish", exchange=None, queue="full"),
            "unknown authority": lambda: self._fault("ca_file", ca_file=self._files.other_ca),
            "expired certificate": lambda: self._fault(
                "fix the certificate", url=self._expired.url.replace("https", "amqps")
            ),
        }

    def options(self) -> Mapping[str, Any]:
        return {
            "url": f"{self._url}/audit",
            "exchange": "audit",
            "ca_file": self._files.ca,
            "username": "actionwatch",
            "password": PASSWORD,
        }

    def received(self) -> list[Received]:
        self._taken += self.take("records")
        return list(self._taken)

    def take(self, queue: str) -> list[Received]:
        """Take what is in a queue."""
        credentials = pika.PlainCredentials("reader", PASSWORD)
        place = pika.ConnectionParameters("127.0.0.1", self._plain_port, "audit", credentials)
        with pika.BlockingConnection(place) as connection:
            channel = connection.channel()
            taken = []
            while True:
                _, properties, body = channel.basic_get(queue, auto_ack=True)
                if properties is None or body is None:
                    break
                taken.append(_received(properties, body))
        return taken

    def limit_disk(self, free: str) -> None:
        """Let the broker accept nothing while its disk has less free space than this."""
        self._call(f'rabbit_disk_monitor:set_disk_free_limit("{free}")')

    def end_connections(self) -> None:
        """End the connections of the driver, as a load balancer does with those that are idle."""
        self._call('rabbit_networking:close_all_user_connections(<<"actionwatch">>, "idle")')

    def _call(self, code: str) -> None:
        cookie = (self._folder / ".erlang.cookie").read_text()
        command = [find("erl_call", "erlang-base", _ERLANG), "-sname", self._node, "-c", cookie, "-e"]
        done = run_child(command, f"{code}.\n", env={**os.environ, "ERL_EPMD_PORT": str(self._names.port)})
        assert "{ok, " in done.stdout, done

    def close(self) -> None:
        self._server.stop()
        self._names.stop()
        self._expired.close()

    @property
    def _url(self) -> str:
        return f"amqps://127.0.0.1:{self._server.port}"

    def _fault(self, remedy: str, **changed: Any) -> Fault:
        return Fault({**self.options(), **changed}, remedy)

    def _broker(self, folder: Path, name_port: int) -> ServerProcess:
        definitions, config, plugins = (
            folder / name for name in ("definitions.json", "rabbitmq.conf", "enabled_plugins")
        )
        definitions.write_text(json.dumps(_definitions()))
        plugins.write_text("[].")
        port = free_port()
        self._node = f"audit-{port}@localhost"
        files = self._files
        config.write_text(
            _CONFIG.format(
                plain_port=self._plain_port, port=port, cert=files.cert, key=files.key, definitions=definitions
            )
        )
        env = {
            "HOME": str(folder),  # it creates its Erlang cookie there
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(name_port),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ONE_THREAD,
        }
        program = find("rabbitmq-server", "rabbitmq-server", _PROGRAMS)
        return ServerProcess([program], port, folder, env)


def _definitions() -> dict[str, Any]:
    """Return what the broker creates when it starts."""

    def queue(name: str, **arguments: Any) -> dict[str, Any]:
        return {"name": name, "vhost": "audit", "durable": True, "auto_delete": False, "arguments": arguments}

    exchanges = [
        {**queue(name), "type": "fanout", "internal": False} for name in ("audit", "unbound", "forbidden", "limited")
    ]
    full = {"x-overflow": "reject-publish"}
    binding = {"vhost": "audit", "destination_type": "queue", "routing_key": "", "arguments": {}}
    return {
        "vhosts": [{"name": "audit"}],
        "users": [{"name": name, "password": PASSWORD, "tags": []} for name in ("actionwatch", "reader")],
        "permissions": [
            {"user": "actionwatch", "vhost": "audit", "configure": "", "write": "^(?!forbidden)", "read": ""},
            {"user": "reader", "vhost": "audit", "configure": "", "write": ".*", "read": ".*"},
        ],
        "exchanges": exchanges,
        "queues": [
            queue("records"),
            queue("full", **{"x-max-length": 0, **full}),
            queue("limited", **{"x-max-length": FULL_LENGTH, **full}),
        ],
        "bindings": [{**binding, "source": "audit", "destination": "records"}],
    }


def _received(properties: pika.BasicProperties, body: bytes) -> Received:
    headers = properties.headers
    return Received(properties.message_id, headers["kind"], headers["offset"], headers["key"], body)
