"""Links correlations to the rules that they name, in all files: resolves references, makes feeders silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from actionwatch.base.model import Level
from actionwatch.rules.conditions import all_of
from actionwatch.rules.instead import INSTEAD
from actionwatch.rules.model import BASELINE, Correlation, CorrelationType, Rule, Step
from actionwatch.rules.report import Report
from actionwatch.text.suggestions import suggest


def link(rules: Sequence[Rule], reports: Mapping[str, Report]) -> list[Rule]:
    """Resolve the references of correlations, and omit correlations with faults. `reports` are by rule id.

    Returns: the rules in their order, then the parts of correlations that also alert by themselves.
    """
    sound = list(rules)
    while True:
        names = _names(sound)
        resolved = [_resolved(rule, names, reports[rule.name.id]) for rule in sound]
        kept = [rule for rule in resolved if rule is not None]
        if len(kept) == len(sound):
            return _silenced(kept, reports)
        # A rule that depends on an omitted rule is omitted too.
        left = {rule.name.id for rule in kept}
        sound = [rule for rule in sound if rule.name.id in left]


def with_filters(rule: Rule) -> Rule:
    """Apply the filters of a correlation to its parts, except to a part that only makes terms known."""
    correlation = rule.correlation
    if correlation is None or not rule.filters:
        return rule
    conditions = [each.as_condition() for each in rule.filters]
    steps = correlation.steps
    spared = steps[BASELINE].rule_id if correlation.type is CorrelationType.NEW_TERM else None
    parts = tuple(
        part
        if part.name.id == spared and spared != steps[0].rule_id
        else replace(part, condition=all_of([part.condition, *conditions]))
        for part in correlation.parts
    )
    return replace(rule, correlation=replace(correlation, parts=parts))


def _names(rules: Sequence[Rule]) -> dict[str, Rule]:
    names: dict[str, Rule] = {}
    for rule in rules:
        parts = rule.correlation.parts if rule.correlation is not None else ()
        for each in (rule, *parts):
            names[each.name.name] = names[each.name.id] = each
    return names


def _resolved(rule: Rule, names: Mapping[str, Rule], report: Report) -> Rule | None:
    correlation = rule.correlation
    if correlation is None:
        return rule
    steps: list[Step] = []
    for index, step in enumerate(correlation.steps):
        found = names.get(step.rule_id) or names.get(step.rule_id.lower())
        if found is None:
            choices = [name for name, each in names.items() if name == each.name.name and each.correlation is None]
            what = f"no rule has the name or id '{step.rule_id}'"
            if step not in correlation.steps[:index]:  # by default, the baseline of new terms is the rule itself
                report.fault(_place(correlation, report, index), what, suggest(step.rule_id, choices, "rules"))
            continue
        if found.correlation is not None:
            report.fault(_place(correlation, report, index), f"'{step.rule_id}' is a correlation", INSTEAD["rules"])
            continue
        steps.append(Step(found.name.id, step.aliases))
    if len(steps) < len(correlation.steps):
        return None
    return replace(rule, correlation=replace(correlation, steps=tuple(steps)))


def _place(correlation: Correlation, report: Report, index: int) -> tuple[str | int, ...]:
    if correlation.type is CorrelationType.NEW_TERM and index == BASELINE:
        return ("correlation", "baseline")
    if "rules" in report.document.value["correlation"]:
        return ("correlation", "rules", index)
    return ("correlation", "condition")


def _silenced(rules: Sequence[Rule], reports: Mapping[str, Report]) -> list[Rule]:
    """Make rules silent that only feed others: Sigma's default `generate: false`. One `generate: true` is enough to alert."""
    by_id = {rule.name.id: rule for rule in rules}
    fed: dict[str, bool] = {}
    for rule in rules:
        if rule.correlation is None:
            continue
        is_heard = bool(reports[rule.name.id].document.value["correlation"].get("generate", False))
        for step in rule.correlation.steps:
            fed[step.rule_id] = fed.get(step.rule_id, False) or is_heard
    for rule in rules:
        if rule.correlation is not None:
            _note_silenced(rule, rule.correlation, by_id, fed, reports[rule.name.id])
    marked = [rule if fed.get(rule.name.id, True) else replace(rule, is_silent=True) for rule in rules]
    parts = [part for rule in marked if rule.correlation is not None for part in rule.correlation.parts]
    loud = [replace(part, is_silent=False) for part in parts if fed.get(part.name.id)]
    return [*marked, *loud]


def _note_silenced(
    rule: Rule, correlation: Correlation, by_id: Mapping[str, Rule], fed: Mapping[str, bool], report: Report
) -> None:
    for index, step in enumerate(correlation.steps):
        inner = by_id.get(step.rule_id)
        if inner is not None and not fed[step.rule_id] and inner.level >= Level.HIGH:
            what = f"this silences '{inner.name.name}' ({inner.level.word}): it only feeds '{rule.name.name}'"
            report.note_fault(_place(correlation, report, index), what, "write 'generate: true' to keep both alerts")
