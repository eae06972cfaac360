"""The place of a process among the replicas: how long it holds, and when others are known to be dead."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from actionwatch.store.membership import Place

SPAN = timedelta(seconds=6)


def joined(*, alone: bool = False) -> Place:
    """Return the place of a process that began to join at second 100, for half a second."""
    return Place().taken(100.0, 100.5, alone=alone)


def renewed_each_second(place: Place, since: int, until: int) -> Place:
    """Return the place after a renewal in each of these seconds."""
    for second in range(since, until):
        place = place.renewed(second, second + 0.01, SPAN)
    return place


def test_term_lasts_a_span_from_the_beginning_of_a_renewal() -> None:
    """What counts is when a renewal began: the server may have written it at once, and answered much later."""
    place = joined()
    assert place.term_at(106.0, SPAN) == place.term == 1
    assert place.term_at(106.001, SPAN) is None
    later = place.renewed(103.0, 105.9, SPAN)
    assert later.term_at(109.0, SPAN) == 1
    assert later.term_at(109.001, SPAN) is None


@pytest.mark.parametrize(("ended", "term"), [(106.0, 1), (106.001, 2)])
def test_renewal_after_a_span_begins_another_term(ended: float, term: int) -> None:
    """A renewal that ends more than a span after the one before began does not continue its term: others saw none meanwhile."""
    place = joined().renewed(101.0, ended, SPAN)
    assert place.term == place.term_at(ended, SPAN) == term


def test_process_that_joins_again_begins_another_term() -> None:
    """What a process claimed before it joined again is not of its term."""
    assert joined().taken(101.0, 101.0, alone=False).term == 2


def test_place_is_steady_after_a_span() -> None:
    """A process knows who is dead when it has renewed for a span; alone, at once."""
    place = renewed_each_second(joined(), 101, 106)
    assert not place.is_steady_at(106.4, SPAN)
    assert place.is_steady_at(106.5, SPAN)
    assert joined(alone=True).is_steady_at(100.5, SPAN)


def test_place_is_steady_only_while_renewals_succeed() -> None:
    """A renewal that is overdue, failed or came late may mean that the store was away, for all: a span begins again."""
    place = renewed_each_second(joined(), 101, 120)
    assert place.is_steady_at(122.0, SPAN)
    assert not place.is_steady_at(122.001, SPAN)  # the last one began at 119
    assert place.renewed(121.0, 122.0, SPAN).is_steady_at(122.0, SPAN)
    for shaken in (place.renewed(121.0, 122.001, SPAN), place.not_renewed().renewed(120.0, 120.1, SPAN)):
        settled = renewed_each_second(dataclasses.replace(shaken, renewed_at=122.0), 123, 130)
        assert not renewed_each_second(shaken, 123, 125).is_steady_at(125.0, SPAN)
        assert settled.is_steady_at(130.0, SPAN)
    failed = place.not_renewed()
    assert failed.term_at(122.0, SPAN) == place.term
    assert not failed.is_steady_at(119.5, SPAN)
