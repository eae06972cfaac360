"""The rules that come with actionwatch."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionwatch.emulator.catalogue import KINDS
from actionwatch.instaclustr.kinds import KINDS as CATALOGUE
from actionwatch.model import Entity
from actionwatch.pipeline.rehearse import simulate
from actionwatch.rules.check import Bench, missing_tests
from actionwatch.rules.engine import Engine
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import Rules, load_rules
from actionwatch.timeintervals import Period, TimeInterval
from tests.unit.rules.builders import record

FOLDER = Path(__file__).parents[3] / "rules"


@pytest.fixture(scope="module")
def shipped() -> Rules:
    """Load them once."""
    intervals = {"business-hours": TimeInterval("business-hours", (Period(weekdays=((0, 4),), times=((480, 1080),)),))}
    return load_rules([FOLDER], lists=None, known_kinds=KINDS, time_intervals=intervals)


def test_they_load(shipped: Rules) -> None:
    """There is nothing to complain about, not even a note."""
    assert (shipped.faults, shipped.notes) == ((), ())
    assert len(shipped.rules) >= 15


def test_they_do_what_their_own_tests_say(shipped: Rules) -> None:
    """Every test of every rule passes, and each rule has one that alerts and one that does not."""
    bench = Bench(shipped.rules, simulate, CATALOGUE, Lists(), lambda _: shipped.rules)
    verdicts = [verdict for rule in shipped.rules for verdict in bench.run(rule)]
    assert [(verdict.case.name, verdict.problems) for verdict in verdicts if not verdict.is_passed] == []
    assert [rule.name.name for rule in shipped.rules if missing_tests(rule, 1)] == []


def test_each_file_points_editors_to_its_schema() -> None:
    """The first line is the one that yaml-language-server reads."""
    for file in FOLDER.rglob("*.yml"):
        assert file.read_text().startswith("# yaml-language-server: $schema=../schemas/rule.schema.json\n"), file


def test_each_is_complete(shipped: Rules) -> None:
    """Every rule has an id, tags, a title with values, fields and a runbook in numbered steps, and is named like its file."""
    for rule in shipped.rules:
        assert Path(rule.file).stem == rule.name.name
        assert len(rule.name.id) == 36
        assert all(tag.startswith("attack.") for tag in rule.name.tags)
        assert rule.name.tags
        assert rule.alert.title is not None
        assert rule.alert.fields
        assert (rule.alert.runbook or "").startswith("1. ")


def test_each_can_match_and_be_worded(shipped: Rules) -> None:
    """Every rule matches a record of some kind, also one that lacks everything else, and no template fails."""
    engine = Engine(shipped.rules)
    account, cluster = Entity(id="a", name="n"), Entity(id="c", name="prod-eu")
    full = [record(kind, account=account, cluster=cluster, description="added 0.0.0.0/0") for kind in KINDS]
    matches = engine.evaluate(full + [record(kind, user=None) for kind in KINDS])
    assert {match.rule.name for match in matches} == {rule.name.name for rule in shipped.rules}
    assert not engine.failures


@pytest.mark.parametrize(
    ("user", "cluster", "expected"),
    [("alice", "prod-eu", 1), ("svc-ci-reaper", "ci-7", 0), ("svc-ci-reaper", "prod-eu", 1), ("alice", "ci-7", 1)],
)
def test_cluster_deleted(shipped: Rules, user: str, cluster: str, expected: int) -> None:
    """The reaper may delete what CI made, and nothing else."""
    found = Engine(shipped.rules).evaluate([record(user=user, cluster=Entity(name=cluster))])
    assert [match.rule.name for match in found] == ["cluster_deleted"] * expected
