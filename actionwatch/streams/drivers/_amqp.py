"""A connection to RabbitMQ on which the messages of a batch are published at once, and confirmed by the broker in any order.

pika's `BlockingConnection` waits for each confirmation before it publishes the next message. This uses its event loop instead,
which runs only within a call, in the thread of the caller.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pika
from pika import spec
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorException,
    AMQPConnectorPhaseErrorBase,
    AMQPConnectorStackTimeout,
)
from pika.channel import Channel
from pika.exceptions import AMQPConnectionError, AMQPError, ChannelClosedByBroker, ChannelWrongStateError

_MAX_CLOSE_SECONDS = 1.0
_PRECONDITION_FAILED = 406  # AMQP 0-9-1, reply codes
_MAX_SIZE = re.compile(r"message size \d+ .*max size (\d+)")


@dataclass(frozen=True, slots=True)
class Publication:
    """A message, and where it goes."""

    exchange: str
    routing_key: str
    body: bytes
    properties: pika.BasicProperties


class BrokerError(Exception):
    """The broker does not store a message now."""


class UnroutableError(BrokerError):
    """No queue is bound to receive a message."""


class TooLargeError(Exception):
    """The broker never accepts a message of more than `limit` bytes, and has read nothing of what follows such a message."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the broker accepts at most {limit} bytes")
        self.limit = limit


class Session:
    """A connection with one channel, on which the broker confirms each message."""

    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        """Start to connect; `open` waits for it."""
        self._channel: Channel | None = None
        self._last_tag = 0  # of a message on the channel
        self._unconfirmed: dict[int, None] = {}  # tags, in their order
        self._loop = _Loop()
        self._connection = pika.SelectConnection(
            parameters,
            on_open_callback=lambda _: self._open_channel(),
            on_open_error_callback=self._note_end,
            on_close_callback=self._note_end,
            custom_ioloop=self._loop,
        )
        self._connection.add_on_connection_blocked_callback(self._note_blocked)

    def open(self, deadline: float) -> None:
        """Wait until the channel is open.

        Raises: TimeoutError, AMQPError, OSError.
        """
        self._wait_for(lambda: self._channel is not None, deadline)

    def look_for(self, exchange: str | None, queue: str | None, deadline: float) -> None:
        """Check that an exchange or a queue exists.

        Raises: TimeoutError, AMQPError, OSError.
        """
        found: list[object] = []

        def note(frame: object) -> None:
            found.append(frame)
            self._loop.stop()

        if exchange is not None:
            self._opened.exchange_declare(exchange, passive=True, callback=note)
        if queue is not None:
            self._opened.queue_declare(queue, passive=True, callback=note)
        self._wait_for(lambda: bool(found), deadline)

    def publish(self, messages: Iterable[Publication], deadline: float) -> None:
        """Publish messages in their order, and wait until all are confirmed.

        Raises: TooLargeError, after which `open` makes another channel; TimeoutError, AMQPError, OSError, BrokerError.
        """
        channel = self._opened
        for each in messages:
            self._last_tag += 1
            self._unconfirmed[self._last_tag] = None
            channel.basic_publish(each.exchange, each.routing_key, each.body, each.properties, mandatory=True)
        try:
            self._wait_for(lambda: not self._unconfirmed, deadline)
        except ChannelClosedByBroker as exc:
            limit = _MAX_SIZE.search(exc.reply_text)
            if exc.reply_code != _PRECONDITION_FAILED or limit is None:
                raise
            self._loop.failure = None
            self._open_channel()
            raise TooLargeError(int(limit[1])) from exc

    def close(self) -> None:
        """Close the connection: in order if nothing waits, else by dropping it."""
        if self._channel is None or self._unconfirmed or self._loop.failure is not None:
            self._loop.drop_connections()
        if self._connection.is_open:
            self._connection.close()
        self._wait_for_end()
        if not (self._connection.is_closed or self._connection.is_closing):  # it is still connecting
            self._connection.close()
            self._wait_for_end()
        self._loop.close()

    def _wait_for_end(self) -> None:
        # Until the connection is closed, and not only its channel: else its socket stays open.
        self._loop.run_until(lambda: bool(self._connection.is_closed), time.monotonic() + _MAX_CLOSE_SECONDS)

    def _wait_for(self, is_done: Callable[[], bool], deadline: float) -> None:
        if not self._loop.run_until(lambda: self._loop.failure is not None or is_done(), deadline):
            raise TimeoutError
        if self._loop.failure is not None:
            raise self._loop.failure

    @property
    def _opened(self) -> Channel:
        if self._channel is None:
            raise ChannelWrongStateError("the channel is not open")
        return self._channel

    def _open_channel(self) -> None:
        self._channel = None
        self._last_tag = 0
        self._unconfirmed.clear()
        self._connection.channel(on_open_callback=self._confirm)

    def _confirm(self, channel: Channel) -> None:
        def note(_: object) -> None:
            self._channel = channel
            self._loop.stop()

        channel.add_on_close_callback(self._note_end)
        channel.add_on_return_callback(self._note_return)
        channel.confirm_delivery(self._note_outcome, callback=note)

    def _note_outcome(self, frame: Any) -> None:
        outcome: spec.Basic.Ack | spec.Basic.Nack = frame.method
        if isinstance(outcome, spec.Basic.Nack):
            self._loop.fail(
                BrokerError("the broker refused a message: a queue is full (`overflow: reject-publish`), or failed")
            )
        elif outcome.multiple:
            for tag in list(itertools.takewhile(lambda tag: tag <= outcome.delivery_tag, self._unconfirmed)):
                del self._unconfirmed[tag]
        else:
            self._unconfirmed.pop(outcome.delivery_tag, None)
        if not self._unconfirmed:
            self._loop.stop()

    def _note_return(self, _channel: Channel, returned: spec.Basic.Return, _properties: Any, _body: bytes) -> None:
        self._loop.fail(
            UnroutableError(f"no queue receives the routing key '{returned.routing_key}' ({returned.reply_text})")
        )

    def _note_blocked(self, _: pika.connection.Connection, frame: Any) -> None:
        self._loop.fail(BrokerError(f"the broker accepts no messages now: {frame.method.reason}"))

    def _note_end(self, _: Any, reason: BaseException) -> None:
        """Note why the connection or the channel ended."""
        self._loop.fail(_cause(reason))


