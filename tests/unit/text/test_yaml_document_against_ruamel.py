"""YAML is read as by ruamel.yaml, another YAML 1.2 reader: the same values of the same types, at the same positions.

The texts below omit what ruamel reads wrongly: it takes an anchored `true` for 1, rejects a tab between two words, takes a
colon for part of the name of an anchor, and continues past `---` in a block of text that is not indented.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.text.yaml_document import Place, read_text
from tests.cases import in_one_test

ROOT = Path(__file__).parents[3]
FILES = [
    *sorted((ROOT / "rules").rglob("*.yml")),
    *sorted((ROOT / "actionwatch" / "_init").glob("*.y*ml")),
]
_MISREAD = re.compile(r"""\t|[&*]\w+:|['"]:[]},]""")
Read = tuple[Any, Mapping[Place, tuple[int, int]]]


class _Constructor(RoundTripConstructor):
    """Keeps times as text: YAML 1.2 has none."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)


def _ruamel(text: str) -> list[Read] | int:
    """Return the documents that ruamel reads, or the line of its error; 0 if it is unknown."""
    reader = YAML(typ="rt")
    reader.Constructor = _Constructor
    reader.composer.warn_double_anchors = False
    try:
        return [_located(node) for node in reader.load_all(text) if node is not None]
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        return mark.line + 1 if mark else 0
    except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, AssertionError):
        return 0  # a number or a time that is none, such as 0x_


def _located(root: Any) -> Read:
    positions: dict[Place, tuple[int, int]] = {}

    def plain(node: Any, place: Place) -> Any:
        if isinstance(node, CommentedMap):
            mapping: dict[Any, Any] = {}
            for key, value in node.items():
                where = (*place, str(key))
                if key in (node.lc.data or {}):
                    positions[where] = _from_one(node.lc.key(key))
                mapping[scalar(key)] = plain(value, where)
            return mapping
        if isinstance(node, CommentedSeq):
            for index in range(len(node)):
                positions[(*place, index)] = _from_one(node.lc.item(index))
            return [plain(value, (*place, index)) for index, value in enumerate(node)]
        return scalar(node)

    def scalar(node: Any) -> Any:
        if isinstance(node, TaggedScalar):
            return node.value  # = and <<, which have no meaning at their place
        kinds = (int, float, str) if not isinstance(node, bool) else ()
        return next((kind(node) for kind in kinds if isinstance(node, kind)), node)

    if isinstance(root, CommentedMap | CommentedSeq):
        positions[()] = _from_one((root.lc.line, root.lc.col))
    return plain(root, ()), positions


def _from_one(at: tuple[int, int]) -> tuple[int, int]:
    return at[0] + 1, at[1] + 1


def _ours(text: str) -> list[Read] | Fault:
    try:
        return [(document.value, document.positions) for document in read_text(text, "f")]
    except ConfigError as exc:
        return exc.faults[0]


def _same(text: str, *, is_first_error_told: bool = True) -> None:
    """Compare documents, or the lines of errors. If there are several errors, each reader may report another one."""
    ours, theirs = _ours(text), _ruamel(text)
    if isinstance(ours, Fault):
        assert isinstance(theirs, int), (str(ours), theirs)
        assert not is_first_error_told or theirs in (0, ours.line)
    else:
        assert isinstance(theirs, list), (ours, theirs)
        # repr distinguishes 1, True and 1.0, and all NaN are equal in it
        assert [repr(value) for value, _ in ours] == [repr(value) for value, _ in theirs]
        assert [positions for _, positions in ours] == [positions for _, positions in theirs]


def _is_comparable(text: str) -> bool:
    """Check whether libyaml, which both use, reads a text, and whether ruamel reads it correctly."""
    try:
        return _MISREAD.search(text) is None and bool(list(yaml.parse(text, Loader=yaml.CSafeLoader)))
    except yaml.YAMLError:
        return False


@in_one_test("file", FILES)
def test_shipped_files_are_read_the_same(file: Path) -> None:
    """Each shipped file has the same values at the same positions."""
    _same(file.read_text())


_SIGNED = st.sampled_from(["", "-", "+"])
_NUMBERS = st.builds("".join, st.tuples(_SIGNED, st.text("0123456789abx_.eE+-", max_size=9)))
_NAMED = st.sampled_from(
    ["0o17", "0b_1", "0x_f", "1_0", "08", "0_", "1e5", ".5e+1", "-.inf", ".NaN", "+.INF", "1.", "_1"]
)
_TIMES = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["2026-01-02", "2026-1-2", "9999-12-31", "2026-02-30"]),
        st.sampled_from(["", "T", "t", " ", "  "]),
        st.sampled_from(["", "03:04:05", "3:04:05", "23:59:59", "24:00:00"]),
        st.sampled_from(["", ".", ".5", ".1234565", ".9999999", ".12345649"]),
        st.sampled_from(["", "Z", " Z", "+1", "-03:30", " +10:00", "+99:00", "z"]),
    ),
)
_WORDS = st.sampled_from(
    [
        "",
        "~",
        "null",
        "NULL",
        "nULL",
        "true",
        "False",
        "FALSE",
        "tRUE",
        "yes",
        "No",
        "on",
        "y",
        "=",
        "<",
        "a: b",
        "%",
        "é",
    ]
)
_SCALARS = st.one_of(_NUMBERS, _NAMED, _TIMES, _WORDS)


@given(_SCALARS)
def test_scalars_are_read_the_same(text: str) -> None:
    """Every text without quotes is the same number, boolean, text or null."""
    document = f"a:\n  - {text}\n"
    assume(_is_comparable(document))
    _same(document)


_KEYS = st.one_of(st.sampled_from(["a", "b", "c d", "'q'", '"r\\n"', "1", "01", "1.0", "yes"]), _NAMED)
_TEXTS = st.sampled_from(
    ["'it''s'", '"x\\u00e9"', "x # note", "'1'", "http://a.b:80/c", "a#b", "! 7", "!!str 7", "!!float 7"]
)


def _flow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
    return lists | _flow_mapping(inner)


def _flow_mapping(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.builds("{}: {}".format, _KEYS, inner), max_size=3)
    return pairs.map(lambda items: f"{{{', '.join(items)}}}")


_LEAVES = _SCALARS | _TEXTS
_FLOWS = st.recursive(_LEAVES, _flow, max_leaves=5)
_FLOWS_WITH_ALIASES = st.recursive(_LEAVES | st.sampled_from(["*x", "*y", "*z"]), _flow, max_leaves=5)


@st.composite
def _blocks(draw: st.DrawFn, indent: int = 2) -> str:
    """Draw a block of keys or items with nested blocks, texts of several lines, flows and merged mappings."""
    is_list = draw(st.booleans())
    margin, lines = " " * indent, []
    for _ in range(draw(st.integers(1, 3))):
        head = f"{margin}-" if is_list else f"{margin}{draw(_KEYS)}:"
        what = draw(st.sampled_from(["flow", "flow", "text", "merge", "block" if indent < 6 else "flow"]))
        if what == "block":
            lines.append(f"{head}\n{draw(_blocks(indent + 2))}")
        elif what == "text":
            lines.append(
                f"{head} {draw(st.sampled_from(['|', '>', '|-', '>+']))}\n{margin}  one\n{margin}  two: #3\n\n"
            )
        elif what == "merge" and not is_list:
            lines.append(f"{margin}<<: {draw(st.sampled_from(['*x', '[*y, *x]', '{e: {f: 1}}', '*z']))}\n")
        else:
            lines.append(f"{head} {draw(_FLOWS_WITH_ALIASES)}\n")
    return "".join(lines)


@given(
    st.lists(
        st.builds(
            "o: &z {}\np: &x {}\nq: &y {}\nr:\n{}".format,
            _TEXTS,
            _flow_mapping(_FLOWS),
            _flow_mapping(_FLOWS),
            _blocks(),
        ),
        min_size=1,
        max_size=2,
    ).map("---\n".join)
)
@example("a: &x {b: &y {c: 1}, d: [2]}\ne: {<<: *x, b: 3}\nf:\n  <<: [{g: 4}, *y, *x]\n  d: 5\n")
@example("a: &x 1\nb: &x 2\nc: *x\n")
@example("a: {<<: {b: 1}, <<: {c: 2}}")
@example("- a: {b: 1,\n    b: 2}")
def test_documents_are_read_the_same(text: str) -> None:
    """Mappings, lists, aliases and merges have the same values at the same positions, or are refused."""
    assume(_is_comparable(text))
    _same(text, is_first_error_told=False)


@given(st.sampled_from(FILES), st.data())
def test_broken_files_are_read_the_same(file: Path, data: st.DataObject) -> None:
    """A file with a lost, doubled or moved character or line is read the same, or refused in the same line."""
    lines = file.read_text().splitlines(keepends=True)
    index = data.draw(st.integers(0, len(lines) - 1))
    line = lines[index]
    at = data.draw(st.integers(0, len(line)))
    lines[index] = data.draw(
        st.sampled_from(
            [
                "",
                line * 2,
                f" {line}",
                line[:at] + line[at + 1 :],
                *(line[:at] + sign + line[at:] for sign in ":-'\"{[]}#&*,|"),
            ]
        )
    )
    text = "".join(lines)
    assume(_is_comparable(text))
    _same(text)
