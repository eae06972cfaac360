"""The size of a transaction, from how long the one before it took."""

from __future__ import annotations

import pytest

from actionwatch.matching.portion_size import PortionSize


@pytest.mark.parametrize(
    ("count", "took", "following"),
    [
        (100, 1.0, 50),  # too long
        (10, 1.0, 5),
        (100, 50.0, 1),  # even one takes too long
        (100, 1000.0, 1),
        (100, 0.5, 100),
        (100, 0.4, 125),
        (100, 0.01, 200),  # what comes next may cost more
        (100, 0.0, 200),
        (10, 0.1, 100),  # few were there: nothing shows that more take too long
        (0, 9.0, 100),  # none: it shows nothing
    ],
)
def test_next_portion_takes_about_the_time(count: int, took: float, following: int) -> None:
    """The second portion, after one that took so long."""
    times = iter((7.0, 7.0 + took))
    size = PortionSize(1000, 0.5, lambda: next(times), first=100)
    with size.measured(count):
        pass
    assert size.count == following


@pytest.mark.parametrize(("most", "first", "count"), [(1000, None, 1000), (1000, 10, 10), (5, 10, 5)])
def test_first_portion(most: int, first: int | None, count: int) -> None:
    """No portion is larger than the largest."""
    size = PortionSize(most, 0.5, lambda: 1.0, first=first)
    assert size.count == count
    for _ in range(9):
        with size.measured(size.count):
            pass
    assert size.count == most


@pytest.mark.parametrize(("most", "least", "smallest"), [(1000, 50, 50), (20, 50, 20), (1000, 1, 1)])
def test_no_portion_is_smaller_than_the_least(most: int, least: int, smallest: int) -> None:
    """Where each transaction takes long, whatever it does, many small ones would take forever."""
    times = iter(range(0, 10_000, 2))
    size = PortionSize(most, 0.5, lambda: float(next(times)), least=least)
    for _ in range(20):
        with size.measured(size.count):
            pass
    assert size.count == smallest


def test_portion_that_fails_is_not_measured() -> None:
    """An error ends it early."""
    times = iter((7.0, 8.0))
    size = PortionSize(1000, 0.5, lambda: next(times))
    with pytest.raises(ZeroDivisionError), size.measured(1000):
        _ = 1 / 0
    assert size.count == 1000
