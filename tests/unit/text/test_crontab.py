"""The next times of crontab lines."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.text.crontab import parse_crontab
from tests.cases import in_one_test

BERLIN = "Europe/Berlin"  # clocks change at 01:00 UTC: forward on 29 March 2026, back on 25 October


@in_one_test(
    ("text", "after", "expected"),
    [
        ("0 8 * * *", "2026-11-25 07:59:59", "2026-11-25 08:00"),
        ("0 8 * * *", "2026-11-25 08:00", "2026-11-26 08:00"),
        ("*/15 * * * *", "2026-11-25 09:07", "2026-11-25 09:15"),
        ("0 8 1 1 *", "2026-11-25 00:00", "2027-01-01 08:00"),
        ("0 8 29 feb *", "2026-11-25 00:00", "2028-02-29 08:00"),
        # Weekdays: 0 and 7 are Sunday. 25 November 2026 is a Wednesday.
        ("0 8 * * mon-fri", "2026-11-27 09:00", "2026-11-30 08:00"),
        ("0 8 * * MON-FRI", "2026-11-27 09:00", "2026-11-30 08:00"),
        ("0 8 * * 1-5", "2026-11-27 09:00", "2026-11-30 08:00"),
        ("0 8 * * 0", "2026-11-25 09:00", "2026-11-29 08:00"),
        ("0 8 * * 7", "2026-11-25 09:00", "2026-11-29 08:00"),
        ("0 8 * * 5-7", "2026-11-28 09:00", "2026-11-29 08:00"),
        ("0 8 * * fri-sun", "2026-11-28 09:00", "2026-11-29 08:00"),
        ("0 8 * * Tue,Sat-SUN", "2026-11-29 09:00", "2026-12-01 08:00"),
        ("0 8 * * sun-mon", "2026-11-25 09:00", "2026-11-29 08:00"),
        ("0 8 * * sun-sun", "2026-11-29 09:00", "2026-12-06 08:00"),
        ("0 8 * * sun", "2026-11-25 09:00", "2026-11-29 08:00"),
        ("0 8 * * fri-sun/2", "2026-11-28 09:00", "2026-11-29 08:00"),
        ("0 8 * * 0-7", "2026-11-25 09:00", "2026-11-26 08:00"),
        ("0 8 * * */3", "2026-11-25 09:00", "2026-11-28 08:00"),
        ("0 8 * * mon,thu", "2026-11-25 09:00", "2026-11-26 08:00"),
        # A day of the month and a weekday: either is sufficient.
        ("0 8 1 * mon", "2026-11-25 09:00", "2026-11-30 08:00"),
        ("0 8 1 * mon", "2026-11-30 09:00", "2026-12-01 08:00"),
        ("0 8 13 * fri", "2026-11-27 09:00", "2026-12-04 08:00"),
        ("0 8 30 2 mon", "2026-11-25 09:00", "2027-02-01 08:00"),
        # If one of them begins with a star, both must match, as in Debian's cron.
        ("0 8 */2 * mon", "2026-11-30 09:00", "2026-12-07 08:00"),
        # The last day of the month, and its first Monday.
        ("0 8 L * *", "2026-11-25 09:00", "2026-11-30 08:00"),
        ("0 8 * * mon#1", "2026-11-25 09:00", "2026-12-07 08:00"),
    ],
)
def test_next_time_is_that_of_cron(text: str, after: str, expected: str) -> None:
    """A crontab line has the meaning of Debian's cron."""
    at = datetime.fromisoformat(f"{after}+00:00")
    assert parse_crontab(text).next_after(at) == datetime.fromisoformat(f"{expected}+00:00")


