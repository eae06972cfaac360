"""References between rules: which are resolved, what is omitted with others, which rules become silent, what filters reach."""

from __future__ import annotations

import pytest

from actionwatch.rules.engine import Engine
from actionwatch.rules.instead import INSTEAD
from actionwatch.rules.load import Rules
from tests.unit.rules.builders import rules_in
from tests.unit.rules.correlation.kit import HEAD, record_at
from tests.unit.rules.correlation.live import ABOVE, FEED

COUNT = "type: event_count, rules: {}, timespan: 1h, condition: {{gte: 2}}"
LOUD, QUIET = COUNT + ", generate: true", COUNT


def load(*documents: str) -> Rules:
    """Build rules of several documents."""
    return rules_in("---\n".join(documents))


def silent(rules: Rules) -> dict[str, bool]:
    """Return of each rule whether it only feeds others."""
    return {rule.name.name: rule.is_silent for rule in rules.rules}


def test_what_names_no_plain_rule_is_omitted() -> None:
    """A rule that names nobody is omitted; one that names a correlation, also itself, is refused with what to write."""
    found = load(
        FEED.format("a", "BACKUP"),
        ABOVE.format("top", LOUD.format("[fine]")),
        ABOVE.format("itself", LOUD.format("[a, itself]")),
        ABOVE.format("bottom", LOUD.format("[nobody]")),
        ABOVE.format("fine", LOUD.format("[a]")),
    )
    assert [rule.name.name for rule in found.rules] == ["a", "fine"]
    assert [(fault.what, fault.remedy) for fault in found.faults] == [
        ("'fine' is a correlation", INSTEAD["rules"]),
        ("'itself' is a correlation", INSTEAD["rules"]),
        ("no rule has the name or id 'nobody'", "rules: a"),
    ]


@pytest.mark.parametrize(
    ("above", "lines", "suggestion"),
    [
        ("type: temporal\n  rules:\n  - a\n  - bb\n  - cc", [13, 14], "rules: a"),
        ("type: temporal\n  rules: [a, b]\n  condition: bb and b", [], ""),
    ],
)
def test_each_unknown_rule_is_reported_where_it_is_named(above: str, lines: list[int], suggestion: str) -> None:
    """Several unknown rules of one correlation are all reported, each at its place, with the names that there are."""
    feeder = "id: 1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a01\n" + FEED.format("a", "BACKUP")
    found = load(feeder, f"name: o\ntitle: O\ncorrelation:\n  {above}\n  timespan: 1h\n")
    unknown = [fault for fault in found.faults if fault.what.startswith("no rule")]
    assert [fault.line for fault in unknown] == lines
    assert {fault.remedy for fault in unknown} == ({suggestion} if lines else set())


@pytest.mark.parametrize("order", [[LOUD, QUIET], [QUIET, LOUD]])
def test_one_rule_that_keeps_the_alerts_below_is_enough(order: list[str]) -> None:
    """A rule that feeds others alerts by itself if one of them says so, whichever comes first."""
    above = [ABOVE.format(f"o{number}", text.format("[a]")) for number, text in enumerate(order)]
    assert silent(load(FEED.format("a", "BACKUP"), *above)) == {"a": False, "o0": False, "o1": False}
    quiet = [ABOVE.format(name, QUIET.format("[a]")) for name in ("o0", "o1")]
    assert silent(load(FEED.format("a", "BACKUP"), *quiet)) == {"a": True, "o0": False, "o1": False}


def test_a_selection_that_alerts_by_itself_is_a_rule_of_its_own() -> None:
    """With `generate: true`, the selections of a correlation match records themselves."""
    text = HEAD + "detection: {s: {actionKind: BACKUP}}\ncorrelation: {" + COUNT.format("[s]") + "%s}\n"
    for more, count in ((", generate: true", 1), ("", 0)):
        found = rules_in(text % more)
        assert found.faults == ()
        assert len(Engine(found.rules).evaluate([record_at(1)])) == count


TERM = (
    HEAD + "detection:\n  s: {actionKind: BACKUP}\n  u: {actionKind: [BACKUP, CREATE_CLUSTER]}\n"
    "correlation: {type: new_term, rules: [s], fields: [userName], history: 9d%s}\n---\n"
    "title: F\nname: f\nlogsource: {product: instaclustr}\n"
    "filter: {rules: [t], x: {userName: eve}, condition: not x}\nowner: dba\nreason: job\nexpires: 2026-12-31\n"
)


@pytest.mark.parametrize(("more", "kept"), [(", baseline: u", {"s": False, "u": True}), ("", {"s": False})])
def test_a_filter_hides_nothing_that_only_makes_terms_known(more: str, kept: dict[str, bool]) -> None:
    """What a filter hides does not fire, but still makes its terms known, unless the rule that fires is its own baseline."""
    (rule,) = rules_in(TERM % more).rules
    assert rule.correlation is not None
    met = {}
    for part in rule.correlation.parts:
        engine = Engine([part], is_feeding=True)
        met[part.name.name.rpartition(".")[2]] = bool(list(engine.meet([record_at(1)])))
    assert {name: met[name] for name in kept} == kept


def test_a_filter_reaches_every_selection_of_other_correlations() -> None:
    """Only a baseline is spared: the second step of a sequence is filtered too."""
    text = TERM.replace(
        "type: new_term, rules: [s], fields: [userName], history: 9d%s", "type: temporal, rules: [s, u], timespan: 1h"
    )
    (rule,) = rules_in(text).rules
    assert rule.correlation is not None
    for part in rule.correlation.parts:
        assert not list(Engine([part], is_feeding=True).meet([record_at(1)]))


@pytest.mark.parametrize(
    "text",
    [
        QUIET.format("[]"),
        "type: event_count, timespan: 1h, condition: {gte: 2}",
        "type: new_term, fields: [userName], history: 9d",
        "type: new_term, fields: [userName], history: 9d, baseline: any",
    ],
)
def test_a_correlation_over_nothing_is_refused(text: str) -> None:
    """A correlation without rules and without a detection is a fault, of whatever type."""
    found = load(FEED.format("a", "BACKUP"), ABOVE.format("o", text))
    assert [rule.name.name for rule in found.rules] == ["a"]
    assert len(found.faults) == 1
