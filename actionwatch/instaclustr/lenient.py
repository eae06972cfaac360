"""Split JSON into parts without decoding all of it: with msgspec, or with a lenient parser if msgspec refuses.

msgspec refuses a whole page for lone surrogates (`"\\ud800"`), NaN, raw control characters and numbers out of range. Such a
page would block the tail forever. The parser of the standard library accepts all of these, at ten times the cost. Both return
the same values for what both accept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from actionwatch.base.unicode import storable

Piece = Any
"""A piece of undecoded JSON: `msgspec.Raw` of `FastJsonParts`, `str` of `LenientJsonParts`."""

REFUSALS = (msgspec.DecodeError, ValueError, RecursionError)
"""What the methods of both raise for JSON that they refuse."""

MAX_DEPTH = 100  # of the values in a record: one that is nested deeper must stop neither other values nor a later step

_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SIGN = re.compile(r"[ \t\n\r]*([\[\]{}:,])[ \t\n\r]*")


class FastJsonParts:
    """Splits with msgspec. Decoded texts have no lone surrogates and NULs, so that every store accepts them."""

    def __init__(self, body: bytes) -> None:
        self._has_nul = rb"\u0000" in body
        self._nested_count = body.count(b"{") + body.count(b"[")

    def members(self, piece: msgspec.Raw) -> Mapping[str, msgspec.Raw]:
        """Return the undecoded members of an object."""
        return _decode_members(piece)

    def items(self, piece: msgspec.Raw) -> Sequence[msgspec.Raw]:
        """Return the undecoded items of an array."""
        return _decode_items(piece)

    def value(self, piece: msgspec.Raw) -> Any:
        value = _decode_value(piece)
        return storable(value) if self._has_nul else value

    def objects(self, pieces: Sequence[msgspec.Raw]) -> Sequence[Mapping[str, Any]]:
        """Decode pieces, all of which must be objects."""
        objects = [_decode_value(piece) for piece in pieces]  # a decoder for `dict[str, Any]` takes 50 % longer
        if not all(fields.__class__ is dict for fields in objects):
            raise ValueError("not all are objects")
        return [storable(fields) for fields in objects] if self._has_nul else objects

    def beginning(self, piece: msgspec.Raw) -> str:
        """Return the first characters of a piece; the first one shows its type."""
        return str(memoryview(piece)[:60], "utf-8", "replace")

    def texts(self, pieces: Sequence[msgspec.Raw]) -> Sequence[str]:
        """Return the exact texts of pieces."""
        return [str(piece, "utf-8") for piece in pieces]

    def flattened(self, pieces: Sequence[msgspec.Raw]) -> Sequence[msgspec.Raw]:
        """Flatten those of the objects that are nested too deep for the steps that follow."""
        if self._nested_count < MAX_DEPTH + len(pieces):  # each counts itself
            return pieces
        bodies = [bytes(piece) for piece in pieces]
        if all(body.count(b"{") + body.count(b"[") <= MAX_DEPTH for body in bodies):
            return pieces
        return [msgspec.Raw(_flatten(body.decode())) for body in bodies]


class LenientJsonParts:
    """Splits in the same way with the standard library, which accepts invalid JSON of other encoders."""

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


JsonParts = FastJsonParts | LenientJsonParts


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
    at = _expect(text, 0, opening)[1]
    sign, at = _expect(text, at, closing) if text.startswith(closing, at) else (",", at)
    while sign == ",":
        key = ""
        if opening == "{":
            key, at = _DECODER.raw_decode(text, at)
            if not isinstance(key, str):
                raise ValueError(f"no key at character {at}")
            at = _expect(text, at, ":")[1]
        end = _end_of_value(text, at)
        found.append((key, at, end))
        sign, at = _expect(text, end, "," + closing)
    if at != len(text):
        raise ValueError(f"unexpected text at character {at}")
    return found


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


def _expect(text: str, at: int, signs: str) -> tuple[str, int]:
    """Read one of these signs, and the blanks around it. Return the sign and the place after them."""
    match = _SIGN.match(text, at)
    if match is None or match[1] not in signs:
        raise ValueError(f"no {signs!r} at character {at}")
    return match[1], match.end()
