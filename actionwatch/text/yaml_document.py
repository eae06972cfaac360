"""Parse YAML with the line and column of each value. All rules and settings are read by this module.

It builds nodes from the events of libyaml, with limits on size, depth and the number of nodes after expanding aliases. Then it
converts the nodes into plain values by YAML 1.2: `yes` and times are text, `010` is ten, and a duplicate key is an error.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

import yaml

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.base.files import UnsuitableFile, read_regular

MAX_BYTES = 1024 * 1024  # a rule has about 1 KB
_MAX_DEPTH = 60  # the deepest sensible document has about ten levels
MAX_NODES = 100_000  # with aliases expanded: a "billion laughs" document has billions
_MAX_INTEGER_BITS = 64  # Python raises ValueError when it prints an integer of more than 4,300 digits
_NO_COLON = "could not find expected ':'"
_REMEDIES = {
    "tab": "indent with spaces",
    "\\t": "indent with spaces",
    "mapping values are not allowed": "quote a value that holds ': ', or add the ':' that the line before lacks",
    _NO_COLON: "write 'key: value' on this line",
    "did not find expected '-'": "look for a key without ':' on this line or before, and indent all keys of an item alike",
    "did not find expected key": "look for a key without ':' on the line before, and indent all keys of a mapping alike",
}
"""What to do about a message of the parser that contains this text."""

Place = tuple[str | int, ...]
"""A path in a document: keys and list indices."""


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: plain dicts, lists and scalars, with their positions. Times are text, as written."""

    file: str
    value: Any
    positions: Mapping[Place, tuple[int, int]] = field(default_factory=dict)

    def position(self, place: Place) -> tuple[int, int]:
        """Return line and column (from 1) of a key or item, or of its closest known parent."""
        while place and place not in self.positions:
            place = place[:-1]
        return self.positions.get(place, (1, 1))

    def fault(self, place: Place, what: str, remedy: str = "") -> Fault:
        """Make an error at a path of this document."""
        line, column = self.position(place)
        return Fault(self.file, line, column, what, remedy)


def read_bounded(path: Path, folder: Path | None = None) -> str:
    """Read a regular file of UTF-8 text that is not too large, and is in `folder` after all links are followed.

    Raises: ConfigError with one error.
    """
    try:
        return read_regular(path, MAX_BYTES, folder).decode("utf-8-sig")
    except UnsuitableFile as exc:
        raise ConfigError(Fault(str(path), 0, 0, f"the file is {exc.strerror}", exc.remedy)) from exc
    except OSError as exc:
        remedy = "check the path, and that the user of actionwatch may read it"
        raise ConfigError(Fault(str(path), 0, 0, f"cannot read the file: {exc.strerror}", remedy)) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(Fault(str(path), 0, 0, "the file is not UTF-8 text", "save it as UTF-8")) from exc


def read_file(path: Path, folder: Path | None = None) -> list[Document]:
    """Read the documents of a YAML file, except empty ones. `folder` is as for `read_bounded`.

    Raises: ConfigError with one error, if the file cannot be read or is not valid YAML.
    """
    return read_text(read_bounded(path, folder), str(path))


def read_text(text: str, file: str) -> list[Document]:
    """Parse the documents in the content of `file`.

    Raises: ConfigError with one error.
    """
    try:
        roots = _compose(text, file)
    except yaml.MarkedYAMLError as exc:
        what = " ".join(filter(None, (exc.context, exc.problem))) or "broken YAML"
        # The parser notices a missing colon only at the next line.
        at = _at(exc.context_mark if exc.problem == _NO_COLON else exc.problem_mark or exc.context_mark)
        raise ConfigError(Fault(file, *at, f"not YAML: {what}", _remedy(what))) from exc
    except (yaml.YAMLError, UnicodeEncodeError) as exc:  # characters that YAML does not allow
        what = (str(exc) or type(exc).__name__).splitlines()[0]
        raise ConfigError(Fault(file, 1, 1, f"not YAML: {what}")) from exc
    documents = (_Builder(file).document(root) for root in roots)
    return [document for document in documents if document.value is not None]


