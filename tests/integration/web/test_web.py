"""Health and metrics are correct, and metrics require the token."""

from __future__ import annotations

import functools
import gc
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from actionwatch import __version__
from actionwatch.base.errors import ActionwatchError, StoreError
from actionwatch.base.lateness import LAG_BOUNDS
from actionwatch.base.model import Level, Status
from actionwatch.queries.source_health import SourceHealth
from actionwatch.service.readiness import Readiness
from actionwatch.service.roles import Role, Roles
from actionwatch.service.step_watch import StepWatch
from actionwatch.store import (
    alerts,
    delivery_transitions,
    marks,
    polls,
    positions,
    receivers,
    records,
    self_alerts,
)
from actionwatch.store.database import Database
from actionwatch.store.membership import tail_role
from actionwatch.store.polls import FAILED_POLLS
from actionwatch.text.log_writer import WRITER
from actionwatch.web import server
from actionwatch.web.access import Access
from actionwatch.web.connections import BoundedConnection
from actionwatch.web.metrics import StoreCollector
from actionwatch.web.routes import health_routes, metrics_routes
from tests import http_client
from tests.builders import NOON, Clock, make_alert, make_delivery, make_marks, make_record
from tests.integration.kit import Post
from tests.positions import move_to
from tests.threads import start_thread

serving = functools.partial(server.serving, start_thread=start_thread)
INTERVAL = timedelta(seconds=30)


@pytest.fixture
def clock() -> Clock:
    """A clock at noon."""
    return Clock()


@pytest.fixture
def workers() -> dict[str, bool]:
    """The threads of the service, all alive."""
    return {"match": True, "deliver": True}


@pytest.fixture
def ages() -> dict[str, timedelta | None]:
    """How long ago the process polled the source."""
    return {"acme": None}


@pytest.fixture
def web(
    database: Database, clock: Clock, workers: Mapping[str, bool], ages: Mapping[str, timedelta | None]
) -> Iterator[httpx.Client]:
    """Serve health and metrics of one source."""
    steps, roles = StepWatch(Post(database).troubles), Roles([tailing("acme")])
    readiness = Readiness(database, lambda: {"acme": INTERVAL}, lambda: ages, steps, roles)

    def unready() -> Iterator[str]:
        readiness.look()  # instead of a thread
        return readiness.reasons()

    routes = [
        *health_routes(lambda: workers, unready),
        *metrics_routes(database, lambda: {"acme": INTERVAL}, clock),
    ]
    with database.joined() as membership, serving(routes, "127.0.0.1", 0, None) as url:
        roles.start(membership)
        with http_client.client(base_url=url) as client:
            yield client


def tailing(source: str) -> Role:
    """Return the role that tails a source."""
    return Role(tail_role(source), lambda: None, lambda: None)


def poll(database: Database, clock: Clock, error: str | None = None) -> None:
    """Store the result of a poll."""
    with database.write() as connection:
        polls.note_poll(connection, "acme", clock(), error)


def test_dead_thread_makes_the_process_unhealthy(web: httpx.Client, workers: dict[str, bool]) -> None:
    """The process is healthy while all threads are alive; otherwise the response names the dead ones."""
    assert (web.get("/healthz").status_code, web.get("/healthz").json()) == (200, {"status": "ok", "dead": []})
    workers["match"] = False
    answer = web.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "dead", "dead": ["match"]})


def test_failed_or_old_poll_makes_the_process_not_ready(
    web: httpx.Client, database: Database, clock: Clock, ages: dict[str, timedelta | None]
) -> None:
    """The process is ready while each source is polled recently and no three polls in a row fail; else there is a reason."""

    def asked() -> tuple[int, list[str]]:
        answer = web.get("/readyz")
        assert answer.json()["ready"] == (answer.status_code == 200)
        return answer.status_code, answer.json()["reasons"]

    assert asked() == (503, ["source acme: not polled yet"])
    poll(database, clock)  # by a process from before
    assert asked() == (503, ["source acme: not polled yet"])
    ages["acme"] = timedelta(0)
    assert asked() == (200, [])
    overdue = INTERVAL * polls.MISSED_POLLS
    ages["acme"] = overdue
    assert asked() == (200, [])
    ages["acme"] = overdue + timedelta(seconds=1)
    assert asked() == (503, ["source acme: last polled 5m1s ago"])
    with database.write() as connection:
        polls.note_poll(connection, "acme", clock(), "asked to wait", backoff_after=lambda _: timedelta(minutes=20))
    assert asked() == (503, ["source acme: last polled 5m1s ago, waits 20m after a failure"])
    poll(database, clock)
    ages["acme"] = timedelta(0)
    for _ in range(FAILED_POLLS - 1):
        poll(database, clock, "refused")
        assert asked() == (200, [])
    poll(database, clock, "refused")
    assert asked() == (503, ["source acme: 3 polls failed in a row; see the log"])
    poll(database, clock)
    assert asked() == (200, [])


