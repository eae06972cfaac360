"""No text contains a phrase that the documentation of Prometheus or SQLite would not use."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATTERNS = (
    *("actionwatch/**/*.py", "tests/**/*.py", "*.md", "docs/**/*.md", "templates/*.j2", "rules/*.yml"),
    "actionwatch/_init/rule-examples/*.yml",
    *("actionwatch/_init/*", "actionwatch/web/console/templates/*.html", "actionwatch/web/console/static/*.[cj]s*"),
)
_HERE = Path(__file__).relative_to(ROOT).as_posix()
_OWN = r"of (?:its|their|his|her|your|our) own"

PHRASES = {
    r"told|tells (?:others|the others)": "reported, shown, notified",
    r"said": "reported, shown, stated",
    r"mend(?:s|ed|ing)?": "fix",
    r"anew": "again",
    r"parted": "separated",
    r"dearer": "more expensive",
    r"awaited": "expected",
    r"any more": "no longer",
    r"but for": "except",
    rf"{_OWN}(?! \w)|{_OWN} (?:also|and|are|does|for|has|have|in|is|on|or|so|that|too|which|with)": "its own …, separate",
    r"(?:is|are|all) well": "works",
    r"stands? (?:alone|at|before|behind|beside|between|for|in|on|still|where)": "is, is written, represents",
    r"in the way of": "blocks",
    r"(?:asks|asked) the server whether": "checks",
    r"goes on(?=[:.;])": "continues",
    r"everybody can be anybody|gets in whom": "who can claim which name, who can sign in",
    r"plays? no part": "does not matter",
}
"""What not to write, and what to write instead: sections 3 and 6 of the house style."""

MOST_METHODS = 14
EXCEPTIONS = {
    ("tests/unit/text/test_suggestions.py", "is well"),  # hostile text
    ("tests/builders.py", "stands still"),  # a clock
    ("tests/unit/base/test_clock.py", "stands still"),
}


def _texts() -> Iterator[tuple[str, str]]:
    """Yield the path and the lower-case text of each file, with lines joined, so that a phrase may span two lines."""
    for pattern in _PATTERNS:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            if name != _HERE and path.is_file():
                yield name, re.sub(r"\s*\n[\s#>*-]*", " ", path.read_text()).lower()


def test_no_text_contains_an_unusual_phrase() -> None:
    """A reader meets the usual words, in code, help, messages, pages and tests."""
    wanted = re.compile(rf"\b(?:{'|'.join(PHRASES)})\b")
    found, excepted = [], set()
    for name, text in _texts():
        for match in wanted.finditer(text):
            if (name, match[0]) in EXCEPTIONS:
                excepted.add((name, match[0]))
            else:
                found.append((name, text[max(match.start() - 40, 0) : match.end() + 40]))
    assert found == [], "PHRASES has what to write instead"
    assert excepted == EXCEPTIONS, "an exception that is not needed is removed"


@dataclass(frozen=True)
class Described:
    """A module or a class, its description, and how many methods it has."""

    name: str
    text: str
    method_count: int


def test_classes_and_modules_are_described_by_nouns_or_sentences() -> None:
    """Their descriptions do not begin as a question, such as "What a fold finds": that names nothing."""
    question = re.compile(r"(What|How|Who|Where|When|Why)\b")
    assert [f"{each.name}: {each.text}" for each in _described() if question.match(each.text)] == []


def test_no_class_has_many_methods() -> None:
    """Whoever reads a class can keep it in mind."""
    assert {each.name: each.method_count for each in _described() if each.method_count > MOST_METHODS} == {}


@functools.cache
def _described() -> list[Described]:
    found = []
    for path in sorted((ROOT / "actionwatch").rglob("*.py")):
        module = ast.parse(path.read_text())
        described: list[ast.Module | ast.ClassDef] = [module, *_classes(module)]
        for node in described:
            functions = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
            count = len(functions) if isinstance(node, ast.ClassDef) else 0
            name = f"{path.relative_to(ROOT).as_posix()} {getattr(node, 'name', '')}"
            found.append(Described(name, ast.get_docstring(node) or "", count))
    return found


def _classes(node: ast.AST) -> Iterator[ast.ClassDef]:
    """Find the classes in a module, also those within functions and other classes."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.stmt):
            if isinstance(each, ast.ClassDef):
                yield each
            yield from _classes(each)