def _remedy(what: str) -> str:
    return next((remedy for part, remedy in _REMEDIES.items() if part in what), "")


@dataclass(slots=True)
class _Node:
    """A value as written: a text, the items of a list, or alternating keys and values of a mapping."""

    kind: type[Any]
    at: tuple[int, int]
    tag: str | None = None
    """The type of a text; None if its content determines the type, as without quotes."""
    text: str = ""
    items: list[_Node] = field(default_factory=list)
    size: int = 0
    """The number of its values, including itself and with aliases expanded; 0 until it is complete."""
    depth: int = 0
    """The depth of nested values."""


_KINDS: dict[type[yaml.Event], type[Any]] = {
    yaml.ScalarEvent: str,
    yaml.SequenceStartEvent: list,
    yaml.MappingStartEvent: dict,
}
_TAGS: dict[type[Any], tuple[str, ...]] = {
    str: ("!", "str", "int", "float", "bool", "null"),
    list: ("!", "seq"),
    dict: ("!", "map"),
}


def _compose(text: str, file: str) -> list[_Node]:
    """Build the nodes of each document, and refuse a document that exceeds the limits."""
    roots: list[_Node] = []
    anchors: dict[str | None, _Node] = {}
    path: list[tuple[_Node, int]] = []
    count = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.NodeEvent):
            node = _node(event, anchors, file)
            (path[-1][0].items if path else roots).append(node)
            if isinstance(event, yaml.CollectionStartEvent):
                path.append((node, count))
            count += node.size or 1
            if count > MAX_NODES:
                raise _refusal(event, file, f"more than {MAX_NODES} values", "split the file")
            if len(path) + node.depth > _MAX_DEPTH:
                raise _refusal(event, file, f"nested deeper than {_MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            node, before = path.pop()
            node.size = count - before
            node.depth = 1 + max((item.depth for item in node.items), default=0)
        elif isinstance(event, yaml.DocumentStartEvent):
            anchors.clear()
            if event.version and tuple(event.version) < (1, 2):
                raise _refusal(event, file, "YAML 1.1 is not supported: its yes and no are not text", "remove %YAML")
    return roots


def _node(event: yaml.NodeEvent, anchors: dict[str | None, _Node], file: str) -> _Node:
    """Make the node of an event, or find the node of an alias."""
    if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
        known = anchors.get(event.anchor)
        if known is None or not known.size:
            raise _refusal(event, file, f"the alias *{event.anchor} has no anchor before it")
        return known
    node = _Node(_KINDS[type(event)], _at(event.start_mark))
    tag = event.tag and event.tag.removeprefix("tag:yaml.org,2002:")
    if tag and tag not in _TAGS[node.kind]:
        raise _refusal(event, file, f"the tag {event.tag} is not allowed", "write the plain value")
    if isinstance(event, yaml.ScalarEvent):
        node.text, node.size = sys.intern(event.value), 1  # rules share most words
        node.tag = None if event.implicit[0] or tag == "!" else tag or "str"
    if event.anchor:
        anchors[event.anchor] = node  # YAML 1.2 allows to redefine an anchor
    return node


def _refusal(event: yaml.Event, file: str, what: str, remedy: str = "") -> ConfigError:
    return ConfigError(Fault(file, *_at(event.start_mark), what, remedy))


def _at(mark: Any) -> tuple[int, int]:
    """Return line and column, counted from 1."""
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


@dataclass(frozen=True, slots=True)
class _Builder:
    """Converts the nodes of one document into plain values, and notes the positions of keys and items."""

    file: str
    positions: dict[Place, tuple[int, int]] = field(default_factory=dict)

    def document(self, root: _Node) -> Document:
        """Build a document."""
        if root.kind is not str:
            self.positions[()] = root.at
        return Document(self.file, self._value(root, ()), self.positions)

    def _value(self, node: _Node, place: Place) -> Any:
        if node.kind is dict:
            return self._mapping(node, place)
        if node.kind is list:
            self.positions.update(((*place, index), item.at) for index, item in enumerate(node.items))
            return [self._value(item, (*place, index)) for index, item in enumerate(node.items)]
        return self._scalar(node, self.positions.get(place, (1, 1)))

    def _mapping(self, node: _Node, place: Place) -> dict[str | int | float | bool, Any]:
        mapping: dict[str | int | float | bool, Any] = {}
        sources: list[_Node] = []
        for key_node, value_node in zip(node.items[::2], node.items[1::2], strict=True):
            if key_node.text == "<<" and key_node.tag is None:
                if sources:
                    raise self._duplicate(key_node, "merge key", "<<")
                sources = self._sources(value_node)
                continue
            key = self._key(key_node)
            where = (*place, str(key))
            self.positions[where] = key_node.at
            value = self._value(value_node, where)
            if key in mapping:
                raise self._duplicate(key_node, "key", key)
            mapping[key] = value
        for source in sources:
            self._merge(source, place, mapping)
        return mapping

    def _key(self, node: _Node) -> str | int | float | bool:
        key = self._scalar(node, node.at) if node.kind is str else None
        if key is None:
            raise self._fault(node.at, "a key must be a plain word", "quote it")
        return key

    def _sources(self, node: _Node) -> list[_Node]:
        """Return the mappings that `<<` merges."""
        sources = node.items if node.kind is list else [node]
        for source in sources:
            if source.kind is not dict:
                raise self._fault(source.at, "not YAML: << takes a mapping or a list of mappings")
        return sources

    def _merge(self, source: _Node, place: Place, mapping: dict[str | int | float | bool, Any]) -> None:
        """Add the other keys of a mapping. Their position is that of the merge; nested values keep theirs."""
        other = _Builder(self.file)
        merged = {key: value for key, value in other._mapping(source, place).items() if key not in mapping}
        mapping |= merged
        names, depth = set(map(str, merged)), len(place)
        below = {where: at for where, at in other.positions.items() if len(where) > depth + 1 and where[depth] in names}
        self.positions.update(below)

    def _scalar(self, node: _Node, at: tuple[int, int]) -> str | int | float | bool | None:
        """Convert a text to its type."""
        if node.tag == "str":
            return node.text
        try:
            value = _resolve(node.text)
            if node.tag is not None:
                value = _as_tagged(value, node.tag)
        except (ValueError, OverflowError) as exc:
            raise self._fault(at, f"not YAML: {exc}") from exc
        if isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
            raise self._fault(at, "the number is too large", "quote it")
        return value

    def _duplicate(self, node: _Node, what: str, key: object) -> ConfigError:
        message = f'not YAML: while constructing a mapping found duplicate {what} "{key}"'
        return self._fault(node.at, message, "remove one of the two")

    def _fault(self, at: tuple[int, int], what: str, remedy: str = "") -> ConfigError:
        return ConfigError(Fault(self.file, *at, what, remedy))


_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}
_INTEGER = re.compile(r"(?!_)[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9_]+)")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9_]+(?:[eE][-+][0-9]+)?)")
_BASES = {"0b": 2, "0o": 8, "0x": 16}
_TYPES = {"int": int, "float": float, "bool": bool, "null": NoneType}


def _resolve(text: str) -> str | int | float | bool | None:
    """Convert a text without quotes by YAML 1.2.

    Raises: ValueError or OverflowError, if it looks like a number but is not valid.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        digits = text.replace("_", "").lstrip("+-")
        base = _BASES.get(digits[:2], 10)
        number = int(digits if base == 10 else digits[2:], base)
        return -number if text[0] == "-" else number
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text


def _as_tagged(value: object, tag: str) -> Any:
    """Convert a value to the type of its tag. Raises: ValueError."""
    if tag == "float" and type(value) is int:
        return float(value)
    if type(value) is not _TYPES[tag]:
        raise ValueError(f"this is no {tag}")
    return value
