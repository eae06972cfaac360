"""Marks, polls, positions, receipts, receivers, references, troubles, stories, accounts, fields, sweeps: kept as they were."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from actionwatch.base.errors import StoreError
from actionwatch.base.model import LinkedAccount
from actionwatch.store import (
    accounts,
    alert_history,
    marks,
    polls,
    positions,
    receipts,
    receivers,
    seen_fields,
    self_alerts,
    sweeps,
)
from actionwatch.store.database import Database
from tests.builders import NOON, make_marks

LATER = NOON + timedelta(hours=1)
MARKS = make_marks(seen_through=LATER)


def test_marks(database: Database) -> None:
    """A source's marks come back as written last, and no other source's."""
    with database.write() as connection:
        assert marks.read(connection, "acme") is None
        marks.write(connection, MARKS)
        moved = replace(MARKS, mark=LATER, totals_cover_pages=True)
        marks.write(connection, moved)
        marks.write(connection, replace(MARKS, name="aaa"))
        assert marks.read(connection, "acme") == moved
        assert list(marks.read_all(connection)) == ["aaa", "acme"]


def test_polls(database: Database) -> None:
    """Failures in a row are counted, and a poll that went well ends the row."""
    with database.write() as connection:
        assert polls.read_all(connection) == {}
        assert [polls.note(connection, "acme", NOON, text) for text in ("a", "b", None, "c")] == [1, 2, 0, 1]
        assert polls.note(connection, "other", LATER, None) == 0
        assert polls.read_all(connection) == {"acme": polls.Poll(NOON, 1, "c"), "other": polls.Poll(LATER, 0, None)}


def test_positions(database: Database) -> None:
    """A step's position begins at nothing and is what was written last."""
    with database.write() as connection:
        assert positions.read(connection, "match") == 0
        positions.write(connection, "match", 5)
        positions.write(connection, "match", 2**40)
        assert positions.read(connection, "match") == 2**40
        assert positions.read(connection, "other") == 0


def test_receipts(database: Database) -> None:
    """Receipts come back newest first, and only those of windows long over are deleted."""
    first = receipts.WindowReceipt(
        source="acme",
        starts_at=NOON,
        ends_at=LATER,
        judged_at=LATER,
        method="counts",
        record_count=3,
        kind_counts={"B": 2, "A": 1},
        digest="d",
        request_count=2,
    )
    second = replace(first, starts_at=LATER, ends_at=LATER + timedelta(hours=1), kind_counts={})
    with database.write() as connection:
        for receipt in (first, second, replace(first, source="other")):
            receipts.insert(connection, receipt)
        assert list(receipts.stream(connection, "acme", limit=10)) == [second, first]
        assert list(receipts.stream(connection, "acme", limit=1)) == [second]
        assert receipts.delete_older(connection, LATER, 10) == 0
        assert receipts.delete_older(connection, LATER + timedelta(seconds=1), 1) == 1
        assert receipts.delete_older(connection, LATER + timedelta(seconds=1), 9) == 1
        assert list(receipts.stream(connection, "acme", limit=10)) == [second]


def test_receivers(database: Database) -> None:
    """A receiver fails since its first failure in a row, and a success ends that; a pause stays until a longer one comes."""
    with database.write() as connection:
        receivers.note_failure(connection, "hook", NOON, "a", None)
        receivers.note_failure(connection, "hook", LATER, "b", LATER + timedelta(hours=1))
        assert receivers.read_all(connection) == {
            "hook": receivers.Health(None, NOON, LATER + timedelta(hours=1), "b"),
        }
        receivers.note_success(connection, "hook", LATER)
        assert receivers.read_all(connection)["hook"].failing_since is None
        assert receivers.read_all(connection)["hook"].last_sent_at == LATER
        receivers.note_failure(connection, "hook", LATER, "c", None)
        paused_until = LATER + timedelta(hours=1)
        assert receivers.read_all(connection)["hook"] == receivers.Health(LATER, LATER, paused_until, "c")
        receivers.note_failure(connection, "hook", LATER, "d", LATER + timedelta(minutes=1))
        assert receivers.read_closed(connection, "hook") == (paused_until, None)
        receivers.note_next(connection, "hook", LATER)
        assert receivers.read_closed(connection, "hook") == (paused_until, LATER)
        assert receivers.read_closed(connection, "unknown") == (None, None)


