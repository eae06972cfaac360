"""How many examples a property test tries: few in the suite, which tries the same in every run, and many in a search."""

from __future__ import annotations

from hypothesis import settings

SEARCHED = 6  # times as many examples: `pytest --hypothesis-profile explore`


def examples(count: int) -> settings:
    """Let a test try so many examples in the suite, and `SEARCHED` times as many in a search for new failing ones."""
    return settings(max_examples=count if settings.get_current_profile_name() == "suite" else SEARCHED * count)
