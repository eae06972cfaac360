"""Read one YAML document as a `Rule` or a `Filter`, with the location of each fault. pySigma checks the keys of Sigma."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any
from uuid import UUID

from sigma.rule import SigmaRule

from actionwatch.base.model import LEVELS, SELF_RULE_NAME, Level, Mode, RuleName
from actionwatch.rules import filters
from actionwatch.rules.alert import AlertBlock, read_alert
from actionwatch.rules.cases import read_cases
from actionwatch.rules.compile import Compiled
from actionwatch.rules.condition_text import any_name
from actionwatch.rules.conditions import Some, all_of
from actionwatch.rules.correlations.reading.block import read_correlation
from actionwatch.rules.filters import read_filter
from actionwatch.rules.model import Filter, Rule, RuleVersion
from actionwatch.rules.report import Report
from actionwatch.rules.selections import PARSE_ERRORS, ReadContext, explain, read_detection
from actionwatch.rules.versions import content_of
from actionwatch.rules.when import read_when
from actionwatch.text.suggestions import suggest

_PRODUCT = "instaclustr"
_SERVICE = "user_actions"
_SLIP = 0.85  # similarity from which a word counts as misspelt: `instacluster` does, `user_activity` does not

METADATA = (
    "title", "id", "name", "taxonomy", "related", "status", "description", "license", "references", "tags", "author",
    "date", "modified", "fields", "falsepositives", "level", "scope",
)  # fmt: skip
OURS = ("logsource", "detection", "correlation", "alert", "when", "mode", "tests")
FILTER_KEYS = ("logsource", "filter", *filters.KEYS)
STATUSES = ("stable", "test", "experimental", "deprecated", "unsupported")
LOGSOURCE = ("category", "product", "service", "definition")

# pySigma names an exception after its key (SigmaLevelError), with these exceptions.
_KEYS = {"identifier": "id", "type": "name", "tag": "tags", "value": "tags"}
_CHOICES = {"level": ("levels", tuple(LEVELS)), "status": ("statuses", STATUSES)}
_REMEDIES = {
    "id": "make one with: python -c 'import uuid; print(uuid.uuid4())'",
    "tags": "for example: attack.impact",
}


def read_document(report: Report, context: ReadContext) -> Rule | Filter | None:
    """Read the document of the report. Return None if it has faults or another log source, which the report contains."""
    value = report.document.value
    if not isinstance(value, dict):
        report.fault((), "a rule must be a mapping", "start with 'title:', 'logsource:' and 'detection:'")
        return None
    if _is_for_another(value.get("logsource"), report):
        return None
    if "filter" in value:
        return _read_filter(value, report, context)
    return _read_rule(value, report, context)


def _read_rule(value: Mapping[Any, Any], report: Report, context: ReadContext) -> Rule | None:
    report.check_keys(value, (), (*METADATA, *OURS))
    name, level = _read_metadata(value, report)
    is_correlated = "correlation" in value
    if "detection" in value or not is_correlated:
        _check_logsource(value, report)
    compiled = Compiled(Some(()), {}) if is_correlated else None  # without a detection, it matches no records
    if "detection" in value:
        compiled = read_detection(_with_condition(value), report, context)
    elif not is_correlated:
        report.fault((), "a rule needs a 'detection'", "for example: detection: {selection: {…}, condition: selection}")
    alert = AlertBlock()
    if "alert" in value:
        alert = read_alert(value["alert"], report, context, is_correlated=is_correlated)
    mode = report.choose({each.value: each for each in Mode}, value.get("mode", "live"), "mode", ("mode",)) or Mode.LIVE
    when = read_when(value["when"], report, context.time_intervals) if "when" in value else None
    tests = read_cases(value["tests"], report, context, _aliases(value)) if "tests" in value else ()
    if compiled is None or name is None:
        return None
    if mode is Mode.SHADOW:  # delivery recognizes alerts of rules in shadow mode by this label
        alert = dataclasses.replace(alert, labels={**alert.labels, "mode": mode.value})
    scope = alert.scope.as_condition() if alert.scope is not None else None
    rule = Rule(
        name=name,
        level=level,
        condition=all_of([compiled.condition, *([when.as_condition()] if when else []), *([scope] if scope else [])]),
        alert=alert,
        file=report.document.file,
        line=report.document.position(())[0],
        mode=mode,
        when=when,
        tests=tests,
        document=report.document,
        version=RuleVersion(content_of(value, context.lists.values)),
    )
    if is_correlated:
        own = compiled if "detection" in value else None
        if scope is not None and own is not None:
            own = own.within(scope)
        elif scope is not None:
            what = "a correlation of other rules finds no records itself, so it has no 'sources'"
            report.fault(("alert", "sources"), what, "write them in the rules that it names")
        rule = dataclasses.replace(rule, correlation=read_correlation(rule, own, report, context))
    return None if report.faults else rule


def _aliases(value: Mapping[Any, Any]) -> frozenset[str]:
    """Return the names of the aliases of a correlation, which can be in its groups. Its own reader checks them."""
    correlation = value.get("correlation")
    aliases = correlation.get("aliases") if isinstance(correlation, dict) else None
    return frozenset(map(str, aliases)) if isinstance(aliases, dict) else frozenset()


def _with_condition(value: Mapping[Any, Any]) -> Any:
    """Return the detection. If a correlation names its selections, it needs no condition: any of them counts."""
    detection, correlation = value["detection"], value.get("correlation")
    if not isinstance(detection, dict) or not isinstance(correlation, dict) or "condition" in detection:
        return detection
    names = [str(name) for name in detection if isinstance(name, str)]
    return {**detection, "condition": any_name(names)} if "rules" in correlation and names else detection


def _read_filter(value: Mapping[Any, Any], report: Report, context: ReadContext) -> Filter | None:
    report.check_keys(value, (), (*METADATA, *FILTER_KEYS))
    name, _ = _read_metadata(value, report)
    _check_logsource(value, report)
    found = read_filter(name, value, report, context) if name is not None else None
    return None if report.faults else found


def _is_for_another(logsource: Any, report: Report) -> bool:
    """Check whether the rule is for another log source, and note it. Such a rule is skipped and its other keys are not read.

    A misspelt product or service is a fault, because the author expects the rule to run.
    """
    if not isinstance(logsource, dict):
        return False
    remedy = f"rules for actionwatch have product: {_PRODUCT}, service: {_SERVICE}"
    for key, ours in (("product", _PRODUCT), ("service", _SERVICE)):
        given = logsource.get(key)
        if isinstance(given, str) and given.lower() != ours:
            if SequenceMatcher(None, given.lower(), ours).ratio() >= _SLIP:
                report.fault(("logsource", key), f"unknown {key} '{given}'", f"did you mean '{ours}'?")
            else:
                report.note_fault(("logsource",), f"skipped: the rule is for the {key} '{given}'", remedy)
            return True
    is_vague = logsource.get("product") is None and logsource.get("service") is None
    if not is_vague or not isinstance(logsource.get("category"), str):
        return False
    report.note_fault(("logsource",), f"skipped: the rule is for the category '{logsource['category']}'", remedy)
    return True


def _check_logsource(value: Mapping[Any, Any], report: Report) -> None:
    remedy = f"write: logsource: {{product: {_PRODUCT}, service: {_SERVICE}}}"
    if "logsource" not in value:
        report.fault((), "a rule needs a 'logsource'", remedy)
        return
    logsource = value["logsource"]
    if not isinstance(logsource, dict) or not logsource:
        report.fault(("logsource",), "'logsource' must contain a product", remedy)
        return
    report.check_keys(logsource, ("logsource",), LOGSOURCE)
    for key in LOGSOURCE:
        if logsource.get(key) is not None and not isinstance(logsource[key], str):
            report.fault(("logsource", key), f"'{key}' must be a string", remedy)
    if logsource.get("product") is None and logsource.get("service") is None:
        report.fault(("logsource",), "'logsource' must contain a product", remedy)


def _read_metadata(value: Mapping[Any, Any], report: Report) -> tuple[RuleName | None, Level]:
    """Let pySigma check the metadata of a rule, and name the rule."""
    before = len(report.faults)
    for key in ("id", "name", "title"):
        if key in value and not isinstance(value[key], str):
            report.fault((key,), f"'{key}' must be a string", "quote it")
    if len(report.faults) == before:
        head = {key: value[key] for key in METADATA if key in value}
        try:
            errors = SigmaRule.from_dict_common_params(head, collect_errors=True)[1]
        except PARSE_ERRORS as exc:
            report.fault((), f"the rule's head is not acceptable: {explain(exc)}")
            errors = []
        for error in errors:
            word = type(error).__name__.removeprefix("Sigma").removesuffix("Error").lower()
            key = _KEYS.get(word, word if word in METADATA else "title")
            place = (key,) if key in value else ()
            noun, choices = _CHOICES.get(key, ("", ()))
            remedy = suggest(str(value.get(key)), choices, noun) or _REMEDIES.get(key, "")
            report.fault(place, str(error.args[0] if error.args else error), remedy)
    if len(report.faults) > before:
        return None, Level.MEDIUM
    return _name(value, report), LEVELS[str(value.get("level") or "medium").lower()]


def name_of(value: Mapping[Any, Any], title: str) -> str:
    """Return the name of a rule. The default is made from its title."""
    return value.get("name") or re.sub(r"\W+", "_", title.lower()).strip("_") or value.get("id") or title


def _name(value: Mapping[Any, Any], report: Report) -> RuleName | None:
    """Name the rule. The default id is the name."""
    title: str = " ".join(value["title"].split())
    if not title:
        report.fault(("title",), "the title is empty", "describe what the rule finds")
        return None
    name = name_of(value, title)
    if name == SELF_RULE_NAME:
        report.fault(("name",), f"the name '{SELF_RULE_NAME}' is reserved for actionwatch", "choose another name")
        return None
    identity = str(UUID(value["id"])) if value.get("id") else name
    return RuleName(identity, name, title, tuple(str(tag) for tag in value.get("tags") or ()))
