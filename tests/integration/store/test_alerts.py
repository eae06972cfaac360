"""Alerts in the store: they are read back unchanged, found by group and id, and deleted with all that belongs to them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from actionwatch.base.model import Alert, Entity, Level, RuleName, Silence, Status
from actionwatch.store import alert_history, alerts, delivery_transitions, receivers, records, silences
from actionwatch.store.alerts import AlertFilter
from actionwatch.store.database import Database
from actionwatch.store.statements import LAST_CHARACTER
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
def test_alert_is_read_back_unchanged(database: Database, alert: Alert) -> None:
    """An alert is read back unchanged, and is not overwritten by another with its id."""
    assert store(database, alert) == 1
    assert store(database, replace(alert, title="other")) == 0
    with database.read() as connection:
        assert alerts.read(connection, alert.id) == alert
        assert alerts.read_many(connection, [alert.id, "none"]) == {alert.id: alert}
        assert alerts.read(connection, "none") is None


def test_update_changes_only_what_can_change(database: Database) -> None:
    """An update stores the fields of an alert that can change; the others stay."""
    alert = make_alert()
    store(database, alert, make_alert("other"))
    changed = replace(
        FULL, runbook=None, fields=(), group=None, realert=alert.realert, level=Level.CRITICAL, last_at=NOON
    )
    with database.write() as connection:
        alerts.update(connection, replace(changed, title="not this"))
        assert alerts.read(connection, "alert-1") == changed
        assert alerts.read(connection, "other") == make_alert("other")


def test_alerts_that_a_match_may_join_are_read(database: Database) -> None:
    """The unresolved alerts of a group are read that began at most their own `realert` before or after one of the matches."""
    edge = timedelta(microseconds=1)
    store(
        database,
        make_alert("a", realert=QUARTER, status=Status.ACKED),
        make_alert("b", realert=QUARTER, status=Status.RESOLVED),
        make_alert("c", realert=QUARTER, first_at=NOON + 4 * QUARTER),
        make_alert("d", realert=4 * QUARTER, first_at=NOON - QUARTER),
        make_alert("e", first_at=NOON + QUARTER),
    )
    store(database, make_alert("f", realert=QUARTER), group="other")
    with database.read() as connection:

        def found(first: timedelta, last: timedelta) -> str:
            spans = [("group", NOON + first, NOON + last), ("none", NOON, NOON)]
            read = alerts.read_joinable(connection, spans)
            return "".join(sorted(alert.id for its in read.values() for alert in its))

        assert found(QUARTER, 3 * QUARTER) == "acde"
        assert found(QUARTER + edge, 3 * QUARTER - edge) == "d"
        assert found(3 * QUARTER + edge, 6 * QUARTER) == "c"
        assert found(-6 * QUARTER, -QUARTER) == "ad"
        assert found(-6 * QUARTER, -5 * QUARTER) == "d"
        assert found(-6 * QUARTER, -5 * QUARTER - edge) == ""
        assert alerts.read_joinable(connection, []) == {}


def test_alert_is_found_by_an_id_prefix(database: Database) -> None:
    """A prefix of an id finds the alert, and an ambiguous prefix is detected."""
    store(database, *(make_alert(name) for name in ("abc", "abd", "abe", "x_y", "xzy")))
    with database.read() as connection:
        found = {
            text: [alert.id for alert in alerts.read_by_prefix(connection, text)] for text in ("abc", "x_", "%", "q")
        }
        assert found == {"abc": ["abc"], "x_": ["x_y"], "%": [], "q": []}
        assert len(alerts.read_by_prefix(connection, "ab")) == 2


def test_newest_alerts_and_counts(database: Database) -> None:
    """Alerts are read newest first, from a given time on; counts are by level and status."""
    store(
        database,
        make_alert("a"),
        make_alert("b", opened_at=NOON + QUARTER, level=Level.LOW),
        make_alert("c", opened_at=NOON - QUARTER, status=Status.RESOLVED),
    )
    with database.read() as connection:
        assert [alert.id for alert in alerts.read_newest(connection, 10)] == ["b", "a", "c"]
        assert [alert.id for alert in alerts.read_newest(connection, 1)] == ["b"]
        assert [alert.id for alert in alerts.read_newest(connection, 10, AlertFilter(since=NOON))] == ["b", "a"]
        assert alerts.count(connection) == {
            (Level.HIGH, Status.OPEN): 1,
            (Level.HIGH, Status.RESOLVED): 1,
            (Level.LOW, Status.OPEN): 1,
        }


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (AlertFilter(), ["d", "c", "b", "a"]),
        (AlertFilter(levels=[Level.LOW]), ["b"]),
        (AlertFilter(statuses=[Status.ACKED, Status.RESOLVED]), ["c", "b"]),
        (AlertFilter(rules=["other"]), ["d"]),
        (AlertFilter(rules=["rule-1"]), ["c", "b", "a"]),
        (AlertFilter(user="EVE"), ["b", "a"]),
        (AlertFilter(cluster="orders-prod"), ["b"]),
        (AlertFilter(cluster="c-1", user="bob"), []),
        (AlertFilter(since=NOON + 2 * QUARTER, rules=["cluster_deleted"]), ["c"]),
    ],
)
def test_filter_selects_exactly_its_alerts(database: Database, wanted: AlertFilter, expected: list[str]) -> None:
    """Each filter keeps exactly its alerts; a user or a cluster is that of any record of the alert."""
    orders = Entity("c-1", "orders-prod")
    store(
        database,
        make_alert("a"),
        make_alert("b", opened_at=NOON + QUARTER, level=Level.LOW, status=Status.ACKED),
        make_alert("c", opened_at=NOON + 2 * QUARTER, status=Status.RESOLVED),
        make_alert("d", opened_at=NOON + 3 * QUARTER, rule=RuleName("other", "other", "Other")),
    )
    with database.write() as connection:
        given = [make_record(1), make_record(2, minutes=1, cluster=orders), make_record(3, minutes=2, user_name="bob")]
        records.insert_new(connection, given)
        alerts.join(connection, [("a", 1, NOON), ("b", 2, NOON), ("b", 3, NOON), ("c", 3, NOON)])
        assert [alert.id for alert in alerts.read_newest(connection, 9, wanted)] == expected
        nobody = AlertFilter(user="nobody")
        assert alerts.search(connection, nobody, 9, None, 2) == ([], (NOON + 2 * QUARTER, LAST_CHARACTER))
        assert alerts.search(connection, nobody, 9, None, 5) == ([], None)


def test_joining_again_changes_nothing(database: Database) -> None:
    """Joining again changes nothing, and the result shows it."""
    store(database, make_alert())
    with database.write() as connection:
        assert alerts.join(connection, [("alert-1", 1, NOON), ("alert-1", 2, NOON)]) == 2
        assert alerts.join(connection, [("alert-1", 2, NOON), ("alert-1", 3, NOON)]) == 1
        assert alerts.read_joined(connection, {2, 3, 4}) == {("rule-1", "alert-1", 2), ("rule-1", "alert-1", 3)}
        assert alerts.read_joined(connection, set()) == set()


def test_one_batch_may_touch_more_than_a_statement_can_take(database: Database) -> None:
    """However many records, alerts or silences are looked for at once, they are found."""
    many = 300_000  # SQLite takes 250,000 values at most, PostgreSQL 65,535
    store(database, make_alert())
    with database.write() as connection:
        alerts.join(connection, [("alert-1", many, NOON)])
        silences.write(connection, Silence("silence-1", ("level=high",), "eve", "planned", NOON, NOON + QUARTER))
        assert alerts.read_joined(connection, range(many + 1)) == {("rule-1", "alert-1", many)}
        names = [str(number) for number in range(many)]
        assert list(alerts.read_many(connection, [*names, "alert-1"])) == ["alert-1"]
        assert list(silences.read_many(connection, [*names, "silence-1"])) == ["silence-1"]


def test_retention_deletes_an_old_alert_without_deliveries(database: Database) -> None:
    """An old alert is deleted with its history, references and joins once it has no deliveries. Nothing else is deleted."""
    old = NOON - timedelta(days=500)
    store(database, make_alert("pending", opened_at=old), make_alert("gone", opened_at=old), make_alert("young"))
    with database.write() as connection:
        records.insert_new(connection, [make_record()])
        delivery_transitions.enqueue(connection, [make_delivery("pending")])
        for name in ("pending", "gone", "young"):
            alerts.join(connection, [(name, 1, NOON)])
            receivers.write_reference(connection, name, "slack", name)
            alert_history.append(connection, [alert_history.Entry(NOON, name, "opened", "x")])
        assert alerts.delete_settled(connection, NOON, NOON + timedelta(hours=1), 10) == 1
        assert alerts.delete_settled(connection, NOON, NOON + timedelta(hours=1), 10) == 0
        assert sorted(alerts.read_many(connection, ["pending", "gone", "young"])) == ["pending", "young"]
        found = receivers.read_references(connection, ["pending", "gone", "young"], "slack")
        assert sorted(found) == ["pending", "young"]
        assert [len(alert_history.read(connection, name)) for name in ("pending", "gone", "young")] == [1, 0, 1]
        assert records.read_of_alerts(connection, ["gone"], 9) == {"gone": []}
