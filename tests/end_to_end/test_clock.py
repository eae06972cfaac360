"""The installed service polls, retries and gives up at the right times although the clock is set while it runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import http_client
from tests.end_to_end import kit
from tests.integration.notifiers.http_end import Reply
from tests.waiting import wait_until

HOUR = 3600.0


@dataclass
class Machine:
    """A folder for the service, and a clock that can be set."""

    post: kit.Post

    @property
    def _file(self) -> Path:
        return self.post.folder.parent / "clock"

    def set_clock(self, seconds: float) -> None:
        """Set the clock to this distance from the real time."""
        part = self._file.with_suffix(".part")
        part.write_text(str(seconds))
        part.replace(self._file)

    @contextmanager
    def service(self) -> Iterator[kit.Service]:
        """Run the service."""
        self.set_clock(0.0)
        path = self.post.folder / "service.log"
        with (
            path.open("w") as log,
            kit.started_warm("run", folder=self.post.folder, stdout=log, stderr=log, clock=self._file) as process,
        ):
            yield kit.Service(process, path)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command there."""
        return kit.finished_warm(*arguments, folder=self.post.folder, clock=self._file)


@pytest.fixture
def machine(post: kit.Post) -> Machine:
    """A machine with a configured folder."""
    return Machine(post)


def readiness(url: str) -> tuple[int, list[str]]:
    """Query whether the service is ready."""
    answer = http_client.get(f"{url}/readyz")
    return answer.status_code, answer.json()["reasons"]


def events(service: kit.Service, name: str) -> list[dict[str, Any]]:
    """Return the log entries of one event."""
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


@pytest.mark.parametrize("step", [-HOUR, 25 * HOUR], ids=["back an hour", "forward 25 hours"])
def test_clock_step_while_the_service_runs(machine: Machine, soar: kit.Soar, step: float) -> None:
    """After a step back or forward, polls and retries continue, no message is given up or repeated, and an alert is sent."""
    up = machine.post.upstream
    with machine.service() as service:
        url = service.wait_until_up()
        up.delete_cluster("eve@example.com")
        wait_until(lambda: soar.find(user="eve@example.com"), "an alert before")
        soar.answer = lambda: Reply(503)
        up.delete_cluster("mallory@example.com")
        wait_until(lambda: len(soar.find(user="mallory@example.com")) >= 2, "two attempts")

        machine.set_clock(step)
        wait_until(lambda: events(service, "clock_stepped"), "the notice")
        tried = len(soar.find(user="mallory@example.com"))
        wait_until(lambda: len(soar.find(user="mallory@example.com")) >= tried + 2, "further attempts")
        assert machine.post.query("SELECT count(*) FROM delivery WHERE status = 'dead'") == [(0,)]
        soar.answer = lambda: Reply(204)
        up.delete_cluster("dan@example.com")
        wait_until(lambda: soar.find(user="dan@example.com"), "an alert after")
        wait_until(
            lambda: machine.post.query("SELECT count(*) FROM delivery WHERE status != 'sent'") == [(0,)],
            "an empty outbox",
        )

        alert = soar.find(trouble="clock_stepped", type="alert.opened")[-1]
        assert alert.data["rule"]["name"] == "actionwatch_self"
        assert ("back by 1h" if step < 0 else "forward by 1d1h") in alert.data["body"]
        assert abs(events(service, "clock_stepped")[0]["seconds"] - step) < 5
        status = json.loads(machine.run("status", "-o", "json").stdout)
        assert "clock_stepped" in [trouble["trouble"] for trouble in status["troubles"]]
        assert "proof_lagging" not in [trouble["trouble"] for trouble in status["troubles"]]
        last_poll = datetime.fromisoformat(status["sources"][0]["last_poll"])
        assert abs(datetime.now(UTC) + timedelta(seconds=step) - last_poll) < timedelta(minutes=1)

        wait_until(lambda: readiness(url) == (200, []), "readiness")
        up.control("PUT", "/faults", ["hang"])
        machine.set_clock(step - HOUR)
        status_code, reasons = wait_until(
            lambda: found if (found := readiness(url))[0] == 503 else None, "the end of readiness"
        )
        assert status_code == 503
        assert reasons[0].startswith("source acme: last polled")
        service.kill()
    users = ("eve@example.com", "mallory@example.com", "dan@example.com")
    assert all(len({found.id for found in soar.find(user=user)}) == 1 for user in users)
    assert len(soar.find(user="eve@example.com")) == len(soar.find(user="dan@example.com")) == 1
    assert not soar.find(trouble="proof_lagging")
    assert not soar.find(trouble="dead_letters")


def test_clock_step_between_two_runs_once(machine: Machine, soar: kit.Soar) -> None:
    """`run --once` reads and delivers new records after the clock was set back or forward since the last run."""
    machine.set_clock(0.0)
    up = machine.post.upstream
    for number, off in enumerate((0.0, -HOUR, 25 * HOUR, 10_000 * HOUR, 0.0)):
        machine.set_clock(off)
        up.delete_cluster(f"user{number}@example.com")
        ran = machine.run("run", "--once")
        assert ran.returncode == 0, ran.stderr
        assert len(soar.find(user=f"user{number}@example.com", type="alert.opened")) == 1
    assert len({found.id for found in soar.find(rule="cluster_deleted")}) == 5
    assert not soar.find(trouble="proof_lagging")
    assert machine.post.query("SELECT count(*) FROM record") == [(5,)]
