"""Lint: probable mistakes with their locations, and no notes about good rules."""

from __future__ import annotations

from actionwatch.emulator.catalogue import KINDS
from actionwatch.rules.lint import lint
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import build_rules
from actionwatch.text.timeintervals import Period, TimeInterval
from actionwatch.text.yaml_document import read_text
from tests.cases import in_one_test

HEAD = "title: T\nlogsource: {product: instaclustr}\ndetection:\n"
OFFICE = {"office": TimeInterval("office", (Period(times=((480, 1080),)),))}
FILTER = "\n---\ntitle: F\nlogsource: {product: instaclustr}\nowner: o\nreason: r\nexpires: 2030-01-01\nfilter:\n  rules: [t]\n"
DELETION = HEAD + "  s: {actionKind: DELETE_CLUSTER, userName: [eve, eva]}\n  condition: s\nname: t"


def notes(text: str) -> list[str]:
    """Return the notes about a text that loads."""
    documents = read_text(text, "r.yml")
    loaded = build_rules(documents, lists=Lists({"x": ("a",)}), known_kinds=[*KINDS], time_intervals=OFFICE)
    assert loaded.faults == ()
    return [str(note).removeprefix("r.yml:") for note in lint(loaded, documents, [*KINDS])]


@in_one_test(
    ("text", "expected"),
    [
        (HEAD + "  s: {source: a}\n  t: {source: b}\n  condition: s\n", "5:3: the selection 't' is not used"),
        (HEAD + "  s: {source: a}\n  t: {source: b}\n  condition: s or (s and t)\n",
         "5:3: the selection 't' makes no difference"),
        (HEAD + "  s: {source: a}\n  condition: s and not s\n", "5:3: the condition is never met"),
        (HEAD + "  s: {source: a}\n  condition: s or not s\n", "5:3: the condition is always met"),
        (HEAD + "  s: {actionKind: DELETE_CLUSTER}\n  t: {actionKind: BACKUP}\n  condition: s and not t\n",
         "5:3: the exception 't' can never apply: the rule matches other kinds"),
        (HEAD + "  s: {actionKind: BAKCUP}\n  condition: s\n", "3:1: this rule matches no known kind"),
        (HEAD + "  s: {actionKind: BACKUP}\n  t: {actionKind: RESTORE}\n  condition: s and t\n",
         "3:1: no record can match this rule"),
        (HEAD + "  s: {userName: a}\n  t: {userName: [b, c]}\n  condition: s and t\n",
         "3:1: no record can match this rule: it requires two different values of 'userName'"),
        (HEAD + "  s: {userName: a}\n  t: {userName: [A, c]}\n  condition: s and not t\n",
         "3:1: no record can match this rule"),
        (HEAD + "  s: {userName|re: 'a^b'}\n  condition: s\n", "4:7: the pattern 'a^b' never matches"),
        (HEAD + "  s: {userName|re: '.*'}\n  condition: s\n",
         "4:7: the pattern '.*' matches every text: write userName|exists: true"),
        (HEAD + "  s: {userName|re: 'svc-*'}\n  condition: s\n", "4:7: 'svc-*' looks like a wildcard"),
        (HEAD + "  s: {userName: '*svc*'}\n  condition: s\n",
         "4:7: '*svc*' is read as a wildcard: clearer: userName|contains: svc"),
        (HEAD + "  s: {userName: 'svc*'}\n  condition: s\n",
         "4:7: 'svc*' is read as a wildcard: clearer: userName|startswith: svc"),
        (HEAD + "  s: [{userName: '*svc'}]\n  condition: s\n",
         "4:8: '*svc' is read as a wildcard: clearer: userName|endswith: svc"),
        (HEAD + "  s: {userName|contains: '*svc*'}\n  condition: s\n",
         "4:7: the * at the end of '*svc*' is what |contains already means"),
        (HEAD + "  s: {userName: '%x%'}\n  condition: s\n",
         "4:7: '%' in '%x%' is a plain character: use userName|expand for a list"),
        (HEAD + "  s: {userName: '^svc-.*'}\n  condition: s\n", "4:7: '^svc-.*' looks like a regular expression"),
        (HEAD + "  s: {source: a}\n  condition: s\nwhen: {during: [office], outside: [office]}\n",
         "6:1: no time is both"),
        (HEAD + "  s: {userName: xoxb-1234567890-abc}\n  condition: s\n", "4:7: this looks like a secret"),
        (DELETION + "\n---\n" + HEAD + "  s: {source: b}\n  condition: s\nname: z\n",
         "8:1: the rule at r.yml:1 has the same title"),
        (DELETION + "\n---\n" + DELETION.replace("title: T", "title: U").replace("name: t", "name: u"),
         "10:1: matches the same records as 't' at r.yml:1"),
        (DELETION + FILTER + "  s: {userName: ev*}\n  condition: not s\n",
         "13:1: this filter hides everything that 't' finds"),
        (DELETION + FILTER + "  s: {actionKind: '*'}\n  condition: not s\n",
         "13:1: this filter hides everything that 't' finds"),
        (DELETION + FILTER + "  s: {actionKind: BACKUP}\n  condition: not s\n",
         "13:1: this filter hides nothing"),
        (DELETION + FILTER + "  s: {userName: eve}\n  t: {userName: eva}\n  condition: not s\n",
         "16:3: the selection 't' is not used"),
        (DELETION + FILTER + "  s: {userName: eve}\n  condition: s or not s\n",
         "16:3: the condition is always met, regardless of the selections"),
        (HEAD + "  s: {source: a}\n  t: {source: b}\n  u: {source: c}\n"
         "correlation: {type: new_term, rules: [s], baseline: u, fields: [userName], history: 9d}\n",
         "5:3: the selection 't' is not used"),
        (HEAD + "  s: {source: a}\n  t: {source: b}\n  condition: s\n"
         "correlation: {type: event_count, timespan: 5m, condition: {gte: 2}}\n", "5:3: the selection 't' is not used"),
        (HEAD + "  s: {source: a}\n  t: {source: b}\n  u: {source: c}\n"
         "correlation: {type: temporal, rules: [s, t], timespan: 5m}\n", "6:3: the selection 'u' is not used"),
        (HEAD + "  s: {userName|expand: x}\n  condition: s\n",
         "4:7: 'expand' needs the name of a list, not 'x': a list is named %x%"),
        (HEAD + "  s: {description|base64offset: abc}\n  condition: s\n",
         "4:7: 'base64offset' without 'contains' compares the whole value: clearer: description|base64offset|contains"),
        (HEAD + "  s: {description|wide|contains: abc}\n  condition: s\n",
         "4:7: 'wide' produces bytes that no text contains: write description|wide|base64"),
    ],
)  # fmt: skip
def test_mistake_is_noted_at_its_location(text: str, expected: str) -> None:
    """Each mistake is found at its location."""
    found = notes(text)
    assert [note for note in found if note.startswith(expected)], found


