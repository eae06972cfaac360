"""YAML 1.2 with positions: every text, even a hostile one, quickly becomes a document or a fault."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.errors import ConfigError
from actionwatch.text.yaml_document import MAX_BYTES, MAX_NODES, Document, read_file, read_text
from tests.calls import count_calls
from tests.cases import in_one_test
from tests.examples import examples

POWERS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
CHAIN = "0: &a0 [x]\n" + "".join(f"{number}: &a{number} [*a{number - 1}]\n" for number in range(1, 70))


def _fault(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_text(text, "f")
    (fault,) = caught.value.faults
    return str(fault)


@pytest.fixture(scope="module")
def most_calls() -> int:
    """Count the calls that reading the largest accepted file needs."""
    return count_calls(lambda: read_text("- 1\n" * (MAX_NODES - 1), "f"))


def _value(text: str) -> Any:
    (document,) = read_text(text, "f")
    return document.value


@in_one_test(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("&x true", True),
        ("x\ty", "x\ty"),
        ("NO", "NO"),
        ("True", True),
        ("false", False),
        ("0o17", 15),
        ("010", 10),
        ("1e3", 1000.0),
        ("12:30", "12:30"),
        ("2026-11-25", "2026-11-25"),
        ("2026-11-25T09:00:00.000Z", "2026-11-25T09:00:00.000Z"),
        ("2026-11-25 9:00:00+10:00", "2026-11-25 9:00:00+10:00"),
        ("2026-13-45", "2026-13-45"),
        ("'5'", "5"),
        ("! 5", 5),
        ("!!str 5", "5"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars_have_the_types_of_yaml_1_2(text: str, value: Any) -> None:
    """Scalars have the types of YAML 1.2, which has no times: they are text as written."""
    found = _value(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


def test_values_are_plain() -> None:
    """No value has a type of the parser."""
    value = _value("a: [1, 1.5, x, 'y', {b: 0x10}]\nc: &d {e: 1}\nf: {<<: *d, e: 2, g: *d}")
    assert value == {"a": [1, 1.5, "x", "y", {"b": 16}], "c": {"e": 1}, "f": {"e": 2, "g": {"e": 1}}}
    assert {type(item) for item in (value, value["a"], *value["a"], *value)} == {dict, list, int, float, str}


def test_positions_of_keys_items_and_unknown_paths() -> None:
    """The position of a key is that of its name, of an item that of its value, and of an unknown path that of its parent."""
    (document,) = read_text("a: 1\nb:\n  - x\n  - c: [1, 2]\n    5: z\n", "f")
    at = document.position
    assert [at(()), at(("a",)), at(("b", 0)), at(("b", 1, "c"))] == [(1, 1), (1, 1), (3, 5), (4, 5)]
    assert [at(("b", 1, "c", 1)), at(("b", 1, "5"))] == [(4, 12), (5, 5)]
    assert at(("b", 1, "gone", "too")) == at(("b", 1)) == (4, 5)
    assert str(document.fault(("b", 0), "bad", "fix it")) == "f:3:5: bad: fix it"


def test_documents_keep_their_lines() -> None:
    """Several documents are separate, and an empty one is omitted."""
    documents = read_text("a: 1\n---\n---\nb: 2\n", "f")
    assert [document.value for document in documents] == [{"a": 1}, {"b": 2}]
    assert documents[1].position(("b",)) == (4, 1)


@in_one_test(
    ("text", "expected"),
    [
        ("a: 1\na: 2", 'f:2:1: not YAML: while constructing a mapping found duplicate key "a": remove one of the two'),
        (
            "a:\n\tb: 1",
            "f:2:1: not YAML: while scanning for the next token found character that cannot start any token",
        ),
        (
            "a: b: c",
            "f:1:5: not YAML: mapping values are not allowed in this context: "
            "quote a value that holds ': ', or add the ':' that the line before lacks",
        ),
        (
            "a: 1\nb\nc: 2\n",
            "f:2:1: not YAML: while scanning a simple key could not find expected ':': write 'key: value' on this line",
        ),
        ("a:\n  - b 1\n    c: 2\n", "f:3:6: not YAML: mapping values are not allowed in this context"),
        (
            "a:\n  - b: 1\n  c: 2\n",
            "f:3:3: not YAML: while parsing a block collection did not find expected '-' indicator: "
            "look for a key without ':' on this line or before, and indent all keys of an item alike",
        ),
        (
            "a:\n  b: 1\n c: 2\n",
            "f:3:2: not YAML: while parsing a block mapping did not find expected key: "
            "look for a key without ':' on the line before, and indent all keys of a mapping alike",
        ),
        ("a: [1", "f:2:1: not YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        ("a: *b", "f:1:4: the alias *b has no anchor before it"),
        ("a: &a [*a]", "f:1:8: the alias *a has no anchor before it"),
        ("a: !!python/object:os.system {}", "f:1:4: the tag tag:yaml.org,2002:python/object:os.system is not allowed"),
        ("a: !include x", "f:1:4: the tag !include is not allowed: write the plain value"),
        ("!!set {a}", "f:1:1: the tag tag:yaml.org,2002:set is not allowed"),
        ("a: !!binary aGk=", "f:1:4: the tag tag:yaml.org,2002:binary is not allowed"),
        ("%TAG ! tag:x,2000:\n---\n!foo a", "f:3:1: the tag tag:x,2000:foo is not allowed"),
        ("? [a]\n: 1", "f:1:3: a key must be a plain word: quote it"),
        ("~: 1", "f:1:1: a key must be a plain word: quote it"),
        ("%YAML 1.1\n---\na: yes", "f:1:1: YAML 1.1 is not supported: its yes and no are not text: remove %YAML"),
        ("%YAML 3.0\n---\na: yes", "f:1:1: not YAML: found incompatible YAML document"),
        ("a: \0", "f:1:1: not YAML: "),
        ("a: !!bool x", "f:1:1: not YAML: "),
        ("a: !!int ''", "f:1:1: not YAML: "),
        ("a: 0x_", "f:1:1: not YAML: "),
        ("[[a], b]: 1", "f:1:1: a key must be a plain word: quote it"),
        (
            "a: {<<: {b: 1}, <<: {c: 2}}",
            'f:1:17: not YAML: while constructing a mapping found duplicate merge key "<<"',
        ),
        ("a:\n  <<: [{b: 1}, 2]", "f:2:16: not YAML: << takes a mapping or a list of mappings"),
        ("a:\n  b: !!int x", "f:2:3: not YAML: this is no int"),
        ("a: !!str [b]", "f:1:4: the tag tag:yaml.org,2002:str is not allowed: write the plain value"),
        ("a: " + "9" * 5000, "f:1:1: not YAML: "),
        ("a:\n- 0x" + "f" * 5000, "f:2:3: the number is too large: quote it"),
        ("[" * 20_000, "f:1:"),
        ("{a: " * 1000, "f:1:241: nested deeper than 60 levels"),
        ("- " * 1000, "f:1:121: nested deeper than 60 levels"),
        ("\n".join(" " * depth + "a:" for depth in range(200)), "f:61:61: nested deeper than 60 levels"),
        (CHAIN, "f:60:11: nested deeper than 60 levels"),
        (POWERS, f"f:6:8: more than {MAX_NODES} values: split the file"),
        ("- 1\n" * (MAX_NODES + 1), f"f:100000:3: more than {MAX_NODES} values"),
        ("---\n" * 200_000, "f:100002:1: more than 100000 values"),
    ],
)
def test_refused_text_has_one_fault(text: str, expected: str, most_calls: int) -> None:
    """Each text is refused with one fault at its location, for no more work than the largest accepted file."""
    found: list[str] = []
    assert count_calls(lambda: found.append(_fault(text))) <= most_calls
    assert found[0][: len(expected)] == expected


def test_a_duplicate_key_does_not_show_its_values() -> None:
    """The fault of a duplicate key contains no values, because they may be secrets."""
    assert "s3cret" not in _fault("api_key: s3cret-1\napi_key: s3cret-2\n")


def test_an_anchor_may_be_used_again() -> None:
    """An anchor can be redefined, as YAML 1.2 allows, and nothing is printed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _value("a: &x 1\nb: &x 2\nc: *x") == {"a": 1, "b": 2, "c": 2}


