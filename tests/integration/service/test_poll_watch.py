"""An origin that does not answer is one self-alert for all of its sources; polls that are late are another."""

from __future__ import annotations

import pytest

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.alerts.self_alerts import OwnAlerts
from actionwatch.base.errors import SourceUnavailable
from actionwatch.base.lateness import Lateness
from actionwatch.instaclustr.upstream import Pace, Upstream
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.service.polls import LOOK_EVERY, PollWatch
from actionwatch.store import alerts, self_alerts
from actionwatch.store.database import Database
from tests.builders import Clock

DOWN = SourceUnavailable("no response from https://api.example: connection refused")
NAMES = [f"org-{number}" for number in range(40)]


class Process:
    """A process that reads sources of one origin, with the watch over its polls. A look comes each 15 seconds."""

    def __init__(
        self, database: Database, *, leads: bool = True, replica: str = "0123ab", names: list[str] = NAMES
    ) -> None:
        self.now = 0.0
        self.database = database
        self.leads = leads
        self.upstream = Upstream("api.example", Pace(lambda: self.now), lambda: self.now)
        self.upstream.sources.update(names)
        self.lateness = Lateness()
        parts = database, Addressing(Route(("hook",)), {"hook": ReceiverPolicy()}), Clock()
        leading = SelfAlertStore(*parts)
        # As in `App`: without replicas, the self-alerts about a process are those of the store.
        own = OwnAlerts(leading, "machine", replica) if replica else SelfAlertStore(*parts)
        self.watch = PollWatch(
            lambda: self.lateness, lambda: {self.upstream: len(NAMES)}, leading, own, lambda: self.leads
        )

    def look(self, times: int = 1) -> dict[str, str]:
        """Look so often. Return what is reported, by subject."""
        for _ in range(times):
            self.now += LOOK_EVERY.total_seconds()
            self.watch.run_once()
        with self.database.read() as connection:
            return {each.subject: each.what for each in self_alerts.read_all(connection)}

    def note(self, *names: str, error: SourceUnavailable | None = DOWN) -> None:
        """Note that requests for sources ended so."""
        for name in names:
            self.upstream.note(name, error)


@pytest.mark.parametrize("replica", ["", "0123ab"])
def test_an_outage_is_one_self_alert_with_the_number_of_sources(database: Database, replica: str) -> None:
    """It is reported at the second look, and over when the first source gets an answer."""
    process = Process(database, replica=replica)
    process.note("org-1", error=None)
    process.note(*NAMES[:3])
    assert process.look() == {}
    assert process.look() == {"api.example": f"none of 40 sources can be read: {DOWN.what}"}
    process.note(*NAMES)
    assert list(process.look(10)) == ["api.example"]
    with database.read() as connection:
        assert len(alerts.read_newest(connection, 10)) == 1
    process.note("org-7", error=None)
    assert process.look() == {}


def test_a_single_source_without_an_answer_is_no_outage(database: Database) -> None:
    """Others answer meanwhile: its own self-alert says so."""
    process = Process(database)
    for _ in range(5):
        process.note("org-1")
        process.note("org-2", error=None)
        assert process.look() == {}


def test_a_process_that_starts_during_an_outage_does_not_end_it(database: Database) -> None:
    """It knows nothing before it has asked. The alert is over with the first answer."""
    before = Process(database)
    before.note(*NAMES)
    assert list(before.look(2)) == ["api.example"]
    after = Process(database)
    assert list(after.look()) == ["api.example"]
    after.note(*NAMES)
    assert list(after.look(5)) == ["api.example"]
    after.note("org-3", error=None)
    assert after.look() == {}


def test_an_origin_that_is_not_read_any_longer_is_over(database: Database) -> None:
    """The leader has no source of it: whoever reads it reports it."""
    process = Process(database)
    process.note(*NAMES)
    assert list(process.look(2)) == ["api.example"]
    process.upstream.sources.clear()
    assert process.look() == {}


def test_a_replica_reports_what_the_leader_does_not(database: Database) -> None:
    """If only its connection is cut, it reports that with its name, later than the leader would; then the leader does."""
    leader, other = (
        Process(database, names=NAMES[:20]),
        Process(database, leads=False, replica="4567cd", names=NAMES[20:]),
    )
    leader.note("org-1", error=None)
    other.note(*NAMES[20:])
    assert other.look(3) == {}
    assert list(other.look()) == ["api.example on replica machine (4567cd)"]
    assert list(leader.look(3)) == ["api.example on replica machine (4567cd)"]
    other.note("org-21", error=None)
    assert other.look() == {}


def test_both_replicas_report_one_outage(database: Database) -> None:
    """The leader's report is enough."""
    leader, other = (
        Process(database, names=NAMES[:20]),
        Process(database, leads=False, replica="4567cd", names=NAMES[20:]),
    )
    for _ in range(6):
        leader.note(*NAMES[:20])
        other.note(*NAMES[20:])
        leader.look()
        found = other.look()
    assert list(found) == ["api.example"]


@pytest.mark.parametrize(("late", "is_reported"), [(0, False), (3, False), (4, True), (40, True)])
def test_late_polls_are_reported_after_a_minute(database: Database, late: int, is_reported: bool) -> None:
    """A tenth of 40 polls or more that begin late, in four looks in a row, are reported until a look finds fewer."""
    process = Process(database)
    subject = "sources on replica machine (0123ab)"

    def look(late_count: int) -> dict[str, str]:
        for number in range(40):
            process.lateness = process.lateness.and_one(20.0, is_late=number < late_count)
        return process.look()

    assert [look(late) for _ in range(3)] == [{}, {}, {}]
    expected = f"{late} of 40 polls within 15s began late; on average, polls began 20s late"
    assert look(late) == ({subject: expected} if is_reported else {})
    assert look(0) == {}
