"""Compute the digests of a rule: `RuleVersion` says what each of them decides.

Which records make an alert of a correlation depends on its document, on the rules that feed it, filters, lists, time
intervals, and on whether it is off.
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

_DETERMINING = ("detection", "correlation", "when", "logsource")  # the keys that determine which records make an alert


def content_of(document: Mapping[Any, Any], lists: Mapping[str, tuple[str, ...]]) -> str:
    """Return the digest of a document and of those lists that it names, wherever they are stored."""
    return _hash(_json(document), _json(lists_of(document, lists)))


def with_versions(rules: Sequence[Rule], lists: Lists) -> tuple[Rule, ...]:
    """Return the rules with the versions of their correlations. `lists` are those that the rules were built with."""
    feeders, used = _feeders(rules), correlated(rules)
    digests = {rule.name.id: _own(rule, lists) for rule in rules if rule.name.id in used}
    found = []
    for rule in rules:
        if rule.correlation is not None:
            matching = _hash(*_feeding(rule, feeders, digests))
            rows = _hash(matching, str(rule.correlation.realert), *(step.rule_id for step in rule.correlation.steps))
            version = replace(rule.version, matching=matching, rows=rows)
            rule = replace(rule, version=version, correlation=replace(rule.correlation, version=version))
        found.append(rule)
    return tuple(found)


def correlated(rules: Sequence[Rule]) -> frozenset[str]:
    """Return the ids of the correlations and of every rule that feeds one."""
    feeders = _feeders(rules)
    return frozenset(feeders) | {name for names in feeders.values() for name in names}


def _feeding(rule: Rule, feeders: Mapping[str, Sequence[str]], digests: Mapping[str, str]) -> list[str]:
    """Return the digests of a rule and of the rules that feed it, in a fixed order."""
    names = {rule.name.id, *feeders.get(rule.name.id, ())}
    return [name + digests.get(name, "") for name in sorted(names)]


def _feeders(rules: Sequence[Rule]) -> dict[str, tuple[str, ...]]:
    """Return the ids of the rules that feed each correlation. A part of another document counts as that document."""
    correlations = [rule.correlation for rule in rules if rule.correlation is not None]
    owners = {part.name.id: each.name.id for each in correlations for part in each.parts}
    return {each.name.id: tuple(owners.get(step.rule_id, step.rule_id) for step in each.steps) for each in correlations}


def _own(rule: Rule, lists: Lists) -> str:
    parts = [str(rule.mode is Mode.OFF), repr(rule.when)]
    if rule.document is not None:
        kept = {key: item for key, item in rule.document.value.items() if key in _DETERMINING}
        parts += [_json(kept), repr(lists_of(rule.document.value, lists.values))]
    for each in rule.filters:
        value = each.report.document.value
        parts += [repr(value["filter"]), repr(each.expires), repr(lists_of(value, lists.values))]
    return _hash(*parts)


def _json(value: Any) -> str:
    return json.dumps(_with_texts(value), sort_keys=True, default=str)


def _with_texts(value: Any) -> Any:
    """Return a value of YAML with texts as keys: numbers and texts cannot be sorted together."""
    if isinstance(value, Mapping):
        return {str(key): _with_texts(item) for key, item in value.items()}
    return [_with_texts(item) for item in value] if isinstance(value, list | tuple) else value


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="backslashreplace")).hexdigest()[:16]
