"""Times in the store: aware UTC datetimes as whole microseconds, which sort and compare alike in every database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Dialect, Text, TypeDecorator, type_coerce

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime as integer microseconds since the epoch: sorts and compares alike in every database."""

    impl = BigInteger
    cache_ok = True

    # Given whole: by way of `process_…`, which SQLAlchemy would call through another function, a value costs twice as much.

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], int | None]:  # noqa: ARG002
        """Turn a datetime into microseconds."""
        return to_stored

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[int | None], datetime | None]:  # noqa: ARG002
        """Turn microseconds into a datetime."""
        return from_stored


def to_micros(at: datetime) -> int:
    """Give an aware datetime as microseconds since the epoch, exactly."""
    return (at - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """Give microseconds since the epoch as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=micros)


def to_stored(at: datetime | None) -> int | None:
    """Give an aware datetime as microseconds since the epoch."""
    return None if at is None else to_micros(at)


def from_stored(micros: int | None) -> datetime | None:
    """Give microseconds since the epoch as an aware UTC datetime."""
    return None if micros is None else from_micros(micros)


def as_stored(columns: Iterable[Column[Any]]) -> list[ColumnElement[Any]]:
    """Name columns to be read as they are, texts and integers: what SQLAlchemy makes of them costs more than a row's rest."""
    return [
        column if isinstance(column.type, Text) else type_coerce(column, BigInteger).label(column.name)
        for column in columns
    ]
