"""Run the installed command and an emulator as processes, and observe them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest
from standardwebhooks import Webhook

from actionwatch import cli
from tests import http_client
from tests.builders import CLUSTER_DELETED_RULE
from tests.children import Process, Started, child, exit_status, kill, run_child
from tests.forked import Forked, forked, run_forked
from tests.integration.notifiers.http_end import HttpEnd, Reply, Request
from tests.waiting import LIMIT, stopwatch, wait_until

COMMAND = Path(sys.executable).with_name("actionwatch")
KEY = "whsec_c2VjcmV0LXNpZ25pbmcta2V5LW9mLTMyLWJ5dGVz"
QUIET = "history: 0s\nordinary: false\n"  # nothing happens except what a test appends


def started(*arguments: str, folder: Path, **options: Any) -> contextlib.AbstractContextManager[Process]:
    """Start the installed command. Kill it at the end of the block if it still runs."""
    return child([COMMAND, *arguments], cwd=folder, env=environment(), **options)


def started_warm(*arguments: str, folder: Path, **options: Any) -> contextlib.AbstractContextManager[Forked]:
    """Start the command like `started`, in a process that has its imports."""
    return forked(*arguments, folder=folder, environment=environment(), **options)


def finished(*arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command to its end."""
    return run_child([COMMAND, *arguments], cwd=folder, env=environment(**more))


