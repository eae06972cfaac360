"""The clock: read here alone, and handed to whatever needs the time."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)
