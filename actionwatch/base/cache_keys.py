"""Which values of records a cache may keep. Real values are short and repeat; others must not fill the memory."""

from __future__ import annotations

from typing import Any

from actionwatch.base.model import Entity

MAX_KEY_CHARS = 500  # of all texts in a key; a name of the vendor has about 20


def is_short(key: Any) -> bool:
    """Return whether a cache may keep a key: a text, an entity, nothing, or a tuple of these."""
    return _chars(key) <= MAX_KEY_CHARS


def _chars(key: Any) -> int:
    match key:
        case str():
            return len(key)
        case Entity(id=name, name=other):
            return _chars(name) + _chars(other)
        case tuple():
            return sum(map(_chars, key))
    return 0
