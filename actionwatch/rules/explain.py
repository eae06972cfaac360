"""Say why a rule met a record, or did not: the rule's own words as a tree, each with what the record holds there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actionwatch.documents import instant
from actionwatch.model import Mode, Record
from actionwatch.rules.compile import compile_detection
from actionwatch.rules.conditions import predicate
from actionwatch.rules.engine import Rule
from actionwatch.rules.fields import Subject, field_named, keywords, spell
from actionwatch.rules.filters import Filter
from actionwatch.rules.lists import Lists
from actionwatch.rules.phrase import Joined, Named, Phrase, judge, parse_phrase
from actionwatch.rules.selections import PARSE_ERRORS

MAX_VALUE_CHARS = 200  # of a value, and of a list of values: a tree is read on a screen


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the tree. `found` is what the record holds there, None where that is no question; `holds` None: unknown."""

    text: str
    holds: bool | None
    found: str | None = None
    parts: tuple[Finding, ...] = ()

    def document(self) -> dict[str, Any]:
        """Give it as JSON."""
        found = {} if self.found is None else {"found": self.found}
        parts = {"parts": [part.document() for part in self.parts]} if self.parts else {}
        return {"what": self.text, "holds": self.holds, **found, **parts}

    def lines(self, depth: int = 0) -> Iterator[str]:
        """Give it as indented text, one line each."""
        sign = {True: "+", False: "-", None: "?"}[self.holds]
        found = "" if self.found is None else f"   <- {self.found}"
        yield f"{'  ' * depth}{sign} {self.text}{found}"
        for part in self.parts:
            yield from part.lines(depth + 1)


def explain(rule: Rule, record: Record, lists: Lists | None = None) -> Finding:
    """Take a rule apart on a record. `lists` are what `expand` reads; without them its lines stay undecided."""
    subject = Subject(record)
    detection = _detection(rule)
    parts = [*_condition(detection, subject, lists or Lists())]
    if rule.when is not None:
        parts.append(Finding(f"when: {rule.when}", rule.when.holds(record.occurred_at), instant(record.occurred_at)))
    parts.extend(_filter(each, subject, lists or Lists()) for each in rule.filters)
    if rule.correlation is not None:
        parts.append(
            Finding(f"correlation: {rule.correlation.kind.value}", None, "it takes more than this record to say")
        )
    if rule.mode is not Mode.LIVE:
        parts.append(Finding(f"mode: {rule.mode.value}", None, "nobody is told"))
    holds = predicate(rule.condition)(subject)
    return Finding(f"{rule.name.name}: {rule.name.title}", holds, None, tuple(parts))


def _detection(rule: Rule) -> Mapping[str, Any]:
    value = rule.document.value if rule.document is not None else {}
    detection = value.get("detection") if isinstance(value, dict) else None
    return detection if isinstance(detection, dict) else {}


def _condition(detection: Mapping[str, Any], subject: Subject, lists: Lists) -> Iterator[Finding]:
    names = [name for name in detection if name != "condition"]
    findings = {name: _selection(name, detection[name], subject, lists) for name in names}
    if "condition" not in detection:
        yield from findings.values()
        return
    phrase = parse_phrase(detection["condition"], names)
    tree = _phrase(phrase, findings)
    yield Finding(f"condition: {_shorten(detection['condition'])}", tree.holds, None, (tree,))


def _phrase(phrase: Phrase, findings: Mapping[str, Finding]) -> Finding:
    if isinstance(phrase, Named):
        return findings[phrase.name]
    parts = tuple(_phrase(part, findings) for part in phrase.parts)
    return Finding(phrase.word, _judge(phrase, parts), None, parts)


def _judge(phrase: Joined, parts: tuple[Finding, ...]) -> bool | None:
    """Join what is known of the parts; unknown parts count only where they could change the answer."""
    named = Joined(phrase.word, tuple(Named(str(number)) for number in range(len(parts))))

    def guess(default: bool) -> bool:
        truths = [default if part.holds is None else part.holds for part in parts]
        return judge(named, lambda number: truths[int(number)])

    return guess(True) if guess(True) == guess(False) else None


def _filter(each: Filter, subject: Subject, lists: Lists) -> Finding:
    value = each.report.document.value["filter"]
    names = [name for name in value if name not in ("condition", "rules")]
    findings = {name: _selection(name, value[name], subject, lists) for name in names}
    tree = _phrase(parse_phrase(value["condition"], names), findings)
    who = f"filter {each.name.name} ({each.owner}, until {each.expires:%Y-%m-%d}: {each.reason})"
    return Finding(who, not each.excludes(subject), None, (tree,))


def _selection(name: str, value: Any, subject: Subject, lists: Lists) -> Finding:
    parts = tuple(_items(value, subject, lists))
    return Finding(name, _try(value, subject, lists), None, parts)


def _items(value: Any, subject: Subject, lists: Lists) -> Iterator[Finding]:
    """Give a selection's lines: its fields, or the alternatives of a list."""
    if isinstance(value, dict):
        for key, item in value.items():
            text = f"{key}: {_shorten(item)}"
            yield Finding(text, _try({key: item}, subject, lists), _held(key, item, subject))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, item in enumerate(value, 1):
            yield Finding(f"either {number}", _try([item], subject, lists), None, tuple(_items(item, subject, lists)))
    else:
        yield Finding(f"words: {_shorten(value)}", _try(value, subject, lists), _shorten(list(keywords(subject))))


def _held(key: str, item: Any, subject: Subject) -> str:
    name, *modifiers = key.split("|")
    if not name:
        return _shorten(list(keywords(subject)))
    held = _value(name, subject)
    if "fieldref" in modifiers and isinstance(item, str):
        return f"{held}, and {item} holds {_value(item, subject)}"
    return held


def _value(name: str, subject: Subject) -> str:
    field = field_named(name)
    values = field.read(subject) if field else ()
    return ", ".join(_shorten(spell(value)) or "''" for value in values) if values else "absent"


def _try(selection: Any, subject: Subject, lists: Lists) -> bool | None:
    try:
        condition = compile_detection({"s": selection, "condition": "s"}, lists).condition
        return predicate(condition)(subject)
    except PARSE_ERRORS:
        return None


def _shorten(value: Any) -> str:
    text = f"[{', '.join(map(_plain, value))}]" if isinstance(value, list) else _plain(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 1]}…"


def _plain(value: Any) -> str:
    return "null" if value is None else spell(value)
