"""Alertmanager's time intervals: named periods of the week, the month and the year, in local time.

Rules check the time of an event (`when`), routes that of a delivery. A range of times excludes its end; ranges of days, months
and years include it. Local time is used throughout, so that daylight saving needs no special cases.
Source: https://prometheus.io/docs/alerting/latest/configuration/#time_interval
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, available_timezones

from actionwatch.text.suggestions import did_you_mean

_SHORTEST_MONTH = 28  # days
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,4}", re.ASCII)

Range = tuple[int, int]
"""First and last value, both included."""


@dataclass(frozen=True, slots=True)
class Period:
    """A time is in the period if it is in one range of each field that is set. An empty period contains all times.

    `times` are minutes of the day, with the end excluded. `weekdays` count from 0 (Monday). Negative `days_of_month` count from
    the end of the month.
    """

    times: tuple[Range, ...] = ()
    weekdays: tuple[Range, ...] = ()
    days_of_month: tuple[Range, ...] = ()
    months: tuple[Range, ...] = ()
    years: tuple[Range, ...] = ()
    location: tzinfo = UTC

    def holds(self, at: datetime) -> bool:
        """Return whether it contains an aware time."""
        local = at.astimezone(self.location)
        return (
            _is_within(local.year, self.years)
            and _is_within(local.month, self.months)
            and (not self.days_of_month or _is_day(local, self.days_of_month))
            and _is_within(local.weekday(), self.weekdays)
            and _is_within(local.hour * 60 + local.minute, [(first, end - 1) for first, end in self.times])
        )


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """A named union of periods."""

    name: str
    periods: tuple[Period, ...]

    def holds(self, at: datetime) -> bool:
        """Return whether it contains an aware time."""
        return any(period.holds(at) for period in self.periods)


def parse_minute(text: object) -> int:
    """Parse a time of day, `08:00` up to `24:00`, as a minute of the day.

    Raises: ValueError, with what is accepted (as do all functions below).
    """
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise ValueError("not a time of day: write hours and minutes in quotes, such as '08:00', up to '24:00'")
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def parse_weekdays(text: object) -> Range:
    """Parse `monday`, `monday:friday`, or a range across Sunday: `saturday:monday`."""
    first, last = _ends(text)
    return _index(first, _WEEKDAYS, "weekday"), _index(last, _WEEKDAYS, "weekday")


def parse_days_of_month(text: object) -> Range:
    """Parse `1`, `1:5`, `-3:-1` (the last three), `1:-1`."""
    first, last = (_whole(part) for part in _ends(text))
    for day in (first, last):
        if day == 0 or abs(day) > 31:
            raise ValueError("a day of the month is 1 to 31, or -1 to -31 from its end")
    if first < 0 < last:
        raise ValueError("a range that begins with a negative day must end with one: for example -3:-1")
    if (first > 0) == (last > 0) and first > last:
        raise ValueError("a range must not begin after its end: write the earlier day first")
    if last < 0 < first and first > _SHORTEST_MONTH + 1 + last:
        raise ValueError(f"a range must not be empty in a month of {_SHORTEST_MONTH} days: begin earlier, or end later")
    return first, last


def parse_months(text: object) -> Range:
    """Parse `january`, `1`, `april:june`, `4:6`."""
    first, last = (_month(part) for part in _ends(text))
    if first > last:
        raise ValueError("a range must not begin after its end: write two items, up to december and from january")
    return first, last


def parse_years(text: object) -> Range:
    """Parse `2026`, `2026:2028`."""
    first, last = (_whole(part) for part in _ends(text))
    if first < 0 or first > last:
        raise ValueError("a range of years must not begin after its end: for example 2026:2028")
    return first, last


def parse_location(text: object) -> tzinfo:
    """Parse the name of a time zone, such as `Australia/Sydney` or `UTC`."""
    try:
        if isinstance(text, str) and text and text.isprintable():
            return ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; the name of a folder raises OSError
        pass
    near = did_you_mean(text, available_timezones()) if isinstance(text, str) else ""
    raise ValueError(f"not a known time zone: {near or 'write an IANA name, such as Australia/Sydney, or UTC'}")


def _is_within(value: int, ranges: Collection[Range]) -> bool:
    """Return whether a value is in one of the ranges. A range whose start is after its end wraps around the week."""
    if not ranges:
        return True
    return any(first <= value <= last if first <= last else value >= first or value <= last for first, last in ranges)


def _is_day(at: datetime, ranges: Collection[Range]) -> bool:
    """Return whether a date is in one of the ranges. A negative day counts from the end of the month, -1 is the last."""
    after_last = monthrange(at.year, at.month)[1] + 1
    days = ([day if day > 0 else after_last + day for day in each] for each in ranges)
    return any(first <= at.day <= last for first, last in days)


def _ends(text: object) -> tuple[str, str]:
    if isinstance(text, bool) or not isinstance(text, str | int):
        raise ValueError("not a range: write one value, or first:last in quotes")
    first, colon, last = str(text).strip().lower().partition(":")
    return first.strip(), last.strip() if colon else first.strip()


def _index(word: str, words: tuple[str, ...], noun: str) -> int:
    if word not in words:
        raise ValueError(f"not a {noun}: write one of {', '.join(words)}")
    return words.index(word)


def _month(word: str) -> int:
    if not _NUMBER.fullmatch(word):
        return _index(word, _MONTHS, "month") + 1
    if not 1 <= int(word) <= 12:
        raise ValueError("a month is 1 to 12, or its name")
    return int(word)


def _whole(word: str) -> int:
    if not _NUMBER.fullmatch(word):
        raise ValueError("not a range of numbers: write one number, or first:last in quotes")
    return int(word)