@in_one_test(
    "text",
    [
        DELETION,
        HEAD + "  s: {userName: [svc-terraform, svc-ci-*]}\n  condition: s\n",
        HEAD + "  s: {userName|expand: ['%x%', y], description|wide|base64offset|contains: a}\n  condition: s\n",
        HEAD + "  s: {timestamp|hour: [0, 23], timestamp|week: 53, timestamp|month|neq: 12}\n  condition: s\n",
        HEAD + "  s: {source: a}\n  t: {source: b}\n"
        "correlation: {type: new_term, rules: s, baseline: t, fields: [userName], history: 9d}\n",
        HEAD + "  s: {source: a}\n  t: {source: b}\n  condition: s\n"
        "correlation: {type: new_term, baseline: t, fields: [userName], history: 9d}\n",
        HEAD + "  s: {userName|re: '^(a|b)$', description|re: 'x.*y'}\n  condition: s\n",
        HEAD + "  s: {userName: 'a*b', description: '100%', cluster: '*'}\n  condition: s\n",
        HEAD + "  s: {account: a}\n  t: {account: b}\n  condition: s and t\n",  # an id and a name
        HEAD
        + "  s: {actionKind|startswith: ADMIN_}\n  t: {actionKind: ADMIN_SET_ACCESS_LEVEL}\n  condition: s and not t\n",
        HEAD + "  s: {raw.a: x}\n  t: {raw.a: y}\n  condition: s and t\n",  # a list may hold both
        DELETION + FILTER + "  s: {userName: eve}\n  condition: not s\n",
        DELETION + FILTER + "  s: {cluster.name|startswith: ci-}\n  condition: not s\n",
        DELETION + FILTER + "  s: {actionKind: DELETE_CLUSTER, cluster: x}\n  condition: not s\n",
    ],
)
def test_good_rules_have_no_notes(text: str) -> None:
    """A good rule has no notes."""
    assert notes(text) == []


@in_one_test(
    ("pattern", "found"),
    [
        ("^a", None), ("a^", "never matches"), ("$a", "never matches"), ("a+^", "never matches"), (r"a\.$b", "never matches"),
        ("[ab]^", "never matches"), ("[^a]$b", "never matches"), ("(a^|b)", None), ("x?^a", None), ("x*?^a", None),
        ("(?m)a$b", None), (r"\$a", None), ("[$]a", None), ("[]^]a", None), (r"a\^", None), ("^.*$", None), ("a+", None),
        (".*", "matches every text"), ("a*b?", "matches every text"), ("(?i)(a|b)*", "matches every text"),
        ("[^a]*", "matches every text"), (r"\w{0,3}", "matches every text"), (r"\b", None), ("(^)*", None), (r"\A", None),
    ],
)  # fmt: skip
def test_pattern_that_never_or_always_matches_is_noted(pattern: str, found: str | None) -> None:
    """A pattern is noted if its anchors cannot be met, or if it matches every text."""
    noted = [
        note for note in notes(f"{HEAD}  s: {{userName|re: '{pattern}'}}\n  condition: s\n") if "the pattern" in note
    ]
    assert [f"the pattern '{pattern}' {found}" in note for note in noted] == [True] * (found is not None)
