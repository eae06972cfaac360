"""Export rules as standard Sigma. What Sigma cannot express is omitted and reported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actionwatch.base.ids import stable_id
from actionwatch.base.model import Mode
from actionwatch.rules.condition_text import any_name
from actionwatch.rules.document import METADATA
from actionwatch.rules.model import TEMPORAL_TYPES, VALUE_TYPES, CorrelationType, Filter, Rule

_SIGMA_CORRELATION = ("type", "rules", "group-by", "timespan", "condition", "aliases", "generate")
_SIGMA_TYPES = (CorrelationType.EVENT_COUNT, *VALUE_TYPES, *TEMPORAL_TYPES)
_NAME = re.compile(r"[^\s()]+")
_EVENTS = "events"  # the name of the single detection of a correlation


@dataclass(frozen=True, slots=True)
class Exported:
    """The Sigma documents of one of our documents, and what they omit."""

    documents: tuple[Mapping[str, Any], ...]
    lost: tuple[str, ...] = ()


def export_rules(rules: Sequence[Rule], filters: Iterable[Filter], now: datetime) -> Iterator[Exported]:
    """Export rules and filters, except what is off, has expired, or depends on something that is not exported."""
    by_id = {rule.name.id: rule for rule in rules}
    obstacles = {rule.name.id: _obstacle(rule, by_id) for rule in rules}
    names = _Names(rules)
    for rule in rules:
        if obstacle := obstacles[rule.name.id]:
            yield Exported((), (f"{rule.name.name}: {obstacle}",))
        elif rule.document is not None:
            yield _rule(rule, rule.document.value, names)
    for each in filters:
        kept = [rule for rule in rules if not obstacles[rule.name.id] and each.is_for(rule)]
        if each.expires <= now:
            yield Exported((), (f"{each.name.name}: has expired and is not exported",))
        elif not kept:
            yield Exported((), (f"{each.name.name}: is not exported because its rules are not",))
        else:
            yield _filter(each, each.report.document.value, [name for rule in kept for name in names.finding(rule)])


class _Names:
    """The names of rules and of the parts of correlations in Sigma, which its conditions can contain."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._taken = {rule.name.name for rule in rules}
        self.rules = {
            name: name if name.isascii() and name.isidentifier() else self._free(name) for name in sorted(self._taken)
        }
        self.parts = {
            rule.name.id: {word: self._free(f"{rule.name.name}_{word}") for word in _split(rule)} for rule in rules
        }

    def finding(self, rule: Rule) -> list[str]:
        """Return the names of the rules that find the records: the parts of a correlation, otherwise the rule."""
        return [*self.parts[rule.name.id].values()] or [self.rules[rule.name.name]]

    def _free(self, name: str) -> str:
        plain = re.sub(r"^(?=\d)|\W", "_", name, flags=re.ASCII)
        while plain in self._taken:
            plain += "_"
        self._taken.add(plain)
        return plain


def _obstacle(rule: Rule, by_id: Mapping[str, Rule]) -> str:
    """Return why a rule cannot be exported: because of itself, or of a rule that it depends on; empty if it can."""
    if rule.mode is Mode.OFF:
        return "is off and is not exported"
    correlation = rule.correlation
    if correlation is None:
        return ""
    if correlation.is_absence or correlation.type not in _SIGMA_TYPES:
        what = "absence" if correlation.is_absence else f"type '{correlation.type.value}'"
        return f"Sigma has no {what}: the rule is not exported"
    for feeder in (by_id[step.rule_id] for step in correlation.steps if step.rule_id in by_id):
        if _obstacle(feeder, by_id):
            return f"is not exported because it depends on '{feeder.name.name}', which is not"
    return ""


def _rule(rule: Rule, value: Mapping[str, Any], names: _Names) -> Exported:
    lost = []
    if rule.when is not None:
        lost.append(f"{rule.name.name}: Sigma has no 'when': the rule will match at any time")
    if rule.alert.scope is not None:
        lost.append(f"{rule.name.name}: Sigma has no 'sources': the rule will match records of any source")
    if rule.mode is Mode.SHADOW:
        lost.append(f"{rule.name.name}: Sigma has no 'mode': the rule will alert")
    if rule.alert.levels:
        lost.append(f"{rule.name.name}: Sigma has one level for a rule: it will always be {rule.level.word}")
    head = _head(value, rule, names)
    if rule.correlation is None:
        return Exported(({**head, "logsource": value["logsource"], "detection": value["detection"]},), tuple(lost))
    parts, block = names.parts[rule.name.id], value["correlation"]
    exported = {key: _value(key, block[key], {**names.rules, **parts}) for key in _SIGMA_CORRELATION if key in block}
    exported.setdefault("rules", list(parts.values()))
    documents = []
    for word, detected in _split(rule).items():
        title, identity = f"{rule.name.title}: {word}"[:256], stable_id("part", rule.name.id, word)
        own = {"title": title, "id": identity, "name": parts[word], "level": "informational"}
        documents.append({**own, "logsource": value["logsource"], "detection": detected})
    return Exported((*documents, {**head, "correlation": exported}), tuple(lost))


def _split(rule: Rule) -> dict[str, dict[str, Any]]:
    """Return the detections of a correlation by the names of its parts; empty if it has no detection."""
    value = rule.document.value if rule.document is not None else {}
    detection = value.get("detection")
    if rule.correlation is None or not isinstance(detection, dict):
        return {}
    named = value["correlation"].get("rules")
    if named is None:
        return {_EVENTS: dict(detection)}
    chosen = [named] if isinstance(named, str) else named
    return {name: {name: detection[name], "condition": any_name([name])} for name in detection if name in chosen}


def _value(key: str, value: Any, names: Mapping[str, str]) -> Any:
    """Return the value of a key of a correlation, with the exported names of its rules."""
    if key == "rules":
        return [names.get(name, name) for name in ([value] if isinstance(value, str) else value)]
    if key == "condition" and isinstance(value, str):
        return _NAME.sub(lambda found: names.get(found[0], found[0]), value)
    if key == "condition":
        return {word: number for word, number in value.items() if not word.startswith("x-")}
    if key == "aliases":
        return {alias: {names.get(name, name): field for name, field in of.items()} for alias, of in value.items()}
    return value


def _head(value: Mapping[str, Any], rule: Rule, names: _Names) -> dict[str, Any]:
    head = {key: value[key] for key in METADATA if key in value}
    return {**head, "name": names.rules[rule.name.name], "level": (rule.alert.level or rule.level).word}


def _filter(each: Filter, value: Mapping[str, Any], rules: Sequence[str]) -> Exported:
    """Return a filter of these rules. In Sigma a filter names the parts of a correlation instead of the correlation."""
    head = {key: value[key] for key in METADATA if key in value}
    head.setdefault("author", each.owner)
    head.setdefault("description", f"{each.reason} (until {value['expires']})")
    block = {**value["filter"], "rules": list(rules)} if each.rules else value["filter"]
    lost = f"{each.name.name}: Sigma has no 'expires': the filter will not end on {value['expires']}"
    return Exported(({**head, "logsource": value["logsource"], "filter": block},), (lost,))
