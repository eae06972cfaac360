"""Parse a time in any form that the upstream may send. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from actionwatch.base.clock import EPOCH, TIMES_END

# The number of digits determines the unit, for times from September 2001 to 2286.
_MICROSECONDS_BY_DIGITS = {10: (1_000_000, 1), 13: (1000, 1), 16: (1, 1), 19: (1, 1000)}
_NUMBER = re.compile(r"(\d+)(?:\.(\d*))?", re.ASCII)
_ISO = re.compile(r"\d{4}-?\d{2}-?\d{2}[T ]\d{2}.*", re.ASCII | re.IGNORECASE | re.DOTALL)
_ZONE_NAME = re.compile(r"\[[^\]]*\]\Z")  # java.time's ZonedDateTime appends one: `…Z[UTC]`


def parse_instant(value: object) -> datetime | None:
    """Parse a number or digit string (10 digits s, 13 ms, 16 µs, 19 ns) or an ISO 8601 time (UTC if it has no zone).

    Returns: the time in UTC, truncated to microseconds; None if it is none of these, before 1970, as the defaults of unset
    fields are, or after 2286.
    """
    if value.__class__ is str and value[-1:] == "Z":
        # A fast path for the usual form: the general one would take a tenth of a backfill.
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return at if EPOCH <= at < TIMES_END else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return _from_number(str(value)) if 0 < value < 10**19 else None
    if isinstance(value, float):
        return _from_number(f"{value:.6f}")
    if not isinstance(value, str):
        return None
    text = value.strip()
    return _from_number(text) if text[:10].isdigit() and not _ISO.fullmatch(text) else _from_iso(text)


def usual_instants(values: Sequence[object]) -> list[datetime] | None:
    """Parse many times in the usual form, as `parse_instant` would; None if one has another form."""
    try:
        found = [datetime.fromisoformat(value) for value in values if value[-1:] == "Z"]  # type: ignore[index, arg-type]
    except (TypeError, ValueError):
        return None
    return found if len(found) == len(values) and min(found) >= EPOCH and max(found) < TIMES_END else None


def _from_number(text: str) -> datetime | None:
    number = _NUMBER.fullmatch(text)
    if not number or len(number[1]) not in _MICROSECONDS_BY_DIGITS:
        return None
    times, divisor = _MICROSECONDS_BY_DIGITS[len(number[1])]
    fraction = (number[2] or "")[:9]
    part = int(fraction) * times // 10 ** len(fraction) if fraction and divisor == 1 else 0
    return EPOCH + timedelta(microseconds=int(number[1]) * times // divisor + part)


def _from_iso(text: str) -> datetime | None:
    if not _ISO.fullmatch(text):
        return None
    try:
        at = datetime.fromisoformat(_ZONE_NAME.sub("", text.upper()))
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return at if EPOCH <= at < TIMES_END else None
