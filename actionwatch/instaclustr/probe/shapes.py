"""Describe the shape of JSON: names and types, but never a value. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from actionwatch.base.ids import UUID

_MAX_NAMES = 40
_MAX_DEPTH = 3

_FIELD_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9_$.-]{0,60}", re.ASCII)
_DIGITS = re.compile(r"\d{4,}")  # as in ids and dates, but not in field names


def field_name(name: str) -> str:
    """Return the name of a field, unless it looks like data."""
    if _FIELD_NAME.fullmatch(name) and not _DIGITS.search(name) and not UUID.search(name):
        return name
    return "(a name that is not shown)"


_TYPE_WORDS = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "text", list: "list"}


def _type_word(value: Any) -> str:
    return _TYPE_WORDS.get(type(value), "object")


def shape(value: Any, depth: int = _MAX_DEPTH) -> str:
    """Describe the shape of a value: `{totalResults: number, resources: [{action: text}]}`."""
    if isinstance(value, Mapping):
        if depth == 0 or not value:
            return "{…}" if value else "{}"
        members = [f"{field_name(key)}: {shape(held, depth - 1)}" for key, held in list(value.items())[:_MAX_NAMES]]
        return "{" + ", ".join(members) + (", …" if len(value) > _MAX_NAMES else "") + "}"
    if isinstance(value, list):
        if not value:
            return "[]"
        items = dict.fromkeys(shape(item, depth - 1) if depth else _type_word(item) for item in value[:100])
        return "[" + " | ".join(list(items)[:4]) + "]"
    if isinstance(value, str):
        if not value.strip():
            return "blank text"
        return "UUID" if UUID.fullmatch(value.strip()) else "text"
    return _type_word(value)


def types(values: Iterable[Any]) -> str:
    """Describe the types of values, with the members of objects: `text or null`."""
    words: dict[str, None] = {}
    for value in values:
        words[shape(value, 1) if isinstance(value, Mapping) else _type_word(value)] = None
    return " or ".join(sorted(words, key=lambda word: (word == "null", word)))
