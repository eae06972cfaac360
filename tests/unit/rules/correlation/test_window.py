"""A window of hits is a list of which the oldest leave, however many leave at once, and however many are packed."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.clock import to_micros
from actionwatch.instaclustr.identity import organisation_hash, record_key, twin_key
from actionwatch.rules.correlations.folds.window import Window
from actionwatch.rules.model import Correlation, CorrelationType, Hit, RecordRef, Threshold
from tests.unit.rules.correlation.kit import MINUTE, START, at, fold, make, objects_held, record_at

STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.booleans()), max_size=60)
PACKED = "actionwatch.rules.correlations.folds.window._PACKED"


def stored_hit(minute: int, number: int, *, step: int = 0, value: Any = None, is_backlog: bool = False) -> Hit:
    """Make the hit of a stored record."""
    moment = at(minute)
    key = record_key(to_micros(moment), str(number).encode(), organisation_hash("o"))
    return Hit(moment, step, key, (RecordRef(key, number + 1, moment, is_backlog),), value)


def other_hit(minute: int, number: int) -> Hit:
    """Make a hit that cannot be packed: of no record, of two, of a whole one, of a twin, or at another time than its record."""
    usual = stored_hit(minute, number)
    (record,) = usual.records
    twin = twin_key(usual.key, 1)
    return (
        Hit(usual.at, 0, str(number), ()),
        Hit(usual.at, 0, usual.key, (record, record)),
        Hit(usual.at, 1, usual.key, (record_at(minute, key=usual.key),)),
        Hit(usual.at, 0, twin, (RecordRef(twin, number + 1, usual.at, False),)),
        Hit(usual.at + MINUTE / 2, 0, usual.key, (record,)),
        Hit(usual.at, 0, usual.key[:-1] + "G", (RecordRef(usual.key[:-1] + "G", 1, usual.at, False),)),
    )[number % 6]


@given(STEPS, st.integers(1, 3), st.sampled_from([2, 3, 1000]))
def test_a_window_has_the_hits_since_a_time(steps: list[tuple[int, int, bool]], packed: int, usual: int) -> None:
    """It returns what leaves, and has the others in order, from both ends, also after it was cleared or copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PACKED, packed)
        window, plain, now = Window(), deque[Hit](), 0
        for number, (pause, span, is_cleared) in enumerate(steps):
            now += pause
            left = []
            while plain and plain[0].at < at(now - span):
                left.append(plain.popleft())
            before = window
            window = window.copy()
            assert list(window.drop_before(at(now - span))) == left
            assert list(before) == [*left, *plain]
            if is_cleared and number % 7 == 0:
                window.clear()
                plain.clear()
            is_usual = number % usual
            hit = stored_hit(now, number, step=span, is_backlog=is_cleared) if is_usual else other_hit(now, number)
            window.append(hit)
            plain.append(hit)
            assert list(window) == list(plain)
            assert list(reversed(window)) == list(reversed(plain))
            assert (len(window), window.first) == (len(plain), plain[0])


TYPES = [
    make(threshold=Threshold("gte", 4)),
    make(CorrelationType.VALUE_COUNT, threshold=Threshold("gte", 3)),
    make(CorrelationType.VALUE_SUM, threshold=Threshold("gte", 9)),
    make(CorrelationType.SPIKE, windows=2, factor=2, minimum=3, realert=20 * MINUTE),
]


@given(st.sampled_from(TYPES), st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=60))
def test_packing_changes_no_alert(rule: Correlation, steps: list[tuple[int, int]]) -> None:
    """A fold finds the same alerts with the same hits, whether its window is packed or not."""
    minutes = itertools.accumulate(pause for pause, _ in steps)
    hits = [
        stored_hit(minute, number, value=value)
        for number, (minute, (_, value)) in enumerate(zip(minutes, steps, strict=True))
    ]
    found = []
    for packed in (1, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PACKED, packed)
            found.append(fold(rule, (), hits, START))
    assert found[0] == found[1]


def test_hits_of_stored_records_are_packed() -> None:
    """Of many hits of stored records, all but the newest are packed, and two folds of them share what is packed."""
    hits = [stored_hit(number, number, value="x") for number in range(1000)]
    live, base = Window(hits), Window(hits[:900])
    held = objects_held([live, base])
    assert held["PackedHits"] == 14
    assert held["Hit"] < 2 * 128
    assert held["bytes"] == held["PackedHits"]


def test_hits_that_left_are_let_go() -> None:
    """At most one in eight of the hits that a window refers to has left it."""
    window = Window()
    for number in range(1000):
        window.append(Hit(at(number), 0, str(number), ()))
        window.drop_before(at(number - 100))
        assert objects_held(window)["Hit"] <= len(window) * 8 / 7
    assert len(window) == 101
    window.drop_before(at(999))
    assert objects_held(window)["Hit"] == 1
