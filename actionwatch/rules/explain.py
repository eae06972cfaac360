"""Explain why a rule matches a record or not: the rule as a tree, each line with its result and the value in the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actionwatch.base import plurals
from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Hit, Mode, Record
from actionwatch.base.source_labels import labels_of_record
from actionwatch.rules.compile import compile_detection
from actionwatch.rules.condition_text import Combination, Phrase, parse_phrase
from actionwatch.rules.conditions import predicate
from actionwatch.rules.correlations.view import MOST_SHOWN, View
from actionwatch.rules.fields import Subject, candidates_of, keywords, spell, spelled
from actionwatch.rules.lists import Lists
from actionwatch.rules.model import TEMPORAL_TYPES, Correlation, CorrelationType, Filter, Rule
from actionwatch.rules.selections import PARSE_ERRORS
from actionwatch.text.payloads import instant

_MAX_VALUE_CHARS = 200  # of a value, and of a list of values, so that the tree fits on a screen


@dataclass(frozen=True, slots=True)
class Explanation:
    """One line of the tree. `found` is the value in the record, None if there is none to show; `holds` None: unknown."""

    text: str
    holds: bool | None
    found: str | None = None
    parts: tuple[Explanation, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the tree as JSON."""
        found = {} if self.found is None else {"found": self.found}
        parts = {"parts": [part.document() for part in self.parts]} if self.parts else {}
        return {"what": self.text, "holds": self.holds, **found, **parts}

    def lines(self, depth: int = 0) -> Iterator[str]:
        """Return the tree as indented lines of text."""
        sign = {True: "+", False: "-", None: "?"}[self.holds]
        found = "" if self.found is None else f"   <- {self.found}"
        yield f"{'  ' * depth}{sign} {self.text}{found}"
        for part in self.parts:
            yield from part.lines(depth + 1)


def explain(
    rule: Rule,
    record: Record,
    lists: Lists | None = None,
    *,
    feeders: Sequence[Rule] = (),
    views: Sequence[View] | None = None,
) -> Explanation:
    """Explain a rule on a record. `lists` are the lists of `expand`; without them its lines are unknown.

    For a correlation, `feeders` are the rules that it names, and `views` its groups that count the record (None: unknown).
    """
    subject = Subject(record)
    detection = _detection(rule)
    parts = [*_condition(detection, subject, lists or Lists())]
    fed = [explain(each, record, lists) for each in feeders]
    parts += fed
    if (when := rule.when) is not None:
        parts.append(Explanation(f"when: {when}", when.holds(record.occurred_at), instant(record.occurred_at)))
    if (scope := rule.alert.scope) is not None:
        is_in = predicate(scope.as_condition())(subject)
        parts.append(Explanation(f"sources: {scope}", is_in, _source(record)))
    parts.extend(_filter(each, subject, lists or Lists()) for each in rule.filters)
    if rule.correlation is not None:
        parts.append(_correlation(rule.correlation, views))
    if rule.mode is not Mode.LIVE:
        parts.append(Explanation(f"mode: {rule.mode.value}", None, "nobody is notified"))
    holds = any(each.holds for each in fed) if fed else predicate(rule.condition)(subject)
    return Explanation(f"{rule.name.name}: {rule.name.title}", holds, None, tuple(parts))


