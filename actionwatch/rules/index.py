"""Which rules a record can possibly meet, told from a few of its values: the cost per record hardly grows with the rules.

For each slot of a record (its kind, user, cluster, ...) a column remembers value -> bit mask of the rules whose demand on
that slot the value meets; values of these slots repeat. The masks of all columns ANDed leave the rules worth running in
full. A rule that demands nothing of a slot has its bit set for every value of it. Of fields whose values do not repeat, one
pass tells which of the patterns that rules look for can be in it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from actionwatch.model import Record
from actionwatch.rules.conditions import (
    Condition,
    Every,
    Leaf,
    Predicate,
    Some,
    demand,
    demand_of,
    fold,
    leaves,
    predicate,
    undecided,
)
from actionwatch.rules.fields import FIELDS, Reader, Subject, spell
from actionwatch.rules.patterns import PatternFilter

MAX_REMEMBERED = (
    20_000  # values per column; beyond it the column starts afresh, which costs as much as one look at each
)
MIN_PATTERN_RULES = 4  # fewer patterns are tried one by one sooner than in one pass
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


class PatternColumn:
    """One field of many distinct values: one pass tells which of the patterns that rules demand of it can be in it."""

    def __init__(self, field: str, conditions: Sequence[Condition]) -> None:
        self.rules = 0
        self._read: Reader | None = None
        shared: dict[str, int] = {}
        for number, condition in enumerate(conditions):
            demanded = demand_of(condition, lambda leaf: leaf.pattern is not None and leaf.field == field)
            if demanded is None:
                continue
            self.rules |= 1 << number
            for leaf in _any_of_these(demanded):
                self._read = leaf.read
                shared[leaf.pattern or ""] = shared.get(leaf.pattern or "", 0) | 1 << number
        self._masks = [*shared.values(), 0]  # the last place is the filter's own
        self._filter = PatternFilter(list(shared)) if self.is_useful else None

    @property
    def is_useful(self) -> bool:
        """Whether enough rules demand patterns of this field."""
        return self.rules.bit_count() >= MIN_PATTERN_RULES

    def narrow(self, mask: int, record: Record) -> int:
        """Take from the mask the rules none of whose patterns can be in the field; leave it where few are left anyway."""
        if self._filter is None or self._read is None or (mask & self.rules).bit_count() < MIN_PATTERN_RULES:
            return mask
        met = 0
        for candidate in self._read(Subject(record)):
            places = self._filter.possible(spell(candidate))
            if places is None:
                return mask
            for place in places:
                met |= self._masks[place]
        return mask & (met | ~self.rules)


class Index:
    """The columns of a set of conditions, the most selective first."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        columns = [column for slot in SLOTS if (column := Column(slot, conditions)).is_useful]
        columns.sort(key=lambda column: column.free.bit_count())
        self._everything = (1 << len(conditions)) - 1
        self.columns = tuple(columns)
        self._steps = [(column.key_of, column.masks, column.learn) for column in columns]
        patterned = [leaf for condition in conditions for leaf in leaves(condition) if leaf.pattern is not None]
        fields = dict.fromkeys(leaf.field for leaf in patterned if leaf.field is not None and leaf.slot is None)
        made = [PatternColumn(field, conditions) for field in fields]
        self._patterns = [column for column in made if column.is_useful]

    def possible(self, records: Iterable[Record]) -> Iterator[tuple[Record, int]]:
        """Give the records that can meet any condition, each with the bit mask of those it can meet, by their places."""
        steps, everything, patterns = self._steps, self._everything, self._patterns
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
                for column in patterns:
                    mask = column.narrow(mask, record)
                if mask:
                    yield record, mask

    @staticmethod
    def rest(condition: Condition) -> Condition:
        """Give what remains to be run of a condition whose bit is set: the columns have decided the other parts."""
        return undecided(condition, SLOTS)


def _any_of_these(demanded: Condition) -> Iterator[Leaf]:
    """Give leaves of which one at least must hold: all branches of an OR, one part of an AND."""
    match demanded:
        case Leaf():
            yield demanded
        case Every(parts):
            yield from _any_of_these(parts[0])
        case Some(parts):
            for part in parts:
                yield from _any_of_these(part)
