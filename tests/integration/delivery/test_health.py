"""Reports about receivers: dead letters, and receivers that keep failing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.delivery.health import DEAD_REMEDY, FAILING_AFTER, ReceiverWatch
from actionwatch.store import delivery_transitions, outbox, receivers, self_alerts
from actionwatch.store.database import Database
from actionwatch.text.links import NO_LINKS
from tests.builders import NOON, make_delivery

SECOND = timedelta(seconds=1)


@dataclass
class Reports:
    """Self-alerts that are only noted."""

    reported: list[tuple[str, str, str, str]] = field(default_factory=list)
    updated: list[tuple[str, str, str]] = field(default_factory=list)
    lasting: dict[str, set[str]] = field(default_factory=dict)

    def report(self, trouble: str, subject: str, what: str, remedy: str) -> None:
        """Note a report."""
        self.reported.append((trouble, subject, what, remedy))

    def update(self, trouble: str, subject: str, what: str) -> None:
        """Note what an open alert says now."""
        self.updated.append((trouble, subject, what))

    def settle_trouble(self, trouble: str, subject: str, why: str = "") -> None:
        """Settle nothing: the watch settles all others at once."""

    def settle_all(self, ended: Collection[tuple[str, str]]) -> None:
        """Settle nothing: the watch never does."""

    def settle_others(self, trouble: str, subjects: set[str], why: Callable[[str], str] = str) -> None:
        """Note which subjects still have a problem."""
        self.lasting[trouble] = subjects


def check(database: Database, **policies: ReceiverPolicy) -> Reports:
    """Check the receivers at noon."""
    reports = Reports()
    ReceiverWatch(database, reports, policies or {"hook": ReceiverPolicy()}, NO_LINKS).check(NOON)
    return reports


def test_nothing_to_report(database: Database) -> None:
    """Without a problem nothing is reported, and every earlier report is over."""
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [make_delivery()])
        receivers.note_success(connection, "hook", NOON)
    reports = check(database)
    assert reports.reported == []
    assert reports.lasting == {"dead_letters": set(), "receiver_failing": set()}


def test_dead_letters(database: Database) -> None:
    """Dead letters are reported for each receiver, with the remedy for one that is configured or not."""
    rows = [make_delivery("a"), make_delivery("b"), make_delivery("a", "it's gone")]
    with database.write() as connection:
        delivery_transitions.enqueue(connection, rows)
        for row in rows:
            delivery_transitions.bury(connection, row, "refused")
    reports = check(database)
    assert reports.lasting["dead_letters"] == {"hook", "it's gone"}
    (configured, removed) = reports.reported
    assert configured == ("dead_letters", "hook", "2 of its messages were given up", DEAD_REMEDY)
    what = "1 of its messages was given up: the receiver is no longer configured"
    assert removed[:3] == ("dead_letters", "it's gone", what)
    assert "--receiver 'it'\"'\"'s gone' --to NAME" in removed[3]
    assert reports.updated == [configured[:3], removed[:3]]


def test_growing_dead_letters_are_reported_at_intervals(database: Database) -> None:
    """People learn at once of the first further ones, then every ten minutes: each update is a message, also by email."""
    reports, rows = Reports(), [make_delivery(name) for name in "abcde"]
    watch = ReceiverWatch(database, reports, {"hook": ReceiverPolicy()}, NO_LINKS)
    for row, minute in zip(rows, (0, 1, 2, 10, 12), strict=True):
        with database.write() as connection:
            delivery_transitions.enqueue(connection, [row])
            delivery_transitions.bury(connection, row, "refused")
        for _ in range(2):
            watch.check(NOON + timedelta(minutes=minute))
    assert [what.split()[0] for _, _, what in reports.updated] == ["1", "2", "5"]


def test_dead_reports_of_dead_letters_are_not_counted(database: Database) -> None:
    """A report of dead letters that is dead too does not change what the reports say: it must not make another one."""
    rows = [make_delivery("a"), make_delivery("report"), make_delivery("report", "ops"), make_delivery("other", "ops")]
    with database.write() as connection:
        for trouble, alert_id in (("dead_letters", "report"), ("receiver_failing", "other")):
            self_alerts.insert(connection, self_alerts.OpenSelfAlert(trouble, "hook", NOON, "", "", alert_id))
        delivery_transitions.enqueue(connection, rows)
        for row in rows[:3]:
            delivery_transitions.bury(connection, row, "refused")
    policies = {"hook": ReceiverPolicy(), "ops": ReceiverPolicy()}
    assert [what for _, _, what in check(database, **policies).updated] == [
        "1 of its messages was given up", "messages about dead letters were given up",
    ]  # fmt: skip
    with database.write() as connection:
        delivery_transitions.bury(connection, rows[3], "refused")
    assert [what for _, _, what in check(database, **policies).updated] == ["1 of its messages was given up"] * 2


def test_rows_of_removed_receivers(database: Database) -> None:
    """The rows of receivers that are not configured are buried, and reported."""
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [make_delivery(), make_delivery(receiver="gone")])
    reports = check(database)
    with database.read() as connection:
        found = {row.receiver: row.status for row in outbox.find(connection, limit=9)}
    assert found == {"hook": DeliveryStatus.PENDING, "gone": DeliveryStatus.DEAD}
    assert reports.lasting["dead_letters"] == {"gone"}


@pytest.mark.parametrize(("span", "is_reported"), [(FAILING_AFTER, True), (FAILING_AFTER - SECOND, False)])
@pytest.mark.parametrize(("error", "shown"), [("503", "503"), ("", "no answer")])
def test_failing_receiver(database: Database, span: timedelta, is_reported: bool, error: str, shown: str) -> None:
    """A receiver is reported once it fails for `FAILING_AFTER`; a report lasts as long as it fails."""
    with database.write() as connection:
        receivers.note_failure(connection, "hook", NOON - span, error, None)
    reports = check(database)
    assert reports.lasting["receiver_failing"] == {"hook"}
    what = f"no message accepted since 2026-11-25T11:50:00.000Z: {shown}"
    assert reports.reported == ([("receiver_failing", "hook", what, "")] if is_reported else [])
