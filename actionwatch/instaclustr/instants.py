"""Read a time in any form the upstream may send; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The number of digits tells the unit: from September 2001 to 2286 no two units share one.
_MICROSECONDS_BY_DIGITS = {10: (1_000_000, 1), 13: (1000, 1), 16: (1, 1), 19: (1, 1000)}
_NUMBER = re.compile(r"(\d+)(?:\.(\d*))?", re.ASCII)
_ISO = re.compile(r"\d{4}-?\d{2}-?\d{2}[T ]\d{2}.*", re.ASCII | re.IGNORECASE | re.DOTALL)
_ZONE_NAME = re.compile(r"\[[^\]]*\]\Z")  # java.time's ZonedDateTime appends one: `…Z[UTC]`


def parse_instant(value: object) -> datetime | None:
    """Read a number, a digit string (10 digits s, 13 ms, 16 µs, 19 ns) or an ISO 8601 date and time, UTC where it has no zone.

    Returns: the time in UTC, cut to microseconds; None where it is none of these, or lies before 1970, as the defaults of
    unset fields do.
    """
    if value.__class__ is str and value[-1:] == "Z":
        # The usual spelling, the short way: a tenth of a whole backfill would go into the long one.
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return at if at >= EPOCH else None
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
    """Read many times at once where all are spelt the usual way, as `parse_instant` would; None where one of them is not."""
    try:
        found = [datetime.fromisoformat(value) for value in values if value[-1:] == "Z"]  # type: ignore[index, arg-type]
    except (TypeError, ValueError):
        return None
    return found if len(found) == len(values) and min(found) >= EPOCH else None


def microseconds(at: datetime) -> int:
    """Count the microseconds from 1970 to `at` (aware), exactly: floating point is not, from the year 2255 on."""
    span = at - EPOCH
    return span.days * 86_400_000_000 + span.seconds * 1_000_000 + span.microseconds


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
    return at if at >= EPOCH else None
