"""The fold compared with a naive reading of the specification, on many small cases."""

from __future__ import annotations

from typing import Any

import msgspec
from actionwatch.rules.correlations.folds.saved import HitReader, HitWriter, SavedFold, SavedHit
from hypothesis import given, settings
from hypothesis import strategies as st

from actionwatch.base.model import Hit
from actionwatch.rules.correlations.folds import new_fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import VALUE_TYPES, Correlation, CorrelationType, Pattern, Threshold
from tests.unit.rules.correlation.kit import MINUTE, START, at, fold, make
from tests.unit.rules.correlation.oracle import Shape, expected

MANY = settings(max_examples=250)


def _shape(found: FoundAlert) -> Shape:
    hits = found.hits if found.resolved_by is None else [found.resolved_by]
    return found.origin, found.first_at, found.fired_at, tuple((hit.key, hit.step) for hit in hits)


@st.composite
def _hits(draw: st.DrawFn, steps: int, values: st.SearchStrategy[Any] | None = None) -> list[Hit]:
    """Draw records at whole minutes, ties included; each meets one step or several."""
    drawn: list[Hit] = []
    for number, minute in enumerate(draw(st.lists(st.integers(0, 45), max_size=14))):
        met = draw(st.sets(st.integers(0, steps - 1), min_size=1, max_size=2))
        value = None if values is None else draw(values)
        drawn += [Hit(at(minute), step, f"k{number:02}", (), value) for step in sorted(met)]
    return drawn


@st.composite
def _counts(draw: st.DrawFn) -> tuple[Correlation, list[Hit]]:
    type_ = draw(st.sampled_from([CorrelationType.EVENT_COUNT, *VALUE_TYPES]))
    threshold = Threshold(draw(st.sampled_from(["gte", "gt", "eq", "neq", "lt"])), draw(st.integers(1, 6)))
    rule = make(
        type_,
        threshold=threshold,
        timespan=draw(st.integers(1, 12)) * MINUTE,
        realert=draw(st.integers(1, 12)) * MINUTE,
        percentile=draw(st.sampled_from([0, 25, 50, 100])),
    )
    return rule, draw(_hits(1, st.integers(0, 5)))


@st.composite
def _patterns(draw: st.DrawFn, steps: int) -> tuple[Pattern, ...]:
    found = []
    for _ in range(draw(st.integers(1, 2))):
        wanted = draw(st.sets(st.integers(0, steps - 1), min_size=1))
        unwanted = draw(st.sets(st.integers(0, steps - 1))) - wanted
        found.append(Pattern(tuple(sorted(wanted)), tuple(sorted(unwanted))))
    return tuple(dict.fromkeys(found))


@st.composite
def _sequences(draw: st.DrawFn) -> tuple[Correlation, list[Hit]]:
    rule = make(
        draw(st.sampled_from([CorrelationType.TEMPORAL, CorrelationType.TEMPORAL_ORDERED])),
        steps=4,
        patterns=draw(_patterns(4)),
        timespan=draw(st.integers(1, 15)) * MINUTE,
        realert=draw(st.integers(1, 12)) * MINUTE,
    )
    return rule, draw(_hits(4))


@st.composite
def _absences(draw: st.DrawFn) -> tuple[Correlation, list[Hit]]:
    rule = make(
        threshold=Threshold("lt", 1), expected=((),), timespan=draw(st.integers(1, 12)) * MINUTE, realert=0 * MINUTE
    )
    return rule, draw(_hits(1))


@st.composite
def _news(draw: st.DrawFn) -> tuple[Correlation, list[Hit]]:
    rule = make(
        CorrelationType.NEW_TERM,
        steps=2,
        timespan=0 * MINUTE,
        realert=0 * MINUTE,
        history=draw(st.integers(1, 20)) * MINUTE,
        is_learning=draw(st.booleans()),
    )
    return rule, draw(_hits(2))


