"""Random small cases for folds: a rule, and hits of one group."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from actionwatch.base.model import Hit
from actionwatch.rules.model import Correlation, CorrelationType, Pattern, Threshold
from tests.unit.rules.correlation.kit import MINUTE, at, make


@st.composite
def hits_of(draw: st.DrawFn, steps: int, values: st.SearchStrategy[Any] | None = None) -> list[Hit]:
    """Draw records at whole minutes, dense or not, ties included; each meets one step or several."""
    drawn: list[Hit] = []
    last, least = draw(st.sampled_from([8, 16, 45])), draw(st.sampled_from([0, 8, 16]))
    for number, minute in enumerate(draw(st.lists(st.integers(0, last), min_size=least, max_size=20))):
        met = draw(st.sets(st.integers(0, steps - 1), min_size=1, max_size=2))
        value = None if values is None else draw(values)
        drawn += [Hit(at(minute), step, f"k{number:02}", (), value) for step in sorted(met)]
    return drawn


@st.composite
def counts(draw: st.DrawFn) -> tuple[Correlation, list[Hit]]:
    """Draw a rule that counts or measures, and hits."""
    type_ = draw(st.sampled_from([CorrelationType.EVENT_COUNT, CorrelationType.VALUE_COUNT]))
    threshold = Threshold(draw(st.sampled_from(["gte", "gt", "eq", "neq", "lt"])), draw(st.integers(1, 6)))
    rule = make(
        type_,
        threshold=threshold,
        timespan=draw(st.integers(1, 12)) * MINUTE,
        realert=draw(st.integers(1, 12)) * MINUTE,
    )
    return rule, draw(hits_of(1, st.integers(0, 5)))


@st.composite
def patterns(draw: st.DrawFn, steps: int) -> tuple[Pattern, ...]:
    """Draw the patterns of a sequence or of a set."""
    found = []
    for _ in range(draw(st.integers(1, 2))):
        wanted = draw(st.sets(st.integers(0, steps - 1), min_size=1))
        unwanted = draw(st.sets(st.integers(0, steps - 1))) - wanted
        found.append(Pattern(tuple(sorted(wanted)), tuple(sorted(unwanted))))
    return tuple(dict.fromkeys(found))


@st.composite
def sequences(draw: st.DrawFn) -> tuple[Correlation, list[Hit]]:
    """Draw a sequence or a set with patterns, and hits."""
    steps = draw(st.integers(2, 4))
    rule = make(
        draw(st.sampled_from([CorrelationType.TEMPORAL, CorrelationType.TEMPORAL_ORDERED])),
        steps=steps,
        patterns=draw(patterns(steps)),
        timespan=draw(st.integers(1, 15)) * MINUTE,
        realert=draw(st.sampled_from([1, 2, 5, 12])) * MINUTE,
    )
    return rule, draw(hits_of(steps))


@st.composite
def absences(draw: st.DrawFn) -> tuple[Correlation, list[Hit]]:
    """Draw a rule about what is missing, and hits."""
    rule = make(
        threshold=Threshold("lt", 1), expected=((),), timespan=draw(st.integers(1, 12)) * MINUTE, realert=0 * MINUTE
    )
    return rule, draw(hits_of(1))


@st.composite
def news(draw: st.DrawFn) -> tuple[Correlation, list[Hit]]:
    """Draw a rule about new terms, and hits."""
    rule = make(
        CorrelationType.NEW_TERM,
        steps=2,
        timespan=0 * MINUTE,
        realert=0 * MINUTE,
        history=draw(st.integers(1, 20)) * MINUTE,
        is_learning=draw(st.booleans()),
    )
    return rule, draw(hits_of(2))


@st.composite
def spikes(draw: st.DrawFn) -> tuple[Correlation, list[Hit]]:
    """Draw a rule about spikes, and hits."""
    rule = make(
        CorrelationType.SPIKE,
        timespan=draw(st.integers(1, 6)) * MINUTE,
        realert=draw(st.integers(1, 12)) * MINUTE,
        windows=draw(st.integers(1, 3)),
        factor=draw(st.sampled_from([0.5, 1, 1.5, 3])),
        minimum=draw(st.integers(1, 3)),
    )
    return rule, draw(hits_of(1))


def any_case() -> st.SearchStrategy[tuple[Correlation, list[Hit]]]:
    """Return a strategy for a rule of any type, and hits."""
    return st.one_of(counts(), sequences(), absences(), news(), spikes())
