"""The alert block: texts, levels, groups, and what happens when a template fails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.base.model import Entity, Level, Record
from actionwatch.rules.engine import Engine
from tests.cases import in_one_test
from tests.unit.rules.builders import HEAD, only_match, record, rules_in

RULE = HEAD + "name: n\nlevel: high\ndetection:\n  s: {actionKind: '*'}\n  condition: s\n"
EVE = record(
    account=Entity(id="a-1", name="Payments"),
    cluster=Entity(id="c-1", name="prod-eu"),
    description="gone",
    raw={"x": {"y": 1}},
)


def test_rule_without_an_alert_block_has_default_texts() -> None:
    """Without an alert block, the title is that of the rule, and the body names user, action, place and kind."""
    match = only_match(RULE, EVE)
    assert match.title == "T"
    assert match.body == "eve deleted cluster prod-eu in account Payments (DELETE_CLUSTER): gone"
    assert (match.level, match.group, match.realert, match.fields, match.runbook) == (
        Level.HIGH,
        None,
        timedelta(0),
        (),
        None,
    )


def test_default_body_of_a_bare_record() -> None:
    """The body omits what the record lacks."""
    assert only_match(RULE, record(user=None)).body == "Someone deleted a cluster (DELETE_CLUSTER)."


def test_match_has_every_value_of_the_block() -> None:
    """The match has every value of the block."""
    match = only_match(
        RULE
        + "alert:\n  title: '{{ userName }}: {{ actionKind }}'\n  body: b\n  level: low\n  fields: [userName, raw.x.y]\n"
        "  group_by: [userName, account, raw.none]\n  realert: 1h\n  labels: {team: dba, tier: 1, paged: true}\n"
        "  runbook: |\n    1. Ask.\n    2. Act.\n",
        EVE,
    )
    assert (match.title, match.body, match.level) == ("eve: DELETE_CLUSTER", "b", Level.LOW)
    assert match.fields == ("userName", "raw.x.y")
    assert match.group == {"userName": "eve", "account": "a-1", "raw.none": None}
    assert match.realert == timedelta(hours=1)
    assert match.labels == {"team": "dba", "tier": "1", "paged": "true"}
    assert match.runbook == "1. Ask.\n2. Act."


def test_realert_has_a_default() -> None:
    """A grouped rule collects matches for 15 minutes by default."""
    assert only_match(RULE + "alert: {group_by: [userName]}\n", EVE).realert == timedelta(minutes=15)


@in_one_test(
    ("template", "expected"),
    [
        ("{{ cluster.name or clusterId }}", "prod-eu"),
        ("{{ cluster }}/{{ account.id }}", "prod-eu/a-1"),
        ("{{ organisation }} {{ organisation.name }}", "unknown unknown"),
        ("{{ rule.name }} {{ level }} {{ group.userName }}", "n high eve"),
        ("{{ raw.x.y + 1 }}", "2"),
        ("{{ timestamp }}", "2026-03-04T05:06:07.000Z"),
        ("{% if cluster %}{{ description | upper }}{% endif %}", "GONE"),
        ("{% for word in [0, 1, 2] %}{{ word }}{% endfor %}", "012"),
        ("{% for cluster in [0, 1, 2] %}{{ cluster }}{% endfor %} of {{ cluster }}", "012 of prod-eu"),
        ("{% set who = userName %}{% macro loud(text) %}{{ text | upper }}{% endmacro %}{{ loud(who) }}", "EVE"),
        (
            "{% for word in 'abc' %}{{ loop.index }}/{{ loop.length }}{{ word ~ '!' }}{{ loop.last }}{% endfor %}",
            "1/3a!False2/3b!False3/3c!True",
        ),
        (
            "{{ '%d' | format(9999999999) }} {{ 9999999999 | filesizeformat }}",
            "9999999999 10.0 GB",
        ),
        (
            "{{ 'at 12:00000, 100000 %s: {}' | format(1) }} {{ '%05d' % 7 }} {{ '%s-%s' % ('a', 'b') }}",
            "at 12:00000, 100000 1: {} 00007 a-b",
        ),
        (
            "{{ 'ab' | center(6) | replace(' ', '.') | join(',') | truncate(9, true, '', 0) }} {{ 10 % 3 }}",
            ".,.,a,b,. 1",
        ),
        ("a\n  b", "a b"),
        ("{{ domainType or '' }}", "T"),
    ],
)
def test_templates_use_the_fields_of_the_record(template: str, expected: str) -> None:
    """A template can use the fields of the record, the rule, the level and the group. A title is one line."""
    text = RULE + f"alert:\n  group_by: [userName]\n  title: |-\n    {template.replace(chr(10), chr(10) + '    ')}\n"
    assert only_match(text, EVE).title == expected


def test_audit_text_is_never_a_template() -> None:
    """Text of the upstream is printed and never executed."""
    match = only_match(RULE + "alert: {title: '{{ userName }}'}\n", record(user="{{ 7 * 7 }}"))
    assert match.title == "{{ 7 * 7 }}"


@in_one_test(
    "template",
    ["{{ raw.missing.deeper }}", "{{ 1 / 0 }}", "{{ userName.x.y }}", "{{ 'a' * 10 ** 9 }}", "{{ ''.__class__.__mro__[1] }}",
     "{% for i in 'a' | center(99) %}{% for i in 'a' | center(99) %}{{ i | center(99) }}{% endfor %}{% endfor %}",
     "{% for i in [1, 2] recursive %}{{ loop([i] + [i]) }}{% endfor %}",
     "{% for i in [1, 1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
     "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
     "{{ 'x' | center(2000000000) }}", "{{ '%2000000000d' | format(1) }}", "{{ '{:>2000000000}'.format(1) }}",
     "{{ '%2000000000d' % 1 }}", "{{ '%*d' % (2000000000, 1) }}", "{{ '{:{}}'.format(1, 2000000000) }}",
     "{{ '%(x)2000000000d' | format(x=1) }}",
     "{{ 'a' * 9999 * 9999 }}", "{{ ('a' * 9999) | replace('a', 'b' * 99999) | length }}",
     "{{ ('a' * 9999).replace('a', 'b' * 99999) | length }}",
     "{{ ('a' * 9999 ~ 'b' * 9999) | list | join('b' * 9999) | length }}", "{{ ('b' * 9999).join('a' * 9999 * 9) | length }}",
     "{{ 'x'.ljust(2000000000) | length }}", "{{ [1] | batch(width=100000000, fill_with='x') }}",
     "{% set ns = namespace(x='a') %}{% for i in 'a' | center(40)%}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x|length }}",
     "{% set ns = namespace(x='a') %}{% for i in 'a' | center(40)%}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}"],
)  # fmt: skip
def test_a_failing_template_falls_back(template: str) -> None:
    """The alert gets a plain text, and the failure is recorded once."""
    # Fails earlier in the sample that is rendered when a rule is loaded, so that the rule is loaded.
    text = "{{ {'eve': 1}[userName] + 0 }}" + template
    rules = rules_in(RULE + f'alert:\n  title: "{text}"\n  body: "{text}"\n')
    engine = Engine(rules.rules)
    (match,) = engine.evaluate([EVE])
    assert match.title == "T: eve deleted cluster prod-eu (DELETE_CLUSTER)"
    assert match.body.startswith("eve deleted cluster prod-eu")
    failures = engine.take_failures()
    assert [failure.what.split(":")[0] for failure in failures] == ["alert.title", "alert.body"]
    assert {(failure.rule.name, failure.record_key) for failure in failures} == {("n", "k")}
    assert engine.take_failures() == []


@pytest.mark.parametrize(
    ("by", "level"),
    [
        (record("BACKUP", user="root"), Level.CRITICAL),
        (record("BACKUP", user="eve"), Level.CRITICAL),
        (record("CREATE_CLUSTER", user="root"), Level.LOW),
        (record("CREATE_CLUSTER", user="eve"), Level.HIGH),
    ],
)
def test_highest_matching_level_applies(by: Record, level: Level) -> None:
    """The highest level whose selection matches applies, otherwise the level of the rule."""
    text = (
        RULE
        + "alert:\n  level:\n    low: {userName: root}\n    critical: [{actionKind: BACKUP}, {actionKind: DELETE_CLUSTER}]\n"
    )
    assert only_match(text, by).level is level


def test_long_titles_are_cut() -> None:
    """A title is short for every record."""
    match = only_match(RULE + "alert: {title: '{{ userName }}'}\n", record(user="x" * 5000))
    assert len(match.title) == 300
