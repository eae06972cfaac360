"""The self-alerts of a source: what each one says, when it begins and when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from actionwatch.base.errors import AccessDenied, RateLimited, SourceUnavailable
from actionwatch.instaclustr.field_values import MAX_UNMAPPED_FIELDS
from actionwatch.instaclustr.records import RecordReader
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.store import marks, receipts, records, seen_fields, self_alerts, source_records, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.polls import Poll
from actionwatch.store.tables import SELF_ALERT
from actionwatch.store.unproved_windows import UnprovedWindow
from actionwatch.tail.backoff import LONGEST
from actionwatch.tail.health import SourceWatch
from actionwatch.tail.planning import GRACE
from actionwatch.tail.record_watch import IdentityChanged, kept_kinds
from actionwatch.tail.source_alerts import REMEDIES
from actionwatch.tail.state import PollReport, TailOptions, TailState
from actionwatch.text.raw_records import cut_record
from tests.builders import NOON, Clock, make_marks, make_receipt, make_record
from tests.upstreams import addressing

SOURCE = "acme"
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
LAG = 10 * MINUTE
"""The limit of `proof_lagging` for a source that is polled each 30 seconds or less."""


class Reported(SelfAlertStore):
    """Self-alerts in the store, and how often one was reported and one changed."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, addressing(), clock)
        self._database = database
        self.report_count = 0
        self.update_count = 0

    @property
    def found(self) -> dict[str, str]:
        """What is wrong, by the trouble."""
        with self._database.read() as connection:
            return {each.trouble: each.what for each in self_alerts.read_all(connection)}

    def report(self, trouble: str, subject: str, what: str, remedy: str) -> None:
        """Open an alert."""
        assert (subject, remedy) == (SOURCE, REMEDIES.get(trouble, remedy))
        super().report(trouble, subject, what, remedy)
        self.report_count += 1

    def update(self, trouble: str, subject: str, what: str) -> None:
        """Change what an open alert says."""
        before = self.found
        super().update(trouble, subject, what)
        self.update_count += before != self.found

    def forget(self) -> None:
        """Let no trouble be open, as after a person resolved each."""
        with self._database.write() as connection:
            connection.execute(SELF_ALERT.delete())


class Watched:
    """A source whose polls a test reports."""

    def __init__(
        self,
        database: Database,
        poll_interval: timedelta = 30 * SECOND,
        kinds: Sequence[str] = ("BACKUP",),
    ) -> None:
        self.database = database
        self.clock = Clock()
        self.reader = RecordReader(SOURCE, organisation_id="org")
        self.open = Reported(database, self.clock)
        self.state = TailState(TailOptions(SOURCE, "org"), database, self.clock)
        self.state.commit(make_marks(begins_at=NOON - DAY))
        self.watch = SourceWatch(SOURCE, poll_interval, kept_kinds(kinds), self.reader, database, self.open, self.clock)
        with database.read() as connection:
            self.watch.records.begin_poll(connection)

    def poll(self, *kinds: str, **report: Any) -> dict[str, str]:
        """Report a poll that found records of these kinds; return the open problems of the source and what is wrong."""
        self.watch.records.note_records([make_record(action_kind=kind) for kind in kinds])
        self.watch.note_poll(PollReport(has_records=bool(kinds), **report), self.state)
        return self.open.found

    def add(self, *windows: UnprovedWindow) -> None:
        """Store windows that the sweeps have yet to check."""
        with self.database.write() as connection:
            unproved_windows.write(connection, windows)


@pytest.fixture
def watched(database: Database) -> Watched:
    """A source that was proved up to noon, at noon."""
    return Watched(database)


def a_window(hour: int = 0, **fields: Any) -> UnprovedWindow:
    """Make a window of one hour before noon that is due at noon."""
    start = NOON - (hour + 1) * HOUR
    values: dict[str, Any] = {
        "source": SOURCE,
        "starts_at": start,
        "ends_at": start + HOUR,
        "reach": HOUR,
        "due_at": NOON,
    }
    return UnprovedWindow(**{**values, **fields})


