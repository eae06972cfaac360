"""Operations of the API that show without changing: a preview of a silence, the rules with what they cover, and one rule."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from actionwatch.base.rule_state import RuleState
from actionwatch.rules.blindness import Blindness, BlindSpan, Effect, RuleBlindness
from actionwatch.store import alerts, records, rule_versions, silences
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
    """A rule that could not fire for an hour, one for which no source was read, and two alerts of it."""
    own = BlindSpan(NOON - 2 * HOUR, NOON - HOUR, Effect.BLIND, "it was off")
    every = BlindSpan(NOON - 5 * HOUR, NOON - 4 * HOUR, Effect.BLIND, "acme was not read")
    its = RuleBlindness(RULE.name.id, RULE.name.name, RuleState.LIVE, (own,))
    with database.write() as connection:
        records.insert_new(connection, [make_record()])
        alerts.insert_new(connection, [(make_alert(name), name) for name in ("one", "two")])
        rule_versions.write(connection, [make_version(RULE.name.id, "the YAML", name=RULE.name.name)])
    blindness = Blindness(NOON - timedelta(days=7), NOON, (every,), (its,))
    return Served(database, open_to=None, rules=[RULE], blindness=blindness)


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


def test_rules_have_their_coverage_and_blindness(api: httpx.Client) -> None:
    """The list has how long each rule could not fire, when none could, and the rules of each technique."""
    found = api.get("rules").json()
    assert [(each["name"], each["blind_seconds"]) for each in found["items"]] == [(RULE.name.name, 7200.0)]
    assert (found["next"], found["blind_since"]) == (None, instant(NOON - timedelta(days=7)))
    assert [each["why"] for each in found["blind"]] == ["acme was not read"]
    watched = {each["technique"] for each in found["coverage"] if RULE.name.name in each["rules"]}
    tags = {tag.removeprefix("attack.").upper() for tag in RULE.name.tags}
    assert watched == {tag for tag in tags if tag.startswith("T")}
    is_problem(api.get("rules?level=high"), 400, "level is unknown")


def test_one_rule_has_its_yaml_and_its_own_blindness(api: httpx.Client) -> None:
    """By id and by name: the YAML that runs, and both what blinded all rules and what blinded this one, in order."""
    by_id, by_name = (api.get(f"rules/{key}").json() for key in (RULE.name.id, RULE.name.name))
    assert by_id == by_name
    assert (by_id["document"], by_id["blind_seconds"]) == ("the YAML", 7200.0)
    assert [each["why"] for each in by_id["blind"]] == ["acme was not read", "it was off"]
    is_problem(api.get(f"rules/{uuid.UUID(int=9)}"), 404, "no rule in use has the id or name")
    is_problem(api.get(f"rules/{RULE.name.id}?x=1"), 400, "x is unknown")
