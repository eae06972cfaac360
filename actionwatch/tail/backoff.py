"""Decide how long a source waits after a poll that failed. Pure."""

from __future__ import annotations

from datetime import timedelta

LONGEST = timedelta(minutes=5)  # so late a poll notices that the upstream works again
LONGEST_RETRY_AFTER = timedelta(hours=1)  # a wrong Retry-After must not keep a source from being read for a day
_MAX_DOUBLINGS = 30  # 0.1 s, doubled so often, is years


def backoff_after(failures: int, interval: timedelta, retry_after: timedelta | None) -> timedelta:
    """Return how long to wait from the end of a poll to the next one; zero after a success, which keeps the interval.

    `failures` counts the failed polls in a row. Each doubles the interval, up to LONGEST. A Retry-After of the upstream is
    respected, up to LONGEST_RETRY_AFTER.
    """
    if not failures:
        return timedelta(0)
    factor: int = 2 ** min(failures, _MAX_DOUBLINGS)
    doubled = interval * factor if factor < LONGEST / interval else LONGEST  # a long interval would overflow
    return max(interval, doubled, min(retry_after or timedelta(0), LONGEST_RETRY_AFTER))
