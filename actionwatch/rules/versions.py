"""Versions of correlations: a digest of everything that determines which records make an alert.

This includes the rules that feed it, filters, lists, time intervals, and whether it is off. A correlation with a new digest
starts from now: it learns from older records but does not alert on them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from actionwatch.base.model import Mode
from actionwatch.rules.lists import Lists, lists_of
from actionwatch.rules.model import Rule


def with_versions(rules: Sequence[Rule], lists: Lists) -> tuple[Rule, ...]:
    """Return the rules, with the versions of the correlations set. `lists` are those that the rules were built with."""
    feeders, used = _feeders(rules), correlated(rules)
    digests = {rule.name.id: _own(rule, lists) for rule in rules if rule.name.id in used}
    return tuple(
        replace(rule, correlation=replace(rule.correlation, version=_hash(*_feeding(rule, feeders, digests))))
        if rule.correlation is not None
        else rule
        for rule in rules
    )


def correlated(rules: Sequence[Rule]) -> frozenset[str]:
    """Return the ids of the correlations and of every rule that feeds one."""
    feeders = _feeders(rules)
    return frozenset(feeders) | {name for names in feeders.values() for name in names}


def _feeding(rule: Rule, feeders: Mapping[str, Sequence[str]], digests: Mapping[str, str]) -> list[str]:
    """Return the digests of a rule and of all rules that feed it, in a fixed order."""
    seen: set[str] = set()
    pending = [rule.name.id]
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending.extend(feeders.get(name, ()))
    return [name + digests.get(name, "") for name in sorted(seen)]


def _feeders(rules: Sequence[Rule]) -> dict[str, tuple[str, ...]]:
    """Return the ids of the rules that feed each correlation. A part of another document counts as that document."""
    correlations = [rule.correlation for rule in rules if rule.correlation is not None]
    owners = {part.name.id: each.name.id for each in correlations for part in each.parts}
    return {each.name.id: tuple(owners.get(step.rule_id, step.rule_id) for step in each.steps) for each in correlations}


def _own(rule: Rule, lists: Lists) -> str:
    parts = [str(rule.mode is Mode.OFF), repr(rule.when)]
    if rule.document is not None:
        parts += [_digest(rule.document.value), repr(lists_of(rule.document.value, lists.values))]
    for each in rule.filters:
        value = each.report.document.value
        parts += [repr(value["filter"]), repr(each.expires), repr(lists_of(value, lists.values))]
    return _hash(*parts)


def _digest(document: Mapping[str, Any]) -> str:
    """Return a digest of the keys of a document that determine which records make an alert."""
    kept = {key: item for key, item in document.items() if key in ("detection", "correlation", "when", "logsource")}
    return hashlib.sha256(json.dumps(_with_texts(kept), sort_keys=True, default=str).encode()).hexdigest()


def _with_texts(value: Any) -> Any:
    """Return a value of YAML with texts as keys: numbers and texts cannot be sorted together."""
    if isinstance(value, Mapping):
        return {str(key): _with_texts(item) for key, item in value.items()}
    return [_with_texts(item) for item in value] if isinstance(value, list | tuple) else value


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="backslashreplace")).hexdigest()[:16]
