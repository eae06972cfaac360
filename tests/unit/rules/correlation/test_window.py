"""A window of hits is a list of which the oldest leave, however many leave at once."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from actionwatch.rules.correlations.folds.window import Window
from actionwatch.rules.model import Hit
from tests.unit.rules.correlation.kit import at, objects_held

STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.booleans()), max_size=60)


@given(STEPS)
def test_a_window_has_the_hits_since_a_time(steps: list[tuple[int, int, bool]]) -> None:
    """It returns what leaves, and has the others in order, from both ends, also after it was cleared."""
    window, plain, now = Window(), deque[Hit](), 0
    for number, (pause, span, is_cleared) in enumerate(steps):
        now += pause
        left = []
        while plain and plain[0].at < at(now - span):
            left.append(plain.popleft())
        assert list(window.drop_before(at(now - span))) == left
        if is_cleared and number % 7 == 0:
            window.clear()
            plain.clear()
        hit = Hit(at(now), 0, str(number), ())
        window.append(hit)
        plain.append(hit)
        assert list(window) == list(plain)
        assert list(reversed(window)) == list(reversed(plain))
        assert (len(window), window.first) == (len(plain), plain[0])


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
