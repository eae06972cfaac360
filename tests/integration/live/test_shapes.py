"""`check --live` finds out what the proof can rely on, for each shape of responses, and shows no value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from actionwatch.service.live_source import Outcome
from tests.integration.live.world import SECRETS, World, serve_world

SUBJECTS = (
    *("key", "clock", "linked accounts", "records", "kinds", "totals", "counts", "pages", "order", "windows"),
)  # fmt: skip


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Serve one organisation to all tests; each sets its faults."""
    with serve_world() as served:
        yield served


def assert_shows_no_value(outcomes: Mapping[str, Outcome], world: World) -> None:
    """Fail if a name, an id, a text or a secret of the log is in what would be printed, except in the line about the key."""
    text = json.dumps([outcome.document() for subject, outcome in outcomes.items() if subject != "key"])
    inventory = world.organisation.inventory
    ids = [each.id for each in (*inventory.accounts, *inventory.clusters)]
    assert not [secret for secret in (*SECRETS, *ids, world.organisation.id) if secret in text]


def test_documented_upstream_passes(world: World) -> None:
    """The documented upstream passes ten checks, and the shape of its records is known, with at most 12 requests."""
    before = world.traffic.total()
    outcomes = world.check()
    assert tuple(outcomes) == SUBJECTS
    assert all(outcome.is_ok for outcome in outcomes.values())
    assert world.traffic.total() - before <= 12
    fields = {field.name: (field.types, field.share, field.read_as) for field in outcomes["records"].fields}
    assert fields["userName"] == ("text", "all", "user")
    assert fields["clusterId"] == ("UUID or null", "all", "cluster_id")
    assert_shows_no_value(outcomes, world)


FAULTS = [
    ("total:string counts:kind_total", "totals", True, "they count the window"),
    ("total:absent", "totals", True, "two walks"),
    ("total:page", "totals", True, "count the page and not the window"),
    ("total:more", "totals", False, "higher than the number of records"),
    ("total:fewer", "totals", True, "lower than the number of records"),
    ("counts:absent", "counts", True, "missing"),
    ("counts:page", "counts", True, "count the page and not the window"),
    ("counts:more", "counts", True, "do not add up to the total"),
    ("total:absent counts:more", "counts", True, "they count the window"),
    ("page_clamped:40", "pages", True, "at most 40 records"),
    ("page_size_ignored", "pages", True, "pageSize is ignored"),
    ("index_ignored", "pages", False, "recordIndex is ignored"),
    ("index_of_pages", "pages", False, "counts pages and not records"),
    ("order:shuffled", "order", True, "the same in each response"),
    ("order:reshuffled", "order", True, "another in each response"),
    ("order:ties", "order", True, "change places between responses"),
    ("bounds_truncated:1m", "windows", True, "exact to a minute"),
    ("times_ignored:both", "windows", True, "startTime and endTime: ignored"),
    ("time_form:iso_no_zone", "windows", True, "exact to a minute"),
    ("time_form:unreadable", "records", False, "130 of 130 records have no readable time"),
    ("user_name:absent", "records", False, "no field for user"),
    ("unknown_field:correlationData", "records", True, "raw.NAME: correlationData"),
    ("no_date", "clock", True, "does not return its time"),
    ("wrong_answer:html", "key", False, "markup"),
    ("rate_limited:1s,every=9", "order", True, "the same"),
]


@pytest.mark.parametrize(("faults", "subject", "is_ok", "what"), FAULTS, ids=[each[0] for each in FAULTS])
def test_each_shape_is_recognised(world: World, faults: str, subject: str, is_ok: bool, what: str) -> None:
    """Each shape has its finding; only what prevents the proof, or keeps rules from matching, fails."""
    outcomes = world.check(*faults.split())
    assert what in outcomes[subject].what
    assert outcomes[subject].is_ok == is_ok
    assert bool(outcomes[subject].remedy) == (not is_ok)
    if subject != "key":
        assert_shows_no_value(outcomes, world)


def test_alias_of_a_field_passes(world: World) -> None:
    """With the alias that the remedy asks for, the field is read."""
    outcomes = world.check("user_name:absent", "unknown_field:correlationData", aliases={"user": ["correlationData"]})
    assert outcomes["records"].is_ok
    assert "user" in {field.read_as for field in outcomes["records"].fields if field.name == "correlationData"}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_records_fail_nothing(count: int) -> None:
    """With too few records, the checks say what they cannot show, and none fails."""
    with serve_world(count) as world:
        outcomes = world.check()
    assert all(outcome.is_ok for outcome in outcomes.values())
    assert "none yet" in outcomes["records"].what if count == 0 else "cannot show" in outcomes["pages"].what
