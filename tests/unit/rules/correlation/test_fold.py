"""The fold compared with a naive reading of the specification, on many small cases."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from actionwatch.base.model import Hit
from actionwatch.rules.correlations.folds import new_fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.model import Correlation
from tests.unit.rules.correlation.cases import absences, any_case, counts, news, sequences, spikes
from tests.unit.rules.correlation.kit import START, fold
from tests.unit.rules.correlation.oracle import Shape, expected

MANY = settings(max_examples=250)
_NONE = HitWindow()


def _shape(found: FoundAlert) -> Shape:
    hits = found.hits if found.resolved_by is None else [found.resolved_by]
    return found.origin, found.first_at, found.fired_at, tuple((hit.key, hit.step) for hit in hits)


def _all_of(found: FoundAlert) -> tuple[FoundAlert, list[Hit]]:
    return replace(found, hits=_NONE), list(found.hits)


@MANY
@given(counts())
def test_counts_are_those_of_the_specification(case: tuple[Correlation, list[Hit]]) -> None:
    """Counts and measures give the alerts of the specification, with their hits."""
    rule, hits = case
    assert [_shape(found) for found in fold(rule, (), hits, START)] == expected(rule, hits, START)


@MANY
@given(sequences())
def test_sequences_are_those_of_the_specification(case: tuple[Correlation, list[Hit]]) -> None:
    """Sequences and sets, with unwanted steps, give the alerts of the specification, with their hits."""
    rule, hits = case
    assert [_shape(found) for found in fold(rule, (), hits, START)] == expected(rule, hits, START)


@MANY
@given(st.one_of(absences(), news(), spikes()))
def test_absences_new_terms_and_spikes(case: tuple[Correlation, list[Hit]]) -> None:
    """Absences, new terms and spikes are those of the specification, with their hits or ends."""
    rule, hits = case
    assert [_shape(found) for found in fold(rule, (), hits, START)] == expected(rule, hits, START)


@MANY
@given(any_case())
def test_a_state_that_was_asked_at_any_time_finds_the_same(case: tuple[Correlation, list[Hit]]) -> None:
    """After each hit, the alerts are those of a fold that was never asked before."""
    rule, hits = case
    ordered, asked = sorted(hits, key=lambda hit: hit.order), new_fold(rule, START)
    for count, hit in enumerate(ordered, 1):
        asked.push(hit)
        fresh = new_fold(rule, START)
        for each in ordered[:count]:
            fresh.push(each)
        assert [_all_of(found) for found in asked.alerts()] == [_all_of(found) for found in fresh.alerts()]
