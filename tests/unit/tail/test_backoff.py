"""How long a source waits after failed polls."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from actionwatch.tail.backoff import LONGEST, LONGEST_RETRY_AFTER, backoff_after
from tests.cases import in_one_test

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DEFAULT = 10 * SECOND


@in_one_test(
    ("failures", "retry_after", "wait"),
    [
        (0, None, 0 * SECOND),
        (1, None, 20 * SECOND),
        (2, None, 40 * SECOND),
        (3, None, 80 * SECOND),
        (4, None, 160 * SECOND),
        (5, None, 5 * MINUTE),
        (10**6, None, 5 * MINUTE),
        (1, 7 * SECOND, 20 * SECOND),
        (1, 90 * SECOND, 90 * SECOND),
        (9, 90 * SECOND, 5 * MINUTE),
        (1, 20 * MINUTE, 20 * MINUTE),
        (1, 24 * HOUR, HOUR),
    ],
)
def test_each_failure_doubles_the_wait(failures: int, retry_after: timedelta | None, wait: timedelta) -> None:
    """Each failure doubles the interval, up to five minutes; a Retry-After counts if it is longer, up to an hour."""
    assert backoff_after(failures, DEFAULT, retry_after) == wait


@given(
    st.integers(1, 10**9),
    st.timedeltas(SECOND / 1000, 400 * 24 * HOUR),
    st.none() | st.timedeltas(timedelta(0), 24 * HOUR),
)
def test_the_wait_is_bounded(failures: int, interval: timedelta, retry_after: timedelta | None) -> None:
    """A failing source is polled no more often than a healthy one, and no less often than the limits say."""
    wait = backoff_after(failures, interval, retry_after)
    assert interval <= wait <= max(interval, LONGEST, LONGEST_RETRY_AFTER)
    if retry_after is None:
        assert wait <= max(interval, LONGEST)
