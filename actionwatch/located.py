"""YAML whose every value knows its line and column: rules and settings are read through here and nowhere else.

Two passes. PyYAML's C event stream bounds what the text may cost (size, depth, nodes with aliases expanded, tags) in
milliseconds; only then ruamel.yaml, which takes seconds for a hostile text, builds the values as YAML 1.2 with positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from actionwatch.errors import ConfigError, Fault

MAX_BYTES = 1024 * 1024  # a rule is about 1 KB; ruamel needs 3 s for 11 MB
MAX_DEPTH = 60  # the deepest sensible document has about ten levels
MAX_NODES = 100_000  # aliases counted as often as they are used: the "billion laughs" has billions
MAX_INTEGER_BITS = 64  # Python raises ValueError wherever an integer of over 4,300 digits is printed
ALLOWED_TAGS = frozenset({"!", "str", "int", "float", "bool", "null", "map", "seq"})

_STRAY = (ValueError, ArithmeticError, LookupError, RecursionError, AttributeError, TypeError, AssertionError)
"""What ruamel's constructors let through on impossible scalars, such as `!!bool x` or the number `0x_`."""

Place = tuple[str | int, ...]
"""A path within a document: keys and list indices."""


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: plain dicts, lists and scalars, and where each of them stands. Dates are kept as ISO text."""

    file: str
    value: Any
    positions: Mapping[Place, tuple[int, int]] = field(default_factory=dict)

    def position(self, place: Place) -> tuple[int, int]:
        """Give line and column (from 1) of a key or item, or of its nearest known parent."""
        while place and place not in self.positions:
            place = place[:-1]
        return self.positions.get(place, (1, 1))

    def fault(self, place: Place, what: str, remedy: str = "") -> Fault:
        """Make the fault that points at a place of this document."""
        line, column = self.position(place)
        return Fault(self.file, line, column, what, remedy)


def read_file(path: Path) -> list[Document]:
    """Read the documents of a YAML file; empty documents are left out.

    Raises: ConfigError with one fault: the file cannot be read, or is not acceptable YAML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigError(Fault(str(path), 0, 0, f"cannot read the file: {exc.strerror}")) from exc
    return read_text(data, str(path))


def read_text(data: bytes | str, file: str) -> list[Document]:
    """Read the documents of a YAML text that stands in `file`.

    Raises: ConfigError with one fault.
    """
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    except UnicodeDecodeError as exc:
        raise ConfigError(Fault(file, 0, 0, "the file is not UTF-8 text", "save it as UTF-8")) from exc
    if len(text) > MAX_BYTES:
        raise ConfigError(Fault(file, 0, 0, f"the file is larger than {MAX_BYTES} bytes", "split it"))
    try:
        _bound(text, file)
        return [_locate(node, file) for node in _reader().load_all(text) if node is not None]
    except (MarkedYAMLError, yaml.MarkedYAMLError) as exc:
        mark = exc.problem_mark or exc.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = _without_values(" ".join(filter(None, (exc.context, exc.problem))) or "broken YAML")
        raise ConfigError(Fault(file, line, column, f"not YAML: {what}", _remedy(what))) from exc
    except (YAMLError, yaml.YAMLError, *_STRAY) as exc:
        what = (str(exc) or type(exc).__name__).splitlines()[0]
        raise ConfigError(Fault(file, 1, 1, f"not YAML: {what}")) from exc


def _reader() -> YAML:
    reader = YAML(typ="rt")
    reader.composer.warn_double_anchors = False  # YAML 1.2 lets an anchor be used again: the latest counts
    return reader


def _without_values(what: str) -> str:
    """Cut ruamel's text about a duplicate key before it quotes both values, which may be secrets."""
    return what.partition(" with value ")[0] if "duplicate key" in what else what


def _bound(text: str, file: str) -> None:
    """Refuse a text that is costly to build, before building it."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.DocumentStartEvent):
            sizes.clear()
            if event.version and tuple(event.version) < (1, 2):
                raise _refusal(event, file, "YAML 1.1 is not read here: its yes and no are not text", "remove %YAML")
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise _refusal(event, file, f"the alias *{event.anchor} has no anchor before it")
            count += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            tag = getattr(event, "tag", None)
            if tag is not None and tag.removeprefix("tag:yaml.org,2002:") not in ALLOWED_TAGS:
                raise _refusal(event, file, f"the tag {tag} is not allowed", "write the plain value")
            count += 1
            if isinstance(event, yaml.ScalarEvent):
                if event.anchor:
                    sizes[event.anchor] = 1
            else:
                open_nodes.append((event.anchor, count - 1))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = count - before
        if count > MAX_NODES:
            raise _refusal(event, file, f"more than {MAX_NODES} values", "split the file")
        if len(open_nodes) > MAX_DEPTH:
            raise _refusal(event, file, f"nested deeper than {MAX_DEPTH} levels")


def _refusal(event: yaml.Event, file: str, what: str, remedy: str = "") -> ConfigError:
    mark = event.start_mark
    return ConfigError(Fault(file, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, what, remedy))


def _locate(node: Any, file: str) -> Document:
    positions: dict[Place, tuple[int, int]] = {}
    if isinstance(node, CommentedMap | CommentedSeq):
        positions[()] = (node.lc.line + 1, node.lc.col + 1)
    value = _plain(node, (), positions, file)
    return Document(file, value, positions)


def _plain(node: Any, place: Place, positions: dict[Place, tuple[int, int]], file: str) -> Any:
    """Turn ruamel's types into plain ones, noting where each key and item stood."""
    if isinstance(node, CommentedMap):
        mapping: dict[Any, Any] = {}
        for key, value in node.items():
            where = (*place, str(key))
            if key in (node.lc.data or {}):
                line, column = node.lc.key(key)
                positions[where] = (line + 1, column + 1)
            mapping[_key(key, place, positions, file)] = _plain(value, where, positions, file)
        return mapping
    if isinstance(node, CommentedSeq):
        items: list[Any] = []
        for index, value in enumerate(node):
            line, column = node.lc.item(index)
            positions[(*place, index)] = (line + 1, column + 1)
            items.append(_plain(value, (*place, index), positions, file))
        return items
    if isinstance(node, int) and node.bit_length() > MAX_INTEGER_BITS:
        raise ConfigError(Fault(file, *positions.get(place, (1, 1)), "the number is too large", "quote it"))
    return _scalar(node)


def _key(key: Any, place: Place, positions: Mapping[Place, tuple[int, int]], file: str) -> str | int | float | bool:
    if isinstance(key, str | int | float | bool):
        plain: str | int | float | bool = _scalar(key)
        return plain
    line, column = positions.get((*place, str(key)), (1, 1))
    raise ConfigError(Fault(file, line, column, "a key must be a plain word", "quote it"))


def _scalar(node: Any) -> Any:
    """Strip ruamel's subclasses, which other libraries trip over."""
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, datetime | date):
        return node.isoformat()
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return str(node)


def _remedy(what: str) -> str:
    if "duplicate key" in what:
        return "remove one of the two"
    if "tab" in what or "\\t" in what:
        return "indent with spaces"
    if "mapping values are not allowed" in what:
        return "quote a value that holds ': '"
    return ""
