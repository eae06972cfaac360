"""The small tables of the store are read back as they were written."""

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
    receivers,
    records,
    seen_fields,
    self_alerts,
    sweeps,
    unknown_kinds,
    unproved_windows,
)
from actionwatch.store.database import Database
from actionwatch.store.unknown_kinds import UnknownKind
from actionwatch.store.unproved_windows import UnprovedWindow
from tests.builders import NOON, make_marks, make_record
from tests.positions import move_to

LATER = NOON + timedelta(hours=1)
MARKS = make_marks(seen_through=LATER)


def test_marks_of_a_source(database: Database) -> None:
    """The marks of a source are those written last, and not those of another source."""
    with database.write() as connection:
        assert marks.read(connection, "acme") is None
        marks.write(connection, MARKS)
        moved = replace(MARKS, mark=LATER, totals_cover_pages=True)
        marks.write(connection, moved)
        marks.write(connection, replace(MARKS, name="aaa"))
        assert marks.read(connection, "acme") == moved
        assert list(marks.read_all(connection)) == ["aaa", "acme"]


def test_what_was_reported_about_other_sources_is_reported_again(database: Database) -> None:
    """What is still wrong with a source that is not configured is reported again when it comes back."""
    window = UnprovedWindow(source="acme", starts_at=NOON, ends_at=LATER, reach=LATER - NOON, due_at=LATER)
    with database.write() as connection:
        for name in ("acme", "beta"):
            marks.write(connection, replace(MARKS, name=name, vanished_reported_through=NOON))
            unproved_windows.write(connection, [replace(window, source=name, is_reported=True)])
            unknown_kinds.insert_new(connection, name, ["LOGIN", "LOGOUT"])
            unknown_kinds.note_reported(connection, name, ["LOGIN", "LOGOUT"])
        unknown_kinds.delete(connection, "acme", ["LOGOUT"])
        marks.forget_reports(connection, ["beta"])
        found = {name: each.vanished_reported_through for name, each in marks.read_all(connection).items()}
        assert found == {"acme": None, "beta": NOON}
        windows = [each for name in ("acme", "beta") for each in unproved_windows.read(connection, name)]
        assert [each.is_reported for each in windows] == [False, True]
        assert unknown_kinds.read(connection, "acme") == [UnknownKind("LOGIN", False)]
        assert unknown_kinds.read(connection, "beta") == [UnknownKind("LOGIN", True), UnknownKind("LOGOUT", True)]


def test_failed_polls_are_counted(database: Database) -> None:
    """Consecutive failures are counted, and a successful poll resets the count."""
    with database.write() as connection:
        assert polls.read_all(connection) == {}
        noted = [polls.note_poll(connection, "acme", NOON, text) for text in ("a", "b", None, "c")]
        assert [poll.failures for poll in noted] == [1, 2, 0, 1]
        skew = timedelta(seconds=7)
        other = polls.note_poll(connection, "other", LATER, "d", skew, lambda failures: timedelta(minutes=failures))
        assert other == polls.Poll(LATER, 1, "d", skew, timedelta(minutes=1))
        assert polls.read_all(connection) == {"acme": polls.Poll(NOON, 1, "c"), "other": other}


def test_position_starts_at_zero(database: Database) -> None:
    """The position of a step is zero at first, then the last one written."""
    with database.write() as connection:
        assert positions.read(connection, "match") == 0
        move_to(connection, "match", 5)
        move_to(connection, "match", 2**40)
        assert positions.read(connection, "match") == 2**40
        assert positions.read(connection, "other") == 0


def test_a_position_that_another_process_moved_is_not_moved(database: Database) -> None:
    """A step is moved only from its stored position: a matcher that read an older one changes nothing."""
    with database.write() as connection:
        positions.move(connection, 0, 5, is_correlated=False)
    with database.write() as connection, pytest.raises(positions.Overtaken, match="matched up to 5, not 0"):
        positions.move(connection, 0, 7, is_correlated=True)
    with database.write() as connection:
        positions.move(connection, 5, 5, is_correlated=True)
        assert positions.read_both(connection) == (5, 5)


@pytest.mark.parametrize("is_correlated", [True, False])
def test_correlations_stay_behind_until_all_are_evaluated(database: Database, *, is_correlated: bool) -> None:
    """All correlations are evaluated up to the position of rules only if they say so."""
    with database.write() as connection:
        positions.move(connection, 0, 5, is_correlated=is_correlated)
        assert positions.read_both(connection) == (5, 5 if is_correlated else 0)


