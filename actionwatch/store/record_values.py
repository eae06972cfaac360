"""The distinct users, clusters, accounts and kinds of the records: few, so that a part of a name is looked up in them.

A cluster or an account is a name with an id; one that was renamed is several values. The transaction that stores records adds
their values. Retention deletes those that no block of records has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, tuple_

from actionwatch.base.ids import stable_id
from actionwatch.base.model import RecordFilter
from actionwatch.base.search_words import caseless, words_of
from actionwatch.base.unicode import forms
from actionwatch.store.statements import bulk_find, bulk_insert, has_prefix, portions
from actionwatch.store.tables import RECORD, RECORD_VALUE

MOST_BITS = 65_536  # of a block, so 8 KB: with more values, some share a bit, and a search reads blocks in vain
LEAST_KEY_CHARS = (
    16  # of the beginning of a record's key, which is its time: a shorter one is a word that names contain
)
_KEY_CHARS = 200  # of a value: PostgreSQL indexes no text of several KB
_V = RECORD_VALUE.c
_COLUMNS: Mapping[str, tuple[str, str | None]] = {
    "user": ("user_name", None),
    "cluster": ("cluster_name", "cluster_id"),
    "account": ("account_name", "account_id"),
    "kind": ("action_kind", None),
}
COLUMNS = tuple(name for names in _COLUMNS.values() for name in names if name)
"""The columns of a record that have values."""
_Value = tuple[str, str | None, str | None]
"""The field, the name and the id of a value."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A condition for records: one of these values, as bits, or a key with this beginning."""

    bits: int
    key: str | None = None


class StoredValues:
    """The values of records, given by column, as bits. They are in the store."""

    def __init__(self, connection: Connection, columns: Mapping[str, Sequence[Any]]) -> None:
        nothing = [None] * len(columns["record_key"])
        self._fields = [
            (field, list(zip(columns[name], columns[entity_id] if entity_id else nothing, strict=True)))
            for field, (name, entity_id) in _COLUMNS.items()
        ]
        distinct = {field: {pair for pair in set(pairs) if any(pair)} for field, pairs in self._fields}
        self._ids = _ids_of(connection, [(field, *pair) for field, pairs in distinct.items() for pair in pairs])

    def bits(self, start: int, end: int) -> int:
        """Return the bits of the records from one number to another."""
        values = ((field, *pair) for field, pairs in self._fields for pair in set(pairs[start:end]))
        return bits_of(self._ids[value] for value in values if value in self._ids)


def bits_of(ids: Iterable[int]) -> int:
    """Return the values with these ids as bits."""
    places = [number % MOST_BITS for number in ids]
    packed = bytearray((max(places, default=0) >> 3) + 1)
    for place in places:
        packed[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(packed, "little")


def _ids_of(connection: Connection, values: Sequence[_Value]) -> dict[_Value, int]:
    """Return the ids of values, and add those that are new."""
    keys = list(map(_key_of, values))
    ids = _read_ids(connection, keys)
    new = {key: value for key, value in zip(keys, values, strict=True) if key not in ids}
    if new:
        fields, names, entity_ids = zip(
            *((field, name or "", its or "") for field, name, its in new.values()), strict=True
        )
        columns = {
            "value_key": list(new),
            "field": fields,
            "name": names,
            "entity_id": entity_ids,
            "searched": [caseless(f"{name}\n{entity_id}") for name, entity_id in zip(names, entity_ids, strict=True)],
        }
        bulk_insert(connection, RECORD_VALUE, columns)
        ids |= _read_ids(connection, list(new))
    return {value: ids[key] for key, value in zip(keys, values, strict=True)}


def _key_of(value: _Value) -> str:
    field, name, entity_id = value
    text = f"{field} {len(name or '')} {name or ''} {entity_id or ''}"
    return text if len(text) <= _KEY_CHARS else stable_id(text)


def _read_ids(connection: Connection, keys: Sequence[str]) -> dict[str, int]:
    rows = bulk_find(connection, RECORD_VALUE, ("value_key", "id"), ("value_key",), [(key,) for key in keys])
    return {row[0]: row[1] for row in rows}


def wanted_of(connection: Connection, wanted: RecordFilter) -> list[Wanted]:
    """Return what the filter wants of the values of each record; empty: any. Descriptions have no part in it."""
    given = [_is_named(name, getattr(wanted, name)) for name in ("user", "cluster", "account") if getattr(wanted, name)]
    if wanted.kinds:
        given.append(and_(_V.field == "kind", _V.name.in_(wanted.kinds)))
    words = words_of(wanted.text)
    return [
        *(Wanted(_read_bits(connection, each)) for each in given),
        *(Wanted(_read_bits(connection, _has_word(each)), each if _is_key(each) else None) for each in words),
    ]


def _is_named(field: str, text: str) -> ColumnElement[bool]:
    """Return the condition for the values that `is_named` finds in records."""
    return and_(_V.field == field, is_named(field, text, _V.name, _V.entity_id))


def is_named(field: str, text: str, name: ColumnElement[Any], entity_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition for a user with a name, in whatever case, or for an entity with a name or an id."""
    if field == "user":  # `lower` of the store knows only ASCII
        return func.lower(name).in_(map(_ascii_lower, forms(text)))
    return or_(entity_id == text, name.in_(forms(text)))


def _ascii_lower(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _read_bits(connection: Connection, condition: ColumnElement[bool]) -> int:
    return bits_of(connection.execute(select(_V.id).where(condition)).scalars())


def _has_word(word: str) -> ColumnElement[bool]:
    return _V.searched.contains(caseless(word), autoescape=True)


def _is_key(word: str) -> bool:
    return len(word) >= LEAST_KEY_CHARS


def has_value_with(word: str) -> ColumnElement[bool]:
    """Return the condition for records with a word in a value, or with a key that begins with it."""
    found = [has_prefix(RECORD.c.record_key, word)] if _is_key(word) else []
    for field, (name, entity_id) in _COLUMNS.items():
        columns = [(RECORD.c[name], _V.name), *([(RECORD.c[entity_id], _V.entity_id)] if entity_id else [])]
        values = select(*(column for _, column in columns)).where(_V.field == field, _has_word(word))
        found.append(tuple_(*(func.coalesce(column, "") for column, _ in columns)).in_(values))
    return or_(*found)


def delete_unused(connection: Connection, used: int) -> None:
    """Delete the values whose bits are not among those that are used."""
    packed = used.to_bytes(MOST_BITS // 8, "little")
    ids = connection.execute(select(_V.id)).scalars().all()
    places = ((number, number % MOST_BITS) for number in ids)
    for some in portions([number for number, place in places if not packed[place >> 3] >> (place & 7) & 1]):
        connection.execute(RECORD_VALUE.delete().where(_V.id.in_(some)))
