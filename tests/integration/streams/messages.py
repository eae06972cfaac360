"""Messages as tests send them to a far end, and a check of what consumers have."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from actionwatch.streams.driver import StreamMessage
from tests.integration.streams.end import End, Received

START = datetime(2026, 11, 25, 9, tzinfo=UTC)
KEYS = ("plain", "größer als ß", "with spaces, a.dot, 100 % and *>", "")
_numbers = itertools.count(1)


def batch(count: int = 20, size: int = 40) -> list[StreamMessage]:
    """Make messages that no other batch contains, of several keys and kinds."""
    made = []
    for _ in range(count):
        offset = next(_numbers)
        kind = ("record", "alert", "stream.complete_through")[offset % 3]
        body = b'{"n":%d,"text":"%s"}' % (offset, "ä".encode() * (size // 2))
        at = START + timedelta(seconds=offset)
        made.append(StreamMessage(f"{os.getpid()}-{offset}", kind, offset, at, KEYS[offset % len(KEYS)], body))
    return made


def received(end: End, sent: Sequence[StreamMessage]) -> list[Received]:
    """Return the messages of these batches that a consumer has."""
    ids = {message.id for message in sent}
    return [each for each in end.received() if each.id in ids]


def as_received(message: StreamMessage) -> Received:
    return Received(message.id, message.kind, message.offset, message.key, message.body)


def assert_arrived(end: End, sent: Sequence[StreamMessage]) -> None:
    """Fail unless consumers have each message, and, apart from repeats, in the order of its key."""
    found = received(end, sent)
    first = list(dict.fromkeys(each.id for each in found))
    assert set(found) == {as_received(message) for message in sent}
    for key in KEYS:
        ids = [message.id for message in sent if message.key == key]
        of_key = set(ids)
        assert [each for each in first if each in of_key] == ids