@pytest.mark.parametrize(
    ("skew", "what"),
    [
        (2 * MINUTE, None),
        (-2 * MINUTE, None),
        (121 * SECOND, "the upstream's clock is 2m1s ahead of ours"),
        (-3 * HOUR, "the upstream's clock is 3h behind ours"),
    ],
)
def test_clock_skew(watched: Watched, skew: timedelta, what: str | None) -> None:
    """A clock that differs by more than two minutes is reported, with the direction."""
    watched.state.server.skew = skew
    assert watched.poll().get("clock_skew") == what


@pytest.mark.parametrize(("poll_interval", "limit"), [(SECOND, LAG), (30 * SECOND, LAG), (MINUTE, 20 * MINUTE)])
def test_proof_that_lags(database: Database, poll_interval: timedelta, limit: timedelta) -> None:
    """A proof that lags more than 20 polls, and more than 10 minutes, behind is reported with the first reason."""
    watched = Watched(database, poll_interval)
    watched.clock.now = NOON + limit
    assert watched.poll(unproved=["it changes"]) == {}
    watched.clock.now += SECOND
    assert watched.poll(unproved=["it changes", "and more"]) == {
        "proof_lagging": "complete only through 2026-11-25T12:00:00.000Z: it changes"
    }
    watched.state.commit(make_marks(proved_through=watched.clock()))
    assert watched.poll() == {}
    watched.clock.now += limit + SECOND
    assert watched.poll()["proof_lagging"].endswith("Z")


def test_a_mark_in_the_future_is_reported_until_all_is_proved_again(watched: Watched) -> None:
    """A mark in the future is reported until a poll proves everything up to now."""
    what = "a stored mark was 2026-11-25T13:00:00.000Z, which is in the future"
    assert watched.poll(mark_ahead=NOON + HOUR) == {"mark_ahead": what}
    assert watched.poll(unproved=["it changes"]) == {"mark_ahead": what}
    assert watched.poll() == {}


def test_older_windows_that_wait_too_long(watched: Watched) -> None:
    """A window that no poll had time for is reported after its limit, unless the newest records are not proved either."""
    watched.add(a_window(1), a_window(2, due_at=NOON + MINUTE), a_window(3, due_at=NOON - DAY, failure_count=1))
    watched.clock.now = NOON + GRACE + LAG
    watched.state.commit(make_marks(proved_through=watched.clock()))
    assert watched.poll() == {}
    watched.clock.now += SECOND
    since = "older windows have waited since 2026-11-25T12:00:00.000Z to be checked for late records"
    assert watched.poll() == {"proof_lagging": since}
    watched.clock.now += LAG
    watched.open.forget()
    assert watched.poll()["proof_lagging"].startswith("complete only through")
    watched.state.commit(make_marks(proved_through=watched.clock() - LAG))
    watched.open.forget()
    assert watched.poll() == {"proof_lagging": since}


def test_windows_without_proof_are_reported_once(watched: Watched) -> None:
    """A window is reported once, at its third failure, until all are proved."""
    windows = [a_window(1, failure_count=3, why="it changes"), a_window(2, failure_count=2)]
    watched.add(*windows)
    what = "1 older window not proved: 2026-11-25T10:00:00.000Z to 2026-11-25T11:00:00.000Z: it changes"
    assert watched.poll() == watched.poll() == {"window_unproved": what}
    assert watched.open.report_count == 1
    watched.add(a_window(2, failure_count=3, due_at=NOON - HOUR, why="no answer"))
    what = "2 older windows not proved: 2026-11-25T09:00:00.000Z to 2026-11-25T10:00:00.000Z: no answer"
    assert watched.poll() == {"window_unproved": what}
    assert watched.poll()
    assert (watched.open.report_count, watched.open.update_count) == (2, 1)
    with watched.database.write() as connection:
        for window in windows:
            unproved_windows.delete(connection, window)
    assert watched.poll() == {}


def test_ignored_filters(watched: Watched) -> None:
    """An ignored filter is reported while it lasts."""
    found = watched.poll(ignored_filters={"startTime", "endTime"})
    assert found == {"filter_ignored": "the upstream ignored endTime and startTime"}
    assert watched.poll() == {}


