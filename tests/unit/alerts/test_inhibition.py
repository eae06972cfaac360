"""Inhibition: which alert suppresses which other one, and for how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.alerts.inhibition import InhibitRule, Labelled, inhibitor_of, uninhibited
from actionwatch.base.model import Status
from actionwatch.text.matchers import Labels, parse_matcher
from tests.builders import NOON, QUARTER, make_alert
from tests.cases import in_one_test

MINUTE = timedelta(minutes=1)


def rule(sources: str = "rule=big", targets: str = "rule=small", *equal: str) -> InhibitRule:
    """Make an inhibition rule from matchers that are separated by spaces."""
    return InhibitRule(
        tuple(parse_matcher(text) for text in sources.split()),
        tuple(parse_matcher(text) for text in targets.split()),
        equal,
    )


def source(labels: Labels | None = None, **changes: Any) -> Labelled:
    """Make an alert that can inhibit."""
    return Labelled(make_alert("source", **{"realert": QUARTER, **changes}), labels or {"rule": "big"})


def target(labels: Labels | None = None, **changes: Any) -> Labelled:
    """Make an alert that can be inhibited."""
    return Labelled(make_alert("target", **changes), labels or {"rule": "small"})


def is_inhibited(rules: list[InhibitRule], by: Labelled, which: Labelled) -> bool:
    """Return whether one alert inhibits another."""
    return inhibitor_of(which, rules, [by]) is not None


@in_one_test(
    ("ones", "others", "do_agree"),
    [
        ("eve", "eve", True),
        ("eve", "bob", False),
        ("", "", True),  # two absent values are equal
        ("", "eve", False),
        ("eve", "", False),
        (("c-1", "payments"), ("c-1",), True),  # one common name is enough
        (("c-1", "payments"), "payments", True),
        (("c-1",), ("payments",), False),
        ((), "", True),
        (("", ""), (), True),
        (("c-1", ""), ("", "c-2"), False),  # two absent names are not a common name
    ],
)
def test_equal_compares_ids_and_names(
    ones: str | tuple[str, ...], others: str | tuple[str, ...], do_agree: bool
) -> None:
    """Alerts of one cluster, by id or by name, inhibit each other; alerts of two clusters do not."""
    by, which = source({"rule": "big", "x": ones}), target({"rule": "small", "x": others})
    assert is_inhibited([rule("rule=big", "rule=small", "x")], by, which) is do_agree
    reverse = rule("rule=small", "rule=big", "x")
    assert is_inhibited([reverse], replace(which, alert=by.alert), replace(by, alert=which.alert)) is do_agree


def test_label_that_both_lack_is_equal() -> None:
    """As in Alertmanager, an absent label equals an empty one."""
    assert is_inhibited([rule("rule=big", "rule=small", "nowhere")], source(), target())


@in_one_test(
    ("first", "last", "at", "holds"),
    [
        (0, 0, 0, True),
        (0, 0, 15, True),  # `realert` after its last record
        (0, 0, 16, False),
        (0, 10, 25, True),
        (0, 10, 26, False),
        (5, 10, 4, False),  # an earlier alert is not a consequence of it
        (5, 10, 5, True),
    ],
)
def test_source_inhibits_from_its_first_record_to_realert_after_its_last(
    first: int, last: int, at: int, holds: bool
) -> None:
    """The times are event times."""
    by = source(first_at=NOON + first * MINUTE, last_at=NOON + last * MINUTE)
    assert is_inhibited([rule()], by, target(first_at=NOON - QUARTER, last_at=NOON + at * MINUTE)) is holds


@pytest.mark.parametrize(("status", "holds"), [(Status.OPEN, True), (Status.ACKED, True), (Status.RESOLVED, False)])
def test_resolved_source_does_not_inhibit(status: Status, holds: bool) -> None:
    """A resolved source does not inhibit; an acknowledged one does."""
    assert is_inhibited([rule()], source(status=status), target()) is holds


def test_all_matchers_of_a_side_must_match() -> None:
    """All matchers of a side must match."""
    both = rule("rule=big level=high", "rule=small userName=eve")
    by, which = {"rule": "big", "level": "high"}, {"rule": "small", "userName": "eve"}
    assert is_inhibited([both], source(by), target(which))
    assert not is_inhibited([both], source({**by, "level": "low"}), target(which))
    assert not is_inhibited([both], source(by), target({**which, "userName": "bob"}))
    assert is_inhibited([rule("rule=none"), both], source(by), target(which))
    assert not is_inhibited([], source(by), target(which))


def test_alert_does_not_inhibit_itself() -> None:
    """A rule whose matchers match everything does not make an alert inhibit itself."""
    everything = rule("rule=~.*", "rule=~.*")
    alert = source()
    assert inhibitor_of(alert, [everything], [alert]) is None


def test_alerts_that_match_both_sides_do_not_inhibit_each_other() -> None:
    """Two critical alerts that match both sides do not inhibit each other."""
    overlapping = rule("level=~critical|high", "level=~high|low", "x")
    high, low, critical = ({"level": word} for word in ("high", "low", "critical"))
    assert not is_inhibited([overlapping], source(high), target(high))
    assert is_inhibited([overlapping], source(high), target(low))
    assert is_inhibited([overlapping], source(critical), target(high))
    assert not is_inhibited([overlapping], source(low), target(high))


def test_first_candidate_is_the_reason() -> None:
    """Of several sources, the first is always the reason."""
    ones = [Labelled(make_alert(name, realert=QUARTER), {"rule": "big"}) for name in "ab"]
    found = inhibitor_of(target(), [rule()], ones)
    assert found is not None
    assert found.id == "a"


@in_one_test(
    ("sources", "names"),
    [
        ("rule=big", ("big",)),
        ("level=high", ()),
        ("rule=~big.*", ()),
        ("rule!=big", ()),
        ("level=high rule=a", ("a",)),
        ("rule=~a|b-c", ("a", "b-c")),
    ],
)
def test_rules_that_can_be_sources_are_found(sources: str, names: tuple[str, ...]) -> None:
    """Every rule that can be a source is included, so that the store is asked for all of their alerts."""
    assert rule(sources).source_rules == names


WORDS = st.sampled_from(("a", "b", ""))
LABELS = st.fixed_dictionaries({"rule": WORDS, "x": WORDS | st.tuples(WORDS, WORDS)})
SIDES = st.sampled_from(("rule=a", "rule=~a|b", "rule!=a", "x=a", "rule=a x=b", 'rule=""'))


RULES = st.lists(st.tuples(SIDES, SIDES, st.booleans()), min_size=1, max_size=4)


@given(LABELS, LABELS, RULES)
def test_two_alerts_never_inhibit_each_other(ones: Labels, others: Labels, sides: list[tuple[str, str, bool]]) -> None:
    """No inhibition rules, one or several, suppress both of two alerts because of each other."""
    rules = [rule(a, b, *(("x",) if is_equal else ())) for a, b, is_equal in sides]
    one, other = source(ones), Labelled(make_alert("other", realert=QUARTER), others)
    assert not (is_inhibited(rules, one, other) and is_inhibited(rules, other, one))


def test_first_of_two_contrary_rules_wins() -> None:
    """If two rules are contrary, the alert that the first one inhibits has no message, and the other one has."""
    big, small = source(), Labelled(make_alert("small", realert=QUARTER), {"rule": "small"})
    contrary = [rule("rule=big", "rule=small"), rule("rule=small", "rule=big")]
    assert (is_inhibited(contrary, big, small), is_inhibited(contrary, small, big)) == (True, False)
    assert (is_inhibited(contrary[::-1], big, small), is_inhibited(contrary[::-1], small, big)) == (False, True)


@pytest.mark.parametrize("is_reversed", [False, True])
def test_inhibited_alert_does_not_inhibit(is_reversed: bool) -> None:
    """An alert that is inhibited has no message that could explain another alert, in any order of the rules."""
    ones = [Labelled(make_alert(name, realert=QUARTER), {"rule": name}) for name in "abc"]
    rules = [rule("rule=a", "rule=b"), rule("rule=b", "rule=c")][:: -1 if is_reversed else 1]
    left = uninhibited(rules, ones)
    assert left == [ones[0]]
    assert [inhibitor_of(each, rules, left) is not None for each in ones] == [False, True, False]
    assert inhibitor_of(ones[2], rules, uninhibited(rules, ones[1:])) == ones[1].alert


@given(st.lists(LABELS, min_size=1, max_size=5), RULES)
def test_nothing_is_silent(labels: list[Labels], sides: list[tuple[str, str, bool]]) -> None:
    """Whatever the rules, also in circles: each alert that is inhibited is so by one that is not."""
    rules = [rule(a, b, *(("x",) if is_equal else ())) for a, b, is_equal in sides]
    ones = [Labelled(make_alert(str(number), realert=QUARTER), each) for number, each in enumerate(labels)]
    left = uninhibited(rules, ones)
    sent = {each.alert.id for each in ones if inhibitor_of(each, rules, left) is None}
    assert {by.id for each in ones if (by := inhibitor_of(each, rules, left)) is not None} <= sent
