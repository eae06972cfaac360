"""The notes of `check` about keys that do not fit each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionwatch.base.source_labels import use_labels
from actionwatch.service import checking, configuration
from tests.builders import CLUSTER_DELETED_RULE
from tests.cases import in_one_test

CONFIG = """
sources:
  - {{name: acme, organisation_id: 11111111-1111-4111-8111-111111111111, username: bob, api_key: key}}
receivers:
  - name: hook
    webhook: {{url: "http://127.0.0.1:9/"}}
    {keys}
"""


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        ("rate: 10/m\n    storm: {above: 30, per: 1m}", "allows 10 messages in 1m"),
        ("rate: 10/m\n    storm: {above: 10, per: 1m}", None),
        ("rate: 1/h\n    storm: {above: 1, per: 1m}", "allows 0 messages in 1m"),
        ("rate: 10/m", None),  # without storms
        ("storm: {above: 30, per: 1m}", None),  # without a rate
    ],
)
def test_rate_that_never_reaches_the_limit_of_storms(tmp_path: Path, keys: str, note: str | None) -> None:
    """`check` prints a note at a receiver whose rate allows fewer messages than a storm lets through."""
    config = tmp_path / "actionwatch.yaml"
    (tmp_path / "rules").mkdir()
    config.write_text(CONFIG.format(keys=keys))
    notes = [
        each for each in checking.check(configuration.read_settings(config), config).notes if "the rate of" in each.what
    ]
    assert [(each.line, note is not None and note in each.what) for each in notes] == ([(5, True)] if note else [])


UNREACHED = """
  - name: quiet
    webhook: {url: "http://127.0.0.1:9/quiet"}
route: {receiver: hook}
"""
ROUTED = UNREACHED.replace("hook}", "hook, routes: [{receiver: quiet, matchers: ['level=low']}]}")


@in_one_test(
    ("keys", "more", "rule", "expected"),
    [
        ("", UNREACHED, "", ["7:5: no route names 'quiet': it gets no alert"]),
        ("", ROUTED, "", []),
        ("", UNREACHED.replace("route: {receiver: hook}", ""), "", []),
        ("", UNREACHED, "  escalate: {after: 10m, to: quiet}\n", []),
        ("fallback: quiet", UNREACHED, "", []),
    ],
)
def test_receiver_that_gets_no_alert(tmp_path: Path, keys: str, more: str, rule: str, expected: list[str]) -> None:
    """`check` prints a note at a receiver that no route, no escalation and no other receiver names."""
    assert notes(tmp_path, CONFIG.format(keys=keys).rstrip() + more, rule) == expected


def test_organisation_that_is_a_name(tmp_path: Path) -> None:
    """`check` prints a note at an organisation id that is no UUID."""
    named = CONFIG.format(keys="").replace("11111111-1111-4111-8111-111111111111", "acme")
    assert notes(tmp_path, named) == ["3:18: 'acme' is not a UUID: it may be the name of the organisation"]


def notes(folder: Path, written: str, rule: str = "") -> list[str]:
    """Return the notes about a configuration with one rule."""
    config = folder / "actionwatch.yaml"
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "rules" / "rule.yml").write_text(CLUSTER_DELETED_RULE + rule)
    config.write_text(written)
    found = checking.check(configuration.read_settings(config), config).notes
    return [f"{each.line}:{each.column}: {each.what}" for each in found]


def test_label_that_sources_have_too(tmp_path: Path) -> None:
    """`check` prints a note at a rule whose label is replaced by that of sources."""
    config = tmp_path / "actionwatch.yaml"
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yml").write_text(CLUSTER_DELETED_RULE + "  labels: {customer: x, team: dba}\n")
    config.write_text(CONFIG.format(keys="").replace("{name: acme,", "{name: acme, labels: {customer: acme},"))
    notes = [each.what for each in checking.check(configuration.read_settings(config), config).notes]
    assert [note for note in notes if "label" in note] == [
        "'cluster_deleted' has the label 'customer', which sources have too: their alerts have that of the source"
    ]


def test_scope_that_names_no_source(tmp_path: Path) -> None:
    """`check` prints a note at an item in the `sources` of a rule that names no source, by its name or label."""
    config = tmp_path / "actionwatch.yaml"
    (tmp_path / "rules").mkdir()
    rule = CLUSTER_DELETED_RULE + "  sources: [acme, acmee, customer=acme, customer=other]\n"
    (tmp_path / "rules" / "a.yml").write_text(rule)
    config.write_text(CONFIG.format(keys="").replace("{name: acme,", "{name: acme, labels: {customer: acme},"))
    settings = configuration.read_settings(config)
    use_labels(configuration.source_labels(settings.sources))
    notes = [
        f"{each.what}: {each.remedy}" for each in checking.check(settings, config).notes if "no source" in each.what
    ]
    assert notes == [
        "no source is 'acmee': the rule matches no record by it: did you mean 'acme'?",
        "no source is 'customer=other': the rule matches no record by it: sources are: acme",
    ]