def kinds_from(count: str, names: str) -> dict[str, str]:
    return {"unknown_kind": f"records of {count} come from {SOURCE}: {names}; severity medium is assumed"}


def test_unknown_kinds_are_one_alert(watched: Watched) -> None:
    """All unknown kinds of a source are one alert. A kind that appears later changes what it says, and is named first."""
    assert watched.poll("BACKUP", "LOGIN", "LOGOUT") == kinds_from("2 unknown kinds", "LOGIN, LOGOUT")
    assert watched.poll("LOGIN") == kinds_from("2 unknown kinds", "LOGIN, LOGOUT")
    assert (watched.open.report_count, watched.open.update_count) == (1, 0)
    assert watched.poll("ZOOM") == kinds_from("3 unknown kinds", "ZOOM, LOGIN, LOGOUT")
    assert watched.open.update_count == 1
    many = [f"K{number:02}" for number in range(12)]
    assert watched.poll(*many) == kinds_from("15 unknown kinds", f"{', '.join(many[:10])} and 5 more")


def test_records_that_were_cut_are_reported(watched: Watched) -> None:
    """The alert opens before they are stored, says how many a poll found, and ends with a poll that finds none."""
    large = [
        cut_record(make_record(number, action_kind="BACKUP", raw="{}" + " " * 40_000), 32_768) for number in (1, 2, 2)
    ]
    watched.watch.records.note_records([*large[:1], make_record(action_kind="BACKUP")])
    assert watched.open.found["records_cut"].startswith("1 record had more than 32,768 characters")
    watched.watch.records.note_records(large[1:])
    assert watched.poll()["records_cut"].endswith(f"The newest is {large[1].key}")
    assert watched.poll() == {}
    assert (watched.open.report_count, watched.open.update_count) == (2, 1)


def test_unknown_kinds_are_known_to_the_next_process(watched: Watched) -> None:
    """A process knows which kinds the one before reported, and which it stored but did not come to report."""
    watched.poll("LOGIN")
    watched.watch.records.note_records([make_record(action_kind="LOGOUT")])
    again = Watched(watched.database)
    assert again.poll("LOGIN") == kinds_from("2 unknown kinds", "LOGOUT, LOGIN")
    assert again.poll("LOGIN", "LOGOUT") == kinds_from("2 unknown kinds", "LOGOUT, LOGIN")
    assert again.open.update_count == 1


def test_unknown_kinds_end_when_all_are_declared(watched: Watched) -> None:
    """A declared kind is no longer named, and without any other the alert resolves, although their records remain."""
    watched.poll("LOGIN", "LOGOUT")
    again = Watched(watched.database, kinds=("BACKUP", "LOGIN"))
    assert again.poll() == kinds_from("1 unknown kind", "LOGOUT")
    again = Watched(watched.database, kinds=("BACKUP", "LOGIN", "LOGOUT"))
    assert again.poll("LOGIN") == {}
    again = Watched(watched.database)
    assert again.poll("LOGOUT") == kinds_from("1 unknown kind", "LOGOUT")


def test_unknown_kinds_that_a_person_resolved_stay_resolved(watched: Watched) -> None:
    """After a person resolved the alert, only a kind that it did not name opens another one."""
    watched.poll("LOGIN", "LOGOUT")
    watched.open.forget()
    assert watched.poll("LOGIN") == {}
    again = Watched(watched.database, kinds=("BACKUP", "LOGOUT"))
    assert again.poll("LOGIN") == {}
    assert again.poll("ZOOM") == kinds_from("2 unknown kinds", "ZOOM, LOGIN")


def test_new_fields_are_reported_for_a_day(watched: Watched) -> None:
    """Fields that the first records did not have are reported for a day."""
    assert watched.poll() == {}
    read_record(watched, "zone")
    assert watched.poll("BACKUP") == {}
    read_record(watched, "region", "area")
    what = "records have fields that they did not have before: area, region"
    watched.clock.now += MINUTE
    watched.state.commit(make_marks(proved_through=watched.clock() + DAY))
    assert watched.poll("BACKUP") == {"unknown_field": what}
    watched.clock.now += DAY - SECOND
    assert watched.poll() == {"unknown_field": what}
    watched.clock.now += SECOND
    assert watched.poll() == {}


