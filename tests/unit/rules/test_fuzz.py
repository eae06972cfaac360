"""Broken input of every kind is reported and causes no crash and no hang."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.instaclustr.kinds import KINDS as CATALOGUE
from actionwatch.rules.case_runner import CaseRunner
from actionwatch.rules.cases import KEYS as CASE_KEYS
from actionwatch.rules.engine import Engine
from actionwatch.rules.explain import explain
from actionwatch.rules.lint import lint
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import build_rules, load_rules
from actionwatch.service.simulation import simulate
from actionwatch.text.timeintervals import Period, TimeInterval
from actionwatch.text.yaml_document import Document
from tests.cases import in_one_test
from tests.examples import examples
from tests.unit.rules.builders import AT, GOOD_TEXT, KINDS, record

KEYS = [
    "title", "id", "name", "level", "status", "tags", "date", "related", "references", "logsource", "detection", "alert",
    "condition", "s", "userName", "userName|re", "userName|contains|all", "raw.x|cidr", "timestamp|hour", "|all", "product",
    "body", "labels", "fields", "group_by", "realert", "runbook", "x-a", "correlation", "fieldref", "userName|fieldref",
    "userName|expand", "a|b|c", "", "|", "userName|base64offset|windash", "userName|exists", "userName|gt",
    "userName|wide|re", "critical", "when", "during", "outside", "mode", "tests", "event", "events", "expect", "at", "seen_at",
    "repeat", "every", "until", "history", "lists", "alerts", "group", "late", "filter", "rules", "owner", "reason", "expires",
    "type", "group-by", "timespan", "gte", "lt", "expect-groups",
]  # fmt: skip
WORDS = [
    "instaclustr", "s", "1 of them", "not s", "all of *", "{{ userName }}", "{% for %}", "%x%", "(", "*", "10.0.0.0/8", "15m",
    "-1d", "\ud800", "office", "shadow", "off", "alert", "nothing", "any", "2026-12-31", "2026-03-04T12:00:00Z", "event_count",
    "r", "9999-12-31T23:59:59Z", "-9999d", "*x*", "^a^", "s and s", "1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a01", "(?i", "a{1000000}",
]  # fmt: skip
PIECES = ["", ":", "- ", "\n", "\t", "'", '"', "{", "[", "*a", "&a ", "!x ", "|", "#", "---\n", "\x00", "é", "<<: "]
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(WORDS))
keys = st.one_of(st.sampled_from(KEYS), st.sampled_from(KEYS), st.integers(), st.booleans(), st.text(max_size=3))
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=15,
)
INTERVALS = {"office": TimeInterval("office", (Period(times=((480, 1080),)),))}
FILTER = {
    "title": "F",
    "logsource": {"product": "instaclustr"},
    "owner": "o",
    "reason": "r",
    "expires": "2026-12-31",
    "filter": {"rules": "any", "s": {"userName": "x"}, "condition": "not s"},
}
SOUND = {
    "title": "T",
    "logsource": {"product": "instaclustr"},
    "detection": {"s": {"userName": "eve"}, "condition": "s"},
}


@examples(75)
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=5), st.booleans(), values)
def test_any_document_loads_or_is_reported(parts: dict[str, Any], is_based: bool, inner: Any) -> None:
    """Every document becomes a rule that runs, a fault or a note."""
    value = {**SOUND, **parts} if is_based else parts
    in_detection = {**SOUND, "detection": {"s": inner, "condition": "s"}, "alert": {"level": {"high": inner}}}
    in_extras = {**SOUND, "when": inner, "mode": inner, "tests": [{"event": {"userName": "a"}, "expect": inner}, inner]}
    in_filter = {**FILTER, "filter": {"rules": inner, "s": inner, "condition": "not s"}}
    for each in (value, inner, in_detection, in_extras, in_filter, {**FILTER, **parts}):
        _use(each)


@examples(75)
@given(st.dictionaries(st.sampled_from(CASE_KEYS), values, max_size=4), st.dictionaries(keys, values, max_size=4))
def test_any_test_runs_or_is_reported(parts: dict[str, Any], event: dict[Any, Any]) -> None:
    """Every test in a rule file runs or is a fault."""
    _use(
        {
            **SOUND,
            "tests": [{"event": event, "expect": "alert"}, {"event": {"userName": "eve"}, "expect": "alert", **parts}],
        }
    )


def _use(value: Any) -> None:
    """Do with a document, next to a valid rule, everything that commands do."""
    documents = [Document("f.yml", value), Document("s.yml", {**SOUND, "title": "Sound", "name": "sound"})]
    lists = Lists({"x": ("a",)})
    loaded = build_rules(documents, lists=lists, known_kinds=KINDS, time_intervals=INTERVALS, now=AT)
    assert "sound" in {rule.name.name for rule in loaded.rules}
    assert len(loaded.rules) + len(loaded.filters) > 1 or loaded.faults or loaded.notes
    assert all(fault.line > 0 for fault in loaded.faults)
    Engine(loaded.rules).evaluate([record(), record(user=None)])
    lint(loaded, documents, KINDS)
    runner = CaseRunner(loaded.rules, simulate, CATALOGUE, lists, lambda _: loaded.rules)
    for rule in loaded.rules:
        explain(rule, record(), lists).document()
        list(runner.run(rule))


@examples(75)
@given(st.data())
def test_any_text_loads_or_is_reported(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A rule file with changed, removed or inserted characters loads or is reported."""
    text = GOOD_TEXT
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(text)))
        piece = data.draw(st.sampled_from(PIECES))
        text = text[:at] + piece + text[at + data.draw(st.integers(0, 4)) :]
    file = tmp_path_factory.getbasetemp() / "fuzzed.yml"
    file.write_bytes(text.encode())
    loaded = load_rules([file], lists=None, known_kinds=KINDS)
    Engine(loaded.rules).evaluate([record()])


