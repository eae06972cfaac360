"""Time intervals: which times they contain, in which time zone, and which values are refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.text.timeintervals import (
    Period,
    TimeInterval,
    parse_days_of_month,
    parse_location,
    parse_minute,
    parse_months,
    parse_weekdays,
    parse_years,
)
from tests.cases import in_one_test

SYDNEY = ZoneInfo("Australia/Sydney")
OFFICE = Period(weekdays=(parse_weekdays("monday:friday"),), times=((8 * 60, 18 * 60),), location=SYDNEY)


def at(text: str) -> datetime:
    """Parse a time."""
    return datetime.fromisoformat(text)


@in_one_test(
    ("text", "expected"),
    [
        ("2026-03-04T08:00:00+11:00", True),  # the start is included
        ("2026-03-04T07:59:59.999+11:00", False),
        ("2026-03-04T17:59:59.999+11:00", True),
        ("2026-03-04T18:00:00+11:00", False),  # the end is not
        ("2026-03-03T21:00:00Z", True),  # Wednesday in that zone, Tuesday in UTC
        ("2026-03-07T12:00:00+11:00", False),  # Saturday
        # daylight saving ended on 2026-04-05: eight in the morning is another instant
        ("2026-04-02T21:00:00Z", True),
        ("2026-04-06T21:00:00Z", False),
        ("2026-04-06T22:00:00Z", True),
        # and began on 2026-10-04
        ("2026-10-01T21:30:00Z", False),
        ("2026-10-05T21:30:00Z", True),
    ],
)
def test_hours_are_local_time(text: str, expected: bool) -> None:
    """Hours are local time, with daylight saving."""
    assert OFFICE.holds(at(text)) is expected


def test_repeated_and_skipped_hours() -> None:
    """Both halves of a repeated hour are in the interval; a skipped hour is in none."""
    night = Period(times=((2 * 60, 3 * 60),), location=ZoneInfo("Europe/Berlin"))
    twice = [at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z")]
    assert [night.holds(each) for each in twice] == [True, True]
    spring = [at("2026-03-29T00:00:00Z") + timedelta(minutes=minutes) for minutes in range(0, 180, 5)]
    assert not any(night.holds(each) for each in spring)


@in_one_test(
    ("days", "inside", "outside"),
    [
        ("1", ["2026-02-01"], ["2026-02-02"]),
        ("-1", ["2026-02-28", "2028-02-29", "2026-03-31"], ["2026-02-27", "2028-02-28"]),
        ("-3:-1", ["2026-02-26", "2026-04-30"], ["2026-02-25"]),
        ("1:-1", ["2026-02-01", "2026-02-28"], []),
        ("31", ["2026-01-31"], ["2026-02-28"]),
        ("29:31", ["2026-01-29", "2028-02-29"], ["2026-02-28"]),
        ("-31:-30", ["2026-01-01", "2026-04-01"], ["2026-02-01", "2026-01-03"]),
    ],
)
def test_days_of_the_month(days: str, inside: list[str], outside: list[str]) -> None:
    """Days count from both ends of the month, and never extend into another month."""
    period = Period(days_of_month=(parse_days_of_month(days),))
    assert all(period.holds(at(f"{day}T12:00:00Z")) for day in inside)
    assert not any(period.holds(at(f"{day}T12:00:00Z")) for day in outside)


def test_all_kinds_must_hold_and_one_range_of_each() -> None:
    """A period requires one range of each kind; an interval requires one of its periods."""
    period = Period(
        months=(parse_months("december:december"), parse_months("1:2")),
        years=(parse_years("2026:2027"),),
        weekdays=(parse_weekdays("saturday:monday"),),
    )
    assert period.holds(at("2026-12-05T00:00:00Z"))  # a Saturday
    assert period.holds(at("2026-01-05T00:00:00Z"))  # a Monday
    assert not period.holds(at("2026-01-06T00:00:00Z"))  # a Tuesday
    assert not period.holds(at("2028-01-03T00:00:00Z"))
    assert TimeInterval("x", (OFFICE, period)).holds(at("2026-12-05T00:00:00Z"))
    assert Period().holds(at("2026-01-06T00:00:00Z"))


@given(st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)))
def test_two_halves_of_a_day_are_the_whole_day(instant: datetime) -> None:
    """Every time is in exactly one half of the day."""
    middle, end = parse_minute("13:37"), parse_minute("24:00")
    halves = [Period(times=(each,), location=SYDNEY) for each in ((parse_minute("00:00"), middle), (middle, end))]
    assert sum(half.holds(instant) for half in halves) == 1


@in_one_test(
    ("parse", "text"),
    [
        (parse_minute, "8:00"),
        (parse_minute, "24:01"),
        (parse_minute, 480),
        (parse_weekdays, "mon"),
        (parse_weekdays, "monday:"),
        (parse_weekdays, 1),
        (parse_days_of_month, "0"),
        (parse_days_of_month, "32"),
        (parse_days_of_month, "5:2"),
        (parse_days_of_month, "-1:-3"),
        (parse_days_of_month, "-1:1"),
        (parse_days_of_month, "10:-25"),
        (parse_days_of_month, "28:-2"),
        (parse_days_of_month, "1:2:3"),
        (parse_days_of_month, True),
        (parse_months, "13"),
        (parse_months, "0"),
        (parse_months, "march:february"),
        (parse_months, "smarch"),
        (parse_years, "2027:2026"),
        (parse_years, "99999"),
        (parse_location, "Australia/Sidney"),
        (parse_location, "../../etc/passwd"),
        (parse_location, ""),
        (parse_location, None),
        (parse_location, "Australia"),
    ],
)
def test_invalid_values_are_refused(parse: Callable[[object], object], text: object) -> None:
    """An invalid value is refused with what is accepted."""
    with pytest.raises(ValueError, match=r": |from its end|or its name"):
        parse(text)
