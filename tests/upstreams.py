"""The emulator as the upstream of a tail: over HTTP, or called in the process if a test needs thousands of polls.

The log of the emulator is the truth; `Found.differences` compares a store with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

import tests.emulator.faults  # noqa: F401  # adds the faults that only tests use
from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.daemon_threads import DaemonThreads
from actionwatch.base.errors import RateLimited, SourceUnavailable
from actionwatch.base.model import Record, RecordFilter
from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, Emulator, _answer, _linked_accounts, _user_actions, create_app
from actionwatch.emulator.faults.playing import Faults
from actionwatch.emulator.log import Action
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from actionwatch.instaclustr.client import PAGE_SIZE, Client, RetryOptions
from actionwatch.instaclustr.kinds import KINDS, OWN_KINDS
from actionwatch.instaclustr.origin import ConnectionOptions, error_for
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.records import RecordReader
from actionwatch.instaclustr.wire import Page
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.net.http_response import HttpResponse
from actionwatch.store import record_search, self_alerts
from actionwatch.store.database import Database
from actionwatch.tail.health import SourceWatch
from actionwatch.tail.record_watch import kept_kinds
from actionwatch.tail.source import SourceTail
from actionwatch.tail.state import TailOptions
from actionwatch.text.redaction import NO_SECRETS
from tests.builders import Clock
from tests.waiting import PATIENT

SOURCE = "acme"
POLL = timedelta(seconds=30)
IMPATIENT = RetryOptions(
    attempts=2,
    at_most=PATIENT,
    first_wait=timedelta(milliseconds=1),
    longest_wait=timedelta(milliseconds=2),
    jitter=timedelta(milliseconds=1),
)
HOOK = "hook"


class Switch:
    """An ASGI app that forwards to another one for each test, because starting a server takes 0.2 s."""

    app: Starlette

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on."""
        await self.app(scope, receive, send)


@contextmanager
def serving() -> Iterator[tuple[Switch, str]]:
    """Serve the app in the switch. Yields the switch and the base URL."""
    switch = Switch()
    with running(switch) as url:
        yield switch, url


@dataclass
class World:
    """An organisation with a clock that a test sets, its faults, and its log."""

    clock: Clock = field(default_factory=Clock)
    organisation: Organisation = field(init=False)
    app: Starlette = field(init=False)
    logged: int = 0

    def __post_init__(self) -> None:
        self.organisation = Organisation(clock=self.clock)
        self.app = create_app(self.organisation)

    @property
    def emulator(self) -> Emulator:
        """What the handlers share."""
        found: Emulator = self.app.state.emulator
        return found

    @property
    def faults(self) -> Faults:
        """The active faults."""
        return self.emulator.faults

    def log(self, kind: str = "BACKUP", *, ago: float = 0, times: int = 1, **fields: Any) -> Action:
        """Log an action some seconds ago, with a unique description."""
        self.logged += 1
        fields.setdefault("description", f"action {self.logged}")
        return self.organisation.append(kind, at=self.clock() - timedelta(seconds=ago), times=times, **fields)

    def requests(self) -> int:
        """Count the requests for user actions so far."""
        return sum(count for (name, _), count in self.emulator.traffic.items() if name == "user_actions")


@contextmanager
def client_of(url: str, organisation_id: str, clock: Clock, timeout: timedelta = PATIENT) -> Iterator[Client]:
    """Return the service's client for an emulator."""
    connection = ConnectionOptions(url, organisation_id, DEMO_USER, DEMO_KEY, timeout=timeout)
    with Client(connection, source=SOURCE, retry=IMPATIENT, clock=clock) as client:
        yield client


