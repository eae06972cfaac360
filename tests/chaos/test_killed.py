"""The real service, killed with SIGKILL at random times, with the emulator over real HTTP and a real receiver."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from actionwatch.store import marks
from actionwatch.store.database import Database
from actionwatch.store.tables import ALERT, DELIVERY
from tests.children import Started
from tests.end_to_end import kit
from tests.upstreams import logged_actions, stored
from tests.waiting import beside, pause, wait_until

KILLS = 15  # the simulator kills far more often; here the process and its files are real
FAULTS = (
    (),
    ("order:shuffled",),
    ("reset:body,every=4",),
    ("error:503,every=3", "late:200ms,900ms"),
    ("total:absent", "counts:absent"),
    ("truncated:length,every=3",),
    ("appear:1,before,times=2",),
    ("twins:2",),
    ("page_clamped:3",),
)
CONFIG = """
sources:
  - {{name: acme, organisation_id: {organisation}, username: {user}, api_key: {key}, base_url: "{url}", start: 1h,
      alert_backlog: true, poll_interval: 1s, overlap: 1m, sweeps: [2m, 1h], page_size: 10}}
store: {{url: "sqlite:///{folder}/store.db"}}
receivers:
  - {{name: hook, webhook: {{url: "{hook}"}}}}
route: {{receiver: hook}}
rules: ["{folder}/rules/"]
web: {{listen: "127.0.0.1:0"}}
log: {{level: warning, format: json}}
"""
RULE = """
title: A cluster was deleted
id: 5b0f4e7c-5f4e-4b39-9d3e-0a4c8b1f7a10
name: cluster_deleted
status: stable
level: high
logsource: {product: instaclustr, service: user_actions}
detection:
  selection: {actionKind: DELETE_CLUSTER}
  condition: selection
"""


@dataclass
class Receiver:
    """The receiver of a webhook: the accepted messages, by id."""

    url: str = ""
    taken: Counter[str] = field(default_factory=Counter)
    opened: dict[str, set[str]] = field(default_factory=dict)

    def take(self, message_id: str, body: bytes) -> None:
        """Store a message."""
        message: dict[str, Any] = json.loads(body)
        self.taken[message_id] += 1
        if message["type"] == "alert.opened":
            self.opened.setdefault(message["data"]["id"], set()).add(message_id)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Receive on loopback."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.take(self.headers["webhook-id"], self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/"
        with beside(lambda: server.serve_forever(0.05), stop=server.shutdown):
            yield receiver


def wait_for_a_poll(process: Started, seen: int, organisation_requests: Callable[[], int]) -> None:
    """Wait until the process has sent a request to the upstream, because before that there is little to kill."""

    def has_polled() -> bool:
        assert process.poll() is None, "it ended by itself"
        return organisation_requests() > seen

    wait_until(has_polled, "a request of the service")


def test_kills_lose_and_repeat_nothing(
    tmp_path: Path, soak: int, first_seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that is killed repeatedly loses and doubles no record, opens no alert twice, and finishes every delivery."""
    chance = random.Random(first_seed)
    organisation = Organisation()
    app = create_app(organisation)
    emulator = app.state.emulator
    kills = max(KILLS, soak // 20) if soak else KILLS
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "cluster_deleted.yml").write_text(RULE)
    logged = 0

    def arrive() -> None:
        nonlocal logged
        for _ in range(chance.randint(1, 6)):
            logged += 1
            kind = chance.choice(("BACKUP", "DELETE_CLUSTER", "ADD_NODE"))
            at = datetime.now(UTC) - timedelta(seconds=chance.uniform(0, 3))
            organisation.append(kind, description=f"action {logged}", at=at, user_name=chance.choice(("eve", "bob")))

    def requests() -> int:
        found: int = sum(count for (name, _), count in emulator.traffic.items() if name == "user_actions")
        return found

    with running(app) as url, receiving() as receiver:
        config = tmp_path / "actionwatch.yaml"
        config.write_text(
            CONFIG.format(
                organisation=organisation.id, user=DEMO_USER, key=DEMO_KEY, url=url, folder=tmp_path, hook=receiver.url
            )
        )
        for _ in range(40):
            arrive()
        command = ["-c", str(config)]
        for _ in range(kills):
            emulator.faults.set(*chance.choice(FAULTS))
            seen = requests()
            with kit.started_warm(*command, "run", folder=tmp_path) as process:
                wait_for_a_poll(process, seen, requests)
                arrive()
                pause(chance.choice((0, 0.005, 0.02, 0.1, 0.4, 1.1)))
                process.send_signal(signal.SIGKILL)
            assert process.returncode == -signal.SIGKILL, "it ended by itself"
        emulator.faults.clear()
        last_round_at = datetime.now(UTC)
        ended = kit.finished_warm(*command, "run", "--once", "--wait", "10m", folder=tmp_path)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        verified = kit.finished_warm(*command, "records", "receipts", "--verify", "-o", "jsonl", folder=tmp_path)
        assert verified.returncode == 0, verified.stderr
        database = Database(f"sqlite:///{tmp_path}/store.db")
        try:
            held = stored(database)
            truth = logged_actions(organisation.truth())
            with database.read() as connection:
                statuses = connection.execute(select(DELIVERY.c.id, DELIVERY.c.status)).all()
                alerts = connection.execute(select(ALERT.c.id).where(ALERT.c.rule_name == "cluster_deleted")).all()
                mark = marks.read(connection, "acme")
        finally:
            database.close()
        lost, doubled = truth - held, held - truth
        repeated = receiver.taken.total() - len(receiver.taken)
        with capsys.disabled():
            print(
                f"\nchaos: the real process, {kills} SIGKILLs, {truth.total()} records, {len(alerts)} alerts: "
                f"{lost.total()} lost, {doubled.total()} doubled, {repeated} messages sent again, "
                f"{len(verified.stdout.splitlines())} receipts computed again from the records"
            )
        assert not lost
        assert not doubled
        assert mark is not None
        assert mark.proved_through > last_round_at - timedelta(minutes=1)
        assert {row.status for row in statuses} <= {"sent", "dead", "suppressed"}
        wanted = sum(count for (kind, _), count in truth.items() if kind == "DELETE_CLUSTER")
        assert len(alerts) == wanted
        assert all(len(ids) == 1 for ids in receiver.opened.values()), "an alert was opened under two message ids"
