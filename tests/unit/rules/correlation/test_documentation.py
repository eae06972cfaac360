"""The examples in docs/correlation.md are correct."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from actionwatch.emulator.catalogue import KINDS
from actionwatch.instaclustr.kinds import KINDS as CATALOGUE
from actionwatch.rules.case_runner import CaseRunner, missing_tests
from actionwatch.rules.correlations.reading.block import ALL_KEYS
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import build_rules
from actionwatch.rules.model import CorrelationType, Rule
from actionwatch.service.simulation import simulate
from actionwatch.text.yaml_document import read_text

TEXT = (Path(__file__).parents[4] / "docs" / "correlation.md").read_text(encoding="utf-8")


def _rules(lists: Mapping[str, tuple[str, ...]]) -> Sequence[Rule]:
    documents = read_text("---\n".join(re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)), "docs/correlation.md")
    loaded = build_rules(documents, lists=Lists(lists), known_kinds=KINDS)
    assert (loaded.faults, loaded.notes, len(loaded.rules)) == ((), (), len(documents))
    return loaded.rules


def test_examples_load_and_their_tests_pass() -> None:
    """Every example is a rule without faults and notes, and does what its tests say."""
    rules = _rules({"production-clusters": ("c",)})
    runner = CaseRunner(rules, simulate, CATALOGUE, Lists(), _rules)
    results = [result for rule in rules for result in runner.run(rule)]
    assert [(result.rule.name.name, result.case.name, result.problems) for result in results if result.problems] == []
    assert [rule.name.name for rule in rules if not rule.is_silent and missing_tests(rule, 1)] == []
    assert len(results) >= 15


def test_every_type_and_key_is_documented() -> None:
    """The page names each type and key."""
    words = set(re.findall(r"[\w-]+", TEXT))
    assert {*CorrelationType, *ALL_KEYS} <= words
