"""Which records rules can be about, as far as a filter of the store or the upstream can say it: never too few."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from actionwatch.base.model import Mode, Record
from actionwatch.rules.conditions import Condition, Leaf, demand, predicate
from actionwatch.rules.fields import Subject
from actionwatch.rules.model import Rule

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Reach:
    """What all of some rules demand. None: nothing in particular."""

    kinds: tuple[str, ...] | None = None
    cluster_id: str | None = None
    account_id: str | None = None


def reach_of(rules: Iterable[Rule], everything: Iterable[Rule] = ()) -> Reach:
    """Work out what a record must be for any of the rules to be about it; `everything`: where to find what they feed on.

    Only kinds and ids are judged: rules compare user names without case, and nobody knows whether the upstream does.
    """
    rules = list(rules)
    known = {rule.name.id: rule for rule in (*everything, *rules)}
    conditions = [condition for rule in rules for condition in conditions_of(rule, known)]
    return Reach(
        kinds=_kinds(conditions),
        cluster_id=_common_id(conditions, "cluster"),
        account_id=_common_id(conditions, "account"),
    )


def conditions_of(rule: Rule, known: Mapping[str, Rule]) -> list[Condition]:
    """Give the conditions by which records get into a rule's alerts; a correlation's are those of the rules it feeds on."""
    found: list[Condition] = []
    pending, seen = [rule], set[str]()
    while pending:
        each = pending.pop()
        if each.name.id in seen:
            continue
        seen.add(each.name.id)
        if each.correlation is None:
            found.append(each.condition)
            continue
        inner = {**known, **{part.name.id: part for part in each.correlation.parts}}
        pending += [inner[step.rule_id] for step in each.correlation.steps if step.rule_id in inner]
    return found


def admitted_kinds(condition: Condition, known_kinds: Collection[str]) -> list[str]:
    """Give the known kinds for which a condition could hold."""
    demanded = demand(condition, "action_kind")
    if demanded is None:
        return list(known_kinds)
    holds = predicate(demanded)
    return [kind for kind in known_kinds if holds(Subject(_of_kind(kind)))]


def names_demanding(rules: Sequence[Rule], kinds: Collection[str]) -> list[str]:
    """Name the rules in use that ask for records of these kinds, also by a wildcard. Rules for any kind are left out."""
    known = {rule.name.id: rule for rule in rules}
    return [
        rule.name.name
        for rule in rules
        if rule.mode is not Mode.OFF
        and any(
            demand(condition, "action_kind") is not None and admitted_kinds(condition, kinds)
            for condition in conditions_of(rule, known)
        )
    ]


def _kinds(conditions: Sequence[Condition]) -> tuple[str, ...] | None:
    """Join the kinds that are named in full; a wildcard may also mean kinds that nobody has documented."""
    kinds: set[str] = set()
    for condition in conditions:
        demanded = demand(condition, "action_kind")
        if not isinstance(demanded, Leaf) or demanded.equals is None:
            return None
        kinds |= {text.upper() for text in demanded.equals}
    return tuple(sorted(kinds)) or None


def _common_id(conditions: Sequence[Condition], slot: str) -> str | None:
    """Give the one id that all conditions demand, where it is a plain UUID."""
    found: set[str] = set()
    for condition in conditions:
        demanded = demand(condition, slot)
        if not isinstance(demanded, Leaf) or demanded.equals is None or demanded.field == f"{slot}.name":
            return None
        found |= demanded.equals
    text = found.pop() if len(found) == 1 else ""
    return text if _UUID.fullmatch(text) else None


def _of_kind(kind: str) -> Record:
    at = datetime(2026, 3, 4, tzinfo=UTC)
    return Record(key="", source="", occurred_at=at, seen_at=at, action_kind=kind, raw="{}")
