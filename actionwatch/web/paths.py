"""The paths of signing in, and of what a page needs, which people may open without a session."""

from __future__ import annotations

SIGN_IN_PATH = "/sign-in"
STATIC_PATH = "/static/"
MAX_GOAL_CHARS = 1000  # of the page to go to after a sign-in; a longer one is the overview


def goal_of(asked: str) -> str:
    """Return the page to go to after a sign-in: the one that a person asked for, or the overview if its URL is too long."""
    return asked if len(asked) <= MAX_GOAL_CHARS else "/"
