"""The fold of one group at the edges of what is known: nothing verified, quiet hits, a known alert to continue from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from msgspec.structs import replace

from actionwatch.base.model import Hit
from actionwatch.rules.correlations.folds import new_fold
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.model import Correlation, CorrelationType, Pattern, Threshold
from tests.cases import in_one_test
from tests.unit.rules.correlation.kit import MINUTE, START, at, hit, make, minutes, objects_held, record_at

COUNT = make(threshold=Threshold("gte", 2))
SET = make(CorrelationType.TEMPORAL, steps=2, patterns=(Pattern((0, 1)),))
CHAIN = make(CorrelationType.TEMPORAL_ORDERED, steps=2, patterns=(Pattern((0, 1)),))
ALONE = make(CorrelationType.TEMPORAL, steps=2, patterns=(Pattern((0,), (1,)),))
ABSENCE = make(threshold=Threshold("lt", 1), expected=((),), realert=0 * MINUTE)
TERM = make(CorrelationType.NEW_TERM, steps=2, timespan=0 * MINUTE, realert=0 * MINUTE, history=20 * MINUTE)
SPIKE = make(CorrelationType.SPIKE, windows=2, factor=2.0, minimum=2)


def shapes(state: Fold) -> list[tuple[float | None, list[float | None]]]:
    """Return the minute in which each alert fired, and the minutes of its hits."""
    return [(minutes(found.fired_at), [minutes(each.at) for each in found.hits]) for found in state.alerts()]


def known(fired: float, *, first: float | None = None, until: float | None = None) -> FoundAlert:
    """Make a known alert."""
    begun = fired if first is None else first
    return FoundAlert(f"{begun:06.2f}", at(begun), at(fired), at(fired + 10 if until is None else until), HitWindow())


@pytest.mark.parametrize("rule", [ABSENCE, TERM, SPIKE])
def test_nothing_is_judged_while_nothing_is_verified(rule: Correlation) -> None:
    """An alert that needs a verified past waits while nothing is verified."""
    state = new_fold(rule, None)
    assert state.alerts() == []
    for minute in (0, 30, 31, 32):
        state.push(hit(minute))
    assert [found for found in state.alerts() if found.is_judged(None) and not found.is_quiet] == []


def _push(state: Fold, *hits: tuple[float, int], is_quiet: bool = False) -> None:
    for minute, step in hits:
        state.push(hit(minute, step), is_quiet=is_quiet)


@in_one_test(
    ("rule", "quiet", "then", "alerts"),
    [
        (COUNT, [(0, 0), (1, 0)], [(2, 0)], [(2, [0, 1, 2])]),
        (SET, [(0, 0), (1, 1)], [(2, 0)], [(2, [0, 1, 2])]),
        (CHAIN, [(0, 0), (1, 1)], [(2, 1)], [(2, [0, 1, 2])]),
        (ABSENCE, [(50, 0)], [(61, 0)], [(60, []), (71, [])]),
        (TERM, [(30, 0)], [(31, 0)], [(31, [31])]),
        (SPIKE, [(31, 0), (32, 0)], [(33, 0)], [(33, [31, 32, 33])]),
    ],
)
def test_quiet_hits_fire_nothing_and_are_counted(
    rule: Correlation, quiet: list[Any], then: list[Any], alerts: list[Any]
) -> None:
    """After a restart, a quiet hit fires nothing, and later hits count it."""
    state = new_fold(rule, START)
    _push(state, *quiet, is_quiet=True)
    assert [found for found in state.alerts() if found.judged_at is None] == []
    assert len(state.found) == 0
    _push(state, *then)
    assert shapes(state) == alerts


@in_one_test(
    ("rule", "begun", "hits", "alerts"),
    [
        # Open until 15: what comes by then joins; the window after it starts empty.
        (COUNT, known(5), [(15, 0), (15.5, 0), (16, 0)], [(5, [15]), (16, [15.5, 16])]),
        (CHAIN, known(5), [(15, 1), (15.5, 1), (16, 0), (17, 1)], [(5, [15]), (17, [16, 17])]),
        # A taken hit begins no other chain, and still excludes what it excludes.
        (CHAIN, known(5), [(15, 0), (15.5, 1), (16, 0), (17, 1)], [(5, [15]), (17, [16, 17])]),
        (SET, known(5), [(14, 0), (16, 0), (17, 1)], [(5, [14]), (17, [16, 17])]),
        (ALONE, known(5), [(14, 1), (16, 0)], [(5, [])]),
        (ALONE, known(5), [(14, 1), (24.1, 0)], [(5, []), (34.1, [24.1])]),
        # Made known by the alert, for as long as the history lasts; an older record of the baseline takes nothing away.
        (TERM, known(30), [(50, 0)], [(30, [])]),
        (TERM, known(30), [(50.5, 0)], [(30, []), (50.5, [50.5])]),
        (TERM, known(30), [(10, 1), (50, 0)], [(30, [])]),
        # The hits from before its window are history to the next spike, and no part of this one.
        (SPIKE, known(33, first=31), [(28, 0), (31, 0), (33, 0), (43, 0)], [(33, [31, 33, 43])]),
        (SPIKE, known(33, first=31), [(40, 0), (44, 0)], [(33, [40]), (44, [40, 44])]),
        # Due again from the last match before the alert on.
        (ABSENCE, known(40), [(45, 0)], [(40, []), (55, [])]),
    ],
)
def test_a_state_goes_on_from_an_alert(
    rule: Correlation, begun: FoundAlert, hits: list[Any], alerts: list[Any]
) -> None:
    """After a restart, hits join the open alert, and what it contains does not count again."""
    state = new_fold(rule, START)
    state.restore(deepcopy(begun))  # the state adds to it
    _push(state, *hits)
    assert shapes(state) == alerts


def test_a_value_counts_while_a_hit_with_it_is_in_the_window() -> None:
    """A value counts until the last of its hits leaves the window."""
    state = new_fold(make(CorrelationType.VALUE_COUNT, threshold=Threshold("gte", 3)), START)
    for minute, value in ((0, "x"), (9, "x"), (11, "y"), (12, "z")):
        state.push(hit(minute, value=value))
    assert shapes(state) == [(12, [9, 11, 12])]


def test_a_rule_without_a_threshold_fires_with_each_hit() -> None:
    """Without a threshold, the first hit fires."""
    state = new_fold(make(), START)
    state.push(hit(3))
    assert shapes(state) == [(3, [3])]


def test_the_pattern_that_is_due_first_fires() -> None:
    """Of two pending patterns, the one that is due first fires, with the hits of both."""
    patterns = (Pattern((0,), (2,)), Pattern((1,), (3,)))
    for order in (patterns, patterns[::-1]):
        state = new_fold(make(CorrelationType.TEMPORAL, steps=4, patterns=order), START)
        _push(state, (0, 0), (5, 1))
        assert shapes(state) == [(10, [0, 5])]
        _push(state, (10.5, 1))
        assert shapes(state) == [(10, [0, 5, 10.5])]


@pytest.mark.parametrize("rule", [COUNT, SET, CHAIN, TERM, SPIKE])
def test_an_alert_names_the_hit_that_fired_it(rule: Correlation) -> None:
    """An alert names the hit that fired it: a rule above counts the alert with the newest record of that hit."""
    state = new_fold(rule, START)
    _push(state, (41, 0), (42, 1 if len(rule.patterns) else 0))
    first = state.alerts()[0]
    assert first.firing is not None
    assert first.firing.at == first.fired_at


@pytest.mark.parametrize("rule", [COUNT, SET, CHAIN])
def test_a_final_alert_does_not_wait(rule: Correlation) -> None:
    """An alert that no later record can undo does not wait for verified time."""
    state = new_fold(rule, START)
    _push(state, (1, 0), (2, 1))
    (found,) = state.alerts()
    assert found.is_judged(None)
    assert not found.has_waited


@pytest.mark.parametrize("rule", [make(threshold=Threshold("gte", 999)), SPIKE])
def test_a_long_window_is_forgotten(rule: Correlation) -> None:
    """Of a window with more hits than asked, only times and values are left; of a shorter one, and of no other, all."""
    state = new_fold(rule, START)
    for number in range(300):
        state.push(hit(number / 100), is_quiet=True)
    state.forget_hits((), 300)
    assert objects_held(state)["Hit"] == 300
    held = state.size
    state.forget_hits((), 299)
    assert objects_held(state)["Hit"] == 0
    assert state.size < held / 10


@pytest.mark.parametrize("rule", [COUNT, SPIKE, SET])
def test_the_hits_of_an_alert_are_forgotten(rule: Correlation) -> None:
    """An alert whose hits only rows need lacks them from then on; others keep theirs."""
    state = new_fold(rule, START)
    _push(state, *((minute, minute % 2) for minute in (41, 42, 43)))
    (found,) = state.alerts()
    found.id = "one"
    state.forget_hits({"other"}, 9)
    assert (len(found.hits), found.is_partial) == (3, False)
    state.forget_hits({"one"}, 9)
    assert (len(found.hits), found.is_partial) == (0, True)


def test_what_only_another_pattern_excludes_is_no_part_of_an_alert() -> None:
    """While a pattern waits, its alert takes hits that some pattern wants, and no others."""
    rule = make(CorrelationType.TEMPORAL, steps=4, patterns=(Pattern((0,), (1,)), Pattern((2,), (3,))))
    state = new_fold(rule, START)
    _push(state, (0, 0))
    assert shapes(state) == [(10, [0])]
    _push(state, (1, 3), (2, 0))
    assert shapes(state) == [(10, [0, 2])]


def test_a_step_that_is_not_the_last_completes_no_chain() -> None:
    """The first two steps in the wrong order, then the first again, are no chain."""
    state = new_fold(CHAIN, START)
    _push(state, (0, 1), (1, 0), (2, 0))
    assert shapes(state) == []


def test_the_first_that_completes_a_pattern_fires_it() -> None:
    """The first hit that completes a chain fires the alert."""
    state = new_fold(make(CorrelationType.TEMPORAL_ORDERED, steps=4, patterns=(Pattern((0, 1, 2), (3,)),)), START)
    # One record is both of the first steps, so that another must be the first of them.
    for each in (hit(1, 0, "k1"), hit(1, 0, "k2"), hit(1, 1, "k1"), hit(2, 2, "k3"), hit(3, 2, "k4")):
        state.push(each)
    (found,) = state.alerts()
    assert (found.origin, found.firing and found.firing.key) == ("k2", "k3")


def test_the_newest_record_before_an_absence_is_named() -> None:
    """An absence alert names the newest record before the absence."""
    state = new_fold(ABSENCE, START)
    state.push(replace(hit(5), records=(record_at(3), record_at(5))))
    (found,) = state.alerts()
    assert found.last_seen is not None
    assert found.last_seen.occurred_at == at(5)


@pytest.mark.parametrize("rule", [TERM, SPIKE])
def test_an_alert_that_needs_a_known_past_waits_until_that_is_verified(rule: Correlation) -> None:
    """An alert about something new or unusual waits until its past is verified."""
    state = new_fold(rule, START)
    needed = rule.reach
    for minute in (41, 42):
        state.push(hit(minute))
    found = state.alerts()[0]
    assert not found.is_quiet
    assert (found.is_judged(START + needed - MINUTE), found.is_judged(START + needed)) == (False, True)


def test_a_learned_term_is_stored_at_once() -> None:
    """A term that is new while its rule is learning is stored at once."""
    state = new_fold(TERM, START)
    state.push(hit(1))
    (found,) = state.alerts()
    assert found.is_quiet
    assert found.is_judged(None)


def test_cold_start_alert_does_not_wait() -> None:
    """With `cold-start: alert`, a new term does not wait for verified time."""
    state = new_fold(make(CorrelationType.NEW_TERM, steps=2, history=20 * MINUTE, is_learning=False), START)
    state.push(hit(1))
    assert state.alerts()[0].is_judged(None)


def test_a_hit_that_a_pattern_does_not_want_never_completes_it() -> None:
    """`a and not b` waits for another `a` after a `b`, even if a hit of another pattern comes when `b` is out of reach."""
    rule = make(CorrelationType.TEMPORAL, steps=4, patterns=(Pattern((0,), (1,)), Pattern((2, 3))))
    state = new_fold(rule, START)
    _push(state, (0, 1), (5, 0), (12, 2))
    assert shapes(state) == []
    _push(state, (13, 0))
    assert [minutes(found.fired_at) for found in state.alerts()] == [15], "the first `a` has no `b` after it"


def test_what_excludes_a_chain_excludes_only_its_place() -> None:
    """A hit between the first two of three steps excludes a chain; the same hit between the last two does not."""
    rule = make(CorrelationType.TEMPORAL_ORDERED, steps=4, patterns=(Pattern((0, 2, 3), (1,)),))
    for steps, count in (((0, 1, 2, 3), 0), ((0, 2, 1, 3), 1), ((0, 2, 3), 1)):
        state = new_fold(rule, START)
        _push(state, *enumerate(steps))
        assert len(state.alerts()) == count, steps


def test_a_chain_begins_with_the_first_of_several_hits_at_one_time() -> None:
    """A record cannot be two steps: it begins the chain when another record completes it, and the alert then has its id."""
    state = new_fold(make(CorrelationType.TEMPORAL_ORDERED, steps=3, patterns=(Pattern((0, 1), (2,)),)), START)
    for each in (hit(1, 0, "r1"), hit(1, 0, "r2"), hit(1, 1, "r1")):
        state.push(each)
    assert [found.origin for found in state.alerts()] == ["r2"]
    state.push(hit(2, 1, "r3"))
    assert [found.origin for found in state.alerts()] == ["r1"]


@in_one_test(
    ("pattern", "quiet", "hits", "alerts"),
    [
        # What must not come between two steps may come after them; what must not follow is waited for.
        (Pattern((0, 2), (1, 3)), [], [(0, 0), (1, 2), (2, 1)], [(10, [0, 1])]),
        (Pattern((0, 2), (1, 3)), [], [(0, 0), (1, 2), (2, 3)], []),
        (Pattern((0, 2), (1,)), [], [(0, 0), (1, 2)], [(1, [0, 1])]),
        # What must not come before the first step may come later, and is no part of the alert.
        (Pattern((1, 2), (0,)), [], [(1, 1), (2, 0), (3, 2)], [(3, [1, 3])]),
        (Pattern((1, 2), (0,)), [], [(0, 0), (1, 1), (3, 2)], []),
        # A chain ends with the newest hit, not with an earlier one that fired nothing.
        (Pattern((0, 2), (1,)), [(0, 0), (1, 2), (1.5, 1)], [(3, 2)], []),
    ],
)
def test_where_a_step_excludes_a_chain(pattern: Pattern, quiet: list[Any], hits: list[Any], alerts: list[Any]) -> None:
    """A step that must not occur excludes only its own place: before, between or after the others."""
    state = new_fold(make(CorrelationType.TEMPORAL_ORDERED, steps=4, patterns=(pattern,)), START)
    _push(state, *quiet, is_quiet=True)
    _push(state, *hits)
    assert shapes(state) == alerts


def test_a_waiting_alert_grows_by_each_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a pattern waits for something not to come, a hit is added to its alert. The others are not collected again."""
    collected = list[int]()

    class Collecting(HitWindow):
        def __init__(self, hits: Iterable[Hit] = ()) -> None:
            super().__init__(hits)
            collected.append(len(self))

    monkeypatch.setattr("actionwatch.rules.correlations.folds.reach.HitWindow", Collecting)
    state = new_fold(ALONE, START)
    for number in range(1, 101):
        state.push(hit(number / 100))
        (found,) = state.alerts()
        assert len(found.hits) == number
    assert sum(collected) == 1


