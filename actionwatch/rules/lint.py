"""Notes about probable mistakes in rules, each with its location. Only the checks call this module.

Notes are not faults: the rules run as written. The loader refuses rules that cannot run.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from sigma.types import SigmaString

from actionwatch.base.errors import Fault
from actionwatch.base.model import Entity, Record
from actionwatch.rules.condition_text import Combination, Phrase, is_met, names_in, parse_phrase, phrases_in
from actionwatch.rules.conditions import Condition, Every, Leaf, Not, all_of, demand, predicate
from actionwatch.rules.fields import BLANK, Subject
from actionwatch.rules.load import Rules
from actionwatch.rules.model import Filter, Rule
from actionwatch.rules.patterns import pattern_check
from actionwatch.rules.prefilter import admitted_kinds
from actionwatch.text.yaml_document import Document, Place

_MAX_TRIED = 10  # selections; every combination of them is tried: 1,024
MAX_TRIES = 5_000_000  # of all rules and filters; each takes about 1 µs
_MAX_SAMPLES = 200  # records on which a filter is tried
_AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # of these records
_UNLIKELY = "\x1funlikely\x1f"  # a value that only a wildcard meets
_SECRET = re.compile(
    r"xox[abeprs]-[\w-]{8,}|whsec_[\w+/=]{16,}|AKIA[0-9A-Z]{16}|ghp_\w{20,}|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_WIDE = ("wide", "utf16", "utf16be", "utf16le")
_PERCENT = re.compile(r"%[^%\s]+%|^%\w|[A-Za-z_-]%$")
_LITERAL_IN_PATTERN = re.compile(r"\\[^AzbBQxpP\d]|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)  # an escape, or a class
_IMPOSSIBLE = re.compile(r"[^*+?^$](?![*?]).*\^|\$.*[^*+?^$](?![*?])", re.DOTALL)  # a character before ^ or after $
_GLOB_IN_PATTERN = re.compile(r"^\*|(?<![\\.)\]}])(?<=[\w-])\*$")
# Fields that hold one value at most.
_SINGLE = frozenset({
    "actionKind", "crudOperation", "scope", "domainType", "userName", "account.id", "account.name", "cluster.id",
    "cluster.name", "clusterId", "organisation.id", "organisation.name", "source", "severity",
})  # fmt: skip

_Notes = Iterator[tuple[Place, str, str]]
"""Places in a document, each with what is probably wrong there and a remedy."""


def lint(rules: Rules, documents: Sequence[Document], known_kinds: Collection[str]) -> list[Fault]:
    """Return the notes about rules and filters, in the order of the documents."""
    notes: list[Fault] = []
    tries = _Tries()
    for rule in rules.rules:
        if rule.document is not None:
            notes += itertools.starmap(rule.document.fault, _lint_rule(rule, rule.document.value, known_kinds, tries))
    notes += _lint_twins(rules.rules)
    filtered: dict[str, list[Rule]] = defaultdict(list)
    for rule in rules.rules:
        for each in rule.filters:
            filtered[each.name.id].append(rule)
    for each in rules.filters:
        found = _lint_filter(each, filtered[each.name.id], known_kinds, tries)
        notes += itertools.starmap(each.report.document.fault, found)
    for document in documents:
        notes += itertools.starmap(document.fault, _lint_secrets(document.value, ()))
    if tries.left < 0 and documents:
        what = f"not every condition was tried: that takes more than {MAX_TRIES} tries"
        notes.append(Fault(documents[0].file, 0, 0, what, "check fewer files at once"))
    order = {document.file: number for number, document in reversed(list(enumerate(documents)))}
    unique = dict.fromkeys(notes)
    return sorted(unique, key=lambda note: (order.get(note.file, 0), note.line, note.column))


@dataclass(slots=True)
class _Tries:
    """The number of tries of conditions that are left, so that no file makes the checks slow."""

    left: int = field(default_factory=lambda: MAX_TRIES)

    def take_tries(self, count: int) -> bool:
        """Return whether as many are left."""
        self.left -= count
        return self.left >= 0


def _lint_rule(rule: Rule, value: Mapping[str, Any], known_kinds: Collection[str], tries: _Tries) -> _Notes:
    detection, correlation = value.get("detection"), value.get("correlation", {})
    if isinstance(detection, dict):
        if "rules" in correlation:
            named = correlation["rules"]
            chosen = {*([named] if isinstance(named, str) else named), correlation.get("baseline")}
            yield from _unused(_selections(detection), chosen, "detection")
        else:
            phrase = parse_phrase(detection["condition"], _selections(detection))
            yield from _lint_phrase(phrase, detection, "detection", tries, {correlation.get("baseline")})
            yield from _lint_exceptions(rule, phrase, known_kinds)
        for name in _selections(detection):
            yield from _lint_values(detection[name], ("detection", name))
        yield from _lint_reach(rule, known_kinds)
    if rule.when is not None and set(rule.when.during) & set(rule.when.outside):
        yield ("when",), "no time is both during and outside the same interval: the rule never matches", ""


def _selections(block: Mapping[str, Any]) -> list[str]:
    return [name for name in block if name not in ("condition", "rules")]


def _unused(names: Iterable[str], used: Collection[Any], key: str) -> _Notes:
    for name in names:
        if name not in used:
            yield (key, name), f"the selection '{name}' is not used", "name it in the condition, or remove it"


def _lint_phrase(
    phrase: Phrase, block: Mapping[str, Any], key: str, tries: _Tries, elsewhere: Collection[Any] = ()
) -> _Notes:
    """Find selections that are unused or make no difference, and conditions that are always or never met.

    `key` is the key of the block. The selections in `elsewhere` are used elsewhere.
    """
    used = sorted(set(names_in(phrase)))
    yield from _unused(_selections(block), {*used, *elsewhere}, key)
    if len(used) > _MAX_TRIED or not tries.take_tries(len(list(phrases_in(phrase))) << len(used)):
        return
    truths = [dict(zip(used, row, strict=True)) for row in itertools.product((False, True), repeat=len(used))]
    answers = [is_met(phrase, truth.__getitem__) for truth in truths]
    if len(set(answers)) == 1:
        word = "always" if answers[0] else "never"
        yield (key, "condition"), f"the condition is {word} met, regardless of the selections", ""
        return
    for number, name in enumerate(reversed(used)):
        bit = 1 << number  # of the index of a combination
        if all(answer == answers[index ^ bit] for index, answer in enumerate(answers)):
            what = f"the selection '{name}' makes no difference: the condition is the same without it"
            yield (key, name), what, "fix the condition, or remove the selection"


def _lint_exceptions(rule: Rule, phrase: Phrase, known_kinds: Collection[str]) -> _Notes:
    """Find exceptions (`and not x`) that can never apply, because the rule matches other kinds."""
    if not isinstance(phrase, Combination) or phrase.word != "and":
        return
    wanted = [rule.selections[part] for part in phrase.parts if isinstance(part, str)]
    negated = [part.parts[0] for part in phrase.parts if isinstance(part, Combination) and part.word == "not"]
    kinds = admitted_kinds(all_of(wanted), known_kinds)
    for name in (part for part in negated if isinstance(part, str)):
        if kinds and not admitted_kinds(rule.selections[name], kinds):
            what = f"the exception '{name}' can never apply: the rule matches other kinds"
            yield ("detection", name), what, "fix its actionKind, or remove it"


def _lint_reach(rule: Rule, known_kinds: Collection[str]) -> _Notes:
    """Find rules that no record can match because of their kinds or of contradicting values."""
    if known_kinds and not admitted_kinds(rule.condition, known_kinds):
        remedy = "fix actionKind, or add your own kinds to 'extra_kinds'"
        yield ("detection",), "this rule matches no known kind", remedy
    for name in _contradictions(rule.condition):
        what = f"no record can match this rule: it requires two different values of '{name}'"
        yield ("detection",), what, "join the selections with 'or', or list the values in one selection"


def _contradictions(condition: Condition) -> Iterator[str]:
    """Yield the single-valued fields for which an AND demands different texts."""
    demanded: dict[str, frozenset[str]] = {}
    for part in condition.parts if isinstance(condition, Every) else ():
        if isinstance(part, Leaf) and part.equals is not None and part.field in _SINGLE:
            demanded[part.field] = demanded.get(part.field, part.equals) & part.equals
        elif isinstance(part, Not) and isinstance(part.part, Leaf) and part.part.field in demanded and part.part.equals:
            demanded[part.part.field] = demanded[part.part.field] - part.part.equals
    yield from (name for name, texts in demanded.items() if not texts)


def _lint_values(value: Any, place: Place) -> _Notes:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _lint_values(item, (*place, index))
        return
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        name, *modifiers = str(key).split("|")
        texts = [each for each in (item if isinstance(item, list) else [item]) if isinstance(each, str)]
        where = (*place, str(key))
        yield from _lint_modifiers(name, modifiers, texts, where)
        if "re" in modifiers and "m" not in modifiers:
            yield from _lint_patterns(name, texts, where)
        elif texts and "expand" not in modifiers:
            yield from _lint_texts(name, modifiers, texts, where)


def _lint_modifiers(name: str, modifiers: Sequence[str], texts: Sequence[str], place: Place) -> _Notes:
    """Find modifiers that have no effect or can never match."""
    has_list = any(SigmaString(text).insert_placeholders().contains_placeholder() for text in texts)
    if "expand" in modifiers and texts and not has_list:
        yield place, f"'expand' needs the name of a list, not '{texts[0]}'", f"a list is named %{texts[0]}%"
    if "base64offset" in modifiers and "contains" not in modifiers:
        remedy = f"clearer: {name}|base64offset|contains"
        yield place, "'base64offset' without 'contains' compares the whole value", remedy
    wide = next((word for word in _WIDE if word in modifiers), "")
    if wide and not {"base64", "base64offset"} & set(modifiers):
        yield place, f"'{wide}' produces bytes that no text contains", f"write {name}|{wide}|base64"


def _lint_patterns(name: str, patterns: Iterable[str], place: Place) -> _Notes:
    """Find patterns that match no text or every text. Groups and alternatives are not checked for the former."""
    for pattern in patterns:
        plain = _LITERAL_IN_PATTERN.sub("x", pattern)
        if not set(plain) & set("()[]{}|\\") and _IMPOSSIBLE.search(plain):
            remedy = "check ^ and $: no text comes before ^ or after $"
            yield place, f"the pattern '{pattern}' never matches", remedy
        elif not set(plain) & set("^$\\") and pattern_check(pattern)(""):
            remedy = f"write {name}|exists: true, or anchor it with ^ and $"
            yield place, f"the pattern '{pattern}' matches every text", remedy
        elif _GLOB_IN_PATTERN.search(pattern):
            what = f"'{pattern}' looks like a wildcard, but |re takes a regular expression"
            yield place, what, "remove |re, or write .*"


def _lint_texts(name: str, modifiers: Sequence[str], texts: Sequence[str], place: Place) -> _Notes:
    if word := next((each for each in modifiers if each in ("contains", "startswith", "endswith")), ""):
        for text in texts:
            if len(text) > 1 and (text.startswith("*") or (text.endswith("*") and not text.endswith("\\*"))):
                yield place, f"the * at the end of '{text}' is what |{word} already means", "remove it"
        return
    shapes = {_shape(text) for text in texts}
    if len(shapes) == 1 and (word := shapes.pop()):
        example = texts[0].strip("*")
        yield place, f"'{texts[0]}' is read as a wildcard", f"clearer: {name}|{word}: {example}"
    for text in texts:
        if _PERCENT.search(text) and not modifiers:
            remedy = f"use {name}|expand for a list, or * for any text"
            yield place, f"'%' in '{text}' is a plain character", remedy
        elif (".*" in text or text.startswith("^") or text.endswith("$")) and not modifiers:
            yield place, f"'{text}' looks like a regular expression", f"did you mean {name}|re?"


def _shape(text: str) -> str:
    """Return the modifier that is equivalent to the wildcards at the ends of a text; "" if there is none."""
    inner = text.strip("*")
    if not inner or "*" in inner or "?" in inner or "\\" in inner or ".*" in text:
        return ""
    words = {(True, True): "contains", (True, False): "endswith", (False, True): "startswith"}
    return words.get((text.startswith("*"), text.endswith("*")), "")


def _lint_twins(rules: Sequence[Rule]) -> Iterator[Fault]:
    """Find rules with the same title, and rules that match the same records."""
    by_title: dict[str, Rule] = {}
    by_condition: dict[tuple[Any, ...], Rule] = {}
    for rule in rules:
        document = rule.document
        if document is None:
            continue
        first = by_title.setdefault(rule.name.title.casefold(), rule)
        if first is not rule:
            what = f"the rule at {first.file}:{first.line} has the same title"
            yield document.fault(("title",), what, "give the rules different titles")
        if "correlation" in document.value:
            continue
        first = by_condition.setdefault((rule.condition, rule.when, rule.mode), rule)
        if first is not rule:
            what = f"matches the same records as '{first.name.name}' at {first.file}:{first.line}"
            yield document.fault(("detection",), what, "remove one of the two")


def _lint_filter(each: Filter, rules: Sequence[Rule], known_kinds: Collection[str], tries: _Tries) -> _Notes:
    """Find filters that hide everything that a rule finds, and filters that hide nothing."""
    keeps, block = predicate(each.keeps), each.report.document.value["filter"]
    found = list(_lint_phrase(parse_phrase(block["condition"], _selections(block)), block, "filter", tries))
    yield from found
    if found or not tries.take_tries(len(rules) * _MAX_SAMPLES):
        return
    is_of_use = False
    for rule in rules:
        samples = list(itertools.islice(_samples(rule, known_kinds), _MAX_SAMPLES))
        if samples and not any(keeps(Subject(record)) for record in samples):
            what = f"this filter hides everything that '{rule.name.name}' finds"
            yield ("filter",), what, "narrow its selections, or set the rule to mode: off"
        is_of_use = is_of_use or any(_could_exclude(each, kind) for kind in admitted_kinds(rule.condition, known_kinds))
    if rules and known_kinds and not is_of_use:
        yield ("filter",), "this filter hides nothing: its rules match other kinds", "fix its actionKind, or remove it"


def _could_exclude(each: Filter, kind: str) -> bool:
    block = each.report.document.value["filter"]
    names = _selections(block)
    truth = {name: bool(admitted_kinds(each.selections[name], [kind])) for name in names}
    phrase = parse_phrase(block["condition"], names)
    single = ({**dict.fromkeys(names, False), name: truth[name]} for name in names)
    return not all(is_met(phrase, each_truth.__getitem__) for each_truth in (truth, *single))


def _samples(rule: Rule, known_kinds: Collection[str]) -> Iterator[Record]:
    """Make records that the rule can match: of each of its kinds, with the texts that it demands, and unlikely other texts."""
    kinds = admitted_kinds(rule.condition, known_kinds)
    users, clusters, accounts = (_demanded(rule.condition, slot) for slot in ("user_name", "cluster", "account"))
    template = msgspec.structs.replace(BLANK, source=_UNLIKELY, occurred_at=_AT, description=_UNLIKELY)
    for kind, user, cluster, account in itertools.product(kinds, users, clusters, accounts):
        places = {"cluster": Entity(cluster, cluster), "account": Entity(account, account)}
        yield msgspec.structs.replace(template, action_kind=kind, user_name=user, **places)


def _demanded(condition: Condition, slot: str) -> list[str]:
    found = demand(condition, slot)
    return sorted(found.equals) if isinstance(found, Leaf) and found.equals else [_UNLIKELY]


def _lint_secrets(value: Any, place: Place) -> _Notes:
    """Find values that look like a token, because rule files are shared."""
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    elif isinstance(value, str) and _SECRET.search(value):
        yield place, "this looks like a secret", "remove it from the rule file, and revoke it"
    for key, item in items:
        yield from _lint_secrets(item, (*place, key if isinstance(key, int) else str(key)))