@in_one_test(
    ("text", "location", "after", "expected"),
    [
        ("0 8 * * *", "Australia/Sydney", "2026-11-25T00:00Z", "2026-11-25T21:00Z"),
        ("0 8 * * *", "Australia/Sydney", "2026-06-25T00:00Z", "2026-06-25T22:00Z"),
        # 02:30 does not exist: due once at 03:00, after the clock was put forward.
        ("30 2 * * *", BERLIN, "2026-03-28T12:00Z", "2026-03-29T01:00Z"),
        ("30 2 * * *", BERLIN, "2026-03-29T00:59:59Z", "2026-03-29T01:00Z"),
        ("30 2 * * *", BERLIN, "2026-03-29T01:00Z", "2026-03-30T00:30Z"),
        ("0,30 2 * * *", BERLIN, "2026-03-29T01:00Z", "2026-03-30T00:00Z"),
        # 02:30 exists twice: due only the first time, whatever the time of the question.
        ("30 2 * * *", BERLIN, "2026-10-24T12:00Z", "2026-10-25T00:30Z"),
        ("30 2 * * *", BERLIN, "2026-10-25T00:30Z", "2026-10-26T01:30Z"),
        ("30 2 * * *", BERLIN, "2026-10-25T01:10Z", "2026-10-26T01:30Z"),
        ("30 2 * * *", BERLIN, "2026-10-25T01:40Z", "2026-10-26T01:30Z"),
        # Every hour means every hour, also on a day with 23 or 25.
        ("0 * * * *", BERLIN, "2026-03-29T00:30Z", "2026-03-29T01:00Z"),
        ("0 * * * *", BERLIN, "2026-10-25T00:00Z", "2026-10-25T01:00Z"),
        ("*/30 * * * *", BERLIN, "2026-10-25T00:30Z", "2026-10-25T01:00Z"),
        # Half an hour in Lord Howe: 02:00 becomes 02:30 on 4 October.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z", "2026-10-03T15:30Z"),
        ("0 8 * * *", "Asia/Kathmandu", "2026-11-25T00:00Z", "2026-11-25T02:15Z"),
    ],
)
def test_next_time_on_a_clock_that_changes(text: str, location: str, after: str, expected: str) -> None:
    """When daylight saving time starts or ends, each digest is due once."""
    crontab = parse_crontab(text, ZoneInfo(location))
    assert crontab.next_after(datetime.fromisoformat(after)) == datetime.fromisoformat(expected)


@given(
    line=st.sampled_from(["30 2 * * *", "0 8 * * *", "*/20 2 * * *", "15 */3 1 * mon", "0 * * * *", "59 23 31 * *"]),
    location=st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]),
    at=st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1), timezones=st.just(ZoneInfo("UTC"))),
)
def test_the_next_time_is_later(line: str, location: str, at: datetime) -> None:
    """The next time is always in the future."""
    following = parse_crontab(line, ZoneInfo(location)).next_after(at)
    assert following > at
    assert following.utcoffset() == timedelta(0)


@in_one_test(
    ("text", "fault"),
    [
        ("", "write five fields"),
        ("0 8 * *", "write five fields"),
        ("0 0 8 * * *", "write five fields"),
        ("@daily", "write five fields"),
        ("61 8 * * *", "minute cannot be 61"),
        ("x 8 * * *", "minute cannot be x"),
        ("0 24 * * *", "hour cannot be 24"),
        ("0 8 0 * *", "day-of-month cannot be 0"),
        ("0 8 * 13 *", "month cannot be 13"),
        ("0 8 * * 8", "day-of-week cannot be 8"),
        ("0 8 * * funday", "day-of-week cannot be funday"),
        ("0 8 * * fri-mon", "day-of-week cannot be fri-mon"),
        ("*/0 8 * * *", r"minute cannot be \*/0"),
        ("0 8 31 2 *", "day-of-month cannot be 31"),
        ("0 8 1/L * *", "day-of-month cannot be 1/L"),
        (f"{'1' * 5000} 8 * * *", "write for example"),
        ("0 8 mon#6 * *", "write for example"),
    ],
)
def test_invalid_line_is_refused(text: str, fault: str) -> None:
    """An invalid line is refused with the reason."""
    with pytest.raises(ValueError, match=f"crontab line.*{fault}"):
        parse_crontab(text)
