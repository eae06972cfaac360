"""Whatever answers returns our credentials, in each part of a response and at each place where a text is cut."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from actionwatch.base.errors import ActionwatchError, DeliveryError, StoreError
from actionwatch.instaclustr import admin
from actionwatch.instaclustr.client import Client, RetryOptions
from actionwatch.instaclustr.origin import ConnectionOptions
from actionwatch.instaclustr.query import Query
from actionwatch.notifiers.base import notifier_module
from actionwatch.service.live_source import check_source
from actionwatch.store.database import StoreReader
from tests.attacks.test_redaction import PART, leaks
from tests.cases import in_one_test
from tests.integration.notifiers.ends import deliver, options
from tests.integration.notifiers.listener import Listener
from tests.unit.render.messages import message
from tests.waiting import PATIENT

KEY = "R4nd0mKey-8f3a91c77e/0b2d+44c5"
LOGIN = base64.b64encode(f"watcher:{KEY}".encode()).decode()
FORMS = {"key": KEY, "login": LOGIN, "URL": quote(KEY, safe=""), "cut": LOGIN[:-7]}
# Before each place where the texts of errors are cut, in several steps.
STEPS = (-1, 17, 35)
POSITIONS = [0, *(cut - step for cut in (60, 80, 100, 120, 300, 500) for step in STEPS)]


class EchoEnd(Listener):
    """Answers each request with these bytes, and closes the connection."""

    def __init__(self) -> None:
        self.answer = b""
        super().__init__()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def treat(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while (line := stream.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
                    stream.readline()
                    stream.read(length)
                    break
            connection.sendall(self.answer)


def http(body: str, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"content-length: {len(body.encode())}", "connection: close", *headers]
    return "\r\n".join([*head, "", body]).encode()


PARTS: dict[str, Callable[[str], bytes]] = {
    "text": lambda text: http(f"{text} …"),
    "markup": lambda text: http(f"<p>{text}</p>"),
    "names": lambda text: http(json.dumps({text: 1, f"b{text}": 2})),
    "list": lambda text: http(json.dumps([text, 1])),
    "account without id": lambda text: http(json.dumps([{"request": text}])),
    "no list": lambda text: http(json.dumps({"totalResults": 1, "resources": text})),
    "list and envelope": lambda text: http(json.dumps([{"totalResults": 0, text: [], "resources": []}, text])),
    "401": lambda text: http(json.dumps({"message": f"{text}..."}), "401 No"),
    "400": lambda text: http(json.dumps({"errors": [{"name": text, "message": text}]}), "400 No"),
    "404": lambda text: http(f"<html><title>{text} …</title></html>", "404 No"),
    "408": lambda text: http(text, "408 No"),
    "500": lambda text: http(f"{text} \n at x", "500 No"),
    "reason": lambda text: http("", f"503 {text}"),
    "redirect": lambda text: http("", "302 Found", f"location: https://{text}.example.com/x"),
    "coding": lambda text: http("x", "200 OK", f"content-encoding: {text}"),
    "header": lambda text: http("", "200 OK", f"{text}"),
    "status": lambda text: f"HTTP/1.1 {text}\r\n\r\n".encode(),
}


@pytest.fixture
def end() -> Iterator[EchoEnd]:
    """A server that returns what a test plants."""
    with EchoEnd() as made:
        yield made


def planted(part: str) -> Iterator[tuple[bytes, str]]:
    """Yield answers with the key at each position, and with each other form at each place in one step of it."""
    for number, form in enumerate(FORMS.values()):
        for position in POSITIONS[number :: len(STEPS)] if number else POSITIONS:
            yield PARTS[part]("-" * position + " " + form), form


def connection(end: EchoEnd) -> ConnectionOptions:
    return ConnectionOptions(end.url, "org", "watcher", KEY, timeout=PATIENT)


def error_of(call: Callable[[], object]) -> str:
    """Return the text of the error that a call raises; empty if it succeeds."""
    try:
        call()
    except ActionwatchError as exc:
        return f"{exc} {getattr(exc, 'remedy', '')} {getattr(exc, 'response', '')}"
    return ""


@in_one_test("part", PARTS)
def test_no_error_of_the_upstream_contains_the_key(end: EchoEnd, part: str) -> None:
    """No error of a listing, of the accounts or of a command that writes shows a part of the key, wherever it is returned."""
    client = Client(connection(end), source="acme", retry=RetryOptions(attempts=1))
    calls: list[Callable[[], object]] = [
        lambda: list(client.user_actions(Query())),
        client.linked_accounts,
        lambda: admin.create_account(connection(end), "new"),
    ]
    for answer, form in planted(part):
        end.answer = answer
        for call in calls:
            assert leaks(error_of(call), form) == [], (part, answer)
    client.close()


@pytest.mark.parametrize("part", ["text", "names", "account without id", "401"])
def test_live_checks_print_no_part_of_the_key(end: EchoEnd, part: str) -> None:
    """The checks of an upstream show no part of the key, not even in the name of a member."""
    client = Client(connection(end), source="acme", retry=RetryOptions(attempts=1))
    for form in FORMS.values():
        end.answer = PARTS[part](form)
        outcomes = check_source(client, "org-1", (), {client.base_url})
        report = json.dumps([outcome.document() for outcome in outcomes])
        assert leaks(report, form) == [], part
    client.close()


RECEIVERS: dict[str, dict[str, Any]] = {
    "webhook": {"url": "{url}", "headers": {"authorization": f"Bearer {KEY}"}},
    "pagerduty": {"routing_key": "0123456789abcdef0123456789abcdef", "base_url": "{url}"},
    "slack": {"token": f"xoxb-{KEY}", "channel": "C0123456789", "base_url": "{url}"},
}
SLACK_PARTS: dict[str, Callable[[str], bytes]] = {
    "error": lambda text: http(json.dumps({"ok": False, "error": text})),
    "messages": lambda text: http(
        json.dumps({"ok": False, "error": "invalid_arguments", "response_metadata": {"messages": [text]}})
    ),
}


@in_one_test("part", [*PARTS, *SLACK_PARTS])
@in_one_test("kind", RECEIVERS)
def test_no_error_of_a_receiver_contains_its_secret(end: EchoEnd, kind: str, part: str) -> None:
    """No error of an attempt shows a part of a credential, wherever the receiver returns it."""
    module: Any = notifier_module(kind)
    values = {name: end.url if value == "{url}" else value for name, value in RECEIVERS[kind].items()}
    notifier = module.build(options(module.Options, **values), receiver="r")
    secret = values.get("routing_key") or values.get("token", KEY)
    for position in POSITIONS:
        end.answer = (PARTS | SLACK_PARTS)[part]("-" * position + " " + secret)
        text = ""
        try:
            text = str(deliver(notifier, kind, message()))
        except DeliveryError as exc:
            text = f"{exc} {exc.response}"
        assert leaks(text, secret) == []
    notifier.close()


class DatabaseEnd(Listener):
    """A server that asks for the password as PostgreSQL does, and returns it in an error, after this many characters."""

    position = 0

    def treat(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if struct.unpack("!i", connection.recv(4096)[4:8])[0] == 80877103:  # TLS?
                connection.sendall(b"N")
                connection.recv(4096)
            connection.sendall(b"R" + struct.pack("!ii", 8, 3))
            password = connection.recv(4096)[5:].rstrip(b"\0")
            fields = b"SFATAL\0C28P01\0M" + b"-" * self.position + b" " + password + b" is wrong\0\0"
            connection.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)


def test_no_error_of_the_database_contains_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that returns the password in its error puts no part of it into the error of the store."""
    monkeypatch.setenv("PGPASSWORD", KEY)
    with DatabaseEnd() as end:
        for end.position in (0, *range(850, 1000, 10)):
            with pytest.raises(StoreError) as caught:
                StoreReader.open(f"postgresql+psycopg://watcher@127.0.0.1:{end.port}/db?sslmode=disable")
            assert leaks(str(caught.value), KEY) == []
            assert "----" in str(caught.value) or "[secret]" in str(caught.value)


def test_name_of_the_user_stays_readable() -> None:
    """The name in a login is no secret, and a text that contains it stays as it is."""
    from actionwatch.text.redaction import Redaction

    redact = Redaction((), logins=[("actionwatch", KEY)])
    text = "user 'actionwatch' may not read actionwatch:"
    assert redact.excerpt(text, 500) == redact(text) == text
    assert len("actionwatch") > PART
