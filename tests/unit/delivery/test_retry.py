"""A failed delivery is retried at a certain time, or becomes a dead letter with a reason."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.errors import DeliveryError, PermanentDeliveryError, TransientDeliveryError
from actionwatch.delivery.retry import Bury, RetryAt, decide
from actionwatch.settings import RetryPolicy
from tests.builders import NOON
from tests.cases import in_one_test

SECOND = timedelta(seconds=1)
DOWN = TransientDeliveryError("no answer within the timeout")
NEARLY_ONE = 1 - 2**-53


@in_one_test(
    ("attempt", "seconds"),
    [(1, 1), (2, 2), (3, 4), (10, 512), (11, 600), (12, 600), (64, 600), (1000, 600), (10**9, 600)],
)
def test_delay_doubles_up_to_the_maximum(attempt: int, seconds: float) -> None:
    """The maximum delay doubles from the first one up to the limit, and stays there."""
    found = decide(DOWN, attempt, NOON, NOON, NEARLY_ONE, RetryPolicy())
    assert isinstance(found, RetryAt)
    assert found.at - NOON == pytest.approx(timedelta(seconds=seconds), abs=timedelta(milliseconds=1))


def test_jitter_is_full() -> None:
    """A jitter of 0 gives no delay, a jitter of 0.5 half of the maximum."""
    policy = RetryPolicy(first=10 * SECOND)
    assert decide(DOWN, 1, NOON, NOON, 0.0, policy) == RetryAt(NOON, "no answer within the timeout")
    assert decide(DOWN, 1, NOON, NOON, 0.5, policy) == RetryAt(NOON + 5 * SECOND, "no answer within the timeout")


@given(
    attempt=st.integers(1, 10_000),
    jitter=st.floats(0, 1, exclude_max=True),
    factor=st.floats(1, 100),
    wished=st.integers(0, 86_400),
    age=st.integers(0, 200_000),
)
def test_retry_is_within_its_bounds(attempt: int, jitter: float, factor: float, wished: int, age: int) -> None:
    """A retry is never before Retry-After, never after the longer of it and the maximum, and never after giving up."""
    policy = RetryPolicy(factor=factor)
    error = TransientDeliveryError("busy", retry_after=timedelta(seconds=wished))
    started_at = NOON - timedelta(seconds=age)
    found = decide(error, attempt, started_at, NOON, jitter, policy)
    if isinstance(found, RetryAt):
        wait = found.at - NOON
        assert timedelta(seconds=wished) <= wait <= max(timedelta(seconds=wished), policy.max)
        assert found.at <= started_at + policy.give_up_after
    else:
        assert age + max(wished, policy.max.total_seconds()) > policy.give_up_after.total_seconds()
        assert found.why.startswith("gave up after")


def test_gives_up_by_age() -> None:
    """The last attempt starts exactly `give_up_after` from the beginning, never later."""
    policy = RetryPolicy(give_up_after=timedelta(hours=1))
    error = TransientDeliveryError("busy", retry_after=timedelta(minutes=10))
    at = NOON + timedelta(minutes=50)
    assert decide(error, 7, NOON, at, 0.0, policy) == RetryAt(NOON + timedelta(hours=1), "busy")
    late = decide(error, 7, NOON, at + timedelta(microseconds=1), 0.0, policy)
    assert late == Bury("gave up after 7 attempts: busy", "busy")
    one = decide(TransientDeliveryError("busy", retry_after=timedelta(days=1)), 1, NOON, at, 0.0, policy)
    assert one == Bury("gave up after 1 attempt: busy", "busy")


@pytest.mark.parametrize("error", [PermanentDeliveryError("gone", response="secret words"), DeliveryError("gone")])
def test_permanent_error_is_a_dead_letter(error: DeliveryError) -> None:
    """A permanent error is a dead letter at once; its reason omits the receiver's text."""
    assert decide(error, 1, NOON, NOON, 0.5, RetryPolicy()) == Bury("refused: gone", str(error))
