"""Take JSON apart without decoding all of it: the fast way, and the patient way for what the fast decoder refuses.

msgspec refuses lone surrogates (`"\\ud800"`), NaN, raw control characters and numbers out of range, and with them the whole
page, for ever. A page that it refuses is taken apart by the standard library, which takes all of these; such a page costs ten
times as much, and never blocks the tail. Both ways give the same values where both can read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

Piece = TypeVar("Piece")
"""A piece of JSON, not decoded: `msgspec.Raw` or `str`."""

REFUSALS = (msgspec.DecodeError, ValueError, RecursionError)
"""What msgspec raises where it cannot read."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # UTF-8 has no lone surrogates, PostgreSQL's text no NUL
_SPACE = re.compile(r"[ \t\n\r]*")


class JsonParts(Protocol[Piece]):
    """One way of taking JSON apart. Each method raises what `REFUSALS` names, or ValueError."""

    def members(self, piece: Piece) -> Mapping[str, Piece]:
        """Return the members of an object, not decoded."""
        ...

    def items(self, piece: Piece) -> Sequence[Piece]:
        """Return the items of an array, not decoded."""
        ...

    def value(self, piece: Piece) -> Any:
        """Decode a piece. Texts in it can be stored anywhere: lone surrogates and NULs are replaced."""
        ...

    def objects(self, pieces: Sequence[Piece]) -> Sequence[Mapping[str, Any]]:
        """Decode pieces that are nothing but objects."""
        ...

    def beginning(self, piece: Piece) -> str:
        """Return the first characters of a piece: by the first of all one tells what it is."""
        ...

    def texts(self, pieces: Sequence[Piece]) -> Sequence[str]:
        """Return pieces to the letter."""
        ...


class FastJsonParts:
    """msgspec's way."""

    def __init__(self, body: bytes) -> None:
        self._has_nul = rb"\u0000" in body

    def members(self, piece: msgspec.Raw) -> Mapping[str, msgspec.Raw]:
        return _decode_members(piece)

    def items(self, piece: msgspec.Raw) -> Sequence[msgspec.Raw]:
        return _decode_items(piece)

    def value(self, piece: msgspec.Raw) -> Any:
        value = _decode_value(piece)
        return storable(value) if self._has_nul else value

    def objects(self, pieces: Sequence[msgspec.Raw]) -> Sequence[Mapping[str, Any]]:
        objects = [_decode_value(piece) for piece in pieces]  # a decoder for `dict[str, Any]` takes half as long again
        if not all(fields.__class__ is dict for fields in objects):
            raise ValueError("not all are objects")
        return [storable(fields) for fields in objects] if self._has_nul else objects

    def beginning(self, piece: msgspec.Raw) -> str:
        return str(memoryview(piece)[:60], "utf-8", "replace")

    def texts(self, pieces: Sequence[msgspec.Raw]) -> Sequence[str]:
        return [str(piece, "utf-8") for piece in pieces]


class LenientJsonParts:
    """The standard library's way, which takes what other writers of JSON get wrong."""

    def members(self, piece: str) -> Mapping[str, str]:
        return {key: piece[start:end] for key, start, end in _walk(piece, "{", "}")}

    def items(self, piece: str) -> Sequence[str]:
        return [piece[start:end] for _, start, end in _walk(piece, "[", "]")]

    def value(self, piece: str) -> Any:
        return storable(_DECODER.decode(piece))

    def objects(self, pieces: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        objects: Sequence[Mapping[str, Any]] = [self.value(piece) for piece in pieces]
        if not all(isinstance(fields, dict) for fields in objects):
            raise ValueError("not all are objects")
        return objects

    def beginning(self, piece: str) -> str:
        return piece[:60]

    def texts(self, pieces: Sequence[str]) -> Sequence[str]:
        """Return pieces to the letter; what no strict reader could read again is spelt again."""
        return [piece if _is_strict(piece) else json.dumps(_DECODER.decode(piece)) for piece in pieces]


def storable(value: Any) -> Any:
    """Replace what neither UTF-8 nor PostgreSQL can hold by U+FFFD, in every text of a decoded value."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {storable(key): storable(held) for key, held in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value


def _is_strict(piece: str) -> bool:
    try:
        json.loads(piece)
    except ValueError:
        return False
    return True


def _whole_number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:  # more digits than Python converts
        return float(text)


_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_value = msgspec.json.Decoder().decode
_DECODER = json.JSONDecoder(strict=False, parse_int=_whole_number)


def _walk(text: str, opening: str, closing: str) -> list[tuple[str, int, int]]:
    """Find where each item of an array, or each member's value of an object (with its key), begins and ends.

    Raises: ValueError, where the text is not one whole array or object.
    """
    found: list[tuple[str, int, int]] = []
    at = _expect(text, 0, opening)
    if text[at : at + 1] == closing:
        return _ended(text, at + 1, found)
    while True:
        key = ""
        if opening == "{":
            key, at = _DECODER.raw_decode(text, at)
            if not isinstance(key, str):
                raise ValueError(f"no key at character {at}")
            at = _expect(text, at, ":")
        _, end = _DECODER.raw_decode(text, at)
        found.append((key, at, end))
        at = _skip(text, end)
        if text[at : at + 1] == closing:
            return _ended(text, at + 1, found)
        at = _expect(text, at, ",")


def _ended(text: str, at: int, found: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    if _skip(text, at) != len(text):
        raise ValueError(f"something follows at character {at}")
    return found


def _expect(text: str, at: int, sign: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != sign:
        raise ValueError(f"no {sign!r} at character {at}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
