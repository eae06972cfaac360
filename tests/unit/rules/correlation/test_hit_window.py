"""A window of hits is a list of which the oldest leave, however many leave at once."""

from __future__ import annotations

import bisect
from collections import deque
from operator import attrgetter

from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.model import Hit
from actionwatch.rules.correlations.folds.hit_window import CountedWindow, HitWindow
from tests.unit.rules.correlation.kit import at, objects_held

STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.booleans()), max_size=60)


@given(STEPS)
def test_a_window_has_the_hits_since_a_time(steps: list[tuple[int, int, bool]]) -> None:
    """It returns what leaves, and has the others in order, also after it was cleared."""
    window, plain, now = HitWindow(), deque[Hit](), 0
    for number, (pause, span, is_cleared) in enumerate(steps):
        now += pause
        left = []
        while plain and plain[0].at < at(now - span):
            left.append(plain.popleft())
        assert window.drop_before(at(now - span)) == left
        if is_cleared and number % 7 == 0:
            window.clear()
            plain.clear()
        hit = Hit(at(now), 0, f"{number:03}", ())
        window.append(hit)
        plain.append(hit)
        assert list(window) == list(plain)
        assert (len(window), window.first, window[-1], window[len(plain) // 2]) == (
            len(plain),
            plain[0],
            plain[-1],
            plain[len(plain) // 2],
        )


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=40), st.integers(0, 45), st.integers(0, 2))
def test_hits_are_found_by_their_order(drawn: list[tuple[int, int]], minute: int, step: int) -> None:
    """Places in a window are those in the list of its hits, also after the oldest have left."""
    plain = sorted((Hit(at(each), of, f"{n:03}", ()) for n, (each, of) in enumerate(drawn)), key=attrgetter("order"))
    window = HitWindow(plain)
    for _ in range(3):
        order = at(minute), step, ""
        assert window.place_of(order) == bisect.bisect_left(plain, order, key=attrgetter("order"))
        assert window.count_before(at(minute)) == bisect.bisect_left(plain, at(minute), key=attrgetter("at"))
        assert list(window.since(step)) == plain[step:]
        assert window.drop_first(step) == plain[:step]
        del plain[:step]
        assert list(window) == plain


def test_an_empty_window_drops_nothing() -> None:
    """A window from which nothing can leave returns nothing."""
    window = HitWindow()
    assert (window.drop_before(at(9)), len(window), list(window)) == ([], 0, [])
    window.append(Hit(at(5), 0, "a", ()))
    assert window.drop_before(at(5)) == []


def test_a_window_made_of_another_is_independent() -> None:
    """What joins one window does not join the window that it was made from."""
    first = HitWindow([Hit(at(1), 0, "a", ())])
    second = HitWindow(first)
    second.append(Hit(at(2), 0, "b", ()))
    assert (len(first), len(second)) == (1, 2)


@given(STEPS)
def test_a_counted_window_that_forgets_counts_the_same(steps: list[tuple[int, int, bool]]) -> None:
    """Of hits that are forgotten, times and values stay until they leave the window."""
    window, plain, now, whole_from = CountedWindow(), deque[Hit](), 0, -1
    for number, (pause, span, is_forgotten) in enumerate(steps):
        now += pause
        left = []
        while plain and plain[0].at < at(now - span):
            left.append(plain.popleft().value)
        assert window.drop_before(at(now - span)) == left
        hit = Hit(at(now), 0, f"{number:03}", (), number)
        window.hits.append(hit)
        plain.append(hit)
        if is_forgotten:
            window.forget()
            whole_from = number
        is_whole = plain[0].value > whole_from
        assert (len(window), window.first_at, window.is_whole) == (len(plain), plain[0].at, is_whole)
        assert list(window.hits) == [each for each in plain if each.value > whole_from]


def test_what_left_a_counted_window_is_let_go() -> None:
    """Of forgotten hits, at most one in eight has left the window, and twenty take as much as one that is held."""
    window = CountedWindow()
    for number in range(1000):
        window.hits.append(Hit(at(number), 0, str(number), (), number))
        window.forget()
        window.drop_before(at(number - 100))
        assert window.size <= 8 / 7 * len(window) / 20 + 1
    assert (len(window), window.size) == (101, 6)
    assert objects_held(window)["Hit"] == 0


def test_hits_that_left_are_let_go() -> None:
    """At most one in eight of the hits that a window refers to has left it."""
    window = HitWindow()
    for number in range(1000):
        window.append(Hit(at(number), 0, str(number), ()))
        window.drop_before(at(number - 100))
        assert objects_held(window)["Hit"] <= len(window) * 8 / 7
    assert len(window) == 101
    window.drop_before(at(999))
    assert objects_held(window)["Hit"] == 1
