"""Receivers whose status is clear, with a body that is cut, corrupt, endless or too large: the status decides."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.base.errors import DeliveryError, PermanentDeliveryError, TransientDeliveryError
from actionwatch.notifiers.base import notifier_module
from actionwatch.service.heartbeat import HeartbeatSender
from actionwatch.store.database import Database
from tests.builders import Clock
from tests.cases import in_one_test
from tests.integration.notifiers.ends import deliver, options
from tests.integration.notifiers.smtp_end import RawEnd
from tests.unit.render.messages import message

BIG = b"x" * 65_536


def head(status: str, *headers: str) -> bytes:
    """Return the head of a response."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


BODIES: dict[str, tuple[list[str], bytes, bytes]] = {
    "cut": (["content-length: 100"], b"half", b""),
    "not gzip": (["content-encoding: gzip", "content-length: 4"], b"half", b""),
    "corrupt gzip": (["content-encoding: gzip", "connection: close"], gzip.compress(b"ok" * 99)[:-9] + b"?????????", b""),
    "unknown coding": (["content-encoding: br", "content-length: 2"], b"ok", b""),
    "corrupt chunks": (["transfer-encoding: chunked"], b"zz\r\nok", b""),
    "endless": (["connection: close"], b"", BIG),
    "endless chunks": (["transfer-encoding: chunked"], b"", b"10000\r\n" + BIG + b"\r\n"),
    "too large": ([f"content-length: {10**10}"], b"", BIG),
    "not UTF-8": (["content-length: 2"], b"\xff\xfe", b""),
}  # fmt: skip
RECEIVERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "webhook": ("webhook", {"url": "{url}"}, "202 Accepted"),
    "pagerduty": (
        "pagerduty",
        {"routing_key": "0123456789abcdef0123456789abcdef", "base_url": "{url}"},
        "202 Accepted",
    ),
    "incoming webhook": ("slack", {"webhook_url": "{url}"}, "200 OK"),
}


class End(RawEnd):
    """Answers each request with these bytes, then, if they are to have no end, with more of them until the client closes."""

    def __init__(self, answer: bytes, more: bytes = b"") -> None:
        self.count = 0
        self.answer, self.more = answer, more
        super().__init__(self._respond)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def _respond(self, connection: socket.socket, released: threading.Event) -> None:
        with contextlib.suppress(OSError), connection.makefile("rb") as stream:
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                length = int(line.split(b":")[1]) if line.lower().startswith(b"content-length:") else length
            stream.read(length)
            self.count += 1
            connection.sendall(self.answer)
            while self.more and not released.is_set():
                connection.sendall(self.more)


def sent_to(end: End, kind: str, values: dict[str, Any]) -> DeliveryError | None:
    """Send a message. Return the error, or None if it counts as sent."""
    module: Any = notifier_module(kind)
    given = {name: end.url if value == "{url}" else value for name, value in values.items()}
    notifier = module.build(options(module.Options, **given), receiver="r")
    try:
        deliver(notifier, kind, message())
    except DeliveryError as exc:
        return exc
    finally:
        notifier.close()
    return None


@pytest.fixture(params=BODIES)
def body(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], End]]:
    """Return a function that opens a receiver with a status and this body."""
    headers, beginning, more = BODIES[request.param]
    with contextlib.ExitStack() as stack:

        def opened(status: str, header: str = "x-other: 1") -> End:
            return stack.enter_context(End(head(status, header, *headers) + beginning, more))

        yield opened


@pytest.mark.parametrize("name", RECEIVERS)
def test_message_that_the_status_accepts_is_sent(body: Callable[..., End], name: str) -> None:
    """A message that the status accepts is sent, whatever the body."""
    kind, values, status = RECEIVERS[name]
    assert sent_to(body(status), kind, values) is None


@pytest.mark.parametrize("name", RECEIVERS)
def test_refusal_is_that_of_the_status(body: Callable[..., End], name: str) -> None:
    """410 is final, and the Retry-After of 429 counts, whatever the body."""
    kind, values, _ = RECEIVERS[name]
    assert isinstance(sent_to(body("410 Gone"), kind, values), PermanentDeliveryError)
    limited = sent_to(body("429 Too Many", "retry-after: 77"), kind, values)
    assert isinstance(limited, TransientDeliveryError)
    assert limited.retry_after == timedelta(seconds=77)


def test_heartbeat_that_the_status_accepts_is_sent(body: Callable[..., End], database: Database) -> None:
    """A heartbeat is accepted by its status."""
    end = body("200 OK")
    sender = HeartbeatSender(end.url, dict, database, Clock())
    assert sender.run_once()
    sender.close()


SLACK = ("slack", {"token": "xoxb-1", "channel": "C0123456789", "base_url": "{url}"})


def answered(document: object) -> End:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return End(head("200 OK", f"content-length: {len(body)}") + body)


@in_one_test(
    ("document", "text"),
    [
        ({"ok": False, "error": "odd_thing", "response_metadata": ["a reason"]}, "odd_thing: a reason"),
        ({"ok": False, "error": "odd_thing", "response_metadata": "no list"}, "odd_thing: no list"),
        ({"ok": False, "error": "odd_thing", "response_metadata": {"messages": "one"}}, "odd_thing: one"),
        ({"ok": False, "error": "odd_thing", "response_metadata": {"messages": {"a": 1}}}, "odd_thing: {'a': 1}"),
        ({"ok": False, "error": ["a", "list"]}, "Slack answered ['a', 'list']"),
        ({"ok": "no", "error": "odd_thing"}, "odd_thing"),
        ({"ok": True, "channel": "C1", "ts": "1" * 3_000_000}, "no usable ts: {"),
        ({"ok": True, "channel": "C1", "ts": 17.5}, "no usable ts: {"),
        ({"ok": True, "channel": ["C1"], "ts": "1.0"}, "no usable channel: {"),
    ],
)
def test_odd_answer_of_slack_is_a_permanent_refusal_with_its_text(document: object, text: str) -> None:
    """JSON of Slack with unexpected types is refused for good, with what it says."""
    with answered(document) as end:
        error = sent_to(end, *SLACK)
    assert isinstance(error, PermanentDeliveryError)
    assert text in str(error)
    assert len(str(error)) < 1000


@in_one_test(
    ("beginning", "kind"),
    [
        (b'{"ok":true,"channel":"C1","ts":"1.', type(None)),
        (b'{ "ok" : true, ', type(None)),
        (b'{"ok":false,"error":"invalid_auth","warn', PermanentDeliveryError),
        (b'{"ok":false,"error":"ratelimited","warn', TransientDeliveryError),
        (b"<html>maintenance", TransientDeliveryError),
        (b"", TransientDeliveryError),
    ],
)
def test_cut_answer_of_slack_means_what_its_beginning_says(beginning: bytes, kind: type[object]) -> None:
    """If the rest of an answer of Slack is missing, `ok` at its beginning decides; a page of a proxy says nothing."""
    with End(head("200 OK", "content-length: 100000") + beginning) as end:
        assert isinstance(sent_to(end, *SLACK), kind)
