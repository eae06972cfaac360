"""Times in an HTTP response: the server's clock, and the requested delay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.net.http_response import MAX_RETRY_AFTER, HttpResponse, retry_after
from tests.builders import NOON
from tests.cases import in_one_test

SECOND = timedelta(seconds=1)


@in_one_test(
    ("value", "expected"),
    [
        ("0", timedelta(0)),
        ("120", 120 * SECOND),
        (" 7 ", 7 * SECOND),
        ("999999999999", MAX_RETRY_AFTER),
        ("9" * 5000, None),
        ("Wed, 25 Nov 2026 12:00:30 GMT", 30 * SECOND),
        ("Wed, 25 Nov 2026 11:59:00 GMT", timedelta(0)),
        ("Wed, 25 Nov 2099 12:00:00 GMT", MAX_RETRY_AFTER),
        ("Wednesday, 25-Nov-26 12:00:30 GMT", 30 * SECOND),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("", None),
        ("Wed, 25 Nov 99999 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_parsed_within_limits(value: str, expected: timedelta | None) -> None:
    """Retry-After is seconds or a date, never negative, never more than a day; an unreadable value is ignored."""
    assert retry_after({"retry-after": value}, NOON) == expected


def test_missing_retry_after_requests_no_delay() -> None:
    """A response without the header requests no delay."""
    assert retry_after({}, NOON) is None


@given(st.text(max_size=40))
def test_any_retry_after_is_within_limits_or_ignored(value: str) -> None:
    """Any text in the header is read within bounds, or ignored."""
    found = retry_after({"retry-after": value}, NOON)
    assert found is None or timedelta(0) <= found <= MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Wed, 25 Nov 2026 12:00:00 GMT", NOON),
        ("Wed, 25 Nov 2026 14:00:00 +0200", NOON),
        ("Wed, 25 Nov 2026 12:00:00 -0000", NOON),
        ("today", None),
        (None, None),
    ],
)
def test_date_is_parsed_in_utc(value: str | None, expected: datetime | None) -> None:
    """The server's clock is read in UTC, or not at all."""
    headers = {} if value is None else {"date": value}
    found = HttpResponse(200, headers, b"", SECOND).date
    assert found == expected
    assert found is None or found.tzinfo is UTC


def test_any_body_has_a_text() -> None:
    """A body that is not UTF-8 has a text too."""
    assert HttpResponse(500, {}, "ü".encode() * 600 + b"\xff", SECOND).text == "ü" * 600 + "\ufffd"
    assert HttpResponse(500, {}, b" \xff\xfe \n", SECOND).text == "\ufffd\ufffd"
    assert HttpResponse(500, {}, b"", SECOND).text == ""
