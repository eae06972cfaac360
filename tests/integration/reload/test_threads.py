"""How a dead thread of the service, or a step that keeps failing, is reported."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from actionwatch.base.clock import utc_now
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.loops import MATCH_SECONDS
from actionwatch.service.serve import serve
from actionwatch.service.service import Service
from actionwatch.service.signals import Asked
from actionwatch.service.threads import ThreadDied
from actionwatch.text.payloads import instant
from tests import http_client
from tests.integration.notifiers.listener import Listener
from tests.integration.reload.kit import Site, rule
from tests.threads import raise_in_thread
from tests.waiting import LIMIT, beside, wait_for_event, wait_until


class Odd(BaseException):
    """An exception that no `except Exception` catches."""


def answer(service: Service, path: str) -> tuple[int, dict[str, object]]:
    """Send a request to the web listener."""
    with http_client.client(base_url=service.url) as client:
        found = client.get(path)
    return found.status_code, found.json()


WAITS_IN = {
    "match": "wait_for_records",
    "reload": "watch",
    "clock": "_watch_clock",
    "schedule": "_main_loop",
    "web": "_run_once",
}
"""The function of each thread in which it waits."""


def kill(name: str, error: type[BaseException], deaths: threading.Event) -> None:
    """Raise an exception in a thread until the thread is dead. Within a step, which may just have begun, it survives."""

    def is_dead() -> bool:
        is_raised = not deaths.is_set() and raise_in_thread(name, WAITS_IN[name], error)
        return deaths.wait(MATCH_SECONDS + 1 if is_raised else 0)  # no thread waits longer

    wait_until(is_dead, f"the end of {name}")


@pytest.mark.parametrize(
    ("name", "error"), [*zip(WAITS_IN, [SystemExit, MemoryError, Odd, SystemExit, Odd], strict=True)]
)
def test_dead_thread_is_reported(site: Site, name: str, error: type[BaseException]) -> None:
    """/healthz and the main thread report a dead thread."""
    site.write({"rules/plain.yml": rule()})
    deaths = threading.Event()
    with site.service(on_death=deaths.set) as service:
        assert answer(service, "/healthz") == (200, {"status": "ok", "dead": []})
        service.threads.check()
        kill(name, error, deaths)
        with pytest.raises(ThreadDied, match=f"the thread {name} ended with {error.__name__}"):
            service.threads.check()
        wait_until(lambda: not service.threads.are_alive()[name], "the end of the thread")
        if name != "web":
            assert answer(service, "/healthz") == (503, {"status": "dead", "dead": [name]})


def test_dead_thread_ends_the_process(site: Site) -> None:
    """A dead thread ends the service with an error that names it."""
    site.write({"rules/plain.yml": rule()})
    raised: list[BaseException] = []

    def run(asked: Asked) -> None:
        try:
            serve(site.config, read_settings(site.config, {}), asked)
        except ThreadDied as exc:
            raised.append(exc)

    with contextlib.closing(Asked()) as asked, beside(lambda: run(asked)) as running:

        def has_ended() -> bool:
            is_raised = raise_in_thread("match", WAITS_IN["match"], Odd)
            running.join(MATCH_SECONDS + 1 if is_raised else 0)  # it does not wait longer
            return not running.is_alive()

        wait_until(has_ended, "the end of the service")
    assert [str(exc).partition(":")[0] for exc in raised] == ["the thread match ended with Odd()"]


@pytest.fixture
def failing(site: Site) -> Iterator[Service]:
    """A service whose matching fails because the store refuses its position."""
    site.write({"rules/plain.yml": rule()})
    with site.service() as service:
        with site.read() as database, database.write() as connection:
            for event in ("INSERT", "UPDATE"):
                connection.exec_driver_sql(
                    f"CREATE TRIGGER refuse_{event} BEFORE {event} ON position BEGIN SELECT RAISE(ABORT, 'refused'); END"
                )
        yield service


def open_steps(site: Site, *, look_again: bool = False) -> list[str]:
    """Return the steps that are reported as failing. `look_again` runs matching without its wait."""
    if look_again:
        site.app.record_signal.set()
    with site.read() as database, database.read() as connection:
        rows = connection.exec_driver_sql("SELECT subject FROM self_alert WHERE trouble = 'step_failing'").all()
    return [subject for (subject,) in rows]


def test_step_that_keeps_failing_raises_a_self_alert(site: Site, failing: Service) -> None:
    """A step that keeps failing raises a self-alert, which resolves when the step works again."""
    site.act()
    wait_until(lambda: open_steps(site, look_again=True) == ["match"], "the self-alert")
    code, found = answer(failing, "/readyz")
    assert code == 503
    assert any("step match: failed" in reason and "refused" in reason for reason in found["reasons"])  # type: ignore[attr-defined]
    assert answer(failing, "/healthz")[0] == 200  # a restart does not help
    with site.read() as database, database.write() as connection:
        for event in ("INSERT", "UPDATE"):
            connection.exec_driver_sql(f"DROP TRIGGER refuse_{event}")
    wait_until(lambda: not open_steps(site, look_again=True), "the end of the self-alert")
    wait_until(lambda: answer(failing, "/readyz")[0] == 200, "readiness")
    assert [alert.status.value for alert in site.self_alerts() if alert.labels["trouble"] == "step_failing"] == [
        "resolved"
    ]
    wait_until(site.is_settled, "the match")
    assert len(site.alerts()) == 1


def test_every_loop_is_documented(site: Site) -> None:
    """docs/architecture.md names every thread and step of the service."""
    site.write({"rules/plain.yml": rule()})
    text = (Path(__file__).parents[3] / "docs" / "architecture.md").read_text()
    loops = [line.split(" | ")[0] for line in text.split("## Loops")[1].splitlines() if line.startswith("| ")]
    named = {word for cell in loops for word in re.findall(r"`([a-z]+)[^`]*`", cell)}
    with site.service() as service:
        running = [*service.threads.are_alive(), *service.steps.names()]
        assert {name.split()[0] for name in running} <= named


class SlowUpstream(Listener):
    """Responds to every request with one record, but not before it may."""

    def __init__(self) -> None:
        self.request_count = 0
        self.may_respond = threading.Event()
        super().__init__()

    def treat(self, connection: socket.socket) -> None:
        """Read a request, wait, and respond."""
        connection.recv(65536)
        self.request_count += 1
        wait_for_event(self.may_respond, "the end of the service")
        record = {"action": "DELETE_CLUSTER", "timestamp": instant(utc_now()), "description": "too late", "id": "1"}
        body = json.dumps({"totalResults": 1, "resources": [record]}).encode()
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    def close_connections(self) -> None:
        """Respond to what still waits."""
        self.may_respond.set()


def test_upstream_that_does_not_respond_holds_up_no_end(site: Site) -> None:
    """A service ends while its requests hang. Their threads then store nothing, and end without a traceback."""
    site.write({"rules/plain.yml": rule()})
    with SlowUpstream() as upstream, capture_logs() as logs:
        site.url = f"http://127.0.0.1:{upstream.port}"
        with contextlib.closing(App(read_settings(site.write().config, {}))) as app:
            service = Service(app, stop_seconds=0.1)
            with service.running():
                wait_until(lambda: upstream.request_count >= 2, "the poll and the listing of accounts")
            others = [name for name in service.threads.are_alive() if name != "web" and not name.startswith("poll")]
            for name in others:
                service.threads.join(name, LIMIT)
        (left,) = [each for each in logs if each["event"] == "threads_left"]
        assert len(left["threads"]) == 2
        upstream.may_respond.set()
        wait_until(
            lambda: not [each for each in threading.enumerate() if each.name.startswith("poll")], "the end of the polls"
        )
    assert not [each for each in logs if each.get("exc_info") or each["log_level"] in ("error", "critical")]
    assert {each["step"] for each in logs if each["event"] == "step_interrupted"} <= {"tail acme", "accounts acme"}
    with site.read() as database, database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM record").scalar() == 0
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