def test_a_field_after_records_without_any_is_new(watched: Watched) -> None:
    """The first field beyond the known ones is reported if earlier records did not have it."""
    watched.poll("BACKUP")
    read_record(watched, "zone")
    assert watched.poll("BACKUP") == {"unknown_field": "records have fields that they did not have before: zone"}


def read_record(watched: Watched, *fields: str) -> str:
    """Read a record with these fields besides the usual ones; return its key."""
    raw = {"action": "BACKUP", "timestamp": "2026-11-25T11:00:00Z", **dict.fromkeys(fields, "x")}
    return watched.reader.read_all([raw], ["{}"], NOON)[0].key


def test_identity_rests_on_the_fields_of_the_first_records(watched: Watched) -> None:
    """A field that appears later does not change the key of a record, in this process or in the next one."""
    read_record(watched, "zone")
    watched.poll("BACKUP")
    key = read_record(watched, "zone")
    watched.clock.now -= 5 * DAY  # the clock was set back
    read_record(watched, "zone", "region")
    watched.poll("BACKUP")
    assert read_record(watched, "zone", "region") == key
    again = Watched(watched.database)
    assert read_record(again, "zone", "region") == key
    assert read_record(again, "region") != key


def note_record(watched: Watched, *fields: str) -> str:
    """Read a record with these fields, and note it before it is stored; return its key."""
    key = read_record(watched, *fields)
    watched.watch.records.note_records([make_record(key=key, action_kind="BACKUP")])
    return key


@pytest.mark.parametrize("is_killed_before_storing", [True, False])
def test_a_killed_first_poll_does_not_change_the_identity(watched: Watched, is_killed_before_storing: bool) -> None:
    """A record has the same key for the process that read it first, and for later ones that met its field nowhere else."""
    key = note_record(watched, "zone")
    if not is_killed_before_storing:
        note_record(watched)
    second = Watched(watched.database)
    note_record(second, "region")
    assert second.poll("BACKUP") == {}
    for each in (second, Watched(watched.database)):
        assert read_record(each, "zone") == key
        assert read_record(each, "zone", "news") == key
        assert read_record(each, "zone", "region") != key


def test_a_source_that_reads_on_while_another_settles_the_identity(watched: Watched) -> None:
    """Two sources make the same keys if one meets a field after the other has ended the first poll of the organisation."""
    live, history = Watched(watched.database), Watched(watched.database)
    key = note_record(history, "zone")
    assert live.poll("BACKUP") == {}
    with pytest.raises(IdentityChanged):
        note_record(history, "zone", "region")
    assert note_record(history, "zone", "region") == key
    assert history.poll("BACKUP") == {"unknown_field": "records have fields that they did not have before: region"}
    for each in (live, history, Watched(watched.database)):
        assert read_record(each, "zone", "region") == key


def test_polls_without_records_settle_no_identity(watched: Watched) -> None:
    """A field is no news if only polls without records came before it, even if they showed another field."""
    read_record(watched, "zone")
    watched.watch.note_poll(PollReport(), watched.state)
    key = note_record(watched, "region")
    assert watched.poll("BACKUP") == {}
    assert read_record(watched, "region", "zone") != read_record(watched, "region") == key


def test_a_store_of_an_older_version_keeps_its_identity(watched: Watched) -> None:
    """If an older version stored the fields of polls without records, later fields neither count nor stop the polls."""
    with watched.database.write() as connection:
        seen_fields.insert_new(connection, "org", ["zone"], NOON - DAY)
        seen_fields.insert_new(connection, "org", ["region"], NOON)
    with pytest.raises(IdentityChanged):
        note_record(watched, "zone", "region")
    assert note_record(watched, "zone", "region") == note_record(watched, "zone")
    assert set(watched.poll("BACKUP")) == {"unknown_field"}