HOSTILE: dict[str, Any] = {
    "billion laughs": "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)
    ),
    "deep": "a: " + "[" * 5000,
    "python tag": "a: !!python/object/apply:os.system [echo]\n",
    "many brackets": "condition: " + "(" * 100_000,
    "many documents": "---\na: b\n" * 5000,
    "long condition": SOUND | {"detection": {"s": {"userName": "a"}, "condition": " and ".join(["s"] * 900)}},
    "deep condition": SOUND | {"detection": {"s": {"userName": "a"}, "condition": "(s and " * 300 + "s" + ")" * 300}},
    "deep not": SOUND | {"detection": {"s": {"userName": "a"}, "condition": "not " * 1200 + "s"}},
    "deep selector": SOUND | {"detection": {"s": {"userName": "a"}, "condition": "1 of " + "*s" * 2000}},
    "huge repetition": SOUND | {"detection": {"s": {"userName|re": "((a{100}){100}){100}"}, "condition": "s"}},
    "deep template": SOUND | {"alert": {"title": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}"}},
    "deep selection": SOUND | {"detection": {"s": [[[[[[{"userName": "a"}]]]]]], "condition": "s"}},
    "many wildcards": SOUND | {"detection": {"s": {"userName": "*a" * 2000}, "condition": "s"}},
    "many dashes": SOUND | {"detection": {"s": {"userName|windash": "-a " * 50}, "condition": "s"}},
}  # fmt: skip


@in_one_test("name", HOSTILE)
def test_hostile_document_is_refused_or_cheap(name: str, tmp_path: Path) -> None:
    """A document that is made to use endless time or memory is refused or cheap."""
    hostile = HOSTILE[name]
    if isinstance(hostile, dict):
        loaded = build_rules([Document("f.yml", hostile)], lists=Lists(), known_kinds=KINDS)
    else:
        (tmp_path / "f.yml").write_text(hostile)
        loaded = load_rules([tmp_path / "f.yml"], lists=None, known_kinds=KINDS)
    assert loaded.rules or loaded.faults
    Engine(loaded.rules).evaluate([record(user="a" * 20_000, description="b" * 20_000)])
