"""Alerts in the store: as they were made, found by group and by id, let go with all about them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from actionwatch.base.model import Alert, Level, Status
from actionwatch.store import alert_history, alerts, delivery_transitions, receivers, records
from actionwatch.store.database import Database
from tests.builders import NOON, QUARTER, make_alert, make_delivery, make_record

FULL = make_alert(
    runbook="do\nit",
    labels={"b": "1", "a": "ü"},
    fields=("userName",),
    group={"userName": None, "a": "b"},
    realert=QUARTER,
    status=Status.RESOLVED,
    acked_by="eve",
    resolved_by="bob",
    resolved_at=NOON,
    count=3,
    late_by=timedelta(seconds=90),
)


def store(database: Database, *stored: Alert, group: str = "group") -> int:
    """Store alerts of one group."""
    with database.write() as connection:
        return alerts.insert_new(connection, [(alert, group) for alert in stored])


@pytest.mark.parametrize("alert", [make_alert(), FULL])
def test_comes_back_whole(database: Database, alert: Alert) -> None:
    """What is stored comes back as it was, and is not overwritten by another of its id."""
    assert store(database, alert) == 1
    assert store(database, replace(alert, title="other")) == 0
    with database.read() as connection:
        assert alerts.read(connection, alert.id) == alert
        assert alerts.read_many(connection, [alert.id, "none"]) == {alert.id: alert}
        assert alerts.read(connection, "none") is None


def test_update(database: Database) -> None:
    """What can change in an alert is stored; what cannot stays."""
    alert = make_alert()
    store(database, alert, make_alert("other"))
    changed = replace(
        FULL, runbook=None, labels={}, fields=(), group=None, realert=alert.realert, level=Level.CRITICAL, last_at=NOON
    )
    with database.write() as connection:
        alerts.update(connection, replace(changed, title="not this"))
        assert alerts.read(connection, "alert-1") == changed
        assert alerts.read(connection, "other") == make_alert("other")


def test_unresolved(database: Database) -> None:
    """Of a group the alerts that are not resolved are read, oldest first."""
    store(
        database,
        make_alert("c", first_at=NOON + QUARTER),
        make_alert("a", status=Status.ACKED),
        make_alert("b", status=Status.RESOLVED),
    )
    store(database, make_alert("d"), group="other")
    with database.read() as connection:
        assert [alert.id for alert in alerts.read_unresolved(connection, ["group", "none"])["group"]] == ["a", "c"]
        assert alerts.read_unresolved(connection, ["none"]) == {}


def test_prefix(database: Database) -> None:
    """A beginning of an id finds it, as it is written, and shows when it is not the only one."""
    store(database, *(make_alert(name) for name in ("abc", "abd", "abe", "x_y", "xzy")))
    with database.read() as connection:
        found = {
            text: [alert.id for alert in alerts.read_by_prefix(connection, text)] for text in ("abc", "x_", "%", "q")
        }
        assert found == {"abc": ["abc"], "x_": ["x_y"], "%": [], "q": []}
        assert len(alerts.read_by_prefix(connection, "ab")) == 2


def test_newest_and_counts(database: Database) -> None:
    """The alerts opened last come first, from a time on; counts are by level and status."""
    store(
        database,
        make_alert("a"),
        make_alert("b", opened_at=NOON + QUARTER, level=Level.LOW),
        make_alert("c", opened_at=NOON - QUARTER, status=Status.RESOLVED),
    )
    with database.read() as connection:
        assert [alert.id for alert in alerts.read_newest(connection, 10)] == ["b", "a", "c"]
        assert [alert.id for alert in alerts.read_newest(connection, 1)] == ["b"]
        assert [alert.id for alert in alerts.read_newest(connection, 10, since=NOON)] == ["b", "a"]
        assert alerts.count(connection) == {
            (Level.HIGH, Status.OPEN): 1,
            (Level.HIGH, Status.RESOLVED): 1,
            (Level.LOW, Status.OPEN): 1,
        }


def test_joined(database: Database) -> None:
    """Joining again changes nothing, and says so."""
    store(database, make_alert())
    with database.write() as connection:
        assert alerts.join(connection, [("alert-1", 1), ("alert-1", 2)]) == 2
        assert alerts.join(connection, [("alert-1", 2), ("alert-1", 3)]) == 1
        assert alerts.read_joined(connection, {2, 3, 4}) == {("rule-1", "alert-1", 2), ("rule-1", "alert-1", 3)}
        assert alerts.read_joined(connection, set()) == set()


def test_retention(database: Database) -> None:
    """An old alert goes with its story, references and joins, once no delivery speaks of it; nothing else goes."""
    old = NOON - timedelta(days=500)
    store(database, make_alert("owing", opened_at=old), make_alert("gone", opened_at=old), make_alert("young"))
    with database.write() as connection:
        records.insert_new(connection, [make_record()])
        delivery_transitions.enqueue(connection, [make_delivery("owing")])
        for name in ("owing", "gone", "young"):
            alerts.join(connection, [(name, 1)])
            receivers.write_reference(connection, name, "slack", name)
            alert_history.append(connection, [alert_history.Entry(NOON, name, "opened", "x")])
        assert alerts.delete_settled(connection, NOON, NOON + timedelta(hours=1), 10) == 1
        assert alerts.delete_settled(connection, NOON, NOON + timedelta(hours=1), 10) == 0
        assert sorted(alerts.read_many(connection, ["owing", "gone", "young"])) == ["owing", "young"]
        told = receivers.read_references(connection, ["owing", "gone", "young"], "slack")
        assert sorted(told) == ["owing", "young"]
        assert [len(alert_history.read(connection, name)) for name in ("owing", "gone", "young")] == [1, 0, 1]
        assert records.read_of_alerts(connection, ["gone"], 9) == {"gone": []}
