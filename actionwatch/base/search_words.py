"""The words of a search box: all of them must be found, in whatever case."""

from __future__ import annotations

from actionwatch.base.unicode import canonical, storable

MOST_WORDS = 10  # of one search: each is looked for in several columns


def words_of(text: str | None) -> list[str]:
    """Return the distinct words of a text. Raises: ValueError, if there are too many."""
    found = list(dict.fromkeys(storable(text or "").split()))
    if len(found) > MOST_WORDS:
        raise ValueError(f"a search has at most {MOST_WORDS} words, and this one has {len(found):,}")
    return found


def caseless(text: str) -> str:
    """Return the form in which texts are compared if case and the Unicode normal form make no difference."""
    return text.lower() if text.isascii() else canonical(canonical(text).casefold())
