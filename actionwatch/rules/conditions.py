"""The condition of a rule as a small immutable tree. `predicate` runs it; `demand` returns what it requires of one field.

Trees are equal if the keys of their leaves are, so that rules with the same test share its cost in the index of the engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from actionwatch.base.unicode import canonical
from actionwatch.rules.fields import Candidates, Reader, Subject, spell

Predicate = Callable[[Subject], bool]
Test = Callable[[Candidates], bool]

UNEXPECTED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
"""Conditions are total, so none of these errors is expected. One must not stop the other rules. Without memory the whole step
fails instead, and evaluates the records again later."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One test on one field, or on keywords (`field` is None).

    `equals` contains the folded texts if the test is an equality; `pattern` is the regular expression if it searches for one.
    """

    key: tuple[object, ...]
    field: str | None = dataclasses.field(compare=False)
    read: Reader = dataclasses.field(compare=False, repr=False)
    test: Test = dataclasses.field(compare=False, repr=False)
    slot: str | None = dataclasses.field(compare=False, default=None)
    equals: frozenset[str] | None = dataclasses.field(compare=False, default=None)
    pattern: str | None = dataclasses.field(compare=False, default=None)


@dataclass(frozen=True, slots=True)
class Every:
    """Every part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Condition


Condition = Leaf | Every | Some | Not


def fold(text: str) -> str:
    """Return the form of a text for comparison without case and without regard to the Unicode normal form.

    It works character by character, unlike `lower`, so that parts of a text fold like the whole text.
    """
    # Folding can decompose characters: the second `canonical` composes them again.
    return text.casefold() if text.isascii() else canonical(canonical(text).casefold())


def on_text(check: Callable[[str], bool], normal: Callable[[str], str] | None = None) -> Test:
    """Make the test that the normalized text of one candidate passes the check."""

    def test(candidates: Candidates) -> bool:
        for candidate in candidates:
            text = candidate if type(candidate) is str else spell(candidate)
            if check(normal(text) if normal else text):
                return True
        return False

    return test


def equality(field: str | None, read: Reader, slot: str | None, texts: frozenset[str]) -> Leaf:
    """Make the condition that a field equals one of these folded texts."""
    return Leaf(("equals", field, texts), field, read, on_text(texts.__contains__, fold), slot, texts)


def any_of(parts: Iterable[Condition]) -> Condition:
    """Join by OR. Equalities on one field become one set lookup, so that a thousand names cost as much as one."""
    equalities: dict[str, list[Leaf]] = {}
    rest: list[Condition] = []
    for part in _flat(parts, Some):
        if isinstance(part, Leaf) and part.equals is not None and part.field is not None:
            equalities.setdefault(part.field, []).append(part)
        else:
            rest.append(part)
    joined: list[Condition] = [_join(leaves) for leaves in equalities.values()]
    joined.extend(rest)
    return joined[0] if len(joined) == 1 else Some(tuple(joined))


def all_of(parts: Iterable[Condition]) -> Condition:
    """Join by AND."""
    flat = tuple(_flat(parts, Every))
    return flat[0] if len(flat) == 1 else Every(flat)


def _flat(parts: Iterable[Condition], kind: type[Every | Some]) -> Iterator[Condition]:
    """Yield the parts, and in place of a part of this kind its own parts."""
    for part in parts:
        yield from part.parts if isinstance(part, kind) else (part,)


def depth(condition: Condition) -> int:
    """Return the depth of a tree; a leaf has depth 1."""
    match condition:
        case Every(parts) | Some(parts):
            return 1 + max(map(depth, parts))
        case Not(part):
            return 1 + depth(part)
    return 1


def predicate(condition: Condition) -> Predicate:
    """Turn a tree into the function that runs it."""
    match condition:
        case Every(parts):
            return _run_every(tuple(map(predicate, parts)))
        case Some(parts):
            return _run_some(tuple(map(predicate, parts)))
        case Not(part):
            inner = predicate(part)
            return lambda subject: not inner(subject)
        case Leaf():
            read, test = condition.read, condition.test
            return lambda subject: test(read(subject))


def demand(condition: Condition, slot: str) -> Condition | None:
    """Return the condition on one slot of a record that must hold for the whole condition to hold; None if there is none."""
    return demand_of(condition, lambda leaf: leaf.slot == slot)


def demand_of(condition: Condition, is_asked: Callable[[Leaf], bool], *, with_not: bool = False) -> Condition | None:
    """Return the condition on these leaves that must hold for the whole condition to hold; None if there is none.

    AND demands what any part demands. OR demands something only if every branch does. NOT demands nothing, because its part
    can fail on another field, except `with_not` if it has no other leaves.
    """
    match condition:
        case Every(parts):
            demands = [found for part in parts if (found := demand_of(part, is_asked, with_not=with_not)) is not None]
            return all_of(demands) if demands else None
        case Some(parts):
            branches = [demand_of(part, is_asked, with_not=with_not) for part in parts]
            found_all = [branch for branch in branches if branch is not None]
            return any_of(found_all) if len(found_all) == len(branches) else None
        case Not():
            return condition if with_not and all(map(is_asked, leaves(condition))) else None
        case Leaf():
            return condition if is_asked(condition) else None


def leaves(condition: Condition) -> Iterator[Leaf]:
    """Yield every leaf of a tree."""
    match condition:
        case Every(parts) | Some(parts):
            for part in parts:
                yield from leaves(part)
        case Not(part):
            yield from leaves(part)
        case Leaf():
            yield condition


def _join(equalities: list[Leaf]) -> Leaf:
    if len(equalities) == 1:
        return equalities[0]
    first = equalities[0]
    texts = frozenset[str]().union(*(leaf.equals or frozenset() for leaf in equalities))
    return equality(first.field, first.read, first.slot, texts)


def _run_every(tests: tuple[Predicate, ...]) -> Predicate:
    def run(subject: Subject) -> bool:
        for test in tests:  # noqa: SIM110  (a loop is three times as fast as all() over a generator)
            if not test(subject):
                return False
        return True

    return run


def _run_some(tests: tuple[Predicate, ...]) -> Predicate:
    def run(subject: Subject) -> bool:
        for test in tests:  # noqa: SIM110  (as above)
            if test(subject):
                return True
        return False

    return run
