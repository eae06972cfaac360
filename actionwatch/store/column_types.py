"""Types of columns: times and durations as whole microseconds, small structures as JSON.

Whole microseconds sort and compare in the same way in every database.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Dialect, Integer, Table, Text, TypeDecorator, type_coerce
from sqlalchemy.types import TypeEngine

from actionwatch.base.clock import MICROSECOND, from_micros, to_micros
from actionwatch.base.errors import StoreError
from actionwatch.base.model import Escalation, Level


class Converted(TypeDecorator[Any]):
    """Values that are stored in another form. `store` and `restore` convert them; both accept None."""

    impl: Any = Text
    cache_ok = True

    def __init__(self, impl: TypeEngine[Any], store: Callable[[Any], Any], restore: Callable[[Any], Any]) -> None:
        super().__init__()
        self.impl = impl
        self.store = store
        self.restore = restore

    # These return the functions themselves. `process_…` methods, which SQLAlchemy wraps, double the cost of a value.

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return the conversion for statements."""
        return self.store

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return the conversion of results."""
        return functools.partial(_checked, self.restore)


# What conversions raise for a value that no version has stored.
DAMAGES = (ValueError, TypeError, OverflowError, LookupError, RecursionError)


def _checked(restore: Callable[[Any], Any], value: Any) -> Any:
    try:
        return restore(value)
    except DAMAGES as exc:
        raise damaged(exc) from exc


def damaged(exc: BaseException) -> StoreError:
    """Return our error for a stored value that cannot be read."""
    return StoreError(
        f"the store is damaged, or was changed by hand: a value cannot be read ({exc}): stop the service, then run "
        "'actionwatch store restore BACKUP --replace'"
    )


def _unless_none(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


@functools.lru_cache(maxsize=256)
def _texts(text: str | None) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text else ()


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def _escalation(micros: int, to: str) -> Escalation:
    return Escalation(timedelta(microseconds=micros), to)


Instant = Converted(BigInteger(), _unless_none(to_micros), _unless_none(from_micros))
"""An aware UTC datetime as integer microseconds since the epoch."""
Duration = Converted(
    BigInteger(),
    lambda span: None if span is None else span // MICROSECOND,
    lambda micros: None if micros is None else timedelta(microseconds=micros),
)
"""A timedelta as integer microseconds."""
Object = Converted(Text(), _unless_none(lambda value: json.dumps(dict(value))), _unless_none(_object))
"""A dict as a JSON object."""
Texts = Converted(Text(), json.dumps, _texts)
"""A tuple of texts as a JSON array."""
OptionalTexts = Converted(Text(), lambda texts: json.dumps(texts) if texts else None, _texts)
"""A tuple of texts as a JSON array; NULL if it is empty."""
EscalationText = Converted(
    Text(),
    _unless_none(lambda found: json.dumps([found.after // MICROSECOND, found.to])),
    _unless_none(lambda text: _escalation(*json.loads(text))),
)
"""An escalation as a JSON array: after how many microseconds, and to which receiver."""
LevelNumber = Converted(Integer(), int, Level)
"""A level as its number, by which levels are ordered."""


def word(words: type[StrEnum]) -> Converted:
    """Return the type of a member of `words`, stored as its text."""
    return Converted(Text(), str, words)


def as_stored(columns: Iterable[Column[Any]]) -> list[ColumnElement[Any]]:
    """Return columns that are read as plain texts and integers: SQLAlchemy's conversions cost more than the rest of a row."""
    plain = {column: column.type.impl if isinstance(column.type, Converted) else BigInteger() for column in columns}
    return [
        column if isinstance(column.type, Text) else type_coerce(column, type_).label(column.name)
        for column, type_ in plain.items()
    ]


class RowFormat:
    """The form of objects as rows of a table: `attributes` are the columns, each with its attribute.

    It converts by position, because access by name takes five times as long.
    """

    def __init__(self, table: Table, attributes: Mapping[str, str]) -> None:
        columns = [table.c[name] for name in attributes]
        self.names = tuple(attributes)
        self.columns = as_stored(columns)
        """What a statement selects for `restore`."""
        self._attributes = {name: attrgetter(attribute) for name, attribute in attributes.items()}
        converted = [(place, each.type) for place, each in enumerate(columns) if isinstance(each.type, Converted)]
        self._store = [(self.names[place], type_.store) for place, type_ in converted]
        self._restore = [(place, type_.restore) for place, type_ in converted]

    def store(self, items: Sequence[object]) -> dict[str, Sequence[Any]]:
        """Return the columns of objects, as the database stores them."""
        values = {name: list(map(read, items)) for name, read in self._attributes.items()}
        return {**values, **{name: list(map(convert, values[name])) for name, convert in self._store}}

    def restore(self, row: Sequence[Any]) -> list[Any]:
        """Return the values of the attributes from a row of `columns`."""
        values = list(row)
        try:
            for place, convert in self._restore:
                values[place] = convert(values[place])
        except DAMAGES as exc:
            raise damaged(exc) from exc
        return values
