"""Find the stored record of an action that has another key since the upstream sends more or fewer of its fields. Pure.

A record and a stored one of the same instant can be the same action if no field that both have has another value. Which of the
stored records the log shows under their own keys decides the caller: only the others are compared.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any

from actionwatch.base.model import Record
from actionwatch.instaclustr.aliases import ALIASES
from actionwatch.instaclustr.identity import twin_key
from actionwatch.store.record_aliases import StoredRecord

_TIMES = frozenset(alias.lower() for alias in ALIASES["time"])  # equal, however they are written
_ENTITIES = ("account", "cluster", "organisation", "organization", "domain")
TIME_CHARS = 16  # of a key
MAX_OF_INSTANT = 100  # compared with each other; an upstream that counts seconds may have thousands
_LEAST_COMMON = 2  # equal fields, such as the time and the kind


def pair(raws: Sequence[str], stored: Sequence[StoredRecord]) -> dict[int, StoredRecord]:
    """Find at most one stored record for each of these texts, and the other way round: those that have most in common first."""
    fields = [_fields(raw) for raw in raws]
    others = [_fields(each.raw) for each in stored]
    scores = [
        (score, -place, -other)
        for place, mine in enumerate(fields)
        for other, theirs in enumerate(others)
        if (score := _in_common(mine, theirs)) >= _LEAST_COMMON
    ]
    found: dict[int, StoredRecord] = {}
    taken: set[int] = set()
    for _, place, other in sorted(scores, reverse=True):
        if -place not in found and other not in taken:
            taken.add(other)
            found[-place] = stored[-other]
    return found


def changed_fields(raw: str, stored: StoredRecord) -> tuple[set[str], set[str]]:
    """Return the names of the fields that a record has and its stored form has not, and the other way round."""
    mine, theirs = _fields(raw).keys(), _fields(stored.raw).keys()
    return mine - theirs, theirs - mine


def other_forms(page: Sequence[Record], before: Sequence[Record]) -> set[str]:
    """Return the keys of those records of a page that can be records of the page before it with more or fewer fields."""
    times = {_time(each) for each in page} & {_time(each) for each in before}
    if not times:  # nearly always
        return set()
    some, others = ([each for each in shown if _time(each) in times][:MAX_OF_INSTANT] for shown in (page, before))
    known = [(_time(each), _fields(each.raw)) for each in others]
    found = [(each.key, _time(each), _fields(each.raw)) for each in some]
    return {
        key
        for key, time, mine in found
        for at, theirs in known
        if at == time and mine.keys() != theirs.keys() and _in_common(mine, theirs) >= _LEAST_COMMON
    }


def _time(record: Record) -> str:
    return record.key[:TIME_CHARS]


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
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return {name: held for name, held in value.items() if held is not None} if isinstance(value, dict) else {}


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
