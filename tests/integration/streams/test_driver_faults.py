"""Faults that only one type of destination has, with its real server or with one that speaks its protocol."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.streams.driver import Driver, StreamMessage, driver_module
from actionwatch.streams.drivers import rabbitmq
from tests.cases import in_one_test
from tests.integration.notifiers.http_end import Reply
from tests.integration.notifiers.smtp_end import RawEnd
from tests.integration.streams.end import End
from tests.integration.streams.ends.opensearch import API_KEY, OpenSearchEnd
from tests.integration.streams.ends.rabbitmq import FULL_LENGTH, RabbitMqEnd
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


@of_type("rabbitmq")
def test_full_queue_keeps_the_order_if_each_message_is_confirmed(end: RabbitMqEnd) -> None:
    """With `confirm_each`, a queue that refuses a message has nothing of what follows it."""
    sent = batch(FULL_LENGTH + 5)
    with opened(end, exchange=None, queue="limited", confirm_each=True) as made:
        with pytest.raises(TransientDeliveryError, match="reject-publish"):
            made.send(sent)
        assert [each.id for each in end.take("limited")] == ids(sent)[:FULL_LENGTH]


@of_type("rabbitmq")
def test_messages_that_rabbitmq_never_accepts_are_refused_together(end: RabbitMqEnd) -> None:
    """Of a batch with large bodies and a key and an id that are too long, the rest arrives."""
    plain, large = batch(4), batch(2, end.too_large_bytes)
    long_key = dataclasses.replace(batch(1)[0], key="k" * 256)
    long_id = dataclasses.replace(batch(1)[0], id="i" * 256)
    with opened(end) as made:
        refused = made.send([plain[0], large[0], plain[1], long_key, long_id, large[1], plain[2]])
        assert {refusal.id for refusal in refused} == {*ids(large), long_key.id, long_id.id}
        assert "max_message_size" in refused[0].why
        assert made.send([plain[3]]) == []
    assert_arrived(end, plain)


@of_type("rabbitmq")
def test_rabbitmq_without_disk_space_is_transient(end: RabbitMqEnd) -> None:
    """A broker that accepts nothing, because its disk is full, says so before the timeout; later the repeat arrives."""
    sent = batch()
    with opened(end) as made:
        end.limit_disk("1000TB")
        try:
            with pytest.raises(TransientDeliveryError, match="low on disk"):
                made.send(sent)
        finally:
            end.limit_disk("1MB")
        made.close()
        made.open()
        assert made.send(sent) == []
    assert_arrived(end, sent)


@of_type("rabbitmq")
def test_connection_that_was_idle_is_replaced(end: RabbitMqEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that ended is an error of the next batch, unless it was idle for long."""
    first, second = batch(), batch()
    with opened(end) as made:
        end.end_connections()
        with pytest.raises(TransientDeliveryError, match="idle"):
            made.send(first)
        made.close()
        made.open()
        end.end_connections()
        monkeypatch.setattr(rabbitmq, "_MAX_IDLE_SECONDS", 0.0)
        assert made.send(second) == []
    assert_arrived(end, second)


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


@of_type("splunk")
def test_splunk_refuses_one_event(end: SplunkEnd) -> None:
    """Of a batch with an event that Splunk finds invalid, the others arrive."""
    sent = batch(5)
    blank = dataclasses.replace(sent[2], body=b'""')
    with opened(end) as made:
        (refusal,) = made.send([*sent[:2], blank, *sent[3:]])
    assert (refusal.id, "cannot be blank" in refusal.why) == (blank.id, True)
    assert_arrived(end, [*sent[:2], *sent[3:]])


@of_type("splunk")
def test_splunk_events_count_when_they_are_indexed(end: SplunkEnd) -> None:
    """The driver waits for a late acknowledgement, and a batch that is never indexed is an error."""
    sent, lost = batch(), batch()
    with opened(end) as made:
        end.looks_until_indexed = 3
        assert made.send(sent) == []
        assert_arrived(end, sent)
    with opened(end, ack_timeout="0.1s") as made:
        end.looks_until_indexed = 1_000_000
        with pytest.raises(TransientDeliveryError, match="did not index"):
            made.send(lost)
        end.looks_until_indexed = 0
    assert received(end, lost) == []


@of_type("splunk")
def test_splunk_that_is_busy_is_asked_later(end: SplunkEnd) -> None:
    """A busy collector is a transient error with its Retry-After; text, and a large batch in parts, arrive compressed."""
    sent = [*batch(100, 3000), dataclasses.replace(batch(1)[0], body="no JSON: ü".encode())]
    with opened(end, gzip=True) as made:
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


