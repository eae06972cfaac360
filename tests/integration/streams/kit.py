"""A stream over a real store, with a destination in this process whose answers a test decides, or a driver with its far end."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.base.model import Record
from actionwatch.store import marks, records, streams
from actionwatch.store.database import Database
from actionwatch.streams.driver import Driver, Refusal, StreamMessage, driver_module
from actionwatch.streams.messages import Plan
from actionwatch.streams.stream import Stream
from tests.builders import NOON, Machine, make_marks
from tests.integration.streams.end import End
from tests.waiting import LIMIT


@dataclass
class Destination:
    """Where a stream goes. `answer` is asked before each message is stored: it may raise, or return why it refuses it."""

    answer: Callable[[StreamMessage], str | None] = lambda message: None
    log: list[StreamMessage] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    opened: int = 0
    is_open: bool = False

    def open(self) -> None:
        """Connect."""
        assert not self.is_open
        self.is_open = True
        self.opened += 1

    def send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        """Store the messages that are not refused, in order."""
        assert self.is_open
        self.batches.append([message.id for message in batch])
        refused = []
        for message in batch:
            why = self.answer(message)
            if why is None:
                self.log.append(message)
            else:
                refused.append(Refusal(message.id, why))
        return refused

    def close(self) -> None:
        """Disconnect."""
        self.is_open = False

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the documents of a kind, in order."""
        return [json.loads(message.body) for message in self.log if message.kind == kind]

    @property
    def keys(self) -> list[str]:
        """The keys of the records that arrived, in order."""
        return [document["data"]["key"] for document in self.of_kind("record")]


class Bench:
    """A stream, the store that it reads, and its destination."""

    def __init__(self, database: Database, **plan: Any) -> None:
        self.database = database
        self.clock = Machine()
        self.destination = Destination()
        self.plan = Plan(**{"name": "lake", "start": "beginning", **plan})
        self.stream = self.restart()

    def restart(self) -> Stream:
        """Start the stream as a new process does."""
        self.destination.close()
        self.stream = Stream(self.plan, self.destination, self.database, self.clock, self.clock.elapsed)
        self.stream.begin()
        return self.stream

    def store(self, *found: Record, proved: datetime | None = None, source: str = "acme") -> None:
        """Store records, and what is proved then, as a poll does."""
        with self.database.write() as connection:
            records.insert_new(connection, found)
            if proved is not None:
                before = marks.read(connection, source)
                begins = before.begins_at if before else NOON
                through = {"proved_through": proved, "seen_through": proved, "mark": proved}
                marks.write(connection, make_marks(name=source, begins_at=begins, **through))

    def run(self) -> None:
        """Send what waits."""
        self.stream.run_once()

    def position(self) -> int:
        """Return the last record that the stream has sent."""
        with self.database.read() as connection:
            return streams.read_positions(connection, self.plan.name)["record"].row_id

    def kept(self) -> list[streams.KeptMessage]:
        """Return the messages that wait."""
        with self.database.read() as connection:
            return streams.read_waiting(connection, self.plan.name, 1000)


def down(message: StreamMessage) -> str | None:
    """Answer as a destination that cannot be reached."""
    raise TransientDeliveryError("cannot connect")


class Consumer:
    """What a data team does with a stream: it drops repeats, and checks each statement with what it has by then."""

    def __init__(self) -> None:
        self.knows_order = True
        """Whether messages come in their order, so that it can judge whether a record is late."""
        self.records: dict[int, dict[str, Any]] = {}
        self.faults: list[str] = []
        self.complete: dict[str, datetime] = {}
        self._bytes: dict[str, bytes] = {}

    def take(self, message: StreamMessage) -> None:
        """Take the next message."""
        if self._bytes.setdefault(message.id, message.body) != message.body:
            self.faults.append(f"{message.id} was repeated with other bytes")
        document = json.loads(message.body)
        data = document["data"]
        if message.kind == "record":
            at = datetime.fromisoformat(document["timestamp"])
            through = self.complete.get(data["source"])
            is_late = through is not None and at < through
            if self.knows_order and document["offset"] not in self.records and is_late != document["late"]:
                self.faults.append(f"{message.id} at {at} is late: {document['late']}, complete through {through}")
            self.records.setdefault(document["offset"], document)
            return
        source, through = data["source"], datetime.fromisoformat(data["complete_through"])
        wanted = [offset for first, last in data["offsets"] for offset in range(first, last + 1)]
        missing = [offset for offset in wanted if offset not in self.records]
        keys = [self.records[offset]["data"]["key"] for offset in wanted if offset not in missing]
        digest = hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()
        if missing or digest != data["digest"] or len(wanted) != data["count"]:
            self.faults.append(f"{message.kind} of {source} through {through}: {missing} missing")
        self.complete[source] = max(through, self.complete.get(source, through))


def messages_in(folder: Path) -> list[StreamMessage]:
    """Return the messages in the objects of a folder, records first, each kind by its offset."""
    paths = sorted(folder.rglob("*.jsonl.gz"), key=lambda path: path.name)
    lines = [json.loads(line) for path in paths for line in gzip.decompress(path.read_bytes()).splitlines()]
    found = [
        StreamMessage(each["id"], each["kind"], each["offset"], NOON, each["key"], json.dumps(each["body"]).encode())
        for each in lines
    ]
    return sorted(found, key=lambda message: (message.kind != "record", message.offset))


def assert_proved(folder: Path, keys: Collection[str]) -> None:
    """Check that a folder has these records and no others, and that every statement about them is true."""
    consumer = Consumer()
    consumer.knows_order = False
    for message in messages_in(folder):
        consumer.take(message)
    assert not consumer.faults
    assert {each["data"]["key"] for each in consumer.records.values()} == set(keys)
    assert consumer.complete


HOUR = timedelta(hours=1)


def driver(end: End, **changed: Any) -> Driver:
    """Build the driver of an end, validating the options as the loader of the configuration does."""
    module = driver_module(end.type_name)
    given = {"timeout": f"{LIMIT:g}s", **end.options(), **changed}
    options = module.Options.model_validate(given, context={"folder": Path()})
    return module.build(options, stream="contract")
