"""Plurals agree with their number: no text puts a number that may be one before a fixed plural."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.base.plurals import counted

SOURCE = Path(__file__).parent.parent.parent / "actionwatch"
NOUNS = (
    *(
        "actions",
        "alerts",
        "attempts",
        "characters",
        "deliveries",
        "documents",
        "errors",
        "faults",
        "fields",
        "files",
        "groups",
    ),
    *(
        "items",
        "kinds",
        "letters",
        "lines",
        "messages",
        "notes",
        "objects",
        "polls",
        "receipts",
        "receivers",
        "records",
    ),
    *("requests", "rules", "silences", "sources", "steps", "techniques", "tests", "times", "values", "windows"),
)
PLURAL = re.compile(rf"(?: [a-z]+)? (?:{'|'.join(NOUNS)})\b")
LIMIT = re.compile(r"(?:[a-z]+\.)?_?[A-Z][A-Z_]+ ")
NEVER_ONE = {
    "keep / 'actionwatch.yaml' alerts",  # a command
    "alert.count records",  # of an alert that has more than the first one
    "failures polls",
    "len(KINDS) documented kinds",
    "len(alerts) alerts",  # none of several
    "len(found) objects",
    "len(kinds) kinds",
    "len(message) characters",
    "len(raw) characters",
    "len(records) records",
    "len(small.records) records",
    "len(techniques) techniques",
    "poll.failures polls",
    "rule.factor times",
    "step.failure_count times",
    "value_count values",
    "walk.received records",  # "1 and 2 records"
}
"""What is written only for more than one, and numbers of the catalogue."""


def _texts() -> Iterator[tuple[str, str]]:
    """Yield each f-string with a number before a plural, as the place and the part up to the plural."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.JoinedStr):
                continue
            for value, after in zip(node.values, node.values[1:], strict=False):
                text = after.value if isinstance(after, ast.Constant) else ""
                if isinstance(value, ast.FormattedValue) and (found := PLURAL.match(str(text))):
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", f"{ast.unparse(value.value)}{found[0]}"


def test_no_number_stands_before_a_fixed_plural() -> None:
    """`counted` writes numbers with their nouns, or the number is a limit or can never be one."""
    wrong = [(place, text) for place, text in _texts() if not LIMIT.match(text) and text not in NEVER_ONE]
    assert wrong == []


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 alerts"), (1, "1 alert"), (2, "2 alerts"), (1_204, "1,204 alerts")]
)
def test_a_number_with_its_noun(number: int, words: str) -> None:
    """A number is written with a noun that agrees, and with commas between thousands."""
    assert counted(number, "alert") == words
