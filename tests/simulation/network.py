"""The network of a simulation: the emulated upstream and the receivers, behind the transport of the HTTP client. No socket."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

import httpcore
import msgspec
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from actionwatch.emulator.app import _answer, _linked_accounts, _user_actions
from actionwatch.net.deadline import Deadline
from tests.upstreams import World

UPSTREAMS = {"acme": "https://acme.test", "beta": "https://beta.test"}
"""The upstream of each kind of source."""
HOOKS = "https://hooks.test"

# How a receiver answers: nothing, a status, or the loss of the response to a message that it took.
_LOST = 0
_TAKEN = (HTTPStatus.OK, _LOST)


class Posted(msgspec.Struct):
    """What a message says."""

    type: str
    data: dict[str, Any]


class _SlackCall(msgspec.Struct):
    """A call of Slack's API: it posts a message, updates the message `ts`, or replies to the message `thread_ts`."""

    text: str
    metadata: dict[str, Any]
    ts: str = ""
    thread_ts: str = ""

    def posted(self) -> Posted:
        """Read a text of `site.SLACK_TEXT`. A summary has another one."""
        kind, *details = self.text.split(" ")
        if not kind.startswith("alert."):
            return Posted("alerts.summary", {})
        return Posted(kind, {"id": details[0], "status": details[1], "count": int(details[2])})


@dataclass
class Receiver:
    """A receiver that survives every process. Some messages fail randomly, and all while it is down."""

    chance: random.Random
    taken: list[tuple[str, Posted]] = field(default_factory=list)
    """The messages that it accepted, each with its id."""
    refused: set[str] = field(default_factory=set)
    """The ids of the messages that it refused."""
    altered: set[str] = field(default_factory=set)
    """The ids of the messages that did not always have the same content."""
    tried_at: dict[str, datetime] = field(default_factory=dict)
    """When each message came first."""
    misplaced: set[str] = field(default_factory=set)
    """The ids of the messages that changed the message about another alert."""
    is_down: bool = False
    _heads: dict[str, str] = field(default_factory=dict)
    """The alert of each message in Slack's channel."""
    _contents: dict[str, bytes] = field(default_factory=dict)

    def note_attempt(self, message_id: str, body: bytes, now: datetime) -> None:
        """Note what an attempt sends."""
        self.tried_at.setdefault(message_id, now)
        if self._contents.setdefault(message_id, body) != body:
            self.altered.add(message_id)

    def post(self, message_id: str, posted: Posted, head: str) -> str:
        """Post a message in Slack's channel, or update the one that `head` names. Return its name."""
        alert_id = posted.data.get("id", "")
        head = head or f"{len(self._heads)}.0"
        if self._heads.setdefault(head, alert_id) != alert_id:
            self.misplaced.add(message_id)
        return head

    def answer(self) -> tuple[int, dict[str, str]]:
        """Decide about a message."""
        if self.is_down:
            return HTTPStatus.SERVICE_UNAVAILABLE, {}
        draw = self.chance.random()
        if draw < 0.8:
            return HTTPStatus.OK, {}
        if draw < 0.83:
            return HTTPStatus.BAD_REQUEST, {}
        if draw < 0.88:
            return HTTPStatus.TOO_MANY_REQUESTS, {"retry-after": str(self.chance.choice((1, 60, 900)))}
        return (HTTPStatus.SERVICE_UNAVAILABLE, {}) if draw < 0.94 else (_LOST, {})


class Network:
    """Carries each request to whom it is for. Calls `crossing` before and after."""

    def __init__(self, worlds: Mapping[str, World], seed: int, crossing: Callable[[], None]) -> None:
        """`worlds` has the upstream of each kind of source."""
        self.deadline = Deadline()
        self.refusing: set[str] = set()
        """The kinds of source to whose upstream no connection succeeds."""
        self.answers_left: int | None = None
        """How many requests the upstreams still answer; None: any number."""
        self.receivers: dict[str, Receiver] = {}
        self.requests = Counter[str]()
        self._worlds = worlds
        self._seed = seed
        self._crossing = crossing

    def exchange(self, request: httpcore.Request) -> httpcore.Response:
        """Answer a request, or break off."""
        self._crossing()
        host = request.url.host.decode()
        self.requests[host] += 1
        kind = host.removesuffix(".test")
        found = self._upstream(kind, request) if kind in self._worlds else self._receive(request)
        self._crossing()
        return found

    def close(self) -> None:
        """Close nothing."""

    def receiver(self, name: str) -> Receiver:
        """Return the receiver with this name."""
        return self.receivers.setdefault(name, Receiver(random.Random(f"{self._seed} {name}")))

    def _receive(self, request: httpcore.Request) -> httpcore.Response:
        name, _, is_slack = request.url.target.decode().strip("/").partition("/")
        receiver = self.receiver(name)
        status, headers = receiver.answer()
        body = b"".join(request.stream)  # type: ignore[arg-type]
        head, is_reply = "", False
        if is_slack:
            call = msgspec.json.decode(body, type=_SlackCall)
            message_id, posted = call.metadata["event_payload"]["id"], call.posted()
            body, head, is_reply = call.text.encode(), call.ts, bool(call.thread_ts)
        else:
            message_id, posted = dict(request.headers)[b"webhook-id"].decode(), msgspec.json.decode(body, type=Posted)
        if not is_reply:
            receiver.note_attempt(message_id, body, next(iter(self._worlds.values())).clock())
        if status == HTTPStatus.BAD_REQUEST:
            receiver.refused.add(message_id)
        if status in _TAKEN and not is_reply:
            receiver.taken.append((message_id, posted))
            head = receiver.post(message_id, posted, head) if is_slack else ""
        if status == _LOST:
            raise httpcore.ReadError("the connection broke")
        answer = msgspec.json.encode({"ok": True, "channel": "C1", "ts": head})
        return httpcore.Response(
            status, headers=list(headers.items()), content=answer if status == HTTPStatus.OK else b""
        )

    def _upstream(self, kind: str, request: httpcore.Request) -> httpcore.Response:
        world = self._worlds[kind]
        emulator = world.emulator
        if kind in self.refusing or self.answers_left == 0:
            raise httpcore.ConnectError("refused")
        if self.answers_left is not None:
            self.answers_left -= 1
        path, _, query = request.url.target.partition(b"?")
        scope: Scope = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "server": ("upstream.test", 80),
            "path": path.decode(),
            "query_string": query,
            "headers": request.headers,
            "path_params": {"organisation_id": emulator.organisation.id},
        }
        handler = _user_actions if path.endswith(b"/user-actions") else _linked_accounts
        response = _answer(emulator, handler, Request(scope), b"")
        return _receive(response, scope, format_datetime(world.clock(), usegmt=True))


def _receive(response: Response, scope: Scope, date: str) -> httpcore.Response:
    """Receive a response like a client. A response that a fault breaks off is an error."""
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if not headers.setdefault("date", date):
                del headers["date"]
        messages.append(message)

    async def receive() -> Any:
        raise ConnectionError

    try:
        _drive(response(scope, receive, send))
    except Exception as exc:
        raise httpcore.RemoteProtocolError(f"broken off: {type(exc).__name__}") from exc
    if not messages or messages[-1].get("more_body"):
        raise httpcore.RemoteProtocolError("no whole response")
    body = b"".join(message.get("body", b"") for message in messages[1:])
    return httpcore.Response(messages[0]["status"], headers=messages[0]["headers"], content=body)


def _drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    finally:
        coroutine.close()
    raise ConnectionError("it waits")
