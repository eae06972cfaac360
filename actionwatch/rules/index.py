"""Which rules a record can possibly meet, told from a few of its values: the cost per record hardly grows with the rules.

For each slot of a record (its kind, user, cluster, ...) a column remembers value -> bit mask of the rules whose demand on
that slot the value meets; values of these slots repeat. The masks of all columns ANDed leave the rules worth running in
full. A rule that demands nothing of a slot has its bit set for every value of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from actionwatch.model import Record
from actionwatch.rules.conditions import Condition, Leaf, Predicate, demand, fold, predicate, undecided
from actionwatch.rules.fields import FIELDS, Reader, Subject, spell

MAX_REMEMBERED = (
    20_000  # values per column; beyond it the column starts afresh, which costs as much as one look at each
)
SLOTS = tuple(dict.fromkeys(field.slot for field in FIELDS.values() if field.slot is not None))


class Column:
    """One slot: its demands, each evaluated once per new value however many rules share it."""

    def __init__(self, slot: str, conditions: Sequence[Condition]) -> None:
        self.key_of: Callable[[Record], Any] = attrgetter(slot)
        self.masks: dict[Hashable, int] = {}
        self.free = 0
        self._equalities: dict[str, tuple[Reader, dict[str, int]]] = {}
        self._tests: list[tuple[Predicate, int]] = []
        shared: dict[Condition, int] = {}
        for number, condition in enumerate(conditions):
            demanded = demand(condition, slot)
            if demanded is None:
                self.free |= 1 << number
            else:
                shared[demanded] = shared.get(demanded, 0) | 1 << number
        for demanded, mask in shared.items():
            self._add(demanded, mask)

    @property
    def is_useful(self) -> bool:
        """Whether any rule demands anything of this slot."""
        return bool(self._equalities or self._tests)

    @property
    def tests_count(self) -> int:
        """How many distinct tests a new value costs, beside the look-ups of equalities."""
        return len(self._tests)

    def learn(self, key: Hashable, record: Record) -> int:
        """Work out, and remember, the mask of a value not seen before."""
        subject = Subject(record)
        mask = self.free
        for read, by_text in self._equalities.values():
            for candidate in read(subject):
                mask |= by_text.get(fold(spell(candidate)), 0)
        for test, rules in self._tests:
            if mask & rules != rules and test(subject):
                mask |= rules
        if len(self.masks) >= MAX_REMEMBERED:
            self.masks.clear()
        self.masks[key] = mask
        return mask

    def _add(self, demanded: Condition, mask: int) -> None:
        if isinstance(demanded, Leaf) and demanded.equals is not None and demanded.field is not None:
            _, by_text = self._equalities.setdefault(demanded.field, (demanded.read, {}))
            for text in demanded.equals:
                by_text[text] = by_text.get(text, 0) | mask
        else:
            self._tests.append((predicate(demanded), mask))


class Index:
    """The columns of a set of conditions, the most selective first."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        columns = [column for slot in SLOTS if (column := Column(slot, conditions)).is_useful]
        columns.sort(key=lambda column: column.free.bit_count())
        self._everything = (1 << len(conditions)) - 1
        self.columns = tuple(columns)
        self._steps = [(column.key_of, column.masks, column.learn) for column in columns]

    def possible(self, records: Iterable[Record]) -> Iterator[tuple[Record, int]]:
        """Give the records that can meet any condition, each with the bit mask of those it can meet, by their places."""
        steps, everything = self._steps, self._everything
        for record in records:
            mask = everything
            for key_of, masks, learn in steps:
                key = key_of(record)
                try:
                    mask &= masks[key]
                except KeyError:
                    mask &= learn(key, record)
                if not mask:
                    break
            else:
                if mask:
                    yield record, mask

    @staticmethod
    def rest(condition: Condition) -> Condition:
        """Give what remains to be run of a condition whose bit is set: the columns have decided the other parts."""
        return undecided(condition, SLOTS)
