"""Decide what follows a delivery that failed: another attempt, or a dead letter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from actionwatch.base.errors import DeliveryError, TransientDeliveryError
from actionwatch.base.plurals import counted
from actionwatch.settings import RetryPolicy

_MAX_DOUBLINGS = 64  # far past any maximum, and short of what a float can hold


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again, not before this, because of an error."""

    at: datetime
    error: str


@dataclass(frozen=True, slots=True)
class Bury:
    """Give up: make it a dead letter that shows `why`. `error` is that of the attempt; None if there was no attempt."""

    why: str
    error: str | None = None


def decide(
    error: DeliveryError, attempt: int, started_at: datetime, now: datetime, jitter: float, policy: RetryPolicy
) -> RetryAt | Bury:
    """Decide what follows the failure of attempt number `attempt` (1 is the first; `jitter` in [0, 1)).

    Returns: `RetryAt`, never earlier than the receiver's Retry-After; or `Bury`, for a permanent error, or where the next
    attempt would start later than `give_up_after` from `started_at`.
    """
    if not isinstance(error, TransientDeliveryError):
        return Bury(f"refused: {error.what}", str(error))
    at = now + max(_backoff(attempt, jitter, policy), error.retry_after)
    if at > started_at + policy.give_up_after:
        return Bury(f"gave up after {counted(attempt, 'attempt')}: {error.what}", str(error))
    return RetryAt(at, str(error))


def _backoff(attempt: int, jitter: float, policy: RetryPolicy) -> timedelta:
    """Return a wait between zero and the full step (full jitter), so that retries do not come all at once."""
    step = policy.first.total_seconds() * policy.factor ** min(attempt - 1, _MAX_DOUBLINGS)
    return timedelta(seconds=jitter * min(step, policy.max.total_seconds()))