def test_handled_records_are_counted(database: Database) -> None:
    """A step has handled as many records as rows lie before its position, however large the gaps between their ids."""
    with database.write() as connection:
        records.insert_new(connection, [make_record(number) for number in range(3)])
        connection.exec_driver_sql("UPDATE record SET id = id * 10")
        assert positions.read_handled(connection, "match") == 0
        for handled, position in ((1, 19), (1, 19), (3, 30), (2, 20), (3, 30)):
            move_to(connection, "match", position)
            assert positions.read_handled(connection, "match") == handled
        records.delete_older(connection, LATER, 30, 9)
        move_to(connection, "match", 30)
        assert positions.read_handled(connection, "match") == 3


def test_receiver_failure_and_pause(database: Database) -> None:
    """A receiver has been failing since the first failure of a series, and a success ends that.

    Only a longer pause replaces a pause.
    """
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
        assert receivers.read_availability(connection, "hook", NOON, 9)[:2] == (paused_until, None)
        receivers.note_next(connection, "hook", LATER)
        assert receivers.read_availability(connection, "hook", NOON, 9)[:2] == (paused_until, LATER)
        assert receivers.read_availability(connection, "unknown", NOON, 9)[:2] == (None, None)


def test_newest_reference_is_kept(database: Database) -> None:
    """The newest reference of a receiver is kept for each alert and receiver."""
    with database.write() as connection:
        receivers.write_reference(connection, "one", "slack", "1")
        receivers.write_reference(connection, "one", "slack", "2")
        receivers.write_reference(connection, "one", "other", "3")
        assert receivers.read_references(connection, ["one", "two"], "slack") == {"one": "2"}
        assert receivers.read_references(connection, [], "slack") == {}


def test_open_self_alert_is_stored_once(database: Database) -> None:
    """An open self-alert is stored once, from its beginning to its end, oldest first."""
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


def test_history_keeps_the_order_of_writing(database: Database) -> None:
    """The history of an alert is read in the order of writing, regardless of times, without entries of other alerts."""
    entries = [alert_history.Entry(at, "one", "stage", str(at)) for at in (LATER, NOON)]
    with database.write() as connection:
        alert_history.append(connection, entries)
        alert_history.append(connection, [])
        alert_history.append(connection, [alert_history.Entry(NOON, "two", "stage", "x")])
        assert alert_history.read(connection, "one") == entries


def test_account_names_keep_their_times(database: Database) -> None:
    """Account names are read in order, each with the time until which it was valid; an empty listing is stored too."""
    with database.write() as connection:
        assert accounts.listed_at(connection, "acme") is None
        accounts.begin(connection, "acme", LinkedAccount("a-1", "Old", {"x": 1}), NOON)
        accounts.end(connection, "acme", "a-1", LATER)
        accounts.begin(connection, "acme", LinkedAccount("a-1", "New"), LATER)
        assert accounts.read_current(connection, "acme") == {"a-1": LinkedAccount("a-1", "New", {})}
        assert accounts.name_history(connection, "acme") == {"a-1": [(LATER, "Old"), (None, "New")]}
        for at in (NOON, LATER):
            accounts.note_listed(connection, "other", at, is_first=at == NOON)
            assert accounts.listed_at(connection, "other") == at
        assert accounts.read_current(connection, "other") == {}


def test_first_time_of_a_field_is_kept(database: Database) -> None:
    """The first time of a field is kept."""
    with database.write() as connection:
        seen_fields.insert_new(connection, "acme", ["a", "b"], NOON)
        seen_fields.insert_new(connection, "acme", ["b", "c"], LATER)
        assert seen_fields.read(connection, "acme") == {"a": NOON, "b": NOON, "c": LATER}
        assert seen_fields.read(connection, "other") == {}


def test_time_of_the_last_sweep_is_kept(database: Database) -> None:
    """For each reach, the time of the last sweep is stored."""
    hour = timedelta(hours=1)
    with database.write() as connection:
        sweeps.note_sweep(connection, "acme", hour, NOON)
        sweeps.note_sweep(connection, "acme", hour, LATER)
        sweeps.note_sweep(connection, "acme", 6 * hour, NOON)
        assert sweeps.read(connection, "acme") == {hour: LATER, 6 * hour: NOON}
        assert sweeps.read(connection, "other") == {}