def test_full_store_is_not_ready(
    web: httpx.Client, database: Database, clock: Clock, ages: dict[str, timedelta | None]
) -> None:
    """A store that cannot be written makes the process not ready, even if it can be read."""
    ages["acme"] = timedelta(0)
    poll(database, clock)
    assert web.get("/readyz").status_code == 200
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE filler (content BLOB)")
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # at least what is already used
    with pytest.raises(StoreError, match="full"), database.write() as connection:
        connection.exec_driver_sql("INSERT INTO filler VALUES (zeroblob(1000000))")
    answer = web.get("/readyz")
    assert answer.status_code == 503
    (reason,) = answer.json()["reasons"]
    assert reason.startswith("the store cannot be written: ")
    poll(database, clock)
    assert web.get("/readyz").status_code == 200


def test_refused_key_is_not_ready(
    web: httpx.Client, database: Database, clock: Clock, ages: dict[str, timedelta | None]
) -> None:
    """A refused key makes the process not ready at its first failure, because no further poll can succeed."""
    ages["acme"] = timedelta(0)
    poll(database, clock, "refused")
    refused = self_alerts.OpenSelfAlert("key_refused", "acme", NOON, "x", "create a new key", "id")
    with database.write() as connection:
        self_alerts.insert(connection, refused)
    answer = web.get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["source acme: create a new key"])


@pytest.mark.parametrize("hours", [-1, 25])
def test_readiness_does_not_depend_on_the_clock(
    web: httpx.Client, database: Database, clock: Clock, ages: dict[str, timedelta | None], hours: float
) -> None:
    """Readiness does not depend on the machine's clock."""
    poll(database, clock)
    clock.advance(hours=hours)
    ages["acme"] = timedelta(seconds=1)
    assert web.get("/readyz").status_code == 200
    ages["acme"] = timedelta(minutes=59)
    assert web.get("/readyz").status_code == 503


def test_broken_store_is_not_ready(web: httpx.Client, database: Database, clock: Clock) -> None:
    """A store that cannot be read is a reason in the response, not an error page."""
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE poll")
    answer = web.get("/readyz")
    assert answer.status_code == 503
    assert "does not have the tables of its schema" in answer.json()["reasons"][0]


def metrics(web: httpx.Client) -> dict[str, float]:
    """Scrape the metrics and return the samples."""
    answer = web.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def totals(state: str, seen: float = 0, proved: float = 0) -> dict[str, float]:
    """Return the samples about all sources, if there is one, which is in a state and has these lags."""
    return {
        **{f'actionwatch_sources{{state="{each.value}"}}': float(each.value == state) for each in SourceHealth},
        "actionwatch_seen_through_lag_largest_seconds": seen,
        "actionwatch_proved_through_lag_largest_seconds": proved,
    }


def metrics_of_process() -> dict[str, float]:
    """Return the samples that the store does not determine. Tests before may have dropped lines of the log."""
    bounds = [*LAG_BOUNDS, "+Inf"]
    return {
        **{f'actionwatch_poll_lag_seconds_bucket{{le="{bound}"}}': 0 for bound in bounds},
        "actionwatch_poll_lag_seconds_count": 0,
        "actionwatch_poll_lag_seconds_sum": 0,
        "actionwatch_log_lines_dropped_total": WRITER.dropped_count,
        f'actionwatch_info{{version="{__version__}"}}': 1,
    }


def test_empty_store_has_metrics(web: httpx.Client) -> None:
    """An empty store has metrics too."""
    nothing = ("actionwatch_records_stored_total", "actionwatch_records_unmatched", "actionwatch_records_uncorrelated")
    info = {'actionwatch_source_info{source="acme"}': 1}
    assert metrics(web) == {**dict.fromkeys(nothing, 0), **info, **totals("silent"), **metrics_of_process()}


