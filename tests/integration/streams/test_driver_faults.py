"""Faults that only one type of destination has, with its real server or with one that speaks its protocol."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.streams.driver import Driver, StreamMessage, driver_module
from tests.cases import in_one_test
from tests.integration.notifiers.http_end import Reply
from tests.integration.notifiers.smtp_end import RawEnd
from tests.integration.streams.end import End
from tests.integration.streams.ends.http import LinesEnd
from tests.integration.streams.ends.splunk import SplunkEnd
from tests.integration.streams.ends.syslog import SyslogEnd
from tests.integration.streams.kit import driver
from tests.integration.streams.messages import assert_arrived, batch, received
from tests.waiting import wait_until


def of_type(name: str) -> pytest.MarkDecorator:
    """Run a test with the far end of one type."""
    return pytest.mark.parametrize("running", [name], indirect=True)


@contextmanager
def opened(end: End, **changed: object) -> Iterator[Driver]:
    """Open the driver of an end."""
    with closing(driver(end, **changed)) as made:
        made.open()
        yield made


def ids(messages: Sequence[StreamMessage]) -> list[str]:
    return [message.id for message in messages]


@of_type("syslog")
@in_one_test("confirm", ["close", "sent"])
def test_syslog_confirms_in_other_ways(end: SyslogEnd, confirm: str) -> None:
    """The other ways to confirm deliver too."""
    first, second = batch(), batch()
    with opened(end, confirm=confirm) as made:
        assert made.send(first) == []
        assert made.send(second) == []
        wait_until(lambda: len(received(end, second)) == len(second), "the server to write")
    assert_arrived(end, [*first, *second])


@of_type("syslog")
def test_syslog_server_that_only_closes_the_connection(end: SyslogEnd) -> None:
    """A server that ends the connection without the TLS alert is an error with its remedy, and confirms with `close`."""
    context = end.files.server_context()

    def read_all(connection: socket.socket, _: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            while secured.recv(65_536):
                pass

    with RawEnd(read_all) as server:
        url = f"tls://127.0.0.1:{server.port}"
        with opened(end, url=url) as made, pytest.raises(TransientDeliveryError, match="set confirm to close"):
            made.send(batch())
        with opened(end, url=url, confirm="close") as made:
            assert made.send(batch()) == []


@of_type("syslog")
@in_one_test("confirm", ["close", "sent"])
def test_syslog_server_that_reads_nothing_confirms_nothing(end: SyslogEnd, confirm: str) -> None:
    """A server that closes without reading is an error: its system resets the connection."""

    def close_early(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(1)

    with RawEnd(close_early) as server:
        url = f"tcp://127.0.0.1:{server.port}"
        with opened(end, url=url, confirm=confirm) as made, pytest.raises(TransientDeliveryError):
            made.send(batch(500, 20_000))  # more than the system takes before the server closes


@of_type("syslog")
def test_syslog_values_are_escaped(end: SyslogEnd) -> None:
    """Quotes, brackets and backslashes in a key arrive as they are."""
    sent = [dataclasses.replace(batch(1)[0], key='a "quoted" [key] with \\ and ü')]
    with opened(end) as made:
        made.send(sent)
    assert [each.key for each in received(end, sent)] == [sent[0].key]


@of_type("http")
def test_endpoint_refuses_one_line(end: LinesEnd) -> None:
    """Of a batch with a line that the endpoint refuses for its content, the others arrive; a token is as good as a user."""
    sent = batch(5)
    unwanted = dataclasses.replace(sent[2], body=b'"unwanted"')
    with opened(end, username=None, password=None, token="s3cret-token") as made:
        (refusal,) = made.send([*sent[:2], unwanted, *sent[3:]])
    assert (refusal.id, "not wanted" in refusal.why) == (unwanted.id, True)
    assert_arrived(end, [*sent[:2], *sent[3:]])


@of_type("http")
@in_one_test("status", [400, 409, 500, 503])
def test_endpoint_that_fails_is_asked_again(end: LinesEnd, status: int) -> None:
    """What is no answer about the content of a message is a transient error, with the time to wait; the query stays unnamed."""
    sent = batch()
    with opened(end) as made:
        end.server.queue.append(Reply(status, b"busy", {"retry-after": "7"}))
        with pytest.raises(TransientDeliveryError, match=f"{status} busy") as caught:
            made.send(sent)
        assert caught.value.retry_after == timedelta(seconds=7)
        assert made.send(sent) == []
    assert_arrived(end, sent)
    with (
        pytest.raises(TransientDeliveryError) as hidden,
        opened(end, url=f"{end.url}/elsewhere?key=s3cret-query") as made,
    ):
        made.send(sent)
    assert "s3cret" not in str(hidden.value)


@of_type("http hec")
def test_splunk_refuses_one_event(end: SplunkEnd) -> None:
    """Of a batch with an event that Splunk finds invalid, the others arrive."""
    sent = batch(5)
    blank = dataclasses.replace(sent[2], body=b'""')
    with opened(end) as made:
        (refusal,) = made.send([*sent[:2], blank, *sent[3:]])
    assert (refusal.id, "cannot be blank" in refusal.why) == (blank.id, True)
    assert_arrived(end, [*sent[:2], *sent[3:]])


@of_type("http hec")
def test_splunk_events_count_when_they_are_indexed(end: SplunkEnd) -> None:
    """The driver waits for a late acknowledgement, and a batch that is never indexed is an error."""
    sent, lost = batch(), batch()
    with opened(end) as made:
        end.looks_until_indexed = 3
        assert made.send(sent) == []
        assert_arrived(end, sent)
    with opened(end, timeout="0.5s") as made:
        end.looks_until_indexed = 1_000_000
        with pytest.raises(TransientDeliveryError, match="is not confirmed"):
            made.send(lost)
        end.looks_until_indexed = 0
    assert received(end, lost) == []


@of_type("http hec")
def test_splunk_that_is_busy_is_asked_later(end: SplunkEnd) -> None:
    """A busy collector is a transient error with its Retry-After; text, and a large batch in parts, arrive."""
    sent = [*batch(100, 3000), dataclasses.replace(batch(1)[0], body="no JSON: ü".encode())]
    with opened(end) as made:
        end.server.queue.append(Reply(503, b'{"text":"Server is busy","code":9}', {"retry-after": "7"}))
        with pytest.raises(TransientDeliveryError, match="Server is busy") as caught:
            made.send(sent)
        assert caught.value.retry_after == timedelta(seconds=7)
        assert made.send(sent) == []
    assert_arrived(end, sent)
    with opened(end) as made:
        more = batch(100, 3000)
        assert made.send(more) == []
    assert_arrived(end, more)


WRONG: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("syslog", {"url": "tcp://log.example.com"}, "tcp:// is accepted only for loopback"),
    ("syslog", {"url": "tls://log.example.com/x"}, "must end with the port"),
    ("syslog", {"url": "tls://log.example.com", "hostname": "two words"}, "printable ASCII without spaces"),
    ("syslog", {"url": "tls://log.example.com", "facility": 24}, "less than or equal to 23"),
    ("http", {"url": "http://audit.example.com/in"}, "http:// is accepted only for loopback"),
    ("http", {"url": "https://audit.example.com", "protocol": "hec"}, "hec needs the token"),
    (
        "http",
        {"url": "https://audit.example.com", "token": "s3cret", "username": "a", "password": "s3cret"},
        "only one of",
    ),
)


@in_one_test(("name", "given", "what"), WRONG)
def test_wrong_keys_are_reported(name: str, given: dict[str, Any], what: str) -> None:
    """Each wrong key is reported, without a secret."""
    with pytest.raises(ValueError) as caught:
        driver_module(name).Options.model_validate(given)
    assert what in str(caught.value)
    assert "s3cret" not in str(caught.value)