@pytest.mark.parametrize(
    ("type_", "pattern"),
    [
        (CorrelationType.TEMPORAL_ORDERED, Pattern((0, 2), (1,))),
        (CorrelationType.TEMPORAL_ORDERED, Pattern((1, 2), (0,))),
        (CorrelationType.TEMPORAL, Pattern((0, 2), (1,))),
        (CorrelationType.TEMPORAL, Pattern((1, 2), (0,))),
    ],
)
def test_a_window_that_completes_nothing_is_searched_once(
    type_: CorrelationType, pattern: Pattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an unwanted step excludes a pattern, hits of its last step search no more, until the rest of the window changes."""
    searched = list[Hit]()

    class Searching(HitWindow):
        def __iter__(self) -> Iterator[Hit]:
            return map(self.note, super().__iter__())

        def note(self, each: Hit) -> Hit:
            searched.append(each)
            return each

    monkeypatch.setattr("actionwatch.rules.correlations.folds.sequences.HitWindow", Searching)
    state = new_fold(make(type_, steps=3, patterns=(pattern,)), START)
    for minute, step in ((1, 0), (2, 1), *((2 + number / 100, 2) for number in range(1, 101))):
        state.push(hit(minute, step))
    assert (state.alerts(), len(searched) < 10) == ([], True)
    for minute, step in ((12.1, pattern.wanted[0]), (12.2, 2)):  # the unwanted step is out of reach now
        state.push(hit(minute, step))
    fired = 12.1 if type_ is CorrelationType.TEMPORAL else 12.2
    assert [minutes(found.fired_at) for found in state.alerts()] == [fired]


def test_a_pattern_that_is_not_complete_hides_no_other() -> None:
    """One record cannot be both steps of the first pattern, but it is the only step of the second."""
    rule = make(CorrelationType.TEMPORAL_ORDERED, steps=2, patterns=(Pattern((0, 1)), Pattern((1,))))
    state = new_fold(rule, START)
    for step in (0, 1):
        state.push(hit(1, step, "r1"))
    assert len(state.alerts()) == 1


def test_one_record_is_not_two_steps() -> None:
    """A record that meets two steps is no chain by itself, also if another step must not precede it."""
    for pattern in (Pattern((1, 2), (0,)), Pattern((1, 2), (3,)), Pattern((1, 2))):
        state = new_fold(make(CorrelationType.TEMPORAL_ORDERED, steps=4, patterns=(pattern,)), START)
        for step in (1, 2):
            state.push(hit(1, step, "r1"))
        assert state.alerts() == []
        state.push(hit(2, 2, "r2"))
        assert [found.origin for found in state.alerts()] == ["r1"]


def test_of_two_patterns_that_one_record_completes_the_one_that_began_first_fires() -> None:
    """The alert has the hits of the pattern that began first, wherever the condition names it."""
    patterns = (Pattern((0, 2)), Pattern((1, 2)))
    for order in (patterns, patterns[::-1]):
        state = new_fold(make(CorrelationType.TEMPORAL, steps=3, patterns=order), START)
        _push(state, (0, 0), (1, 1), (2, 2))
        assert shapes(state) == [(2, [0, 1, 2])]


def test_an_absence_after_an_alert_without_records_shows_none() -> None:
    """What is missing may be alerts of other rules: the last one may have had no record."""
    state = new_fold(make(threshold=Threshold("lt", 1), expected=((),)), START)
    state.push(replace(hit(1), records=()))
    assert [found.last_seen for found in state.alerts()] == [None]
    state.push(hit(2))
    assert state.alerts()[-1].last_seen == hit(2).records[-1]


@in_one_test(
    ("history", "moments", "fired"),
    [
        ([], [40], []),  # fewer than the minimum
        ([], [40, 50], [50]),  # the window includes both of its ends
        ([], [40, 50.1], []),
        ([31, 32], [59.5, 60], [60]),  # as many as the factor requires
        ([30, 31, 32], [59.5, 60], []),  # history is two windows before this one, that instant included
        ([29.9, 31, 32], [59.5, 60], [60]),
        ([], [40, 41, 50, 51, 52], [41, 52]),  # an alert lasts for `realert`, and its records are history to the next
        ([], [20, 30], [30]),  # all of the history is known from 30 on
        ([], [20, 29.9], []),
    ],
)
def test_a_spike_at_its_edges(history: list[float], moments: list[float], fired: list[float]) -> None:
    """A spike needs a minimum in its window, and twice as many as in each of two windows before it."""
    state = new_fold(SPIKE, START)
    _push(state, *((minute, 0) for minute in history), is_quiet=True)
    _push(state, *((minute, 0) for minute in moments))
    assert [minutes(found.fired_at) for found in state.alerts()] == fired


@pytest.mark.parametrize("minimum", [2, 1000])
def test_of_the_history_of_a_spike_only_the_times_are_left(minimum: int) -> None:
    """However long it runs, it holds the hits of one window, and at most twice the times of the windows before it."""
    state = new_fold(make(CorrelationType.SPIKE, windows=2, factor=2.0, minimum=minimum), START)
    for minute in range(300):
        state.push(replace(hit(minute), records=(record_at(minute, id=minute + 1),)), is_quiet=True)
        assert objects_held(state)["Hit"] <= 11 * 8 / 7
        assert state.size <= 11 + 2


@in_one_test(
    ("type_", "more", "operator", "number", "values", "fired"),
    [
        (CorrelationType.VALUE_COUNT, {}, "neq", 1, [(0, "x"), (1, "x"), (2, "y")], [2]),
        (CorrelationType.EVENT_COUNT, {}, "lte", 1, [(0, None), (10, None)], [0]),
        (CorrelationType.EVENT_COUNT, {}, "gte", 2, [(0, None), (10.1, None), (20, None)], [20]),
    ],
)
def test_values_are_measured_in_the_window(
    type_: CorrelationType,
    more: dict[str, Any],
    operator: str,
    number: float,
    values: list[tuple[float, Any]],
    fired: list[float],
) -> None:
    """A value counts while its hit lies within the timespan, both ends included; measures are exact."""
    state = new_fold(make(type_, threshold=Threshold(operator, number), **more), START)
    for minute, value in values:
        state.push(hit(minute, value=value))
    assert [minutes(found.fired_at) for found in state.alerts()] == fired
