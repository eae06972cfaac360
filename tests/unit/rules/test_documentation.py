"""The examples in the documentation of rules are correct."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from sigma.modifiers import modifier_mapping

from actionwatch.emulator.catalogue import KINDS
from actionwatch.instaclustr.kinds import KINDS as CATALOGUE
from actionwatch.rules import cases
from actionwatch.rules.alert import KEYS
from actionwatch.rules.case_runner import CaseRunner, missing_tests
from actionwatch.rules.fields import FIELDS, VARIABLES
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import Rules, build_rules
from actionwatch.rules.model import Rule
from actionwatch.service.simulation import simulate
from actionwatch.text.timeintervals import Period, TimeInterval
from actionwatch.text.yaml_document import read_text

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "rules.md").read_text(encoding="utf-8")
TESTS = TEXT.split("\n## Tests\n")[1].split("\n## ")[0]
INTERVALS = {"business-hours": TimeInterval("business-hours", (Period(weekdays=((0, 4),), times=((480, 1080),)),))}
LONG_NAMES = {"ignorecase", "multiline", "dotall"}  # pySigma's other names of i, m and s


def _load(text: str, count: int, lists: Mapping[str, tuple[str, ...]] | None = None) -> Rules:
    examples = re.findall(r"```yaml\n(title.*?)```", text, re.DOTALL)
    documents = read_text("---\n".join(examples), "docs")
    loaded = build_rules(documents, lists=Lists(lists or {}), known_kinds=KINDS, time_intervals=INTERVALS)
    assert (len(loaded.rules) + len(loaded.filters), loaded.faults, loaded.notes) == (len(documents), (), ())
    assert len(documents) >= count
    return loaded


def test_examples_load() -> None:
    """Every example is a rule or a filter without faults and notes."""
    _load(TEXT, 5)


FIRST = TEXT.split("## Your first rule")[1].split("\n## ")[0]


@pytest.mark.parametrize(("page", "least"), [(FIRST, 1), (TESTS, 1)], ids=["first rule", "tests"])
def test_examples_of_tests_pass(page: str, least: int) -> None:
    """Every test of the first rule, and on the page about tests, passes; every rule there has enough tests."""
    loaded = _load(page, least, {"production-clusters": ("c",)})

    def rebuild(lists: Mapping[str, tuple[str, ...]]) -> Sequence[Rule]:
        return _load(page, least, lists).rules

    runner = CaseRunner(loaded.rules, simulate, CATALOGUE, Lists(), rebuild)
    results = [result for rule in loaded.rules for result in runner.run(rule)]
    assert [(result.case.name, result.problems) for result in results if result.problems] == []
    assert [rule.name.name for rule in loaded.rules if missing_tests(rule, 1)] == []


def test_every_key_of_a_test_is_named() -> None:
    """The page about tests names each key of a test, an event and an expectation."""
    words = set(re.findall(r"\w+", TESTS))
    assert {*cases.KEYS, *cases.EVENT_KEYS, *cases.EXPECT_KEYS} <= words


def test_every_key_and_modifier_is_documented() -> None:
    """The page about rules names each field, modifier, variable and key of the alert block."""
    words = set(re.findall(r"[\w.]+", TEXT))
    names = {*FIELDS, *modifier_mapping, *VARIABLES, *KEYS} - LONG_NAMES
    parts = {"account.id", "cluster.id", "organisation.id", "account.name", "cluster.name", "organisation.name"}
    assert names - parts <= words