def finished_warm(*arguments: str, folder: Path, clock: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end like `finished`, in a process that has its imports."""
    return run_forked(*arguments, folder=folder, environment=environment(), clock=clock)


def called(*arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Call a command of an operator in this process, while a service runs in another."""
    out, err, wanted = io.StringIO(), io.StringIO(), environment(**more)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        for name in os.environ.keys() - wanted.keys():
            patch.delenv(name)
        for name, value in wanted.items():
            patch.setenv(name, value)
        status = cli.call(arguments)
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def environment(**more: str) -> dict[str, str]:
    """Return the environment without the developer's variables for actionwatch."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ACTIONWATCH_")} | more


@dataclass(frozen=True)
class Upstream:
    """An emulator in its own process."""

    base_url: str
    organisation_id: str
    username: str
    api_key: str

    def control(self, method: str, path: str, body: Any = None) -> list[Any]:
        """Call the control API. Return the JSON of each line of the response."""
        data = None if body is None else json.dumps(body).encode()
        answer = http_client.request(method, f"{self.base_url}/_emulator{path}", content=data).raise_for_status()
        return [json.loads(line) for line in answer.content.splitlines() if line]

    def delete_cluster(self, *users: str) -> None:
        """Let each of these users delete a cluster now."""
        self.control("POST", "/actions", [{"action": "DELETE_CLUSTER", "userName": user} for user in users])


@contextlib.contextmanager
def upstream(folder: Path, plan: str = QUIET, *options: str) -> Iterator[Upstream]:
    """Run an emulator, without any activity unless a scenario plans some."""
    scenario = folder / "scenario.yml"
    scenario.write_text(plan)
    command = ("emulator", "--port", "0", "--scenario", str(scenario), *options)
    with started_warm(*command, folder=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        printed = dict(line.strip().split(": ", 1) for line in lines)
        yield Upstream(printed["base_url"], printed["organisation_id"], printed["username"], printed["api_key"])
        process.send_signal(signal.SIGTERM)
        assert exit_status(process) == 0


@dataclass
class Arrival:
    """A message that the webhook received.

    `is_genuine` is whether its signature is valid, `is_accepted` whether the webhook responded with success.
    """

    id: str
    at: float
    type: str
    data: dict[str, Any]
    body: bytes
    is_genuine: bool
    path: str = "/"
    is_accepted: bool = False


@dataclass
class Soar:
    """The server behind the webhook: it keeps the messages and responds with `answer`."""

    arrivals: list[Arrival] = field(default_factory=list)
    answer: Callable[[], Reply] = lambda: Reply(204)

    def take(self, request: Request) -> Reply:
        """Store a message, check its signature, and respond."""
        message = json.loads(request.body)
        try:
            Webhook(KEY).verify(request.body, dict(request.headers))
            is_genuine = True
        except Exception:
            is_genuine = False
        name = request.headers["webhook-id"]
        found = Arrival(name, time.time(), message["type"], message["data"], request.body, is_genuine, request.path)
        self.arrivals.append(found)
        reply = self.answer()
        found.is_accepted = reply.status < 300
        return reply

    def find(self, **wanted: str) -> list[Arrival]:
        """Find messages by `type`, `user` (of the newest record), `rule` or `trouble`."""
        return [found for found in list(self.arrivals) if wanted.items() <= _facts(found).items()]

    def wait_for(self, **wanted: str) -> list[Arrival]:
        """Wait until `find` finds something."""
        return wait_until(
            lambda: self.find(**wanted), f"a message with {wanted}", lambda: [_facts(found) for found in self.arrivals]
        )

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """During the block, accept every message without a response."""
        released, answer = threading.Event(), self.answer

        def hold() -> Reply:
            released.wait(LIMIT)
            return Reply(204)

        self.answer = hold
        try:
            yield
        finally:
            self.answer = answer
            released.set()


def _facts(arrival: Arrival) -> dict[str, str | None]:
    records = arrival.data["records"]
    return {
        "type": arrival.type,
        "user": records[-1]["userName"] if records else None,
        "rule": arrival.data["rule"]["name"],
        "trouble": arrival.data["labels"].get("trouble"),
    }


@dataclass
class Post:
    """A folder with a configuration for the service."""

    folder: Path
    upstream: Upstream
    store: str = "sqlite:///actionwatch.db"

    def write(self, webhook: HttpEnd, more_receivers: str = "", rules: dict[str, str] | None = None) -> Post:
        """Write the configuration and the rules."""
        (self.folder / "rules").mkdir(parents=True, exist_ok=True)
        for name, text in {"cluster_deleted.yml": CLUSTER_DELETED_RULE, **(rules or {})}.items():
            (self.folder / "rules" / name).write_text(text)
        up = self.upstream
        (self.folder / "actionwatch.yaml").write_text(
            "sources:\n  - name: acme\n"
            f"    organisation_id: {up.organisation_id}\n    username: {up.username}\n    api_key: {up.api_key}\n"
            f"    base_url: {up.base_url}\n    poll_interval: 0.5s\n    start: 1h\n    alert_backlog: true\n"
            "receivers:\n  - name: soar\n"
            f"    webhook: {{url: '{webhook.url}/hook', signing_key: {KEY}, timeout: {LIMIT:g}s}}\n"
            "    retry: {first: 0.1s, max: 0.5s}\n"
            f"{more_receivers}store: {{url: '{self.store}'}}\nweb: {{listen: '127.0.0.1:0'}}\nlog: {{format: json}}\n"
        )
        return self

    def add_stream(self, folder: Path) -> None:
        """Add a stream of all records into a folder, which states what is complete every ten seconds."""
        folder.mkdir(exist_ok=True)
        with (self.folder / "actionwatch.yaml").open("a") as file:
            file.write(
                f"streams:\n  - name: lake\n    files: {{url: 'file://{folder}'}}\n"
                "    start: beginning\n    wait: 0s\n    watermark: 10s\n"
            )

    @contextlib.contextmanager
    def service(self) -> Iterator[Service]:
        """Start the service, with its log in a file. Do not wait until it is ready."""
        path = self.folder / "service.log"
        with path.open("w") as log, started_warm("run", folder=self.folder, stderr=log, stdout=log) as process:
            yield Service(process, path)

    def query(self, statement: str) -> list[Any]:
        """Query the store."""
        with contextlib.closing(sqlite3.connect(self.folder / "actionwatch.db", timeout=LIMIT)) as connection:
            return connection.execute(statement).fetchall()

    def states(self) -> list[tuple[str, int]]:
        """Count the deliveries by status."""
        return self.query("SELECT status, count(*) FROM delivery GROUP BY status ORDER BY status")


@dataclass
class Service:
    """The running service."""

    process: Started
    log: Path

    def wait_until_up(self) -> str:
        """Wait until the service has started. Return the URL of its web listener."""
        return str(self.wait_for("service_started")["url"])

    def wait_for(self, event: str) -> dict[str, Any]:
        """Wait for an event in the log, and return it."""

        def look() -> dict[str, Any] | None:
            has_ended = self.process.poll() is not None
            found = self.events(event)
            assert found or not has_ended, self.log.read_text()
            return found[0] if found else None

        return wait_until(look, f"{event} in the log", self.log.read_text)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return these events of the log so far."""
        lines = (line for line in self.log.read_text().splitlines(keepends=True) if line[0] == "{" and line[-1] == "\n")
        return [found for found in map(json.loads, lines) if found["event"] == name]

    def end(self) -> float:
        """Stop the service with SIGTERM. Return how long that took."""
        passed = stopwatch()
        self.process.send_signal(signal.SIGTERM)
        assert exit_status(self.process) == 0, self.log.read_text()
        return passed()

    def kill(self) -> None:
        """Kill the service, like a power failure."""
        kill(self.process)
        self.process.wait()


def read_until(stream: IO[str], text: str) -> str:
    """Read lines until one contains a text. Return all of them."""
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"no {text!r} in: {''.join(lines)}")
