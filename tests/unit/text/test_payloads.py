"""Records and alerts have the format of the contract."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from actionwatch.base.model import Entity, Status
from actionwatch.text.payloads import alert_document, instant, record_document
from tests.builders import NOON, make_alert, make_record
from tests.cases import in_one_test


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (NOON, "2026-11-25T12:00:00.000Z"),
        (NOON + timedelta(milliseconds=7), "2026-11-25T12:00:00.007Z"),
        (NOON + timedelta(microseconds=7), "2026-11-25T12:00:00.000007Z"),
        (NOON.astimezone(timezone(timedelta(hours=2))), "2026-11-25T12:00:00.000Z"),
    ],
)
def test_time_is_rfc_3339_in_utc(at: datetime, expected: str) -> None:
    """A time is RFC 3339 in UTC with milliseconds, or with microseconds if it has any."""
    assert instant(at) == expected


def test_record_has_the_keys_of_the_contract() -> None:
    """A record has the keys of the contract in their order, and the unchanged object of the upstream."""
    record = make_record(
        raw='{"a":1.0,"b":"\\ud800"}',
        account=Entity("a-1", "Acme"),
        cluster=Entity("c-1"),
        operation="DELETE",
        scope="account",
    )
    assert record_document(record) == {
        "key": record.key,
        "timestamp": "2026-11-25T12:00:00.000Z",
        "actionKind": "DELETE_CLUSTER",
        "userName": "eve",
        "description": None,
        "account": {"id": "a-1", "name": "Acme"},
        "cluster": {"id": "c-1", "name": None},
        "scope": "account",
        "crudOperation": "DELETE",
        "source": "acme",
        "raw": {"a": 1.0, "b": "\ud800"},
    }


@in_one_test("number", ["9" * 5000, "-" + "9" * 5000, "1e999", "NaN", "Infinity", "-Infinity"])
def test_a_number_that_nothing_holds_is_text(number: str) -> None:
    """A number that Python or JSON cannot represent becomes its text."""
    document = record_document(make_record(raw=f'{{"odd":[{number}],"plain":1}}'))
    assert document["raw"] == {"odd": [number], "plain": 1}
    assert json.loads(json.dumps(document, allow_nan=False))["raw"] == document["raw"]


def test_nesting_that_python_cannot_follow_is_text() -> None:
    """An object that is nested too deeply becomes its text."""
    raw = '{"a":' * 100_000 + "1" + "}" * 100_000
    assert record_document(make_record(raw=raw))["raw"] == raw


def test_alert_has_the_keys_of_the_contract() -> None:
    """An alert has exactly the keys of the contract, in their order."""
    alert = make_alert(
        group={"userName": "eve"}, late_by=timedelta(seconds=90.5), status=Status.RESOLVED, resolved_by="eve", count=3
    )
    found = alert_document(alert, [make_record()])
    assert " ".join(found) == (
        "id rule level title body runbook labels source group status acked_by resolved_by count first_at last_at late "
        "late_by_seconds explain user cluster assigned_to note noted_by reopened_by records"
    )
    assert found["rule"] == {
        "id": "rule-1",
        "name": "cluster_deleted",
        "title": "Cluster deleted",
        "tags": ["attack.impact"],
    }
    assert (found["level"], found["status"], found["resolved_by"], found["count"]) == ("high", "resolved", "eve", 3)
    assert (found["late"], found["late_by_seconds"]) == (True, 90.5)
    assert found["explain"] == f"actionwatch explain {found['id'][:8]}"
    assert json.loads(json.dumps(found)) == found


def test_missing_values_are_null_or_empty() -> None:
    """What an alert lacks is null, false or empty, and never missing."""
    found = alert_document(make_alert(), [])
    assert (found["late"], found["late_by_seconds"], found["group"], found["records"]) == (False, None, {}, [])


def test_newest_fifty_records_are_included() -> None:
    """Of more than fifty records, the newest fifty are included, the newest last."""
    records = [make_record(n, minutes=n) for n in range(60)]
    shown = alert_document(make_alert(count=60), records)["records"]
    assert [item["key"] for item in shown] == [record.key for record in records[10:]]
