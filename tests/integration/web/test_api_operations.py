"""Operations of the API that show without changing: a preview of a silence, the rules, and one rule with its history."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from actionwatch.base.rule_state import RuleEntry, RuleState
from actionwatch.store import alerts, records, rule_history, rule_versions, silences
from actionwatch.store.database import Database
from actionwatch.text.payloads import instant
from tests.builders import CLUSTER_DELETED_RULE, NOON, make_alert, make_record, make_version
from tests.integration.web.console_kit import Served, give_token
from tests.integration.web.test_api import is_problem, opened
from tests.unit.rules.builders import rules_in

HOUR = timedelta(hours=1)
PREVIEW = {"matchers": ["rule=cluster_deleted"], "comment": "load test", "ends_at": instant(NOON + HOUR)}
(RULE,) = rules_in(CLUSTER_DELETED_RULE).rules


@pytest.fixture
def served(database: Database) -> Served:
    """A rule that was off for an hour, and two alerts of it."""
    entries = [
        RuleEntry(
            at=NOON - hours * HOUR, rule_id=RULE.name.id, name=RULE.name.name, state=state,
        )
        for hours, state in ((2, RuleState.OFF), (1, RuleState.LIVE))
    ]  # fmt: skip
    with database.write() as connection:
        records.insert_new(connection, [make_record()])
        alerts.insert_new(connection, [(make_alert(name), name) for name in ("one", "two")])
        rule_versions.write(connection, [make_version(RULE.name.id, "the YAML", name=RULE.name.name)])
        rule_history.append(connection, entries)
    return Served(database, open_to=None, rules=[RULE])


@pytest.fixture
def api(served: Served, database: Database) -> Iterator[httpx.Client]:
    """A program with the token of an operator."""
    with opened(served, give_token(database)) as client:
        yield client


def test_a_preview_shows_what_a_silence_would_hide(api: httpx.Client, served: Served, database: Database) -> None:
    """It names the alerts by rule and the doubts, and makes nothing, however often it is asked."""
    served.doubts = ["no alert has the label x"]
    for _ in range(2):
        answer = api.post("silences/preview", json=PREVIEW)
        found = answer.json()
        assert answer.status_code == 200, found
        assert (found["alert_count"], found["hidden"], found["is_cut"]) == (2, {"cluster_deleted": 2}, False)
        assert (found["silence"]["author"], found["silence"]["ends_at"]) == ("sam", PREVIEW["ends_at"])
    with database.read() as connection:
        assert silences.read_all(connection) == []


def test_rules_in_use_are_listed(api: httpx.Client) -> None:
    """The list has what each rule is; it has no parameters."""
    found = api.get("rules").json()
    assert [(each["name"], each["mode"]) for each in found["items"]] == [(RULE.name.name, "live")]
    assert found["next"] is None
    is_problem(api.get("rules?level=high"), 400, "level is unknown")


def test_one_rule_has_its_yaml_and_its_history(api: httpx.Client) -> None:
    """By id and by name: the YAML that runs, and what it did, newest first."""
    by_id, by_name = (api.get(f"rules/{key}").json() for key in (RULE.name.id, RULE.name.name))
    assert by_id == by_name
    assert by_id["document"] == "the YAML"
    assert [(each["at"], each["state"]) for each in by_id["history"]] == [
        (instant(NOON - HOUR), "live"),
        (instant(NOON - 2 * HOUR), "off"),
    ]
    is_problem(api.get(f"rules/{uuid.UUID(int=9)}"), 404, "no rule in use has the id or name")
    is_problem(api.get(f"rules/{RULE.name.id}?x=1"), 400, "x is unknown")
