"""The JSON Schemas: they take what loads, refuse what is misspelt, and name every key."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from actionwatch import app
from actionwatch.located import read_file, read_text

ROOT = Path(__file__).parents[3]
HEAD = "title: T\nlogsource: {product: instaclustr}\n"
RULE = HEAD + "detection:\n  s: {actionKind: BACKUP}\n  condition: s\n"
Is = Callable[[Any], bool]


@pytest.fixture(scope="module")
def rule_schema() -> Is:
    """Say whether the rules' schema takes a value."""
    return jsonschema_rs.validator_for(app.rule_schema()).is_valid


@pytest.fixture(scope="module")
def config_schema() -> Any:
    """Make the validator of the configuration's schema."""
    return jsonschema_rs.validator_for(app.config_schema())


def test_shipped_rules_are_valid(rule_schema: Is) -> None:
    """The schema takes every shipped rule."""
    for file in (ROOT / "rules").rglob("*.yml"):
        for document in read_file(file):
            assert rule_schema(document.value), file


def test_the_examples_of_the_documents_are_valid(rule_schema: Is) -> None:
    """The schema takes every rule that the documents show."""
    for name in ("rules.md", "rule-tests.md", "rule-tools.md"):
        for example in re.findall(r"```yaml\n(title.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL):
            for document in read_text(example, name):
                assert rule_schema(document.value), example


@pytest.mark.parametrize(
    "text",
    [
        RULE + "levle: high\n",
        RULE + "level: hihg\n",
        RULE + "mode: shadwo\n",
        RULE + "when: {outsied: [a]}\n",
        RULE + "alert: {titel: x}\n",
        RULE + "tests: [{event: {useName: a}, expect: alert}]\n",
        RULE + "tests: [{event: {}, expect: alrt}]\n",
        RULE.replace("actionKind", "actoinKind"),
        RULE.replace("actionKind", "actionKind|contians"),
        HEAD,
        RULE + "id: x\n",
        HEAD + "filter: {rules: any, s: {source: a}, condition: not s}\n",  # no owner
    ],
)
def test_what_is_misspelt_is_refused(text: str, rule_schema: Is) -> None:
    """An editor underlines what the loader would refuse."""
    assert not rule_schema(read_text(text, "r.yml")[0].value)


@pytest.mark.parametrize(
    "text",
    [
        RULE + "x-owner: me\nmode: shadow\nwhen: {outside: [a]}\n",
        HEAD + "detection:\n  s:\n    - {userName|re|i: a, '|all': [a, b], raw.x.y|gt: 5}\n"
        "    - {cluster: null}\n  k: [a, b]\n  condition: s\n",
        HEAD + "detection: {s: {actionKind: A_KIND_OF_TOMORROW}, condition: [s]}\n",
        HEAD + "detection: {s: {source: a}}\n"
        "correlation: {type: temporal_ordered, rules: [s], group-by: [userName], timespan: 5m}\n",
        HEAD + "filter: {rules: any, s: {source: a}, condition: not s}\nowner: a\nreason: b\nexpires: 2027-01-01\n",
    ],
)  # fmt: skip
def test_what_is_fine_is_taken(text: str, rule_schema: Is) -> None:
    """An editor does not underline what loads."""
    assert rule_schema(read_text(text, "r.yml")[0].value)


def test_the_configuration_that_init_writes_is_valid(config_schema: Any) -> None:
    """As it stands, and with every commented option."""
    text = (files("actionwatch") / "_init" / "actionwatch.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=schemas/config.schema.json\n")
    for each in (text, re.sub(r"(?m)^( *)#(?! \S|$)", r"\1", text)):
        errors = [str(error) for error in config_schema.iter_errors(read_text(each, "c.yaml")[0].value)]
        assert errors == []


@pytest.mark.parametrize(
    "text",
    [
        "surces: []\n",
        "sources: [{nmae: a}]\n",
        "log: {level: loud}\n",
        "receivers: [{name: a, console: {}, email: {}}]\n",
        "receivers: [{name: a, console: {}, min_level: hihg}]\n",
        "store: {retention: {records: forever}}\n",
        "time_intervals: [{name: a, time_intervals: [{times: [{start_time: 8am, end_time: '18:00'}]}]}]\n",
    ],
)
def test_what_is_wrong_in_a_configuration_is_refused(text: str, config_schema: Any) -> None:
    """Misspelt keys and words that mean nothing are underlined."""
    assert not config_schema.is_valid(read_text(text, "c.yaml")[0].value)
