"""Decode the raw text of a record, and cut a record that is too large to be kept or sent whole. Pure."""

from __future__ import annotations

import json
import math
from typing import Any

from msgspec import structs

from actionwatch.base.model import Entity, Record
from actionwatch.text.escaping import shorten

CUT_FIELD = "actionwatch_cut"
"""The field that a cut raw text has in addition: it says how large the record was."""
_CUT_NAME = f'"{CUT_FIELD}"'

_MAX_NAME_CHARS = 256  # of a name, an id or a kind in a record that is cut; the longest address of a mailbox has 254
_ESCAPE_CHARS = 6  # JSON writes one character as up to six
_PUNCTUATION_CHARS = len('"": , ')


def read_raw(text: str) -> Any:
    """Decode the object of the upstream. A number that Python or JSON cannot represent becomes its text.

    Text that is not JSON, in a store that was damaged or changed by hand, is returned unchanged.
    """
    try:
        return _RAW.decode(text)
    except (ValueError, RecursionError):
        return text


def cut_record(record: Record, limit: int) -> Record:
    """Return a record whose raw text has at most `limit` characters, and whose other texts are not much longer together.

    A record with a shorter raw text is returned as it is. Otherwise texts that are too long are cut, and say how much; other
    values that are too long become such texts; and `actionwatch_cut` is added to the raw text. `limit` is at least 1,000.
    """
    if len(record.raw) <= limit:
        return record
    description = record.description
    return structs.replace(
        record,
        raw=_cut_raw(record.raw, limit),
        action_kind=shorten(record.action_kind, _MAX_NAME_CHARS),
        domain_type=_cut_name(record.domain_type),
        user_name=_cut_name(record.user_name),
        description=None if description is None else shorten(description, limit // 4),
        account=_cut_entity(record.account),
        cluster=_cut_entity(record.cluster),
        organisation=_cut_entity(record.organisation),
        upstream_id=_cut_name(record.upstream_id),
    )


def is_cut(record: Record) -> bool:
    """Return whether `cut_record` has cut a record."""
    return _CUT_NAME in record.raw


def _cut_name(name: str | None) -> str | None:
    return None if name is None else shorten(name, _MAX_NAME_CHARS)


def _cut_entity(entity: Entity) -> Entity:
    return Entity(_cut_name(entity.id), _cut_name(entity.name))


def _cut_raw(raw: str, limit: int) -> str:
    decoded = read_raw(raw)
    fields = decoded if isinstance(decoded, dict) else {}
    note = fields.get(CUT_FIELD, f"the record has {len(raw):,} characters; texts that are too long are cut")
    kept = {CUT_FIELD: note if isinstance(note, str) and len(note) < _MAX_NAME_CHARS else ""}
    left = limit - len(_encode(kept))
    for name, value in fields.items():
        text = _encode(value)
        if len(text) > limit // 8:  # so that one field does not push out the others
            value = shorten(value if isinstance(value, str) else text, limit // 8 // _ESCAPE_CHARS)
            text = _encode(value)
        size = len(_encode(name)) + len(text) + _PUNCTUATION_CHARS
        if name != CUT_FIELD and size <= left:
            kept[name] = value
            left -= size
    return _encode(kept)


def _encode(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _whole(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # more digits than Python converts
        return digits


def _finite(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


_RAW = json.JSONDecoder(parse_int=_whole, parse_float=_finite, parse_constant=str)