class DirectClient(Client):
    """The service's client with the emulator's handlers instead of the network. A broken response counts as none."""

    def __init__(self, emulator: Emulator, clock: Callable[[], datetime], attempts: int = 2) -> None:
        self.reader = RecordReader(SOURCE, organisation_id=emulator.organisation.id)
        self.has_seen_total_beyond_page = False
        self.before_request: Callable[[], None] = lambda: None
        self.request_count = 0
        self._emulator = emulator
        self._attempts = attempts
        self._threads = DaemonThreads
        self._largest_page = PAGE_SIZE
        self._clock = clock
        self._actions, self._accounts = "user-actions", "linked-accounts"
        self._origin: Any = NO_SECRETS  # makes excerpts, like an `Origin`

    def user_actions(self, query: Query, *, in_flight: int = 1, **options: Any) -> Iterator[Page]:
        """Read the listing page by page, because the same seed must give the same requests."""
        return super().user_actions(query, in_flight=in_flight, **options)

    def close(self) -> None:
        """Nothing to close."""

    def _get(self, path: str, params: list[tuple[str, str]], is_wanted: Callable[[], bool]) -> HttpResponse:
        for left in reversed(range(self._attempts)):
            try:
                return self._exchange(path, params)
            except (SourceUnavailable, RateLimited):
                if not left or not is_wanted():
                    raise
        raise AssertionError("an attempt either returns or raises")

    def _exchange(self, path: str, params: list[tuple[str, str]]) -> HttpResponse:
        self.before_request()
        self.request_count += 1
        handler = _user_actions if path == self._actions else _linked_accounts
        organisation = self._emulator.organisation
        scope: Scope = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "path": f"/v1/organisations/{organisation.id}/{path}",
            "query_string": "&".join(f"{name}={value}" for name, value in params).encode(),
            "headers": [(b"authorization", _BASIC)],
            "path_params": {"organisation_id": organisation.id},
        }
        answer = _take(_answer(self._emulator, handler, Request(scope), b""), scope, organisation.clock())
        if answer.status >= 300:
            raise error_for(answer, organisation.clock(), NO_SECRETS.excerpt)
        return answer


_BASIC = b"Basic ZGVtbzpkZW1vLWtleQ=="


def _take(response: Response, scope: Scope, now: datetime) -> HttpResponse:
    """Receive a response like a client. A response that a fault breaks is an error."""
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if not headers.setdefault("date", format_datetime(now, usegmt=True)):
                del headers["date"]
        messages.append(message)

    async def receive() -> Any:
        raise ConnectionError

    try:
        _drive(response(scope, receive, send))
    except Exception as exc:
        raise SourceUnavailable(f"no answer: {type(exc).__name__}") from exc
    if not messages or messages[-1].get("more_body"):
        raise SourceUnavailable("no whole answer")
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in messages[1:])
    return HttpResponse(messages[0]["status"], headers, body, timedelta(0))


def _drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    finally:
        coroutine.close()
    raise ConnectionError("it waits")


def self_watch(database: Database, upstream: Client, clock: Callable[[], datetime], *kinds: str) -> SourceWatch:
    """Watch a source, with alerts to `HOOK`."""
    return SourceWatch(
        SOURCE,
        POLL,
        kept_kinds([*KINDS, *OWN_KINDS, *kinds]),
        upstream.reader,
        database,
        SelfAlertStore(database, addressing(), clock),
        clock,
    )


def addressing(**options: Any) -> Addressing:
    """Route everything to `HOOK`."""
    return Addressing(Route(receivers=(HOOK,)), {HOOK: ReceiverPolicy(**options)})


def tail_of(
    database: Database,
    upstream: Client,
    clock: Callable[[], datetime],
    watch: SourceWatch,
    **options: Any,
) -> SourceTail:
    """Make a tail with small pages."""
    values: dict[str, Any] = {"name": SOURCE, "organisation": "org", "page_size": 7, "poll_interval": POLL}
    edges = {name: options.pop(name) for name in ("accounts", "on_backlog", "elapsed") if name in options}
    return SourceTail(TailOptions(**{**values, **options}), upstream, database, watch, clock, **edges)


# -- the store and the truth


def identity(record: Record) -> tuple[str, str]:
    """Return what identifies an action in these tests: kind and description."""
    return record.action_kind, record.description or ""


def stored(database: Database) -> Counter[tuple[str, str]]:
    """Count the actions of the upstream in the store."""
    with database.read() as connection:
        found = list(record_search.stream(connection, RecordFilter()))
    return Counter(identity(record) for record in found if not record.action_kind.startswith("_"))


def logged_actions(actions: Iterable[Action]) -> Counter[tuple[str, str]]:
    """Count the actions in the log."""
    return Counter((action.kind, action.description) for action in actions)


def open_troubles(database: Database) -> list[str]:
    """Return the open self-alerts."""
    with database.read() as connection:
        return [found.trouble for found in self_alerts.read_all(connection)]