def feeders_of(rule: Rule, rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules that a correlation refers to, without its own selections."""
    named = [step.rule_id for step in rule.correlation.steps] if rule.correlation is not None else []
    return [each for each in rules if each.name.id in named and each.document is not None]


def counted(rule: Correlation, views: Sequence[View]) -> Iterator[str]:
    """Yield a line for each group: its number before and with the record, and the resulting alert."""
    for view in views:
        before, now = _number(rule, view.counted), _number(rule, (*view.counted, *view.own))
        yield f"{_group_name(rule, view)}: {before} before it, {now} with it; {_outcome(rule, view)[0]}"


def _correlation(rule: Correlation, views: Sequence[View] | None) -> Explanation:
    text = f"correlation: {rule.type.value}{_asked(rule)}"
    if views is None:
        return Explanation(text, None, "not known: what it counted is not stored; see rules backtest")
    if not views:
        return Explanation(text, False, "this record counts in no group")
    groups = tuple(_group(rule, view) for view in views)
    return Explanation(text, any(view.found is not None and not view.found.is_quiet for view in views), None, groups)


def _asked(rule: Correlation) -> str:
    asked = [str(rule.threshold)] if rule.threshold is not None else []
    if rule.type is CorrelationType.NEW_TERM:
        asked.append(f"of {', '.join(rule.fields)} in {spell_duration(rule.history)}")
    elif rule.type is CorrelationType.SPIKE:
        asked.append(f"{rule.factor:g} times as many as usual, at least {rule.minimum}")
    if rule.timespan:
        asked.append(f"within {spell_duration(rule.timespan)}")
    return f": {' '.join(asked)}" if asked else ""


def _group(rule: Correlation, view: View) -> Explanation:
    """Explain one group: its records before and with the record, and the resulting alert."""
    now = (*view.counted, *view.own)
    number = _number(rule, now)
    parts = [
        Explanation(f"before it: {_number(rule, view.counted)}", None, _span(view.counted)),
        Explanation(f"with it: {number}", view.found is not None),
        *(Explanation(text, True) for text in [*dict.fromkeys(_spell_hit(rule, hit) for hit in now)][-MOST_SHOWN:]),
        Explanation(*_outcome(rule, view)),
    ]
    return Explanation(_group_name(rule, view), view.found is not None, None, tuple(parts))


def _group_name(rule: Correlation, view: View) -> str:
    values = rule.grouping(view.group)
    name = ", ".join(f"{field}={'null' if value is None else _shorten(value)}" for field, value in values.items())
    return f"group {name}" if name else "all records"


def _number(rule: Correlation, hits: Sequence[Hit]) -> str:
    if rule.type is CorrelationType.VALUE_COUNT:
        return f"{rule.type.value} {len({hit.value for hit in hits})} of {_count(hits)}"
    if rule.type in TEMPORAL_TYPES:
        met = [step.rule_id for place, step in enumerate(rule.steps) if any(hit.step == place for hit in hits)]
        return f"{len(met)} of {plurals.counted(len(rule.steps), 'step')}{': ' if met else ''}{', '.join(map(_step_name, met))}"
    return _count(hits)


def _count(hits: Sequence[Hit]) -> str:
    return plurals.counted(len({hit.key for hit in hits}), "record")  # one record may be several steps


def _step_name(rule_id: str) -> str:
    return rule_id.rpartition(".")[2]


def _span(hits: Sequence[Hit]) -> str | None:
    return f"{instant(hits[0].at)} to {instant(hits[-1].at)}" if hits else None


def _spell_hit(rule: Correlation, hit: Hit) -> str:
    step = f" ({_step_name(rule.steps[hit.step].rule_id)})" if rule.type in TEMPORAL_TYPES else ""
    (record,) = hit.records
    who = f"{record.action_kind} by {record.user_name or 'nobody'}" if isinstance(record, Record) else "a record"
    return f"{instant(hit.at)} {who}{step}: {record.key}"


def _outcome(rule: Correlation, view: View) -> tuple[str, bool]:
    found = view.found
    if found is None:
        return "no alert", False
    if found.is_quiet:
        return "no alert: the rule was still learning", False
    name = found.id or rule.alert_id(view.group, found.origin)
    if rule.is_absence:
        return f"resolves the alert {name}, due at {instant(found.first_at)}", True
    if found.judged_at is not None and found.judged_at > view.own[-1].at:
        return f"opens the alert {name} unless a record follows by {instant(found.judged_at)}", True
    if view.is_opened:
        return f"opens the alert {name}", True
    return f"joins the alert {name}, open since {instant(found.fired_at)}", True


def _detection(rule: Rule) -> Mapping[str, Any]:
    found: Mapping[str, Any] = rule.document.value.get("detection", {}) if rule.document is not None else {}
    return found


def _condition(detection: Mapping[str, Any], subject: Subject, lists: Lists) -> Iterator[Explanation]:
    names = [name for name in detection if name != "condition"]
    findings = {name: _selection(name, detection[name], subject, lists) for name in names}
    if "condition" not in detection:
        yield from findings.values()
        return
    phrase = parse_phrase(detection["condition"], names)
    tree = _phrase(phrase, findings)
    yield Explanation(f"condition: {_shorten(detection['condition'])}", tree.holds, None, (tree,))


def _phrase(phrase: Phrase, findings: Mapping[str, Explanation]) -> Explanation:
    if isinstance(phrase, str):
        return findings[phrase]
    parts = tuple(_phrase(part, findings) for part in phrase.parts)
    return Explanation(phrase.word, _combined(phrase, [part.holds for part in parts]), None, parts)


def _combined(phrase: Combination, results: Sequence[bool | None]) -> bool | None:
    """Combine the results of the parts. Return None if unknown parts could change the result."""
    if phrase.word == "not":
        return None if results[0] is None else not results[0]
    decisive = not phrase.is_every  # one such part decides
    if decisive in results:
        return decisive
    return None if None in results else not decisive


def _filter(each: Filter, subject: Subject, lists: Lists) -> Explanation:
    document = each.report.document.value
    block = {name: value for name, value in document["filter"].items() if name != "rules"}
    who = f"filter {each.name.name} ({each.owner}, until {document['expires']}: {each.reason})"
    (tree,) = _condition(block, subject, lists)
    return Explanation(who, predicate(each.as_condition())(subject), None, tree.parts)


def _source(record: Record) -> str:
    return ", ".join([record.source, *(f"{name}={value}" for name, value in labels_of_record(record).items())])


def _selection(name: str, value: Any, subject: Subject, lists: Lists) -> Explanation:
    return Explanation(name, _met(value, subject, lists), None, tuple(_items(value, subject, lists)))


def _items(value: Any, subject: Subject, lists: Lists) -> Iterator[Explanation]:
    """Yield the lines of a selection: its fields, or the alternatives of a list."""
    if isinstance(value, dict):
        for key, item in value.items():
            text = f"{key}: {_shorten(item)}"
            yield Explanation(text, _met({key: item}, subject, lists), _shown(key, item, subject))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, item in enumerate(value, 1):
            parts = tuple(_items(item, subject, lists))
            yield Explanation(f"either {number}", _met([item], subject, lists), None, parts)
    else:
        yield Explanation(f"words: {_shorten(value)}", _met(value, subject, lists), _shorten(list(keywords(subject))))


def _shown(key: str, item: Any, subject: Subject) -> str:
    name, *modifiers = key.split("|")
    if not name:
        return _shorten(list(keywords(subject)))
    held = _value(name, subject)
    if "fieldref" in modifiers and isinstance(item, str):
        return f"{held}, and {item} holds {_value(item, subject)}"
    return held


def _value(name: str, subject: Subject) -> str:
    values = candidates_of(subject, name)
    return ", ".join(_shorten(spell(value)) or "''" for value in values) if values else "absent"


def _met(selection: Any, subject: Subject, lists: Lists) -> bool | None:
    try:
        condition = compile_detection({"s": selection, "condition": "s"}, lists).condition
        return predicate(condition)(subject)
    except PARSE_ERRORS:
        return None


def _shorten(value: Any) -> str:
    text = f"[{', '.join(map(spelled, value))}]" if isinstance(value, list) else spelled(value)
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[: _MAX_VALUE_CHARS - 1]}…"
