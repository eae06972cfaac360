"""Split JSON into parts without decoding all of it: with msgspec, or with a lenient parser if msgspec refuses.

msgspec refuses a whole page for lone surrogates (`"\\ud800"`), NaN, raw control characters and numbers out of range. Such a
page would block the tail forever. The parser of the standard library accepts all of these, at ten times the cost. Both return
the same values for what both accept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

Piece = TypeVar("Piece")
"""A piece of undecoded JSON: `msgspec.Raw` or `str`."""

REFUSALS = (msgspec.DecodeError, ValueError, RecursionError)
"""What msgspec raises for JSON that it refuses."""

MAX_DEPTH = 100  # of the values in a record: one that is nested deeper must not stop those beside it, nor a later step

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # UTF-8 has no lone surrogates, and text of PostgreSQL has no NUL
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*")


class JsonParts(Protocol[Piece]):
    """A way to split JSON. All methods raise `REFUSALS`."""

    def members(self, piece: Piece) -> Mapping[str, Piece]:
        """Return the undecoded members of an object."""
        ...

    def items(self, piece: Piece) -> Sequence[Piece]:
        """Return the undecoded items of an array."""
        ...

    def value(self, piece: Piece) -> Any:
        """Decode a piece, and replace lone surrogates and NULs, so that every store accepts the texts."""
        ...

    def objects(self, pieces: Sequence[Piece]) -> Sequence[Mapping[str, Any]]:
        """Decode pieces, all of which must be objects."""
        ...

    def beginning(self, piece: Piece) -> str:
        """Return the first characters of a piece; the first one shows its type."""
        ...

    def texts(self, pieces: Sequence[Piece]) -> Sequence[str]:
        """Return the exact texts of pieces."""
        ...

    def flattened(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Flatten those of the pieces that are nested too deep for the steps that follow."""
        ...


class FastJsonParts:
    """Splits with msgspec."""

    def __init__(self, body: bytes) -> None:
        self._has_nul = rb"\u0000" in body

    def members(self, piece: msgspec.Raw) -> Mapping[str, msgspec.Raw]:
        return _decode_members(piece)

    def items(self, piece: msgspec.Raw) -> Sequence[msgspec.Raw]:
        return _decode_items(piece)

    def value(self, piece: msgspec.Raw) -> Any:
        value = _decode_value(piece)
        return _storable(value) if self._has_nul else value

    def objects(self, pieces: Sequence[msgspec.Raw]) -> Sequence[Mapping[str, Any]]:
        objects = [_decode_value(piece) for piece in pieces]  # a decoder for `dict[str, Any]` takes 50 % longer
        if not all(fields.__class__ is dict for fields in objects):
            raise ValueError("not all are objects")
        return [_storable(fields) for fields in objects] if self._has_nul else objects

    def beginning(self, piece: msgspec.Raw) -> str:
        return str(memoryview(piece)[:60], "utf-8", "replace")

    def texts(self, pieces: Sequence[msgspec.Raw]) -> Sequence[str]:
        return [str(piece, "utf-8") for piece in pieces]

    def flattened(self, pieces: Sequence[msgspec.Raw]) -> Sequence[msgspec.Raw]:
        bodies = [bytes(piece) for piece in pieces]
        if all(body.count(b"{") + body.count(b"[") <= MAX_DEPTH for body in bodies):
            return pieces
        return [msgspec.Raw(_flatten(body.decode())) for body in bodies]


class LenientJsonParts:
    """Splits with the standard library, which accepts invalid JSON of other encoders."""

    def members(self, piece: str) -> Mapping[str, str]:
        return {key: piece[start:end] for key, start, end in _walk(piece, "{", "}")}

    def items(self, piece: str) -> Sequence[str]:
        return [piece[start:end] for _, start, end in _walk(piece, "[", "]")]

    def value(self, piece: str) -> Any:
        return _storable(_DECODER.decode(piece))

    def objects(self, pieces: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        objects: Sequence[Mapping[str, Any]] = [self.value(piece) for piece in pieces]
        if not all(isinstance(fields, dict) for fields in objects):
            raise ValueError("not all are objects")
        return objects

    def beginning(self, piece: str) -> str:
        return piece[:60]

    def texts(self, pieces: Sequence[str]) -> Sequence[str]:
        """Return the exact texts of pieces; encode a piece again if it is not valid JSON."""
        return [piece if _is_strict(piece) else json.dumps(_DECODER.decode(piece)) for piece in pieces]

    def flattened(self, pieces: Sequence[str]) -> Sequence[str]:
        return [_flatten(piece) for piece in pieces]


def _flatten(text: str) -> str:
    """Replace each value that is nested more than `MAX_DEPTH` levels deep by a JSON string that contains its text."""
    depth = kept_to = start = 0
    parts: list[str] = []
    for token in _STRUCTURE.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                start = token.start()
        elif token[0] in "]}":
            if depth == MAX_DEPTH + 1:
                parts += [text[kept_to:start], json.dumps(text[start : token.end()])]
                kept_to = token.end()
            depth -= 1
    return "".join([*parts, text[kept_to:]])


def _storable(value: Any) -> Any:
    """Replace what UTF-8 or PostgreSQL cannot represent by U+FFFD, in all texts of a decoded value."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_storable(key): _storable(held) for key, held in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
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
    """Find the start and end of each item of an array, or of each member of an object with its key.

    Raises: ValueError, if the text is not exactly one array or object.
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
        end = _end_of_value(text, at)
        found.append((key, at, end))
        at = _skip(text, end)
        if text[at : at + 1] == closing:
            return _ended(text, at + 1, found)
        at = _expect(text, at, ",")


def _end_of_value(text: str, at: int) -> int:
    try:
        return _DECODER.raw_decode(text, at)[1]
    except RecursionError:
        depth = 0
        for token in _STRUCTURE.finditer(text, at):
            depth += (token[0] in "[{") - (token[0] in "]}")
            if depth == 0:
                return token.end()
        raise ValueError(f"no end of the value at character {at}") from None


def _ended(text: str, at: int, found: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    if _skip(text, at) != len(text):
        raise ValueError(f"unexpected text at character {at}")
    return found


def _expect(text: str, at: int, sign: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != sign:
        raise ValueError(f"no {sign!r} at character {at}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
