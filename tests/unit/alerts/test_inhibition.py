"""Inhibition: which alert keeps which other one from being delivered, and while it does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.alerts.inhibition import InhibitRule, Labelled, inhibitor_of
from actionwatch.alerts.routes import Labels, parse_matcher
from actionwatch.base.model import Status
from tests.builders import NOON, QUARTER, make_alert

MINUTE = timedelta(minutes=1)


def rule(sources: str = "rule=big", targets: str = "rule=small", *equal: str) -> InhibitRule:
    """Make a rule of matchers, written with spaces between."""
    return InhibitRule(
        tuple(parse_matcher(text) for text in sources.split()),
        tuple(parse_matcher(text) for text in targets.split()),
        equal,
    )


def source(labels: Labels | None = None, **changes: Any) -> Labelled:
    """Make an alert that can inhibit."""
    return Labelled(make_alert("source", **{"realert": QUARTER, **changes}), labels or {"rule": "big"})


def target(labels: Labels | None = None, **changes: Any) -> Labelled:
    """Make an alert to be inhibited."""
    return Labelled(make_alert("target", **changes), labels or {"rule": "small"})


def is_inhibited(rules: list[InhibitRule], by: Labelled, which: Labelled) -> bool:
    """Say whether one alert keeps another back."""
    return inhibitor_of(which, rules, [by]) is not None


@pytest.mark.parametrize(
    ("ones", "others", "do_agree"),
    [
        ("eve", "eve", True),
        ("eve", "bob", False),
        ("", "", True),  # two that are absent agree
        ("", "eve", False),
        ("eve", "", False),
        (("c-1", "payments"), ("c-1",), True),  # one name in common is enough
        (("c-1", "payments"), "payments", True),
        (("c-1",), ("payments",), False),
        ((), "", True),
        (("", ""), (), True),
        (("c-1", ""), ("", "c-2"), False),  # an absent name is none that they have in common
    ],
)
def test_what_equal_means(ones: str | tuple[str, ...], others: str | tuple[str, ...], do_agree: bool) -> None:
    """Alerts of two clusters inhibit each other, or those of one, under its id and its name, do not."""
    by, which = source({"rule": "big", "x": ones}), target({"rule": "small", "x": others})
    assert is_inhibited([rule("rule=big", "rule=small", "x")], by, which) is do_agree
    reverse = rule("rule=small", "rule=big", "x")
    assert is_inhibited([reverse], replace(which, alert=by.alert), replace(by, alert=which.alert)) is do_agree


def test_a_label_that_neither_has_agrees() -> None:
    """As in Alertmanager: absent and empty are one."""
    assert is_inhibited([rule("rule=big", "rule=small", "nowhere")], source(), target())


@pytest.mark.parametrize(
    ("first", "last", "at", "holds"),
    [
        (0, 0, 0, True),
        (0, 0, 15, True),  # `realert` after its last record
        (0, 0, 16, False),
        (0, 10, 25, True),
        (0, 10, 26, False),
        (5, 10, 4, False),  # what came before it is not explained by it
        (5, 10, 5, True),
    ],
)
def test_when_a_source_is_at_work(first: int, last: int, at: int, holds: bool) -> None:
    """From its first record to `realert` after its last one, by event time."""
    by = source(first_at=NOON + first * MINUTE, last_at=NOON + last * MINUTE)
    assert is_inhibited([rule()], by, target(first_at=NOON - QUARTER, last_at=NOON + at * MINUTE)) is holds


@pytest.mark.parametrize(("status", "holds"), [(Status.OPEN, True), (Status.ACKED, True), (Status.RESOLVED, False)])
def test_a_source_that_is_over_inhibits_no_longer(status: Status, holds: bool) -> None:
    """Taken on is not over."""
    assert is_inhibited([rule()], source(status=status), target()) is holds


def test_every_matcher_counts() -> None:
    """All matchers of a side have to be met."""
    both = rule("rule=big level=high", "rule=small userName=eve")
    by, which = {"rule": "big", "level": "high"}, {"rule": "small", "userName": "eve"}
    assert is_inhibited([both], source(by), target(which))
    assert not is_inhibited([both], source({**by, "level": "low"}), target(which))
    assert not is_inhibited([both], source(by), target({**which, "userName": "bob"}))
    assert is_inhibited([rule("rule=none"), both], source(by), target(which))
    assert not is_inhibited([], source(by), target(which))


def test_nothing_inhibits_itself() -> None:
    """A rule that means everything silences it all for ever."""
    everything = rule("rule=~.*", "rule=~.*")
    alert = source()
    assert inhibitor_of(alert, [everything], [alert]) is None


def test_what_meets_both_sides_is_not_inhibited_by_another_that_does() -> None:
    """Two critical alerts hide each other, and nobody is told of either."""
    overlapping = rule("level=~critical|high", "level=~high|low", "x")
    high, low, critical = ({"level": word} for word in ("high", "low", "critical"))
    assert not is_inhibited([overlapping], source(high), target(high))
    assert is_inhibited([overlapping], source(high), target(low))
    assert is_inhibited([overlapping], source(critical), target(high))
    assert not is_inhibited([overlapping], source(low), target(high))


def test_the_first_candidate_is_named() -> None:
    """The same alert is inhibited now by one and now by another."""
    ones = [Labelled(make_alert(name, realert=QUARTER), {"rule": "big"}) for name in "ab"]
    found = inhibitor_of(target(), [rule()], ones)
    assert found is not None
    assert found.id == "a"


@pytest.mark.parametrize(
    ("sources", "names"),
    [("rule=big", ("big",)), ("level=high", ()), ("rule=~big.*", ()), ("rule!=big", ()), ("level=high rule=a", ("a",))],
)
def test_the_rules_that_can_be_sources(sources: str, names: tuple[str, ...]) -> None:
    """The store is asked for too few alerts, and a source is not found."""
    assert rule(sources).source_rules == names


WORDS = st.sampled_from(("a", "b", ""))
LABELS = st.fixed_dictionaries({"rule": WORDS, "x": WORDS | st.tuples(WORDS, WORDS)})
SIDES = st.sampled_from(("rule=a", "rule=~a|b", "rule!=a", "x=a", "rule=a x=b", 'rule=""'))


@given(LABELS, LABELS, SIDES, SIDES, st.booleans())
def test_two_alerts_never_hide_each_other(ones: Labels, others: Labels, a: str, b: str, is_equal: bool) -> None:
    """One rule makes each of two alerts the reason why the other is not told, so that nobody hears of anything."""
    rules = [rule(a, b, *(("x",) if is_equal else ()))]
    one, other = source(ones), Labelled(make_alert("other", realert=QUARTER), others)
    assert not (is_inhibited(rules, one, other) and is_inhibited(rules, other, one))
