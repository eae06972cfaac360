"""Sigma's filter documents: exclusions with an owner, a reason and an expiry.

As in Sigma, the condition of a filter is ANDed with the conditions of the rules that it names. `not selection` hides records.
A plain `selection` would hide everything else, so it is refused. A filter does not apply to events after `expires`, so that a
backtest and the service agree.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from actionwatch.base.model import RuleName
from actionwatch.rules.condition_text import is_met, parse_phrase
from actionwatch.rules.conditions import all_of, leaves
from actionwatch.rules.model import Filter, Rule, RuleVersion
from actionwatch.rules.report import Report
from actionwatch.rules.selections import ReadContext, read_detection
from actionwatch.rules.versions import content_of
from actionwatch.text.suggestions import suggest

KEYS = ("owner", "reason", "expires")
MAX_FILTERED = 20_000  # conditions of filters times the rules that they apply to: about a second and 30 MB
_ANY = "any"
_REMEDIES = {
    "owner": "name the team or person responsible for it",
    "reason": "explain why these records are harmless",
    "expires": "set the last day, for example: expires: 2026-12-31",
}


def read_filter(name: RuleName, value: Mapping[str, Any], report: Report, context: ReadContext) -> Filter | None:
    """Read a filter except its metadata. Return None if there are faults, which go to the report."""
    owner, reason = (_read_text(value, key, report) for key in ("owner", "reason"))
    expires = _read_expiry(value, report)
    block = value["filter"]
    if not isinstance(block, dict):
        report.fault(("filter",), "'filter' must contain 'rules', selections and a 'condition'")
        return None
    rules = _read_rules(block, report)
    detection = {key: item for key, item in block.items() if key != "rules"}
    if isinstance(detection.get("condition"), list):
        report.fault(("filter", "condition"), "the condition of a filter must be one string", "join them with 'and'")
        return None
    compiled = read_detection(detection, report, context, ("filter",))
    if compiled is None:
        return None
    if not is_met(parse_phrase(detection["condition"], list(compiled.selections)), lambda _: False):
        what = "this filter hides everything that its selections do not match"
        report.fault(("filter", "condition"), what, f"write: condition: not ({detection['condition']})")
    if rules is None or expires is None or report.faults:
        return None
    version = RuleVersion(content_of(value, context.lists.values))
    return Filter(name, rules, compiled.condition, owner, reason, expires, report, version)


def apply_filters(rules: Iterable[Rule], filters: Sequence[Filter]) -> list[Rule]:
    """Return the rules, each with the filters that apply to it, in their order."""
    wanted: dict[str, list[int]] = defaultdict(list)
    for number, each in enumerate(filters):
        for name in each.rules or (_ANY,):
            wanted[name].append(number)
    conditions = [each.as_condition() for each in filters]
    filtered = []
    for rule in rules:
        named = (number for name in (_ANY, rule.name.id, rule.name.name) for number in wanted.get(name, ()))
        own = sorted({number for number in named if filters[number].is_for(rule)})
        if own:
            condition = all_of([rule.condition, *(conditions[number] for number in own)])
            rule = dataclasses.replace(rule, condition=condition, filters=tuple(filters[number] for number in own))
        filtered.append(rule)
    return filtered


def check_filters(filters: Iterable[Filter], rules: Sequence[Rule], now: datetime | None) -> None:
    """Report the faults of filters that depend on the rules, such as an unknown rule, and note expired filters."""
    known = {name: rule for rule in rules for name in (rule.name.id, rule.name.name)}
    names = sorted(rule.name.name for rule in rules)
    left = MAX_FILTERED
    finder_count = sum(rule.finds_records for rule in rules)
    for each in filters:
        for index, wanted in enumerate(each.rules):
            _check_name(each, ("filter", "rules", index), wanted, known, names)
        if now is not None and each.expires <= now:
            what = f"the filter expired ({each.report.document.value['expires']}): it no longer hides records"
            each.report.note_fault(("expires",), what, f"remove it, or ask {each.owner} whether it is still needed")
        count = (len(each.rules) or finder_count) * sum(1 for _ in leaves(each.keeps))
        if count > left and not each.report.faults:
            what = f"with this filter, the filters of all files add more than {MAX_FILTERED} conditions to the rules"
            remedy = (
                "name the rules that need it instead of 'any', or write the values of several filters as lists of one"
            )
            each.report.fault(("filter", "rules"), what, f"it adds {count}: {remedy}")
        elif not each.report.faults:
            left -= count


def _check_name(
    each: Filter, place: tuple[str | int, ...], wanted: str, known: Mapping[str, Rule], names: Sequence[str]
) -> None:
    if wanted not in known:
        what = f"no rule has the name or id '{wanted}'"
        each.report.fault(place, what, suggest(wanted, names, "rules") or "see: actionwatch rules list")
    elif not known[wanted].finds_records:
        what = f"'{wanted}' is a correlation of other rules and finds no records itself"
        each.report.fault(place, what, f"name the rules that feed it: {_feeders(known[wanted], known)}")


def _feeders(rule: Rule, known: Mapping[str, Rule]) -> str:
    steps = rule.correlation.steps if rule.correlation is not None else ()
    return ", ".join(known[step.rule_id].name.name if step.rule_id in known else step.rule_id for step in steps)


def _read_text(value: Mapping[str, Any], key: str, report: Report) -> str:
    text = value.get(key)
    if isinstance(text, str) and text.strip():
        return " ".join(text.split())
    what = f"a filter needs '{key}'" if key not in value else f"'{key}' must be a string"
    report.fault((key,) if key in value else (), what, _REMEDIES[key])
    return ""


def _read_expiry(value: Mapping[str, Any], report: Report) -> datetime | None:
    """Read a day, which is included, or a time."""
    text: Any = value.get("expires")
    if "expires" not in value:
        report.fault((), "a filter needs 'expires'", _REMEDIES["expires"])
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        return at + timedelta(days=1) if len(text.strip()) == len("2026-12-31") else at
    except (TypeError, ValueError, OverflowError):
        report.fault(("expires",), "'expires' must be a day or a time", _REMEDIES["expires"])
        return None


def _read_rules(block: Mapping[str, Any], report: Report) -> tuple[str, ...] | None:
    """Read the names or ids. An empty tuple means every rule."""
    rules = block.get("rules")
    if isinstance(rules, str) and rules.strip():
        return () if rules.lower() == _ANY else (rules,)
    if isinstance(rules, list) and rules and all(isinstance(each, str) for each in rules):
        return tuple(rules)
    place = ("filter", "rules") if "rules" in block else ("filter",)
    what = "'rules' must list names or ids" if "rules" in block else "a filter needs 'rules'"
    report.fault(place, what, "for example: rules: [cluster_deleted], or rules: any")
    return None
