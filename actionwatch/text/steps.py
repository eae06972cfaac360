"""The cost of one rendering of a template: steps of work, and the sizes of the values that it reads and makes.

Steps are counted and not timed, so that a template fails on every machine or on none.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import Any

from jinja2.environment import TemplateModule
from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

MAX_STEPS = 1_000_000  # a step takes about 100 ns; the longest shipped template takes 80,000 for fifty alerts
MAX_CHARS = 256 * 1024  # of a template's output, and of each text that it makes: far above any message a channel takes
ITEM = 8  # steps of an item of a list
MAX_BITS = 2048  # of one integer, which holds every float
_MAX_DEPTH = 20  # of nested lists: Python compares and prints them recursively

LONG = f"a text of more than {MAX_CHARS:,} characters is not allowed in a template"
CONTAINERS = (list, tuple, set, KeysView, ValuesView, ItemsView)
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


class TemplateLimitError(SecurityError):
    """A template exceeds a limit of this module."""


@contextmanager
def limited_steps() -> Iterator[None]:
    """Give the block its own MAX_STEPS."""
    token = _left.set([MAX_STEPS])
    try:
        yield
    finally:
        _left.reset(token)


def spend(steps: int) -> None:
    """Take steps from what the rendering has left. Raises: TemplateLimitError, if that is not enough."""
    left = _left.get()
    if left is not None:  # filters are also called from Python
        left[0] -= steps
        what = f"the template takes more than {MAX_STEPS:,} steps: repeat less, and shorten texts first"
        refuse(left[0] < 0 or steps < 0, what)


def refuse(is_refused: object, what: str) -> None:
    """Raise TemplateLimitError if something is too large."""
    if is_refused:
        raise TemplateLimitError(what)


def weigh(value: Any, depth: int = 0) -> int:
    """Return about how many characters a value has as text; what a list holds twice counts twice.

    Raises: TemplateLimitError, if it is too large to be printed, compared or hashed.
    """
    if isinstance(value, str):
        return len(value)
    if isinstance(value, int):
        refuse(value.bit_length() > MAX_BITS, f"a number of more than {MAX_BITS:,} bits is not allowed in a template")
        return 1 + value.bit_length() // 3
    refuse(isinstance(value, Namespace | TemplateModule), "a namespace or a module is not a value: use its attributes")
    if not isinstance(value, (Mapping, *CONTAINERS)):
        return ITEM
    refuse(depth > _MAX_DEPTH, f"a list nested deeper than {_MAX_DEPTH} levels is not allowed in a template")
    total = 0
    for part in chain(value, value.values()) if isinstance(value, Mapping) else value:
        total += ITEM + weigh(part, depth + 1)
        refuse(total > MAX_STEPS, "a value as large as this is not allowed in a template")
    return total


def size(value: Any) -> int:
    """Return the steps that it takes to make a text or a list of values that exist."""
    if isinstance(value, list | tuple):
        return sum(ITEM + (ITEM * len(part) if isinstance(part, list) else 0) for part in value)
    return len(value) // 4 if isinstance(value, str) else ITEM


def made(value: Any) -> Any:
    """Take the steps of a value that was made. Raises: TemplateLimitError, if it is too large."""
    value = list(value) if isinstance(value, Iterator) else value
    refuse(isinstance(value, str) and len(value) > MAX_CHARS, LONG)
    spend(weigh(value) if isinstance(value, int) else size(value))
    return value
