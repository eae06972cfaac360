"""Bounds what the conditions in rule files may cost to load, so that no file makes a start, a reload or a check slow.

Steps are counted and not seconds, so that a file loads on every machine or on none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from actionwatch.base.errors import ActionwatchError

MAX_FILE_STEPS = 500_000  # 100,000 values; a step takes about 10 µs
MAX_STEPS = 1_000_000  # of all files; the shipped rules take 6,000
_DOCUMENT_STEPS = 50  # what the rest of a rule costs
FAULT_STEPS = 50  # a fault or note searches for similar words
PATTERN_STEPS = 10  # and a tenth of the size of its program
REFUSED_STEPS = 5_000  # RE2 refuses a pattern after it made a program of the maximum size


class OverBudget(ActionwatchError):
    """The limit of a file or of all files is reached. `remedy` says what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}: {remedy}")
        self.what = what
        self.remedy = remedy


@dataclass(slots=True)
class Meter:
    """Counts the steps of one document: one for each value each time that it is compiled, and the size of each pattern."""

    file_left: int
    left: int
    spent: int = 0
    patterns: set[str] = field(default_factory=set)

    def spend(self, steps: int) -> None:
        """Count steps. Raises: OverBudget."""
        self.spent += steps
        remedy = "use fewer values, and fewer or simpler patterns"
        if self.spent > self.file_left:
            what = f"the rules of this file cost more than {MAX_FILE_STEPS} steps to load"
            raise OverBudget(what, f"{remedy}, or split the file")
        if self.spent > self.left:
            raise OverBudget(f"the rules of all files cost more than {MAX_STEPS} steps to load", remedy)


class Budget:
    """The steps of documents that are loaded together."""

    def __init__(self) -> None:
        self._spent: Counter[str] = Counter()

    @contextmanager
    def metering(self, file: str) -> Iterator[Meter]:
        """Count the steps of a document of this file in the block. Raises: OverBudget, where the block spends too much."""
        meter = Meter(MAX_FILE_STEPS - self._spent[file], MAX_STEPS - self._spent.total())
        token = _meter.set(meter)
        try:
            meter.spend(_DOCUMENT_STEPS)
            yield meter
        finally:
            _meter.reset(token)
            self._spent[file] += meter.spent


def spend(steps: int) -> None:
    """Count steps of the document that is being read; without a budget, as in `explain`, do nothing. Raises: OverBudget."""
    meter = _meter.get()
    if meter is not None:
        meter.spend(steps)


def spent() -> int:
    """Return the steps of the document that is being read so far."""
    meter = _meter.get()
    return 0 if meter is None else meter.spent


def is_new(pattern: str) -> bool:
    """Return whether the document that is being read has not compiled a pattern before, which is then free."""
    meter = _meter.get()
    if meter is None or pattern in meter.patterns:
        return False
    meter.patterns.add(pattern)
    return True


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)
