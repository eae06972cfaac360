"""Store times as whole microseconds, which sort and compare in the same way in every database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Dialect, Text, TypeDecorator, type_coerce

from actionwatch.base.clock import EPOCH, MICROSECOND


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime as integer microseconds since the epoch."""

    impl = BigInteger
    cache_ok = True

    # These return the functions themselves. `process_…` methods, which SQLAlchemy wraps, double the cost of a value.

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], int | None]:  # noqa: ARG002
        """Return the conversion to microseconds."""
        return to_stored

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[int | None], datetime | None]:  # noqa: ARG002
        """Return the conversion from microseconds."""
        return from_stored


def to_micros(at: datetime) -> int:
    """Return an aware datetime as microseconds since the epoch, exactly."""
    return (at - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return microseconds since the epoch as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=micros)


def to_stored(at: datetime | None) -> int | None:
    """Return an aware datetime as microseconds since the epoch, or None."""
    return None if at is None else to_micros(at)


def from_stored(micros: int | None) -> datetime | None:
    """Return microseconds since the epoch as an aware UTC datetime."""
    return None if micros is None else from_micros(micros)


def as_stored(columns: Iterable[Column[Any]]) -> list[ColumnElement[Any]]:
    """Return columns that are read as plain texts and integers: SQLAlchemy's conversions cost more than the rest of a row."""
    return [
        column if isinstance(column.type, Text) else type_coerce(column, BigInteger).label(column.name)
        for column in columns
    ]