def test_fields_beyond_those_that_are_kept_do_not_count(watched: Watched) -> None:
    """Keys stay the same if the first records have more fields than are kept, or a killed process met others."""
    names = [f"field{number:04}" for number in range(MAX_UNMAPPED_FIELDS + 1)]
    key = note_record(watched, *names, "x" * 201)
    again = Watched(watched.database)
    with pytest.raises(IdentityChanged):
        note_record(again, "another")
    assert note_record(again, *names) == key
    for each in (watched, again):
        assert set(each.poll("BACKUP")) == set()
        assert read_record(each, *names[:-1], "another", "x" * 201) == key


def test_vanished_records_are_reported_once(watched: Watched) -> None:
    """Records that vanished are reported once, with the total, until all are back."""
    store(watched, 1, "BACKUP", 10)
    store(watched, 2, "ADD_NODE", 20)
    vanish(watched, 1, NOON + SECOND)
    what = "the upstream no longer shows 1 record that it showed before. New since the last report: BACKUP between "
    assert watched.poll() == watched.poll() == {"window_shrunk": f"{what}{minute(10)} and {minute(10)}"}
    assert watched.open.report_count == 1
    assert watched.state.marks.vanished_reported_through == NOON + SECOND
    vanish(watched, 2, NOON + 2 * SECOND)
    what = "the upstream no longer shows 2 records that it showed before. New since the last report: ADD_NODE between "
    assert watched.poll() == {"window_shrunk": f"{what}{minute(20)} and {minute(20)}"}
    with watched.database.write() as connection:
        source_records.unmark_vanished(
            connection, SOURCE, NOON - HOUR, NOON + HOUR, {record_key(1, 10), record_key(2, 20)}
        )
        assert marks.read(connection, SOURCE) == watched.state.marks
    assert watched.poll() == {}


def minute(number: int) -> str:
    return f"2026-11-25T12:{number}:00.000Z"


def record_key(number: int, minutes: int) -> str:
    return make_record(number, minutes=minutes).key


def store(watched: Watched, number: int, kind: str, minutes: int) -> None:
    """Store a record some minutes after noon."""
    with watched.database.write() as connection:
        records.insert_new(connection, [make_record(number, minutes=minutes, action_kind=kind)])


def vanish(watched: Watched, number: int, at: datetime) -> None:
    """Mark a record as vanished, as a receipt of that time does."""
    start = NOON + number * 10 * MINUTE
    receipt = make_receipt(source=SOURCE, starts_at=start, ends_at=start, judged_at=at)
    with watched.database.write() as connection:
        source_records.mark_vanished(connection, SOURCE, start, start, (), at)
        receipts.write(connection, receipt)


def failed(failures: int, backoff: timedelta = MINUTE) -> Poll:
    """Return a poll that failed."""
    return Poll(NOON, failures, "x", backoff=backoff)


def test_long_wait_is_reported_at_once(watched: Watched) -> None:
    """If the upstream asks for a longer wait than failures cause, the first failure is reported."""
    error = RateLimited("too many requests", "poll less often")
    watched.watch.note_failure(error, failed(1, LONGEST))
    assert watched.open.found == {}
    watched.watch.note_failure(error, failed(1, 20 * MINUTE))
    what = "a poll failed: too many requests; the next one starts in 20m"
    assert watched.open.found == {"upstream_unreachable": what}


def test_failures(watched: Watched) -> None:
    """A refusal is reported at once, other failures from the third in a row on, until a response comes."""
    error = SourceUnavailable("the line is dead", "look at the line")
    watched.watch.note_failure(error, failed(2))
    assert watched.open.found == {}
    watched.watch.note_failure(error, failed(3))
    assert watched.open.found == {"upstream_unreachable": "3 polls failed in a row: the line is dead"}
    assert watched.poll() == {}
    watched.watch.note_failure(AccessDenied("the key is wrong", "change it"), failed(1))
    assert watched.open.found == {"key_refused": "the key is wrong"}
    assert watched.poll() == {}