@st.composite
def _spikes(draw: st.DrawFn) -> tuple[Correlation, list[Hit]]:
    rule = make(
        CorrelationType.SPIKE,
        timespan=draw(st.integers(1, 6)) * MINUTE,
        realert=draw(st.integers(1, 12)) * MINUTE,
        windows=draw(st.integers(1, 3)),
        factor=draw(st.sampled_from([0.5, 1, 1.5, 3])),
        minimum=draw(st.integers(1, 3)),
    )
    return rule, draw(_hits(1))


@MANY
@given(_counts())
def test_counts_are_those_of_the_specification(case: tuple[Correlation, list[Hit]]) -> None:
    """Counts and measures give the alerts of the specification, with their hits."""
    rule, hits = case
    assert [_shape(found) for found in fold(rule, (), hits, START)] == expected(rule, hits, START)


@MANY
@given(_sequences())
def test_sequences_are_those_of_the_specification(case: tuple[Correlation, list[Hit]]) -> None:
    """Sequences and sets, with unwanted steps, give the alerts of the specification, with their hits."""
    rule, hits = case
    assert [_shape(found) for found in fold(rule, (), hits, START)] == expected(rule, hits, START)


@MANY
@given(st.one_of(_absences(), _news(), _spikes()))
def test_absences_new_terms_and_spikes(case: tuple[Correlation, list[Hit]]) -> None:
    """Absences, new terms and spikes are those of the specification, with their hits or ends."""
    rule, hits = case
    assert [_shape(found) for found in fold(rule, (), hits, START)] == expected(rule, hits, START)


@MANY
@given(st.one_of(_counts(), _sequences(), _absences(), _news(), _spikes()))
def test_a_state_that_was_asked_at_any_time_finds_the_same(case: tuple[Correlation, list[Hit]]) -> None:
    """After each hit, the alerts are those of a fold that was never asked before."""
    rule, hits = case
    ordered, asked = sorted(hits, key=lambda hit: hit.order), new_fold(rule, START)
    for count, hit in enumerate(ordered, 1):
        asked.push(hit)
        fresh = new_fold(rule, START)
        for each in ordered[:count]:
            fresh.push(each)
        assert asked.alerts() == fresh.alerts()


@MANY
@given(st.one_of(_counts(), _sequences(), _absences(), _news(), _spikes()), st.integers(0, 14))
def test_a_copy_is_independent(case: tuple[Correlation, list[Hit]], cut: int) -> None:
    """A copy of a state gives the same alerts and does not change the original."""
    rule, hits = case
    ordered = sorted(hits, key=lambda hit: hit.order)
    whole, part = new_fold(rule, START), new_fold(rule, START)
    for hit in ordered[:cut]:
        whole.push(hit)
        part.push(hit)
    before = [_shape(found) for found in part.alerts()]
    copied = part.copy()
    for hit in ordered[cut:]:
        whole.push(hit)
        copied.push(hit)
    assert [_shape(found) for found in copied.alerts()] == [_shape(found) for found in whole.alerts()]
    assert [_shape(found) for found in part.alerts()] == before


@MANY
@given(st.one_of(_counts(), _sequences(), _absences(), _news(), _spikes()), st.integers(0, 14))
def test_a_saved_state_continues(case: tuple[Correlation, list[Hit]], cut: int) -> None:
    """A state that is saved as bytes and loaded gives the same alerts as if it had gone on."""
    rule, hits = case
    ordered = sorted(hits, key=lambda hit: hit.order)
    whole, loaded = new_fold(rule, START), new_fold(rule, START)
    for hit in ordered[:cut]:
        whole.push(hit)
    writer = HitWriter()
    state = msgspec.msgpack.encode((whole.save(writer), writer.hits))
    saved, saved_hits = msgspec.msgpack.decode(state, type=tuple[SavedFold, list[SavedHit]])
    loaded.load(saved, HitReader(saved_hits, []))
    assert loaded.alerts() == whole.alerts()
    for hit in ordered[cut:]:
        whole.push(hit)
        loaded.push(hit)
    assert loaded.alerts() == whole.alerts()