def test_references(database: Database) -> None:
    """What a receiver calls an alert's message is kept for that alert and receiver, the newest word."""
    with database.write() as connection:
        receivers.write_reference(connection, "one", "slack", "1")
        receivers.write_reference(connection, "one", "slack", "2")
        receivers.write_reference(connection, "one", "other", "3")
        assert receivers.read_references(connection, ["one", "two"], "slack") == {"one": "2"}
        assert receivers.read_references(connection, [], "slack") == {}


def test_troubles(database: Database) -> None:
    """A trouble is there from its beginning to its end, once; the oldest comes first."""
    one = self_alerts.OpenSelfAlert("dead_letters", "hook", LATER, "what", "remedy", "alert-1")
    other = replace(one, trouble="key_refused", subject="acme", since=NOON)
    with database.write() as connection:
        assert self_alerts.read(connection, "dead_letters", "hook") is None
        self_alerts.insert(connection, one)
        self_alerts.insert(connection, other)
        assert self_alerts.read_all(connection) == [other, one]
        assert self_alerts.read(connection, "dead_letters", "hook") == one
    with pytest.raises(StoreError), database.write() as connection:
        self_alerts.insert(connection, one)
    with database.write() as connection:
        self_alerts.delete(connection, "dead_letters", "hook")
        self_alerts.delete(connection, "dead_letters", "hook")
        assert self_alerts.read_all(connection) == [other]


def test_story(database: Database) -> None:
    """An alert's story is told in the order it was written, times or not, and without another's."""
    entries = [alert_history.Entry(at, "one", "stage", str(at)) for at in (LATER, NOON)]
    with database.write() as connection:
        alert_history.append(connection, entries)
        alert_history.append(connection, [])
        alert_history.append(connection, [alert_history.Entry(NOON, "two", "stage", "x")])
        assert alert_history.read(connection, "one") == entries


def test_accounts(database: Database) -> None:
    """An account's names come out of order, or without the time up to which each held; a listing of none is not kept."""
    with database.write() as connection:
        assert accounts.listed_at(connection, "acme") is None
        accounts.begin(connection, "acme", LinkedAccount("a-1", "Old", {"x": 1}), NOON)
        accounts.end(connection, "acme", "a-1", LATER)
        accounts.begin(connection, "acme", LinkedAccount("a-1", "New"), LATER)
        assert accounts.read_current(connection, "acme") == {"a-1": LinkedAccount("a-1", "New", {})}
        assert accounts.name_history(connection, "acme") == {"a-1": [(LATER, "Old"), (None, "New")]}
        for at in (NOON, LATER):
            accounts.note_listed(connection, "other", at)
            assert accounts.listed_at(connection, "other") == at
        assert accounts.read_current(connection, "other") == {}


def test_fields(database: Database) -> None:
    """A field's first sight stays."""
    with database.write() as connection:
        seen_fields.insert_new(connection, "acme", ["a", "b"], NOON)
        seen_fields.insert_new(connection, "acme", ["b", "c"], LATER)
        assert seen_fields.read(connection, "acme") == {"a": NOON, "b": NOON, "c": LATER}
        assert seen_fields.read(connection, "other") == {}


def test_sweeps(database: Database) -> None:
    """Each reach remembers when it was asked last."""
    hour = timedelta(hours=1)
    with database.write() as connection:
        sweeps.note(connection, "acme", hour, NOON)
        sweeps.note(connection, "acme", hour, LATER)
        sweeps.note(connection, "acme", 6 * hour, NOON)
        assert sweeps.read(connection, "acme") == {hour: LATER, 6 * hour: NOON}
        assert sweeps.read(connection, "other") == {}
