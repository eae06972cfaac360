"""Silence alerts from their pages: for how long, and what the silences would have hidden."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from actionwatch.base.durations import parse_duration, spell_duration
from actionwatch.base.model import Silence
from actionwatch.queries.silences import preview
from actionwatch.web.parts import Parts

SPANS = ("1h", "4h", "1d", "3d", "7d")


def read_span(parts: Parts, text: str) -> timedelta:
    """Return how long a silence lasts. Raises: ValueError, with a sentence."""
    span = parse_duration(text) if text in SPANS else None
    if span is None or span > parts.configuration.max_silence:
        raise ValueError(f"A silence lasts at most {spell_duration(parts.configuration.max_silence)} (max_silence).")
    return span


def show_drafts(parts: Parts, made: Sequence[Silence]) -> list[tuple[Silence, str]]:
    """Return each silence, which is not made yet, with a sentence about what it would have hidden."""
    with parts.database.read() as connection:
        return list(zip(made, map(str, preview(connection, made, parts.clock())), strict=True))
