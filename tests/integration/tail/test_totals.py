"""What a source learns of the upstream's totals and counts from its walks."""

from __future__ import annotations

from collections import Counter

import pytest

from actionwatch.store.database import Database
from actionwatch.tail.proof import Claim, Walk
from actionwatch.tail.state import TailOptions, TailState
from tests.builders import Clock, make_marks


def a_walk(keys: str, claim: Claim, *, is_ended: bool = True) -> Walk:
    """Make a walk whose responses all claim the same."""
    return Walk(Counter(keys), Counter(keys.upper()), [claim, claim], list(keys), 1, is_ended=is_ended)


@pytest.mark.parametrize(
    ("before", "walk", "after"),
    [
        (False, a_walk("ab", Claim(2)), True),
        (False, a_walk("ab", Claim(3)), False),
        (False, a_walk("ab", Claim(2), is_ended=False), False),
        (True, a_walk("ab", Claim(2), is_ended=False), True),
        (True, a_walk("ab", Claim(3)), True),
        (True, a_walk("ab", Claim(1)), False),
    ],
)
def test_trust_in_totals(database: Database, before: bool, walk: Walk, after: bool) -> None:
    """Totals are trusted from a walk on that confirms them until one refutes them."""
    state = TailState(TailOptions("acme", "org"), database, Clock())
    state.marks = make_marks(totals_cover_pages=before)
    state.weigh_totals(walk)
    assert state.is_total_trusted is after


def test_usable_counts(database: Database) -> None:
    """Counts are usable if those of the last walk with records added up to its total."""
    state = TailState(TailOptions("acme", "org"), database, Clock())
    state.marks = make_marks()
    assert state.has_kind_counts
    for keys, claim, is_usable in (
        ("", Claim(0), True),
        ("ab", Claim(2), False),
        ("", Claim(0, {}), False),
        ("ab", Claim(2, {"A": 1, "B": 1}), True),
        ("", Claim(0), True),
        ("ab", Claim(2, {"A": 3}), False),
    ):
        state.weigh_totals(a_walk(keys, claim))
        assert state.has_kind_counts is is_usable
