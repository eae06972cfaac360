"""Builders of valid objects: a test names only the values that matter to it."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection

from actionwatch.base import clock
from actionwatch.base.clock import to_micros
from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.base.ids import stable_id
from actionwatch.base.model import Alert, Event, Level, Match, Message, Record, RuleName
from actionwatch.instaclustr.records import RecordReader
from actionwatch.store import delivery_transitions, outbox
from actionwatch.store.database import Database, StoreReader
from actionwatch.store.marks import Marks
from actionwatch.store.receipts import WindowReceipt, digest_of
from actionwatch.store.rule_versions import StoredVersion
from tests.transitions import guard_transitions

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
RULE = RuleName("rule-1", "cluster_deleted", "Cluster deleted", ("attack.impact",))
QUARTER = timedelta(minutes=15)
CLUSTER_DELETED = """\
title: Cluster deleted
id: 11111111-1111-4111-8111-111111111111
name: cluster_deleted
status: stable
logsource: {product: instaclustr, service: user_actions}
detection:
  selection:
    actionKind: DELETE_CLUSTER
  condition: selection
level: critical
alert:
"""
"""The text of a rule without the keys of its alert, which follow with an indent of two."""
CLUSTER_DELETED_RULE = CLUSTER_DELETED + "  title: '{{ userName }} deleted {{ cluster.name }}'\n"


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        """Move the clock forward by a `timedelta` with these arguments."""
        self.now += timedelta(**span)


class Machine(Clock):
    """A machine whose clock can be set. Like `Clock`, it returns the time that the service assumes."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0
        """What its monotonic clock shows."""
        self.clock = clock.Clock(lambda: self.now, self.elapsed)

    def __call__(self) -> datetime:
        return self.clock()

    def elapsed(self) -> float:
        """Return the seconds that have passed, independent of changes to the clock."""
        return self.seconds

    def advance(self, **span: float) -> None:
        """Let time pass."""
        super().advance(**span)
        self.seconds += timedelta(**span).total_seconds()

    def set_clock(self, **step: float) -> None:
        """Set the clock forward or back."""
        self.now += timedelta(**step)

    def restart(self) -> None:
        """Behave like a process that has just started, and that believes the clock."""
        self.clock = clock.Clock(lambda: self.now, self.elapsed)


def make_record(number: int = 1, *, minutes: float = 0, **changes: Any) -> Record:
    """Make a record some minutes after noon. The number distinguishes records with the same time."""
    at = changes.pop("occurred_at", NOON + timedelta(minutes=minutes))
    plain = Record(
        key=f"{to_micros(at):016x}-{number:020x}",
        source="acme",
        occurred_at=at,
        seen_at=at,
        action_kind="DELETE_CLUSTER",
        raw="{}",
        user_name="eve",
    )
    return msgspec.structs.replace(plain, **changes)


def make_match(record: Record | None = None, **changes: Any) -> Match:
    """Make a match of the rule that groups by user."""
    record = record or make_record()
    values: dict[str, Any] = {
        "rule": RULE,
        "record": record,
        "level": Level.HIGH,
        "title": "Cluster deleted",
        "body": "eve deleted a cluster",
        "group": {"userName": record.user_name},
        "realert": QUARTER,
    }
    return Match(**{**values, **changes})


def make_alert(alert_id: str = "alert-1", **changes: Any) -> Alert:
    """Make an open alert from noon."""
    values: dict[str, Any] = {
        "rule": RULE,
        "level": Level.HIGH,
        "title": "Cluster deleted",
        "body": "eve deleted a cluster",
        "source": "acme",
        "first_at": NOON,
        "last_at": NOON,
        "opened_at": NOON,
        "happened_at": NOON,
    }
    return Alert(alert_id, **{**values, **changes})


