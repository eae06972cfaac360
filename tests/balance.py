"""The order of tests for several workers: each begins with some of the long ones, so that none of these is the last to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

LONG = (
    *("tests/chaos/", "tests/end_to_end/"),  # most of their tests wait for processes, some for a lease to end
    *("tests/simulation/", "tests/integration/web/test_console_browser.py"),  # each takes many seconds of CPU
)


def long_first(tests: Sequence[T], worker_count: int, is_long: Callable[[T], bool]) -> list[T]:
    """Deal the long tests to the beginnings of the parts that `--dist worksteal` gives to the workers.

    A part is contiguous, and has at most one test more than another. The other tests keep their order.
    """
    long = [test for test in tests if is_long(test)]
    others = iter([test for test in tests if not is_long(test)])
    found: list[T] = []
    for number in range(worker_count):
        size = (len(tests) - len(found)) // (worker_count - number)
        begin = long[number::worker_count][:size]
        found += [*begin, *islice(others, size - len(begin))]
    return found
