"""The installed command as processes, an emulator in its own, and what a test watches them with."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from standardwebhooks import Webhook

from tests.integration.notifiers.http_end import HttpEnd, Reply, Request

T = TypeVar("T")

COMMAND = Path(sys.executable).with_name("actionwatch")
KEY = "whsec_c2VjcmV0LXNpZ25pbmcta2V5LW9mLTMyLWJ5dGVz"
PATIENCE_SECONDS = 40.0  # a start takes some seconds on a machine with other things to do
END_SECONDS = 10.0  # what SIGTERM may take
QUIET = "history: 0s\nordinary: false\n"  # nothing happens but what a test appends

RULE = """\
title: Cluster deleted
id: 11111111-1111-4111-8111-111111111111
name: cluster_deleted
logsource: {product: instaclustr, service: user_actions}
detection:
  selection:
    actionKind: DELETE_CLUSTER
  condition: selection
level: critical
alert:
  title: '{{ userName }} deleted {{ cluster.name }}'
"""


def wait_for(what: str, look: Callable[[], T | None], seconds: float = PATIENCE_SECONDS) -> T:
    """Look until there is something to see; fail, saying what did not come."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"did not come within {seconds:g} s: {what}")


@contextlib.contextmanager
def started(*arguments: str, folder: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start the command; kill it at the end of the block, if it still runs."""
    process = subprocess.Popen([COMMAND, *arguments], cwd=folder, text=True, env=environment(), **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finished(*arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment(**more),
        timeout=60,
        check=False,
    )


def environment(**more: str) -> dict[str, str]:
    """Give the environment without what a developer may have set for actionwatch."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ACTIONWATCH_")} | more


@dataclass(frozen=True)
class Upstream:
    """An emulator in its own process."""

    base_url: str
    organisation_id: str
    username: str
    api_key: str

    def control(self, method: str, path: str, body: Any = None) -> list[Any]:
        """Call the control API; gives the JSON of each line of the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base_url}/_emulator{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return [json.loads(line) for line in answer.read().splitlines() if line]

    def delete_cluster(self, *users: str) -> None:
        """Have each of these users delete a cluster, now."""
        self.control("POST", "/actions", [{"action": "DELETE_CLUSTER", "userName": user} for user in users])


@contextlib.contextmanager
def upstream(folder: Path) -> Iterator[Upstream]:
    """Run an emulator in which nothing happens by itself."""
    scenario = folder / "scenario.yml"
    scenario.write_text(QUIET)
    with started(
        "emulator", "--port", "0", "--scenario", str(scenario), folder=folder, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        said = dict(line.strip().split(": ", 1) for line in lines)
        yield Upstream(said["base_url"], said["organisation_id"], said["username"], said["api_key"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_SECONDS) == 0


@dataclass
class Arrival:
    """A message that came to the webhook; `is_genuine` says whether its signature is."""

    id: str
    at: float
    type: str
    data: dict[str, Any]
    body: bytes
    is_genuine: bool


@dataclass
class Soar:
    """The webhook's far end: keeps what came, and answers as `answer` says."""

    arrivals: list[Arrival] = field(default_factory=list)
    answer: Callable[[], Reply] = lambda: Reply(204)

    def take(self, request: Request) -> Reply:
        """Note a message, check its signature, answer."""
        message = json.loads(request.body)
        try:
            Webhook(KEY).verify(request.body, dict(request.headers))
            is_genuine = True
        except Exception:
            is_genuine = False
        name = request.headers["webhook-id"]
        self.arrivals.append(Arrival(name, time.time(), message["type"], message["data"], request.body, is_genuine))
        return self.answer()

    def find(self, **wanted: str) -> list[Arrival]:
        """Find messages by `type`, `user` (of the newest record), `rule` or `trouble`."""

        def facts(arrival: Arrival) -> dict[str, str | None]:
            records = arrival.data["records"]
            return {
                "type": arrival.type,
                "user": records[-1]["userName"] if records else None,
                "rule": arrival.data["rule"]["name"],
                "trouble": arrival.data["labels"].get("trouble"),
            }

        return [found for found in list(self.arrivals) if wanted.items() <= facts(found).items()]


@dataclass
class Post:
    """A folder with a configuration for the service."""

    folder: Path
    upstream: Upstream

    def write(self, webhook: HttpEnd, more_receivers: str = "", rules: dict[str, str] | None = None) -> Post:
        """Write the configuration and the rules."""
        (self.folder / "rules").mkdir(parents=True, exist_ok=True)
        for name, text in {"cluster_deleted.yml": RULE, **(rules or {})}.items():
            (self.folder / "rules" / name).write_text(text)
        up = self.upstream
        (self.folder / "actionwatch.yaml").write_text(
            "sources:\n  - name: acme\n"
            f"    organisation_id: {up.organisation_id}\n    username: {up.username}\n    api_key: {up.api_key}\n"
            f"    base_url: {up.base_url}\n    poll_interval: 0.5s\n    start: 1h\n    alert_backlog: true\n"
            "receivers:\n  - name: soar\n"
            f"    webhook: {{url: '{webhook.url}/hook', signing_key: {KEY}, timeout: 20s}}\n"
            "    retry: {first: 0.1s, max: 0.5s}\n"
            f"{more_receivers}web: {{listen: '127.0.0.1:0'}}\nlog: {{format: json}}\n"
        )
        return self

    @contextlib.contextmanager
    def service(self) -> Iterator[Service]:
        """Start the service; its log goes to a file. It need not be up yet."""
        path = self.folder / "service.log"
        with path.open("w") as log, started("run", folder=self.folder, stderr=log, stdout=log) as process:
            yield Service(process, path)

    def query(self, statement: str) -> list[Any]:
        """Ask the store."""
        with contextlib.closing(sqlite3.connect(self.folder / "actionwatch.db", timeout=10)) as connection:
            return connection.execute(statement).fetchall()


@dataclass
class Service:
    """The running service."""

    process: subprocess.Popen[str]
    log: Path

    def wait_until_up(self) -> str:
        """Wait until it says that it started; give the URL of its web listener."""
        return wait_for(f"the service's start: {self.log.read_text()}", lambda: self._url())

    def end(self) -> float:
        """End it with SIGTERM; give how long that took."""
        before = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(END_SECONDS) == 0, self.log.read_text()
        return time.monotonic() - before

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def _url(self) -> str | None:
        assert self.process.poll() is None, self.log.read_text()
        for line in self.log.read_text().splitlines():
            if line.startswith("{") and json.loads(line)["event"] == "service_started":
                return str(json.loads(line)["url"])
        return None


def read_until(stream: IO[str], text: str) -> str:
    """Read lines until one holds a text; give all of them."""
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"no {text!r} in: {''.join(lines)}")
