"""NATS: what its driver promises beside the contract of all drivers."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.streams.drivers import nats
from tests.integration.streams.ends.nats import PASSWORD, NatsEnd
from tests.integration.streams.kit import driver
from tests.integration.streams.messages import assert_arrived, batch, received
from tests.waiting import LIMIT, beside


@pytest.fixture(scope="module")
def end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsEnd]:
    """A server for the tests of this module."""
    with closing(NatsEnd(tmp_path_factory.mktemp("nats"))) as opened:
        yield opened


def test_others_may_write_to_the_same_stream(end: NatsEnd) -> None:
    """If the last message of the JetStream stream is not ours, what follows a repeat is stored all the same, in order."""
    stored, following = batch(5), batch(5)
    with closing(driver(end)) as opened:
        opened.open()
        opened.send(stored)
        end.publish("actionwatch.others", b"x")
        assert not opened.send([*stored, *following])
    assert_arrived(end, [*stored, *following])
    assert len(received(end, stored)) == len(stored)


def test_message_larger_than_the_stream_accepts_is_refused(end: NatsEnd) -> None:
    """A message that the JetStream stream refuses is refused, and those after it are stored."""
    before, (large,), after = batch(2), batch(1, 20_000), batch(2)
    with closing(driver(end, subject="small.{kind}")) as opened:
        opened.open()
        refused = opened.send([*before, large, *after])
    assert [each.id for each in refused] == [large.id]
    assert "max_msg_size" in refused[0].why
    assert end.last("small")[0] == 4


def test_subject_has_the_kind_and_the_key(end: NatsEnd) -> None:
    """The key is one word of the subject, whatever it contains."""
    (message,) = batch(1)
    message = dataclasses.replace(message, key="a.b *>\u00e9")
    with closing(driver(end, subject="actionwatch.{kind}.{key}")) as opened:
        opened.open()
        opened.send([message])
    assert end.last("actionwatch")[1] == f"actionwatch.{message.kind}.a%2Eb%20%2A%3E%C3%A9"


def test_password_is_not_sent_without_tls() -> None:
    """A server, or who is between, that does not ask for TLS gets no password."""
    got = b""

    def serve() -> None:
        nonlocal got
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(LIMIT)
            connection.sendall(b"INFO " + json.dumps({"max_payload": 1000, "auth_required": True}).encode() + b"\r\n")
            while data := connection.recv(1000):
                got += data

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)
        given = {"url": f"tls://127.0.0.1:{listener.getsockname()[1]}", "username": "actionwatch", "password": PASSWORD}
        made = nats.build(nats.Options.model_validate(given), stream="x")
        with beside(serve), pytest.raises(TransientDeliveryError, match="does not offer TLS"):
            made.open()
    assert PASSWORD.encode() not in got