def _cause(reason: BaseException) -> Exception:
    """Return the error that began a chain of them: pika wraps that of a socket three times."""
    match reason:
        case AMQPConnectionWorkflowFailed():
            return _cause(reason.exceptions[-1])
        case AMQPConnectorPhaseErrorBase():
            return _cause(reason.exception)
        case AMQPConnectionError(args=[AMQPConnectorException() as wrapped, *_]):
            return _cause(wrapped)
        case AMQPConnectorStackTimeout():
            return TimeoutError()
        case AMQPError() | OSError():
            return reason
    return BrokerError(str(reason) or type(reason).__name__)


class _Loop(IOLoop):
    """The event loop of pika, which runs until something has happened, and can drop its connections at once.

    pika itself closes a connection only after it has sent what waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self._watched: set[int] = set()

    def fail(self, reason: Exception) -> None:
        """End what runs now and what will run with an error. Only the first one counts."""
        self.failure = self.failure or reason
        self.stop()

    def run_until(self, is_done: Callable[[], bool], deadline: float) -> bool:
        """Run until this is true; whatever makes it true stops the loop. Return False if it is not true by the deadline."""
        while not is_done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            timer = self.call_later(left, self.stop)
            self.start()
            self.remove_timeout(timer)
        return True

    def add_handler(self, fd: int, handler: Any, events: int) -> None:
        self._watched.add(fd)
        super().add_handler(fd, handler, events)

    def remove_handler(self, fd: int) -> None:
        self._watched.discard(fd)
        super().remove_handler(fd)

    def drop_connections(self) -> None:
        """End the connections. What they have not sent is lost."""
        for fd in self._watched:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as shared:
                shared.shutdown(socket.SHUT_RDWR)
