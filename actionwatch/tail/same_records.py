"""Find the stored record of an action that has another key since the upstream sends more or fewer of its fields. Pure.

A record and a stored one of the same instant can be the same action if no field that both have has another value. Which of the
stored records the log shows under their own keys decides the caller: only the others are compared.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from actionwatch.base.model import Record
from actionwatch.instaclustr.aliases import ALIASES
from actionwatch.instaclustr.identity import twin_key
from actionwatch.store.record_aliases import StoredRecord

_TIMES = frozenset(alias.lower() for alias in ALIASES["time"])  # equal, however they are written
_ENTITIES = ("account", "cluster", "organisation", "organization", "domain")
TIME_CHARS = 16  # of a key
MAX_OF_INSTANT = 100  # compared with each other; an upstream that counts seconds may have thousands
_LEAST_COMMON = 2  # equal fields, such as the time and the kind


class Change(NamedTuple):
    """The names of the fields that a record has and its stored form has not, and the other way round."""

    added: frozenset[str]
    gone: frozenset[str]

    def single(self) -> list[Change]:
        """Return the changes of each of these fields. Another record may show one of them together with others."""
        nothing = frozenset[str]()
        return [
            *(Change(frozenset({name}), nothing) for name in self.added),
            *(Change(nothing, frozenset({name})) for name in self.gone),
        ]


class Pair(NamedTuple):
    """A record, and the stored one that can be the same action."""

    record: Record
    stored: StoredRecord
    change: Change
    is_likely: bool
    """Whether at least as many records can be the stored one as stored ones can be the record: none of them need be gone."""


def pair_up(records: Sequence[Record], counts: Mapping[str, int], stored: Sequence[StoredRecord]) -> list[Pair]:
    """Find at most one stored record for each of these, and the other way round: those that have most in common first.

    `counts` says, by key, how many of the records there are in all.
    """
    fields = [_fields(record.raw) for record in records]
    others = [_fields(each.raw) for each in stored]
    possible = {
        (place, other): score
        for place, mine in enumerate(fields)
        for other, theirs in enumerate(others)
        if (score := _in_common(mine, theirs)) >= _LEAST_COMMON
    }
    stored_counts = Counter(place for place, _ in possible)
    keys: dict[int, set[str]] = {}
    for place, other in possible:
        keys.setdefault(other, set()).add(records[place].key)
    found: dict[int, Pair] = {}
    taken: set[int] = set()
    for place, other in sorted(possible, key=lambda each: (-possible[each], each)):
        if place not in found and other not in taken:
            taken.add(other)
            is_likely = sum(counts[key] for key in keys[other]) >= stored_counts[place]
            found[place] = Pair(records[place], stored[other], _change(fields[place], others[other]), is_likely)
    return list(found.values())


def _change(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Change:
    return Change(frozenset(mine.keys() - theirs.keys()), frozenset(theirs.keys() - mine.keys()))


@dataclass(slots=True)
class Unchanged:
    """The fields that the log sends, by the records that it shows as they are stored."""

    sent: set[frozenset[str]] = field(default_factory=set)
    """The fields of a record, as it is shown now."""
    names: set[frozenset[str]] = field(default_factory=set)
    """The same, with those that are null: others than a stored record had, if the log ceased to send them."""
    first: dict[frozenset[str], StoredRecord] = field(default_factory=dict)
    """The first record with these fields, as it was stored."""
    seen_at: dict[frozenset[str], set[int]] = field(default_factory=dict)
    """When the records with these fields were seen."""

    def was_before(self, fields: frozenset[str], stored: StoredRecord) -> bool:
        """Return whether the log sent a record with these fields before it sent another one, or in the same response."""
        # The clock may have been set back since; and those of one walk were not stored in the order in which they were sent.
        first = self.first[fields]
        is_first = first.id < stored.id and first.seen_at < stored.seen_at
        return is_first or stored.seen_at in self.seen_at[fields]


def note_unchanged(shown: Mapping[str, str], stored: Iterable[StoredRecord]) -> Unchanged:
    """Return what stored records say; `shown` are their texts now, by key."""
    noted = Unchanged()
    for record in sorted(stored):
        now, before = shown[record.key], frozenset(_fields(record.raw))
        noted.sent.add(frozenset(_fields(now)))
        noted.names.add(frozenset(_decoded(now)))
        noted.first.setdefault(before, record)
        noted.seen_at.setdefault(before, set()).add(record.seen_at)
    return noted


def is_denied(change: Change, stored: StoredRecord, unchanged: Unchanged) -> bool:
    """Return whether the records that the log shows as they are stored deny that it changed its fields like this.

    They do if the log still sends what is gone, or one with exactly the fields of the stored one, or if it sent what is new
    before it sent the stored one.
    """
    return (
        any(not change.gone.isdisjoint(sent) for sent in unchanged.sent)
        or any(
            not change.added.isdisjoint(fields) and unchanged.was_before(fields, stored) for fields in unchanged.first
        )
        or frozenset(_decoded(stored.raw)) in unchanged.names
    )


class Shown(NamedTuple):
    """A record that a walk shows: its key, its text, the last page with it, and whether it is stored under its own key."""

    key: str
    raw: str
    page: int
    is_stored: bool


def other_forms(shown: Sequence[Shown]) -> set[str]:
    """Return the keys of records that other pages of a walk may show with other fields: of one instant, new ones among them.

    Of two new ones, it is that of the later page.
    """
    some = [(each, _fields(each.raw)) for each in shown[:MAX_OF_INSTANT]]
    return {
        mine.key
        for mine, fields in some
        for other, others in some
        if not mine.is_stored
        and (mine.page != other.page if other.is_stored else mine.page > other.page)
        and fields.keys() != others.keys()
        and _in_common(fields, others) >= _LEAST_COMMON
    }


def stored_keys(key: str, count: int, aliases: Mapping[str, Sequence[str]], held: Mapping[str, int]) -> list[str]:
    """Return the keys under which `count` equal records of the log are stored, or are to be stored.

    The first ones are those that are `held` with this key and as its twins, then come those that it is an alias of. More of
    them are further twins of the first.
    """
    found = [*(twin_key(key, ordinal) for ordinal in range(held.get(key, 0))), *aliases.get(key, ())] or [key]
    base = base_key(found[0])
    ordinal = max(held.get(base, 0), 1)
    more = [twin_key(base, number) for number in range(ordinal, ordinal + count - len(found))]
    return [*found, *more][:count]


def base_key(key: str) -> str:
    """Return the key of which a twin has an ordinal."""
    return key.partition("~")[0]


def held_counts(stored: Collection[str]) -> Counter[str]:
    """Count the keys of stored records, a twin by that of the first."""
    return Counter(map(base_key, stored))


def _fields(raw: str) -> dict[str, Any]:
    return {name: held for name, held in _decoded(raw).items() if held is not None}


def _decoded(raw: str) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _in_common(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """Count the fields with equal values; 0 if a field has two values."""
    common = one.keys() & other.keys()
    equal = {name.lower() for name in common if one[name] == other[name]}
    unequal = [name for name in common if name.lower() not in equal]
    is_same = all(_may_differ(name.lower(), one[name], other[name], equal) for name in unequal)
    return len(common) if is_same else 0


def _may_differ(name: str, one: Any, other: Any, equal: Set[str]) -> bool:
    """Return whether a field may have two values: a time, and the name of what has the same id."""
    if name in _TIMES:
        return True
    entity = next((each for each in _ENTITIES if name in (each, f"{each}name")), None)
    if entity is None:
        return False
    is_same_object = isinstance(one, dict) and isinstance(other, dict) and one.get("id") == other.get("id") is not None
    return f"{entity}id" in equal or is_same_object