def test_unreadable_file_is_a_fault_with_the_reason(tmp_path: Path) -> None:
    """A file is read, and the fault of an unreadable file contains the reason."""
    path = tmp_path / "a.yaml"
    path.write_text("a: 1")
    assert [document.value for document in read_file(path)] == [{"a": 1}]
    with pytest.raises(ConfigError, match="cannot read the file: No such file or directory: check the path"):
        read_file(tmp_path / "b.yaml")
    with pytest.raises(ConfigError, match="cannot read the file: Is a directory"):
        read_file(tmp_path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="the file is not UTF-8 text: save it as UTF-8"):
        read_file(path)
    path.write_text("ä" * (MAX_BYTES // 2 + 1))
    with pytest.raises(ConfigError, match=f"the file is larger than {MAX_BYTES} bytes: split it, or correct the path"):
        read_file(path)


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    """Windows editors write one."""
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_file(path) == [Document(str(path), {"a": 1}, {(): (1, 1), ("a",): (1, 1)})]


@given(st.text("{}[]:,-#&*!|>'\"%@` \n\tab01~=<?.xe_") | st.text())
@examples(125)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Reading a text raises no other exception and no warning."""
    try:
        documents = read_text(text, "f")
    except ConfigError:
        return
    for document in documents:
        repr(document)
