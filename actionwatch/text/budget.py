"""What one rendering of a template may cost: steps of work, and the sizes of values.

Every operator, filter, test, call and turn of a loop charges steps, in proportion to the sizes of what it reads and makes. A
size that can be foreseen is refused before the value is made. Limits are counts, so that a template fails on every machine or
on none.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2.exceptions import SecurityError

MAX_STEPS = 1_000_000  # a step takes about 50 ns; the longest shipped template takes 88,000 for fifty alerts
MAX_CHARS = 2 * 1024**2  # of one value; a description has up to 1 MB
MAX_ITEMS = 100_000  # of one list
MAX_BITS = 2048  # of one integer, which holds every float
_MAX_DEPTH = 50  # of nested lists: Python compares and hashes them recursively

_CONTAINERS = (dict, list, tuple, set, frozenset, range, KeysView, ValuesView, ItemsView)
_OTHER_CHARS = 32  # of a number, a time, or an object without a length


class BudgetError(SecurityError):
    """A template exceeds a limit of this module."""


class _Budget:
    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS


_budget: ContextVar[_Budget | None] = ContextVar("budget", default=None)


@contextmanager
def new_budget() -> Iterator[None]:
    """Give the block its own MAX_STEPS."""
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def charge(steps: int) -> None:
    """Take steps from the budget, if there is one: filters are also called from Python.

    Raises: BudgetError if none are left.
    """
    budget = _budget.get()
    if budget is None:
        return
    budget.left -= steps
    if budget.left < 0:
        raise BudgetError(f"the template takes more than {MAX_STEPS:,} steps: repeat less, and shorten texts first")


def refuse(is_too_much: object, what: str) -> None:
    """Raise BudgetError if a value is too large."""
    if is_too_much:
        raise BudgetError(
            f"{what} is not allowed in a template: at most {MAX_CHARS:,} characters or {MAX_ITEMS:,} items"
        )


def weigh(value: Any) -> int:
    """Return about how many characters a value has as text; what a container holds twice counts twice.

    Raises: BudgetError if it is too large or too deep to be printed, compared or hashed.
    """
    if isinstance(value, str):
        return len(value)
    if isinstance(value, int):
        return value.bit_length() // 3 + 1
    return _weigh_all(value) if isinstance(value, _CONTAINERS) else _OTHER_CHARS


def _weigh_all(value: Any) -> int:
    total, depth = 0, 0
    level = [value]
    while level:
        depth += 1
        refuse(depth > _MAX_DEPTH, f"a list nested deeper than {_MAX_DEPTH} levels")
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                total += len(item) + 4
            elif isinstance(item, range):
                total += len(item) * 8
            elif isinstance(item, _CONTAINERS):
                charge(2 * len(item))  # before the items are copied
                total += 4
                below += item
                if isinstance(item, dict):
                    below += item.values()
            else:
                total += weigh(item) + 4
        refuse(total > MAX_CHARS, "a value as large as this")
        level = below
    return total