@of_type("opensearch")
def test_opensearch_refuses_documents(end: OpenSearchEnd) -> None:
    """Bodies that are no JSON object, or do not fit the mapping, are refused; the others arrive, in parts if there are many."""
    sent = batch(100, 3000)
    bodies = (b"[1]", b"no JSON", b'{"n":"no number"}')
    strange = [dataclasses.replace(each, body=body) for each, body in zip(batch(3), bodies, strict=True)]
    with opened(end, username=None, password=None, api_key=API_KEY) as made:
        refused = {refusal.id: refusal.why for refusal in made.send([*sent[:50], *strange, *sent[50:]])}
    assert list(refused) == ids(strange)
    assert "JSON object" in refused[strange[0].id]
    assert "mapper_parsing_exception" in refused[strange[2].id]
    assert_arrived(end, sent)


@of_type("opensearch")
@in_one_test(
    "status, kind, reason, remedy",
    [
        (429, "es_rejected_execution_exception", "rejected execution of coordinating operation", "429"),
        (403, "cluster_block_exception", "index [audit] blocked by: [FORBIDDEN/12/read-only]", "remove its block"),
        (404, "index_not_found_exception", "no such index [audit]", "create the index"),
        (400, "illegal_argument_exception", "no write index is defined for alias [audit]", "no write index"),
    ],
)
def test_opensearch_that_stores_only_some_documents(
    end: OpenSearchEnd, status: int, kind: str, reason: str, remedy: str
) -> None:
    """What an index does not store now is a transient error, and the repeat stores only that."""
    sent = batch()
    end.error = lambda document: (status, kind, reason) if document["actionwatch"]["offset"] % 2 else None
    try:
        with opened(end) as made, pytest.raises(TransientDeliveryError, match=remedy):
            made.send(sent)
    finally:
        end.error = lambda document: None
    assert len(received(end, sent)) == len(sent) // 2
    with opened(end) as made:
        assert made.send(sent) == []
    assert_arrived(end, sent)


@of_type("opensearch")
def test_opensearch_documents_keep_their_own_fields(end: OpenSearchEnd) -> None:
    """A body with its own time and its own field `actionwatch` is not changed, also if it has several lines."""
    (message,) = batch(1)
    own = {"@timestamp": "2020-01-01T00:00:00Z", "actionwatch": {"id": "x", "offset": 1}, "number": 1.50}
    with opened(end) as made:
        assert made.send([dataclasses.replace(message, body=json.dumps(own, indent=2).encode())]) == []
    assert end.documents.pop(message.id) == own


WRONG: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("rabbitmq", {"url": "amqp://mq.example.com", "queue": "q"}, "amqp:// is accepted only for loopback"),
    ("rabbitmq", {"url": "amqps://mq.example.com/a/b", "queue": "q"}, "must end with the virtual host"),
    ("rabbitmq", {"url": "amqps://mq.example.com", "username": "a", "password": "s3cret"}, "one of exchange or queue"),
    ("rabbitmq", {"url": "amqps://mq.example.com", "queue": "q", "exchange": "e"}, "only one of exchange and queue"),
    ("rabbitmq", {"url": "amqps://mq.example.com", "queue": "q", "routing_key": "r"}, "routing_key needs exchange"),
    ("rabbitmq", {"url": "amqps://mq.example.com", "queue": "q"}, "username and password are required"),
    ("syslog", {"url": "tcp://log.example.com"}, "tcp:// is accepted only for loopback"),
    ("syslog", {"url": "tls://log.example.com/x"}, "must end with the port"),
    ("syslog", {"url": "tls://log.example.com", "hostname": "two words"}, "printable ASCII without spaces"),
    ("syslog", {"url": "tls://log.example.com", "facility": 24}, "less than or equal to 23"),
    ("splunk", {"url": "http://splunk.example.com", "token": "s3cret"}, "http:// is accepted only for loopback"),
    ("splunk", {"url": "https://splunk.example.com"}, "one of token or token_file"),
    ("opensearch", {"url": "https://search.example.com", "index": "Upper"}, "must be the name of an index"),
    (
        "opensearch",
        {"url": "https://search.example.com", "index": "i", "api_key": "s3cret", "username": "a", "password": "s3cret"},
        "only one of api_key",
    ),
)


@in_one_test(("name", "given", "what"), WRONG)
def test_wrong_keys_are_reported(name: str, given: dict[str, Any], what: str) -> None:
    """Each wrong key is reported, without a secret."""
    with pytest.raises(ValueError) as caught:
        driver_module(name).Options.model_validate(given)
    assert what in str(caught.value)
    assert "s3cret" not in str(caught.value)
