"""The JSON Schemas accept what loads, refuse what is misspelt, and name every key."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from actionwatch.service import configuration
from actionwatch.text.yaml_document import read_file, read_text
from tests.cases import in_one_test

ROOT = Path(__file__).parents[3]
HEAD = "title: T\nlogsource: {product: instaclustr}\n"
RULE = HEAD + "detection:\n  s: {actionKind: BACKUP}\n  condition: s\n"
Is = Callable[[Any], bool]


@pytest.fixture(scope="module")
def rule_schema() -> Is:
    """Check a value with the schema of rules."""
    return jsonschema_rs.validator_for(configuration.rule_schema()).is_valid


@pytest.fixture(scope="module")
def config_schema() -> Any:
    """Make the validator of the configuration."""
    return jsonschema_rs.validator_for(configuration.config_schema())


def test_shipped_rules_are_valid(rule_schema: Is) -> None:
    """The schema accepts every shipped rule."""
    for file in (ROOT / "rules").rglob("*.yml"):
        for document in read_file(file):
            assert rule_schema(document.value), file


def test_the_examples_of_the_documents_are_valid(rule_schema: Is) -> None:
    """The schema accepts every rule in the documentation."""
    for name in ("rules.md", "correlation.md"):
        for example in re.findall(r"```yaml\n(title.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL):
            for document in read_text(example, name):
                assert rule_schema(document.value), example


@in_one_test(
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
        RULE.replace("logsource: {product: instaclustr}\n", ""),
        RULE + "falsepositives: a text\n",
        RULE + "alert: {fields: [useName]}\n",
        RULE + "alert: {escalate: {after: 5m}}\n",
        RULE + "tests: [{expect: alert}]\n",
        RULE + "tests: [{event: {}, events: [{}], expect: alert}]\n",
        RULE + "correlation: {timespan: 5m, condition: {gte: 5}}\n",
        RULE + "correlation: {type: event_count, timespan: 5, condition: {gte: 5}}\n",
        RULE + "correlation: {type: event_count, timeframe: 5m, condition: {gte: 5}}\n",
        RULE + "correlation: {type: event_count, group_by: [userName], timespan: 5m, condition: {gte: 5}}\n",
        RULE + "correlation: {type: event_count, timespan: 5m, condition: {get: 5}}\n",
        RULE + "correlation: {type: value_count, timespan: 5m, condition: {gte: 5, field: useName}}\n",
        RULE + "correlation: {type: new_term, fields: [useName], history: 9d}\n",
        HEAD + "filter: {s: {source: a}, condition: not s}\nowner: a\nreason: b\nexpires: 2027-01-01\n",
    ],
)
def test_misspelt_keys_are_refused(text: str, rule_schema: Is) -> None:
    """The schema refuses what the loader would refuse."""
    assert not rule_schema(read_text(text, "r.yml")[0].value)


@in_one_test(
    "text",
    [
        RULE + "x-owner: me\nmode: shadow\nwhen: {outside: [a]}\n",
        HEAD + "detection:\n  s:\n    - {userName|re|i: a, '|all': [a, b], raw.x.y|gt: 5}\n"
        "    - {cluster: null}\n  k: [a, b]\n  condition: s\n",
        HEAD + "detection: {s: {actionKind: A_KIND_OF_TOMORROW}, condition: [s]}\n",
        HEAD + "detection: {s: {source: a}}\n"
        "correlation: {type: temporal_ordered, rules: [s], group-by: [userName], timespan: 5m}\n",
        HEAD + "filter: {rules: any, s: {source: a}, condition: not s}\nowner: a\nreason: b\nexpires: 2027-01-01\n",
        "title: T\ncorrelation: {type: temporal, rules: [a, b], aliases: {who: {a: userName, b: raw.x}}, group-by: [who], "
        "timespan: 1M, condition: a and not b, x-mine: 5}\nalert: {group_by: [who], fields: [raw.x, userName]}\n",
        RULE + "correlation: {type: value_count, timespan: 1d, condition: {field: [raw.x, userName], gt: 1}}\n",
        RULE + "correlation: {type: spike, timespan: 1d, condition: {factor: 1.5, min: 3}, windows: 7}\n",
        RULE + "correlation: {type: new_term, fields: [userName], history: 1y, baseline: any, cold-start: learn}\n",
        RULE + "correlation: {type: event_count, timespan: 26h, condition: {lt: 1}, group-by: [cluster], "
        "expect-groups: {cluster: [a, b]}}\n",
    ],
)  # fmt: skip
def test_valid_documents_are_accepted(text: str, rule_schema: Is) -> None:
    """The schema accepts what loads."""
    assert rule_schema(read_text(text, "r.yml")[0].value)


def test_the_configuration_that_init_writes_is_valid(config_schema: Any) -> None:
    """The schema accepts the file of `init` as written, and with every commented option."""
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
def test_invalid_configuration_is_refused(text: str, config_schema: Any) -> None:
    """The schema refuses misspelt keys and invalid words."""
    assert not config_schema.is_valid(read_text(text, "c.yaml")[0].value)
