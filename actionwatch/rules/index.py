"""Which rules records can possibly meet, told from a few of their values: the cost per record hardly grows with the rules.

For each slot of a record (its kind, user, cluster, ...) a column remembers value -> bit mask of the rules whose demand on
that slot the value meets; values of these slots repeat. The masks of all columns ANDed leave the rules worth running in
full. A rule that demands nothing of a slot has its bit set for every value of it. Fields whose values do not repeat are
searched for the patterns that rules look for, those of many records in one pass.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate, compress, islice
from operator import and_, attrgetter

import msgspec

from actionwatch.base.model import Record
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
from actionwatch.rules.fields import FIELDS, Field, Reader, Subject, field_named, spell
from actionwatch.rules.patterns import Joined, PatternFilter, Search, pattern_search

CHUNK = (
    1000  # records looked at together: enough to spread the cost of a pass, few enough that most patterns are in none
)
MAX_REMEMBERED = (
    20_000  # values per column; beyond it the column starts afresh, which costs as much as one look at each
)
MAX_JOINED = 65_536  # characters searched as one, where not a single text is longer
MAX_TRIED = 3  # patterns a record that are tried one by one sooner than looked for in a pass for all
SAMPLE = 64  # records of a chunk that tell which rules many are left to; of a smaller chunk, all
SLOTS = tuple(dict.fromkeys(field.slot for field in FIELDS.values() if field.slot is not None))

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BLANK = Record(key="", source="", occurred_at=_EPOCH, seen_at=_EPOCH, action_kind="", raw="{}")


class Column(dict[Hashable, int]):
    """One slot, value -> mask: its demands, each evaluated once per new value however many rules share it."""

    def __init__(self, slot: str, conditions: Sequence[Condition]) -> None:
        super().__init__()
        self.slot = slot
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

    def __missing__(self, value: Hashable) -> int:
        """Work out, and remember, the mask of a value not seen before."""
        subject = Subject(msgspec.structs.replace(_BLANK, **{self.slot: value}))
        mask = self.free
        for read, by_text in self._equalities.values():
            for candidate in read(subject):
                mask |= by_text.get(fold(spell(candidate)), 0)
        for test, rules in self._tests:
            if mask & rules != rules and test(subject):
                mask |= rules
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        self[value] = mask
        return mask

    def _add(self, demanded: Condition, mask: int) -> None:
        if isinstance(demanded, Leaf) and demanded.equals is not None and demanded.field is not None:
            _, by_text = self._equalities.setdefault(demanded.field, (demanded.read, {}))
            for text in demanded.equals:
                by_text[text] = by_text.get(text, 0) | mask
        else:
            self._tests.append((predicate(demanded), mask))


class PatternColumn:
    """One field of many distinct values: passes over those of a chunk tell which rules' patterns can be in which of them."""

    def __init__(self, name: str, field: Field, conditions: Sequence[Condition]) -> None:
        self.rules = 0
        shared: dict[str, int] = {}
        for number, condition in enumerate(conditions):
            demanded = demand_of(condition, lambda leaf: leaf.pattern is not None and leaf.field == name)
            if demanded is None:
                continue
            self.rules |= 1 << number
            for leaf in _any_of_these(demanded):
                shared[leaf.pattern or ""] = shared.get(leaf.pattern or "", 0) | 1 << number
        self._field = field
        self._patterns = tuple(shared)
        self._masks = tuple(shared.values())
        self._filter = PatternFilter(list(shared))
        self._searches: dict[str, Search | None] = {}

    def narrow(self, records: Sequence[Record], masks: Sequence[int]) -> Sequence[int]:
        """Take from the masks the rules none of whose patterns can be in the field, where that costs less than to try them.

        One pass tells which patterns can be in any of the texts. Those of rules that many records are left to are then searched
        for, each in all texts at once.
        """
        sample = [mask & self.rules for mask in masks[:: max(len(masks) // SAMPLE, 1)]]
        is_crowded = sum(map(int.bit_count, sample)) > MAX_TRIED * len(sample)
        common = _common(sample)
        if not common and not is_crowded:
            return masks
        owners, texts = _texts(self._field, records)
        everywhere, found = ~self.rules, list[tuple[int, int]]()
        for portion in _portions(texts):
            joined, own = Joined(texts[portion]), owners[portion]
            for number in self._filter.possible(joined.whole) if is_crowded else range(len(self._patterns)):
                rules = self._masks[number]
                if rules & common and (places := self._places(self._patterns[number], joined)) is not None:
                    found += [(own[place], rules) for place in places]
                else:
                    everywhere |= rules
        narrowed = list(map(everywhere.__and__, masks))
        for owner, rules in found:
            narrowed[owner] |= masks[owner] & rules
        return narrowed

    def _places(self, pattern: str, joined: Joined) -> Sequence[int] | None:
        """Give the places of the texts in which a pattern can be; None where it can be in most, or that cannot be told.

        To stop there also keeps a chunk's cost in bounds: a pattern may look as far as the end of all texts each time.
        """
        if pattern not in self._searches:
            self._searches[pattern] = pattern_search(pattern)
        search = self._searches[pattern]
        if search is None:
            return None
        most = len(joined) // 2 + 1
        places = list(islice(joined.places(search), most))
        return places if len(places) < most else None


class Index:
    """The columns of a set of conditions, the most selective first."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        columns = [column for slot in SLOTS if (column := Column(slot, conditions)).is_useful]
        columns.sort(key=lambda column: column.free.bit_count())
        self._everything = (1 << len(conditions)) - 1
        self.columns = tuple(columns)
        self._steps = [(attrgetter(column.slot), column.__getitem__) for column in columns]
        patterned = [leaf for condition in conditions for leaf in leaves(condition) if leaf.pattern is not None]
        names = dict.fromkeys(leaf.field for leaf in patterned if leaf.field is not None and leaf.slot is None)
        fields = {name: field for name in names if (field := field_named(name)) is not None}
        made = [PatternColumn(name, field, conditions) for name, field in fields.items()]
        self._patterns = [column for column in made if column.rules]

    def possible(self, records: Iterable[Record]) -> Iterator[tuple[Record, int]]:
        """Give the records that can meet any condition, each with the bit mask of those it can meet, by their places."""
        stream = iter(records)
        while chunk := list(islice(stream, CHUNK)):
            yield from self._possible(chunk)

    def _possible(self, records: list[Record]) -> Iterable[tuple[Record, int]]:
        masks: Sequence[int] = [self._everything] * len(records)
        for value_of, mask_of in self._steps:
            masks = list(map(and_, masks, map(mask_of, map(value_of, records))))
            records, masks = _left(records, masks)
            if not records:  # the usual end of a single record
                return ()
        for column in self._patterns:
            records, masks = _left(records, column.narrow(records, masks))
        return zip(records, masks, strict=True)

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


def _left(records: list[Record], masks: Sequence[int]) -> tuple[list[Record], Sequence[int]]:
    """Leave out the records that can meet nothing any more."""
    if all(masks):
        return records, masks
    return list(compress(records, masks)), list(filter(None, masks))


def _common(masks: Sequence[int]) -> int:
    """Give the bits that sixteen at least of the masks have: all bits are counted side by side, each in binary."""
    ones = twos = fours = eights = common = 0
    for mask in masks:
        ones, carry = ones ^ mask, ones & mask
        twos, carry = twos ^ carry, twos & carry
        fours, carry = fours ^ carry, fours & carry
        eights, carry = eights ^ carry, eights & carry
        common |= carry
    return common


def _texts(field: Field, records: Sequence[Record]) -> tuple[Sequence[int], Sequence[str]]:
    """Give the texts of a field, and beside them the places of the records whose they are."""
    if field.attribute is None:
        found = [(place, value) for place, record in enumerate(records) for value in field.read(Subject(record))]
    else:
        values = list(map(attrgetter(field.attribute), records))
        if None not in values:
            return range(len(values)), [value if type(value) is str else spell(value) for value in values]
        found = [(place, value) for place, value in enumerate(values) if value is not None]
    return [place for place, _ in found], [spell(value) for _, value in found]


def _portions(texts: Sequence[str]) -> Iterator[slice]:
    """Cut texts into portions, each to be searched as one."""
    ends = list(accumulate(map(len, texts)))
    start = before = 0
    while start < len(ends):
        stop = max(bisect_right(ends, before + MAX_JOINED), start + 1)
        yield slice(start, stop)
        start, before = stop, ends[stop - 1]
