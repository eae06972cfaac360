"""Sigma's filter documents: exclusions that somebody owns, with a reason, until a day.

A filter's condition is ANDed with that of the rules it names, as Sigma has it: `not selection` excludes, a plain `selection`
would exclude everything else, and is refused. What is past `expires` is no longer excluded, judged on the time of the event, so
that a backtest and the service agree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from actionwatch.base.model import RuleName
from actionwatch.rules.condition_text import judge, parse_phrase
from actionwatch.rules.conditions import all_of
from actionwatch.rules.model import Filter, Rule
from actionwatch.rules.report import Report, suggest
from actionwatch.rules.selections import Surroundings, read_detection

KEYS = ("owner", "reason", "expires")
ANY = "any"
_REMEDIES = {
    "owner": "say who answers for it",
    "reason": "say why these records are harmless",
    "expires": "say until when, for example: expires: 2026-12-31",
}


def read_filter(name: RuleName, value: Mapping[str, Any], report: Report, surroundings: Surroundings) -> Filter | None:
    """Read what makes a document a filter, beside its head; None where it has faults, which go to the report."""
    owner, reason = (_read_text(value, key, report) for key in ("owner", "reason"))
    expires = _read_expiry(value, report)
    block = value["filter"]
    if not isinstance(block, dict):
        report.fault(("filter",), "'filter' must hold 'rules', selections and a 'condition'")
        return None
    rules = _read_rules(block, report)
    detection = {key: item for key, item in block.items() if key != "rules"}
    if isinstance(detection.get("condition"), list):
        report.fault(("filter", "condition"), "the condition of a filter must be one text", "join them with 'and'")
        return None
    compiled = read_detection(detection, report, surroundings, ("filter",))
    if compiled is None:
        return None
    if not judge(parse_phrase(detection["condition"], list(compiled.selections)), lambda _: False):
        what = "this filter keeps only what its selections match, and hides everything else"
        report.fault(("filter", "condition"), what, f"write: condition: not ({detection['condition']})")
    if rules is None or expires is None or report.faults:
        return None
    return Filter(name, rules, compiled.condition, compiled.selections, owner, reason, expires, report)


def apply_filters(rules: Iterable[Rule], filters: Sequence[Filter]) -> list[Rule]:
    """Give the rules, each with the filters that are for it."""
    filtered = []
    for rule in rules:
        own = tuple(each for each in filters if each.is_for(rule))
        if own:
            condition = all_of([rule.condition, *(each.as_condition() for each in own)])
            rule = dataclasses.replace(rule, condition=condition, filters=own)
        filtered.append(rule)
    return filtered


def check_filters(filters: Iterable[Filter], rules: Sequence[Rule], now: datetime | None) -> None:
    """Report what is wrong with filters once all rules are known: a rule that is not there is a fault of the filter."""
    known = {name: rule for rule in rules for name in (rule.name.id, rule.name.name)}
    names = sorted(rule.name.name for rule in rules)
    for each in filters:
        for index, wanted in enumerate(each.rules):
            if wanted not in known:
                what = f"no rule has the name or id '{wanted}'"
                place = ("filter", "rules", index)
                each.report.fault(place, what, suggest(wanted, names, "rules") or "see: actionwatch rules list")
            elif not known[wanted].finds_records:
                what = f"'{wanted}' correlates other rules, and finds no records itself that a filter could hide"
                each.report.fault(
                    ("filter", "rules", index), what, f"name what feeds it: {_feeders(known[wanted], known)}"
                )
        if now is not None and each.expires <= now:
            what = f"the filter expired ({each.report.document.value['expires']}): it hides nothing any more"
            each.report.note(("expires",), what, f"remove it, or ask {each.owner} whether it is still right")


def _feeders(rule: Rule, known: Mapping[str, Rule]) -> str:
    steps = rule.correlation.steps if rule.correlation is not None else ()
    return ", ".join(known[step.rule_id].name.name if step.rule_id in known else step.rule_id for step in steps)


def _read_text(value: Mapping[str, Any], key: str, report: Report) -> str:
    text = value.get(key)
    if isinstance(text, str) and text.strip():
        return " ".join(text.split())
    what = f"a filter needs '{key}'" if key not in value else f"'{key}' must be a text"
    report.fault((key,) if key in value else (), what, _REMEDIES[key])
    return ""


def _read_expiry(value: Mapping[str, Any], report: Report) -> datetime | None:
    """Read a day, which is included, or an instant."""
    text = value.get("expires")
    if "expires" not in value:
        report.fault((), "a filter needs 'expires'", _REMEDIES["expires"])
        return None
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
        if at is not None and isinstance(text, str):
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
            return at + timedelta(days=1) if len(text.strip()) == len("2026-12-31") else at
    except (ValueError, OverflowError):
        pass
    report.fault(("expires",), "'expires' must be a day or a time", _REMEDIES["expires"])
    return None


def _read_rules(block: Mapping[str, Any], report: Report) -> tuple[str, ...] | None:
    """Read the names or ids; an empty tuple stands for every rule."""
    rules = block.get("rules")
    if isinstance(rules, str) and rules.strip():
        return () if rules.lower() == ANY else (rules,)
    if isinstance(rules, list) and rules and all(isinstance(each, str) for each in rules):
        return tuple(rules)
    place = ("filter", "rules") if "rules" in block else ("filter",)
    what = "'rules' must list names or ids" if "rules" in block else "a filter needs 'rules'"
    report.fault(place, what, "for example: rules: [cluster_deleted], or rules: any")
    return None
