"""The `alert` block of a rule: the texts of a match, its level, and its grouping."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from actionwatch.base.durations import parse_duration
from actionwatch.base.errors import TemplateError
from actionwatch.base.model import LEVELS, Escalation, Level, Match, RuleName
from actionwatch.rules.alert_text import Wording, compile_wording, one_line, plain_body, plain_title, word
from actionwatch.rules.conditions import UNEXPECTED, Predicate, predicate
from actionwatch.rules.fields import Subject, group_value, spell
from actionwatch.rules.report import Report
from actionwatch.rules.scope import Scope, read_scope
from actionwatch.rules.selections import ReadContext, check_field, read_selection
from actionwatch.text.yaml_document import Place

_DEFAULT_REALERT = timedelta(minutes=15)
KEYS = ("title", "body", "level", "fields", "group_by", "realert", "labels", "runbook", "escalate", "sources")
_ESCALATE_KEYS = ("after", "unless", "to")
_OWN_LABELS = ("rule", "level", "source", "trouble", "mode")  # routes match on these by the same names
_LABEL = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class AlertBlock:
    """The settings of a rule for its alerts. `levels` are tried in order, the highest first."""

    title: Wording | None = None
    body: Wording | None = None
    level: Level | None = None
    levels: tuple[tuple[Level, Predicate], ...] = ()
    fields: tuple[str, ...] = ()
    group_by: tuple[str, ...] | None = None
    realert: timedelta = timedelta(0)
    labels: Mapping[str, str] = field(default_factory=dict)
    runbook: str | None = None
    escalation: Escalation | None = None
    scope: Scope | None = None
    """The sources whose records the rule matches; None: all."""


def make_match(
    rule: RuleName,
    level: Level,
    block: AlertBlock,
    subject: Subject,
    on_failure: Callable[[str], None],
    *,
    group: Mapping[str, str | None] | None = None,
    count: int = 1,
    plain: str | None = None,
) -> Match:
    """Make the match of a record and a rule. If a template or a level fails, call `on_failure` and do without it.

    A correlation passes the newest record of its alert with the `group`, the `count` and a `plain` body.
    """
    record = subject.record
    sentence = plain_body(record) if plain is None else plain
    level = level_of(level, block, subject, on_failure)
    if group is None and block.group_by is not None:
        group = {name: group_value(record, name) for name in block.group_by}

    def text(key: str, wording: Wording | None, default: str, plain: Callable[[], str]) -> str:
        if wording is None:
            return default
        try:
            ours = {"rule": rule, "level": level.word, "group": dict(group or {}), "count": count}
            return word(wording, subject, **ours).strip() or default
        except TemplateError as exc:
            on_failure(f"alert.{key}: {'; '.join(fault.what for fault in exc.faults)}")
            return plain()

    return Match(
        rule=rule,
        record=record,
        level=level,
        title=one_line(text("title", block.title, rule.title, lambda: plain_title(rule, record))),
        body=text("body", block.body, sentence, lambda: sentence),
        runbook=block.runbook,
        labels=block.labels,
        fields=block.fields,
        group=group,
        realert=block.realert,
        escalation=block.escalation,
    )


def level_of(level: Level, block: AlertBlock, subject: Subject, on_failure: Callable[[str], None]) -> Level:
    """Return the level of a match; `level` is the level of the rule. A selection that fails counts as not met."""
    for high, holds in block.levels:
        try:
            if holds(subject):
                return high
        except UNEXPECTED as exc:
            on_failure(f"alert.level.{high.word}: {type(exc).__name__}: {exc}")
    return block.level or level


def read_alert(value: Any, report: Report, context: ReadContext, *, is_correlated: bool = False) -> AlertBlock:
    """Read the block and add its faults to the report. A correlation has groups even without `group_by`."""
    place: Place = ("alert",)
    if not isinstance(value, dict):
        report.fault(place, "'alert' must be a mapping", f"keys: {', '.join(KEYS)}")
        return AlertBlock()
    report.check_keys(value, place, KEYS)
    given = value.get("level")
    levels = _read_levels(given, report, context) if isinstance(given, dict) else ()
    level = (
        None if given is None or isinstance(given, dict) else report.choose(LEVELS, given, "level", (*place, "level"))
    )
    group_by = _read_names(value, "group_by", report, is_alias_allowed=is_correlated)
    title, body, runbook = (_read_text(value, key, report) for key in ("title", "body", "runbook"))
    return AlertBlock(
        title=report.parse(compile_wording, title, (*place, "title")) if title else None,
        body=report.parse(compile_wording, body, (*place, "body")) if body else None,
        level=level,
        levels=levels,
        fields=_read_names(value, "fields", report) or (),
        group_by=group_by,
        realert=_read_realert(value, is_correlated or group_by is not None or "group_by" in value, report),
        labels=_read_labels(value.get("labels", {}), report),
        runbook=runbook,
        escalation=_read_escalation(value["escalate"], report) if "escalate" in value else None,
        scope=read_scope(value["sources"], report) if "sources" in value else None,
    )


def _read_text(value: Mapping[str, Any], key: str, report: Report) -> str | None:
    text = value.get(key)
    if key not in value:
        return None
    if not isinstance(text, str) or not text.strip():
        report.fault(("alert", key), f"'{key}' must be a string", "write a string, or remove the key")
        return None
    return text.rstrip()


def _read_levels(value: Mapping[Any, Any], report: Report, context: ReadContext) -> tuple[tuple[Level, Predicate], ...]:
    """Read the selections that a record of each level must meet, the highest level first."""
    found: list[tuple[Level, Predicate]] = []
    for name, selection in value.items():
        place = ("alert", "level", str(name))
        level = report.choose(LEVELS, name, "level", place)
        condition = read_selection(selection, place, report, context)
        if level is not None and condition is not None:
            found.append((level, predicate(condition)))
    return tuple(sorted(found, key=lambda pair: pair[0], reverse=True))


def _read_names(
    value: Mapping[str, Any], key: str, report: Report, *, is_alias_allowed: bool = False
) -> tuple[str, ...] | None:
    """Read a list of fields. A correlation can also use aliases, which its own reader checks."""
    names = value.get(key)
    if key not in value:
        return None
    if not isinstance(names, list) or not names:
        report.fault(("alert", key), f"'{key}' must be a list of fields", "name at least one field, or remove the key")
        return None
    known = []
    for index, name in enumerate(names):
        place = ("alert", key, index)
        if (is_alias_allowed and isinstance(name, str)) or check_field(name, place, report):
            known.append(name)
        if name in names[:index]:
            report.fault(place, f"'{name}' occurs twice", "remove one of the two")
    return tuple(known)


def _read_realert(value: Mapping[str, Any], is_grouped: bool, report: Report) -> timedelta:
    place: Place = ("alert", "realert")
    if "realert" not in value:
        return _DEFAULT_REALERT if is_grouped else timedelta(0)
    realert = report.parse(parse_duration, value["realert"], place)
    if realert is None:
        return timedelta(0)
    if realert <= timedelta(0):
        report.fault(place, "'realert' must be longer than 0")
    if not is_grouped:
        report.note_fault(place, "'realert' has no effect: each record creates a separate alert", "add 'group_by'")
        return timedelta(0)
    return realert


def _read_labels(value: Any, report: Report) -> Mapping[str, str]:
    if not isinstance(value, dict):
        report.fault(("alert", "labels"), "'labels' must map names to strings", "for example: {team: dba}")
        return {}
    labels: dict[str, str] = {}
    for name, text in value.items():
        place = ("alert", "labels", str(name))
        if not _LABEL.fullmatch(str(name)):
            report.fault(place, f"'{name}' is not a label name", "use letters, digits, _ . and -")
        elif name in _OWN_LABELS:
            report.fault(place, f"the label '{name}' is set by actionwatch", "choose another name")
        elif not isinstance(text, str | int | float):
            report.fault(place, f"the label '{name}' must be a string", "write one string")
        else:
            labels[str(name)] = spell(text)
    return labels


def _read_escalation(value: Any, report: Report) -> Escalation | None:
    """Read which other receiver is notified, and when, if nobody has acknowledged the alert."""
    place: Place = ("alert", "escalate")
    if not isinstance(value, dict) or "after" not in value or "to" not in value:
        report.fault(place, "'escalate' needs 'after' and 'to'", "for example: {after: 15m, to: on-call}")
        return None
    report.check_keys(value, place, _ESCALATE_KEYS)
    if value.get("unless", "acked") != "acked":
        report.fault((*place, "unless"), "'unless' must be acked", "write acked, or remove the key")
    if not isinstance(value["to"], str) or not value["to"].strip():
        report.fault((*place, "to"), "'to' must be the name of a receiver", "name one of the configuration's receivers")
        return None
    after = report.parse(parse_duration, value["after"], (*place, "after"))
    return None if after is None else Escalation(after, value["to"].strip())
