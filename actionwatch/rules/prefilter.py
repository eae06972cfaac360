"""Compute which records rules can match, as a filter for the store or the upstream. It never excludes a match."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from actionwatch.base.ids import UUID
from actionwatch.base.model import Mode
from actionwatch.rules.conditions import Condition, Leaf, demand, predicate
from actionwatch.rules.fields import BLANK, Subject
from actionwatch.rules.model import Rule


@dataclass(frozen=True, slots=True)
class Prefilter:
    """The values that a set of rules demands. None: any value."""

    kinds: tuple[str, ...] | None = None
    cluster_id: str | None = None
    account_id: str | None = None


def prefilter_of(rules: Iterable[Rule], everything: Iterable[Rule] = ()) -> Prefilter:
    """Compute what a record must have for any of the rules to match; `everything` contains the rules that feed them.

    It covers only kinds and ids: rules compare user names without case, and it is not documented whether the upstream does.
    """
    rules = list(rules)
    known = {rule.name.id: rule for rule in (*everything, *rules)}
    conditions = [condition for rule in rules for condition in conditions_of(rule, known)]
    kinds = sorted(text.upper() for text in _demanded(conditions, "action_kind") or ())
    return Prefilter(tuple(kinds) or None, _common_id(conditions, "cluster"), _common_id(conditions, "account"))


def conditions_of(rule: Rule, known: Mapping[str, Rule]) -> list[Condition]:
    """Return the conditions on the records of a rule's alerts. For a correlation, these are those of the rules that feed it."""
    if rule.correlation is None:
        return [rule.condition]
    feeders = {**known, **{part.name.id: part for part in rule.correlation.parts}}
    return [feeders[step.rule_id].condition for step in rule.correlation.steps if step.rule_id in feeders]


def admitted_kinds(condition: Condition, known_kinds: Collection[str]) -> list[str]:
    """Return the known kinds for which a condition can hold."""
    demanded = demand(condition, "action_kind")
    if demanded is None:
        return list(known_kinds)
    holds = predicate(demanded)
    return [kind for kind in known_kinds if holds(Subject(msgspec.structs.replace(BLANK, action_kind=kind)))]


def demanded_kinds(condition: Condition, known_kinds: Collection[str]) -> list[str]:
    """Return the known kinds for which a condition can hold; none if it can hold for every kind."""
    return [] if demand(condition, "action_kind") is None else admitted_kinds(condition, known_kinds)


def names_demanding(rules: Sequence[Rule], kinds: Collection[str]) -> list[str]:
    """Return the names of the running rules that demand one of these kinds, even by a wildcard. Omit rules for any kind."""
    known = {rule.name.id: rule for rule in rules}
    return [
        rule.name.name
        for rule in rules
        if rule.mode is not Mode.OFF and any(demanded_kinds(each, kinds) for each in conditions_of(rule, known))
    ]


def _demanded(conditions: Iterable[Condition], slot: str) -> set[str] | None:
    """Collect the texts that the conditions demand of a slot. None if one accepts others, as a wildcard or a name does."""
    found: set[str] = set()
    for condition in conditions:
        demanded = demand(condition, slot)
        if not isinstance(demanded, Leaf) or demanded.equals is None or demanded.field == f"{slot}.name":
            return None
        found |= demanded.equals
    return found


def _common_id(conditions: Iterable[Condition], slot: str) -> str | None:
    """Return the single id that all conditions demand, if it is a UUID."""
    found = _demanded(conditions, slot) or set()
    return next((text for text in found if len(found) == 1 and UUID.fullmatch(text)), None)
