"""Find the rules that a record can match from a few of its values, so that the cost per record hardly grows with the rules.

For each slot of a record (its kind, user, cluster, ...) a column caches value -> bit mask of the rules whose demand on that
slot the value meets, because these values repeat. The AND of the masks of all columns selects the rules to run in full. A
rule that demands nothing of a slot has its bit set for every value. Fields whose values do not repeat are searched for the
patterns of the rules, many records in one pass.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import accumulate, compress, islice
from operator import and_, attrgetter

import msgspec

from actionwatch.base.cache_keys import is_short
from actionwatch.base.model import Record
from actionwatch.rules.conditions import (
    UNEXPECTED,
    Condition,
    Every,
    Leaf,
    Predicate,
    Some,
    demand_of,
    fold,
    leaves,
    predicate,
)
from actionwatch.rules.fields import BLANK, FIELDS, Field, Reader, Subject, field_named, spell
from actionwatch.rules.patterns import JoinedTexts, PatternFilter, Search, pattern_search

_CHUNK = 1000  # records per pass: enough to spread its cost, few enough that most patterns occur in none
MAX_REMEMBERED = 20_000  # values per column; a full column is cleared and computes each value again
MAX_JOINED = 65_536  # characters searched as one, unless a single text is longer
_MAX_TRIED = 3  # patterns per record; up to this number it is cheaper to try them one by one than in a pass for all
_SAMPLE = 64  # records of a chunk from which to estimate which rules remain for many records
OnFailure = Callable[[int, str], None]
_SLOTS = tuple(dict.fromkeys(field.slot for field in FIELDS.values() if field.slot is not None))


class _Column(dict[Hashable, int]):
    """One slot, value -> mask. Each demand is evaluated once per new value, even if many rules share it."""

    def __init__(
        self,
        slot: str,
        conditions: Sequence[Condition],
        on_failure: OnFailure,
    ) -> None:
        super().__init__()
        self.slot = slot
        self._on_failure = on_failure
        self.free = 0
        self._equalities: dict[str, tuple[Reader, dict[str, int]]] = {}
        self._tests: list[tuple[Predicate, int]] = []
        shared: dict[Condition, int] = {}
        for number, condition in enumerate(conditions):
            demanded = _demand(condition, slot)
            if demanded is None:
                self.free |= 1 << number
            else:
                shared[demanded] = shared.get(demanded, 0) | 1 << number
        for demanded, mask in shared.items():
            self._add(demanded, mask)

    def __missing__(self, value: Hashable) -> int:
        """Compute the mask of a new value, and cache it if the value is short."""
        subject = Subject(msgspec.structs.replace(BLANK, **{self.slot: value}))
        mask = self.free
        for read, by_text in self._equalities.values():
            for candidate in read(subject):
                mask |= by_text.get(fold(spell(candidate)), 0)
        has_failed = False
        for test, rules in self._tests:
            try:
                if mask & rules != rules and test(subject):
                    mask |= rules
            except UNEXPECTED as exc:
                has_failed = True
                self._on_failure(rules & ~mask, f"on {self.slot} {value!r}: {type(exc).__name__}: {exc}")
        if has_failed or not is_short(value):
            return mask  # if it failed, the next record with the value reports it again
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


class _PatternColumn:
    """One field with many distinct values. Passes over a chunk find which patterns can occur in which values."""

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
        """Clear the bits of rules whose patterns cannot occur in the field, if this is cheaper than running the rules.

        One pass finds the patterns that can occur in any of the texts. The patterns of rules that remain for many records are
        then searched for, each in all texts at once.
        """
        sample = [mask & self.rules for mask in masks[:: max(len(masks) // _SAMPLE, 1)]]
        is_crowded = sum(map(int.bit_count, sample)) > _MAX_TRIED * len(sample)
        common = _common(sample)
        if not common and not is_crowded:
            return masks
        owners, texts = _texts(self._field, records)
        everywhere, found = ~self.rules, list[tuple[int, int]]()
        for portion in _portions(texts):
            joined, own = JoinedTexts(texts[portion]), owners[portion]
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

    def _places(self, pattern: str, joined: JoinedTexts) -> Sequence[int] | None:
        """Return the indexes of the texts in which a pattern can occur; None if it can occur in most, or if that is unknown.

        Stopping at half of the texts also bounds the cost, because each search can read to the end of all texts.
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

    def __init__(self, conditions: Sequence[Condition], on_failure: OnFailure) -> None:
        """`on_failure` is called with the mask of the rules whose condition failed on a value, and with the error."""
        self._everything = (1 << len(conditions)) - 1
        made = (_Column(slot, conditions, on_failure) for slot in _SLOTS)
        columns = [column for column in made if column.free != self._everything]
        columns.sort(key=lambda column: column.free.bit_count())
        self.columns = tuple(columns)
        self._steps = [(attrgetter(column.slot), column.__getitem__) for column in columns]
        patterned = [leaf for condition in conditions for leaf in leaves(condition) if leaf.pattern is not None]
        names = dict.fromkeys(leaf.field for leaf in patterned if leaf.field is not None and leaf.slot is None)
        fields = {name: field for name in names if (field := field_named(name)) is not None}
        patterns = [_PatternColumn(name, field, conditions) for name, field in fields.items()]
        self._patterns = [column for column in patterns if column.rules]

    def possible(self, records: Iterable[Record]) -> Iterator[tuple[Record, int]]:
        """Yield the records that can meet any condition, each with the bit mask of the indexes of these conditions."""
        stream = iter(records)
        while chunk := list(islice(stream, _CHUNK)):
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
        """Return the parts of an AND that must be run if its bit is set. The columns have decided the others."""
        parts = condition.parts if isinstance(condition, Every) else (condition,)
        left = tuple(part for part in parts if all(_demand(part, slot) != part for slot in _SLOTS))
        return left[0] if len(left) == 1 else Every(left)


