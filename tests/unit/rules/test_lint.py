"""Lint: probable mistakes with their locations, and no notes about good rules."""

from __future__ import annotations

from actionwatch.emulator.catalogue import KINDS
from actionwatch.rules.lint import lint
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import build_rules
from actionwatch.text.yaml_document import read_text
from tests.cases import in_one_test

HEAD = "title: T\nlogsource: {product: instaclustr}\ndetection:\n"
FILTER = "\n---\ntitle: F\nlogsource: {product: instaclustr}\nowner: o\nreason: r\nexpires: 2030-01-01\nfilter:\n  rules: [t]\n"
DELETION = HEAD + "  s: {actionKind: DELETE_CLUSTER, userName: [eve, eva]}\n  condition: s\nname: t"


def notes(text: str) -> list[str]:
    """Return the notes about a text that loads."""
    documents = read_text(text, "r.yml")
    loaded = build_rules(documents, lists=Lists({"x": ("a",)}), known_kinds=[*KINDS])
    assert loaded.faults == ()
    return [str(note).removeprefix("r.yml:") for note in lint(loaded, documents, [*KINDS])]


@in_one_test(
    ("text", "expected"),
    [
        (HEAD + "  s: {source: a}\n  t: {source: b}\n  condition: s\n", "5:3: the selection 't' is not used"),
        (HEAD + "  s: {actionKind: BAKCUP}\n  condition: s\n", "3:1: this rule matches no known kind"),
        (HEAD + "  s: {actionKind: BACKUP}\n  t: {actionKind: RESTORE}\n  condition: s and t\n",
         "3:1: this rule matches no known kind"),
        (HEAD + "  s: {userName: xoxb-1234567890-abc}\n  condition: s\n", "4:7: this looks like a secret"),
        (DELETION + FILTER + "  s: {userName: eve}\n  t: {userName: eva}\n  condition: not s\n",
         "16:3: the selection 't' is not used"),
        (HEAD + "  s: {source: a}\n  t: {source: b}\n  u: {source: c}\n"
         "correlation: {type: new_term, rules: [s], baseline: u, fields: [userName], history: 9d}\n",
         "5:3: the selection 't' is not used"),
        (HEAD + "  s: {source: a}\n  t: {source: b}\n  condition: s\n"
         "correlation: {type: event_count, timespan: 5m, condition: {gte: 2}}\n", "5:3: the selection 't' is not used"),
        (HEAD + "  s: {source: a}\n  t: {source: b}\n  u: {source: c}\n"
         "correlation: {type: temporal, rules: [s, t], timespan: 5m}\n", "6:3: the selection 'u' is not used"),
    ],
)  # fmt: skip
def test_mistake_is_noted_at_its_location(text: str, expected: str) -> None:
    """Each mistake is found at its location, and nothing else."""
    (found,) = notes(text)
    assert found.startswith(expected)


@in_one_test(
    "text",
    [
        DELETION,
        HEAD + "  s: {userName: [svc-terraform, svc-ci-*]}\n  condition: s\n",
        HEAD + "  s: {userName|expand: ['%x%', y], description|wide|base64offset|contains: a}\n  condition: s\n",
        HEAD + "  s: {source: a}\n  t: {source: b}\n"
        "correlation: {type: new_term, rules: s, baseline: t, fields: [userName], history: 9d}\n",
        HEAD + "  s: {source: a}\n  t: {source: b}\n  condition: s\n"
        "correlation: {type: new_term, baseline: t, fields: [userName], history: 9d}\n",
        HEAD + "  s1: {source: a}\n  s2: {source: b}\n  condition: 1 of s*\n",
        HEAD + "  s: {actionKind|startswith: ADMIN_}\n  condition: s\n",
        DELETION + FILTER + "  s: {userName: eve}\n  condition: not s\n",
    ],
)
def test_good_rules_have_no_notes(text: str) -> None:
    """A good rule has no notes."""
    assert notes(text) == []
