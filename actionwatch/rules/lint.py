"""Notes about probable mistakes in rules, each with its location. Only the checks call this module.

Notes are not faults: the rules run as written. The loader refuses rules that cannot run.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from actionwatch.base.errors import Fault
from actionwatch.rules.condition_text import names_in, parse_phrase
from actionwatch.rules.load import Rules
from actionwatch.rules.model import Rule
from actionwatch.rules.prefilter import admitted_kinds
from actionwatch.text.yaml_document import Document, Place

_SECRET = re.compile(
    r"xox[abeprs]-[\w-]{8,}|whsec_[\w+/=]{16,}|AKIA[0-9A-Z]{16}|ghp_\w{20,}|-----BEGIN [A-Z ]*PRIVATE KEY"
)

_Notes = Iterator[tuple[Place, str, str]]
"""Places in a document, each with what is probably wrong there and a remedy."""


def lint(rules: Rules, documents: Sequence[Document], known_kinds: Collection[str]) -> list[Fault]:
    """Return the notes about rules and filters, in the order of the documents.

    They are selections that nothing uses, rules whose kinds no record has, and values that look like a secret.
    """
    notes: list[Fault] = []
    for rule in rules.rules:
        if rule.document is not None:
            notes += itertools.starmap(rule.document.fault, _lint_rule(rule, rule.document.value, known_kinds))
    for each in rules.filters:
        document = each.report.document
        notes += itertools.starmap(document.fault, _unused(document.value["filter"], "filter"))
    for document in documents:
        notes += itertools.starmap(document.fault, _lint_secrets(document.value, ()))
    order = {document.file: number for number, document in reversed(list(enumerate(documents)))}
    unique = dict.fromkeys(notes)
    return sorted(unique, key=lambda note: (order.get(note.file, 0), note.line, note.column))


def _lint_rule(rule: Rule, value: Mapping[str, Any], known_kinds: Collection[str]) -> _Notes:
    detection, correlation = value.get("detection"), value.get("correlation", {})
    if not isinstance(detection, dict):
        return
    named = correlation.get("rules", [])
    yield from _unused(
        detection, "detection", {*([named] if isinstance(named, str) else named), correlation.get("baseline")}
    )
    if known_kinds and not admitted_kinds(rule.condition, known_kinds):
        yield (
            ("detection",),
            "this rule matches no known kind",
            "fix actionKind, or add your own kinds to 'extra_kinds'",
        )


def _unused(block: Mapping[str, Any], key: str, elsewhere: Collection[Any] = ()) -> _Notes:
    """Find the selections that the condition of the block does not name, nor anything `elsewhere`."""
    names = [name for name in block if name not in ("condition", "rules")]
    used = set(names_in(parse_phrase(block["condition"], names))) if "condition" in block else set()
    for name in names:
        if name not in used and name not in elsewhere:
            yield (key, name), f"the selection '{name}' is not used", "name it in the condition, or remove it"


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