def _demand(condition: Condition, slot: str) -> Condition | None:
    return demand_of(condition, lambda leaf: leaf.slot == slot, with_not=True)


def _any_of_these(demanded: Condition) -> Iterator[Leaf]:
    """Yield leaves of which at least one must hold: all branches of an OR, one part of an AND."""
    match demanded:
        case Leaf():
            yield demanded
        case Every(parts):
            yield from _any_of_these(parts[0])
        case Some(parts):
            for part in parts:
                yield from _any_of_these(part)


def _left(records: list[Record], masks: Sequence[int]) -> tuple[list[Record], Sequence[int]]:
    if all(masks):
        return records, masks
    return list(compress(records, masks)), list(filter(None, masks))


def _common(masks: Sequence[int]) -> int:
    """Return the bits that at least sixteen of the masks have. All bits are counted in parallel, in binary."""
    ones = twos = fours = eights = common = 0
    for mask in masks:
        ones, carry = ones ^ mask, ones & mask
        twos, carry = twos ^ carry, twos & carry
        fours, carry = fours ^ carry, fours & carry
        eights, carry = eights ^ carry, eights & carry
        common |= carry
    return common


def _texts(field: Field, records: Sequence[Record]) -> tuple[Sequence[int], Sequence[str]]:
    """Return the indexes of the records that have the field, and its texts."""
    if field.attribute is None:
        found = [(place, value) for place, record in enumerate(records) for value in field.read(Subject(record))]
    else:
        values = list(map(attrgetter(field.attribute), records))
        if None not in values:
            return range(len(values)), [value if type(value) is str else spell(value) for value in values]
        found = [(place, value) for place, value in enumerate(values) if value is not None]
    return [place for place, _ in found], [spell(value) for _, value in found]


def _portions(texts: Sequence[str]) -> Iterator[slice]:
    """Divide texts into portions that are each searched as one."""
    ends = list(accumulate(map(len, texts)))
    start = before = 0
    while start < len(ends):
        stop = max(bisect_right(ends, before + MAX_JOINED), start + 1)
        yield slice(start, stop)
        start, before = stop, ends[stop - 1]