def make_delivery(alert_id: str = "alert-1", receiver: str = "hook", ordinal: int = 1, **changes: Any) -> Delivery:
    """Make a pending delivery that is due at noon."""
    values: dict[str, Any] = {
        "event": Event.OPENED,
        "status": DeliveryStatus.PENDING,
        "attempts": 0,
        "created_at": NOON,
        "started_at": NOON,
        "due_at": NOON,
    }
    delivery_id = stable_id("delivery", alert_id, receiver, str(ordinal))
    return Delivery(delivery_id, alert_id, receiver, ordinal=ordinal, **{**values, **changes})


def lease_due(connection: Connection, receiver: str, now: datetime, limit: int = 10) -> list[Delivery]:
    """Lease what is due, like a process that dies before it records any outcome."""
    due = outbox.read_due(connection, receiver, now, limit)
    return delivery_transitions.claim(connection, [each.delivery for each in due], now + timedelta(minutes=5), "sender")


def make_message(data: Mapping[str, Any] | None = None, **changes: Any) -> Message:
    """Make a message."""
    values: dict[str, Any] = {"type": "alert.opened", "timestamp": NOON, "data": data or {"title": "t"}}
    return Message(**{"id": "message-1", **values, **changes})


def make_marks(**given: Any) -> Marks:
    """Make the marks of a source that was polled and proved until noon."""
    values = {"name": "acme", "organisation": "org", **dict.fromkeys(("begins_at", "alerts_from"), NOON)}
    marks = {"mark": NOON, "seen_through": NOON, "proved_through": NOON}
    return Marks(**{**values, **marks, **given})


def make_version(rule_id: str, document: str, **changes: Any) -> StoredVersion:
    """Make the running version of a rule."""
    values = {"name": rule_id, "file": "x.yml", "line": 1, "mode": "live", "lists": "", "since": NOON, **changes}
    return StoredVersion(rule_id=rule_id, document=document, **values)


def make_receipt(**changes: Any) -> WindowReceipt:
    """Make the receipt of an empty window at noon."""
    values: dict[str, Any] = {"source": "acme", "method": "counts", "request_count": 1, "digest": digest_of(())}
    times = dict.fromkeys(("starts_at", "ends_at", "judged_at"), NOON)
    values = {**values, **times, "record_count": 0, "kind_counts": {}, **changes}
    return WindowReceipt(**{"first_judged_at": values["judged_at"], **values})


def open_database(folder: Path, name: str = "store.db", *, is_guarded: bool = False) -> Database:
    """Open a store with the newest schema, new unless it exists. The caller closes it.

    A new one that `is_guarded` refuses delivery transitions that are not in the table.
    """
    path = folder / name
    if path.exists():
        database = Database(f"sqlite:///{path}")
        database.upgrade()
        return database
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)  # as the service creates it
    path.write_bytes(_new_store(is_guarded))
    return Database(f"sqlite:///{path}")


def url_of(database: StoreReader) -> str:
    """Return the URL of a store."""
    return database.name if database.path is None else f"sqlite:///{database.path}"


def file_of(database: StoreReader) -> Path:
    """Return the file of a SQLite store."""
    only_sqlite(database)
    assert database.path is not None
    return database.path


def only_sqlite(database: StoreReader) -> None:
    """Skip the rest of a test that is about SQLite, such as its plans."""
    if database.is_shared:
        pytest.skip("about SQLite")


@functools.cache
def _new_store(is_guarded: bool) -> bytes:
    """Make a store once in each process: thousands of tests begin with one, and creating it takes ten times as long."""
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.closing(Database(f"sqlite:///{folder}/store.db")) as database:
            database.upgrade()
            if is_guarded:
                guard_transitions(database)
        return (Path(folder) / "store.db").read_bytes()


def reader_knowing(accounts: Mapping[str, str]) -> RecordReader:
    """Return a reader of the source `acme` that knows these linked accounts, id to name."""
    reader = RecordReader("acme", organisation_id="org")
    reader.know_accounts(accounts)
    return reader
