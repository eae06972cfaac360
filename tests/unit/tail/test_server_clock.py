"""The upstream's clock, as its `Date` header shows it."""

from __future__ import annotations

from datetime import timedelta

from actionwatch.tail.state import ALLOWED_SKEW, ServerClock
from tests.builders import NOON, Clock
from tests.cases import in_one_test


@in_one_test(
    ("seconds", "skew"),
    [(0, 0), (4.5, 0), (4.501, 5.001), (-5.5, 0), (-5.501, -5.001), (3600, 3600.5)],
)
def test_only_a_difference_beyond_the_resolution_of_the_header_counts(seconds: float, skew: float) -> None:
    """The header corrects our clock if they differ by more than five seconds; a response without it changes nothing."""
    clock = Clock()
    server = ServerClock(clock)
    server.compare(NOON + timedelta(seconds=seconds))
    assert (server.skew, server.now()) == (timedelta(seconds=skew), NOON + timedelta(seconds=skew))
    server.compare(None)
    assert server.skew == timedelta(seconds=skew)
    clock.advance(hours=1)
    assert server.now() == NOON + timedelta(hours=1, seconds=skew)


HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
FRACTION = timedelta(milliseconds=500)  # so much later than assumed may the server be: its header has whole seconds


@in_one_test(
    ("skew", "step", "read", "prove", "passed", "ahead"),
    [
        (0 * HOUR, 0 * HOUR, 0 * HOUR, 0 * HOUR, 0 * HOUR, ALLOWED_SKEW),
        (-ALLOWED_SKEW, 0 * HOUR, FRACTION - ALLOWED_SKEW, -ALLOWED_SKEW, -ALLOWED_SKEW, ALLOWED_SKEW),
        # A server that is later than ours allows hides nothing: reading goes on up to our time.
        (-ALLOWED_SKEW - SECOND, 0 * HOUR, 0 * HOUR, -ALLOWED_SKEW - SECOND, -ALLOWED_SKEW - SECOND, ALLOWED_SKEW),
        # A server that is earlier proves only what ours confirms.
        (2 * HOUR, 0 * HOUR, 2 * HOUR + FRACTION, ALLOWED_SKEW, 0 * HOUR, 2 * HOUR + ALLOWED_SKEW),
        # Our clock was set by an hour: both what it says and what it would say is possible.
        (-HOUR - ALLOWED_SKEW, HOUR, FRACTION - HOUR - ALLOWED_SKEW, *[-HOUR - ALLOWED_SKEW] * 2, ALLOWED_SKEW),
        (-HOUR - ALLOWED_SKEW - SECOND, HOUR, 0 * HOUR, *[-HOUR - ALLOWED_SKEW - SECOND] * 2, ALLOWED_SKEW),
        (HOUR, HOUR, HOUR + FRACTION, ALLOWED_SKEW, -HOUR, HOUR + ALLOWED_SKEW),
        (2 * HOUR, -HOUR, 2 * HOUR + FRACTION, HOUR + ALLOWED_SKEW, 0 * HOUR, 2 * HOUR + ALLOWED_SKEW),
        (-HOUR, -HOUR, HOUR, -HOUR, -HOUR, HOUR + ALLOWED_SKEW),
    ],
)
def test_times_that_two_clocks_confirm(
    skew: timedelta, step: timedelta, read: timedelta, prove: timedelta, passed: timedelta, ahead: timedelta
) -> None:
    """Reading goes as far as any clock may say, proofs as far as ours confirms, and only all clocks together make a future."""
    server = ServerClock(Clock())
    server.follow_clock(step)
    assert server.skew == timedelta(0), "the upstream's clock is not known yet"
    server.compare(NOON + skew - FRACTION)
    assert server.read_until() == NOON + read
    assert server.prove_until() == NOON + prove
    assert server.passed() == NOON + passed
    assert server.is_ahead(NOON + ahead) is False
    assert server.is_ahead(NOON + ahead + timedelta(microseconds=1)) is True
    server.follow_clock(HOUR)
    assert server.skew == skew - HOUR
