"""Times in the store: aware UTC datetimes as whole microseconds, which sort and compare alike in every database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Dialect, TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime as integer microseconds since the epoch: sorts and compares alike in every database."""

    impl = BigInteger
    cache_ok = True

    # Given whole: by way of `process_…`, which SQLAlchemy would call through another function, a value costs twice as much.

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], int | None]:  # noqa: ARG002
        """Turn a datetime into microseconds."""
        return _to_stored

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[int | None], datetime | None]:  # noqa: ARG002
        """Turn microseconds into a datetime."""
        return _from_stored


def to_micros(at: datetime) -> int:
    """Give an aware datetime as microseconds since the epoch, exactly."""
    return (at - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """Give microseconds since the epoch as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=micros)


def _to_stored(at: datetime | None) -> int | None:
    return None if at is None else to_micros(at)


def _from_stored(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
