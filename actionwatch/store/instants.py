"""Times in the store: aware UTC datetimes as whole microseconds, which sort and compare alike in every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Dialect, TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime as integer microseconds since the epoch: sorts and compares alike in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Turn a datetime into microseconds."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Turn microseconds into a datetime."""
        return None if value is None else from_micros(value)


def to_micros(at: datetime) -> int:
    """Give an aware datetime as microseconds since the epoch, exactly."""
    return (at - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """Give microseconds since the epoch as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=micros)
