"""Find what is doubtful about a new silence, so that nobody hides more, or for longer, than they mean."""

from __future__ import annotations

from datetime import datetime

from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Silence
from actionwatch.rules.load import Rules
from actionwatch.service.configuration import vocabulary
from actionwatch.settings import Settings
from actionwatch.text.times import spell_time


def find_doubts(settings: Settings, rules: Rules, made: Silence, now: datetime) -> list[str]:
    """Return a sentence about each doubt, with its remedy."""
    span, most, doubts = made.ends_at - made.starts_at, settings.max_silence, []
    if made.starts_at < now:
        doubts.append(f"it would start in the past, at {spell_time(made.starts_at)}: correct its start, or omit it")
    if span > most:
        doubts.append(f"{spell_duration(span)} is longer than max_silence, {spell_duration(most)}: shorten it")
    return [*doubts, *map(str, vocabulary(settings, rules).doubts(made.matchers))]