def test_metrics_show_the_store(web: httpx.Client, database: Database, clock: Clock) -> None:
    """Every sample shows the current content of the store."""
    known = marks.Marks(
        name="acme",
        organisation="org",
        begins_at=NOON,
        alerts_from=NOON,
        mark=NOON,
        seen_through=NOON,
        proved_through=NOON - timedelta(seconds=60),
    )
    dead = make_delivery("two")
    with database.write() as connection:
        marks.write(connection, known)
        polls.note_poll(connection, "acme", NOON, "x")
        marks.write(connection, replace(known, name="removed"))
        polls.note_poll(connection, "removed", NOON, "x")
        records.insert_new(connection, [make_record(n) for n in range(5)])
        move_to(connection, positions.MATCHED, 3)
        move_to(connection, positions.CORRELATED, 1)
        alerts.insert_new(
            connection, [(make_alert("a"), "g"), (make_alert("b", level=Level.LOW, status=Status.RESOLVED), "g")]
        )
        delivery_transitions.enqueue(connection, [make_delivery("one"), dead])
        delivery_transitions.bury(connection, dead, "x")
        receivers.note_failure(connection, "hook", NOON, "x", None)
        receivers.note_success(connection, "fine", NOON)
        self_alerts.insert(connection, self_alerts.OpenSelfAlert("dead_letters", 'ho"ok', NOON, "x", "", "id"))
    clock.advance(seconds=7)
    assert metrics(web) == {
        'actionwatch_source_info{source="acme"}': 1,
        'actionwatch_seen_through_lag_seconds{source="acme"}': 7,
        'actionwatch_proved_through_lag_seconds{source="acme"}': 67,
        'actionwatch_poll_failures{source="acme"}': 1,
        **totals("paused", 7, 67),
        "actionwatch_records_stored_total": 5,
        "actionwatch_records_unmatched": 2,
        "actionwatch_records_uncorrelated": 4,
        'actionwatch_alerts{level="high",status="open"}': 1,
        'actionwatch_alerts{level="low",status="resolved"}': 1,
        'actionwatch_deliveries_pending{receiver="hook"}': 1,
        'actionwatch_deliveries_dead{receiver="hook"}': 1,
        'actionwatch_receiver_failing_seconds{receiver="hook"}': 7,
        'actionwatch_receiver_failing_seconds{receiver="fine"}': 0,
        'actionwatch_troubles{subject="ho\\"ok",trouble="dead_letters"}': 1,
        **metrics_of_process(),
    }
    with database.write() as connection:
        move_to(connection, "match", 5)
    assert metrics(web)["actionwatch_records_unmatched"] == 0


def test_metrics_of_each_source_can_be_switched_off(database: Database, clock: Clock) -> None:
    """Without them, no sample names a source, and the totals are the same."""
    with database.write() as connection:
        marks.write(connection, make_marks(name="a", proved_through=NOON - timedelta(seconds=9)))
        marks.write(connection, make_marks(name="b"))
        polls.note_poll(connection, "a", NOON, None)
        polls.note_poll(connection, "b", NOON, "x")
        troubles = [("unknown_kind", "a"), ("unknown_kind", "b"), ("step_failing", "tail a"), ("dead_letters", "a")]
        for trouble, subject in troubles:  # the last one is about a receiver
            self_alerts.insert(
                connection, self_alerts.OpenSelfAlert(trouble, subject, NOON, "", "", f"{trouble} {subject}")
            )
    sources = {"a": INTERVAL, "b": INTERVAL, "c": INTERVAL}
    found: dict[bool, dict[tuple[object, ...], float]] = {}
    for by_source in (True, False):
        families = StoreCollector(
            database, sources, clock, roles=lambda: {"leader": True, "tail a": True}, by_source=by_source
        ).collect()
        samples = [each for family in families for each in family.samples]
        found[by_source] = {(each.name, *each.labels.items()): each.value for each in samples}
    counts = {each[1:]: value for each, value in found[False].items() if each[0] == "actionwatch_troubles"}
    assert counts == {
        (("trouble", "unknown_kind"), ("subject", "sources")): 2,
        (("trouble", "step_failing"), ("subject", "sources")): 1,
        (("trouble", "dead_letters"), ("subject", "a")): 1,
    }
    others = {each: value for each, value in found[False].items() if each[0] != "actionwatch_troubles"}
    assert ("actionwatch_role_held", ("role", "leader")) in others
    assert not [each for each in others if "source" in str(each[1:]) or "tail" in str(each[1:])]
    assert others.items() <= found[True].items()
    for state in ("silent", "paused", "current"):
        assert found[False][("actionwatch_sources", ("state", state))] == 1
    assert found[False][("actionwatch_proved_through_lag_largest_seconds",)] == 9


def test_metrics_count_records_and_not_ids(web: httpx.Client, database: Database) -> None:
    """Records that a poll reads again, and records that retention deletes, change no number of stored or waiting records."""
    for number in range(3):
        with database.write() as connection:
            records.insert_new(connection, [make_record(n) for n in range(2 * number + 1)])
    with database.write() as connection:
        move_to(connection, positions.MATCHED, 4)
        assert len(records.delete_older(connection, NOON + timedelta(days=1), 4, 10)) == 4
    found = metrics(web)
    assert found["actionwatch_records_stored_total"] == 5
    assert found["actionwatch_records_unmatched"] == 1


def test_metrics_that_only_grow_are_counters(web: httpx.Client) -> None:
    """Prometheus reads numbers that only grow as counters, so that `rate` and `increase` work."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", web.get("/metrics").text, re.MULTILINE))
    for name in ("actionwatch_records_stored_total", "actionwatch_log_lines_dropped_total"):
        assert types[name] == "counter", types
    assert types["actionwatch_records_unmatched"] == "gauge"


def secret(_: Request) -> Response:
    """Return a text."""
    return PlainTextResponse("secret")


PAGES = [Route("/page", secret), Route("/healthz", secret), Route("/readyz", secret)]


@pytest.mark.parametrize("token", ["open-sesame", "tökén"])
def test_pages_require_the_token(token: str) -> None:
    """Every path except the probes requires the complete token."""
    with serving(PAGES, "127.0.0.1", 0, Access(token)) as url, http_client.client(base_url=url) as client:

        def asked(path: str, given: str | None) -> int:
            headers = {} if given is None else {b"authorization": given.encode()}
            return client.get(path, headers=headers).status_code

        assert asked("/page", f"Bearer {token}") == 200
        for wrong in (None, "", "Bearer", f"Bearer {token}x", f"Bearer {token[:-1]}", f"Basic {token}", token):
            assert asked("/page", wrong) == 401
        assert asked("/unknown", None) == 401
        assert asked("/healthz/", None) == 401
        assert [asked(path, None) for path in ("/healthz", "/readyz")] == [200, 200]
        refused = client.get("/page")
        assert refused.headers["www-authenticate"] == "Bearer"
        assert "server" not in refused.headers


def test_clients_can_connect_from_the_start() -> None:
    """Clients can connect as soon as the address is known."""
    for _ in range(10):
        with serving(PAGES, "127.0.0.1", 0, None) as url:
            assert http_client.get(f"{url}/page").text == "secret"


def test_port_is_free_afterwards() -> None:
    """The port is free after the block has ended."""
    with serving(PAGES, "127.0.0.1", 0, None) as url:
        port = int(url.rsplit(":", 1)[1])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_server_listens_on_ipv6() -> None:
    """The server can listen on an IPv6 address, and returns a valid URL."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with serving(PAGES, "::1", 0, None) as url:
        assert url.startswith("http://[::1]:")
        assert http_client.get(f"{url}/page").text == "secret"


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid", "a..b", "x" * 70])
def test_unusable_address_is_an_error(host: str) -> None:
    """An unusable address is an error with a remedy."""
    words = r"cannot listen on .*:0: .*: choose another web\.listen"
    with pytest.raises(ActionwatchError, match=words), serving(PAGES, host, 0, None):
        raise AssertionError


def test_port_in_use_is_an_error() -> None:
    """A port in use is an error that names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ActionwatchError, match="in use"), serving(PAGES, "127.0.0.1", port, None):
            raise AssertionError


def test_responses_are_not_delayed() -> None:
    """A connection sends each part of a response at once: with Nagle's algorithm, the second waits for an acknowledgement."""
    with serving(PAGES, "127.0.0.1", 0, None) as url, http_client.client(base_url=url) as client:
        assert client.get("/page").text == "secret"
        open_ = [
            each for each in gc.get_objects() if isinstance(each, BoundedConnection) and not each.transport.is_closing()
        ]
        sockets = [each.transport.get_extra_info("socket") for each in open_]
        assert [each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for each in sockets] == [1]
