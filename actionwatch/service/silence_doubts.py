"""Find what is doubtful about a new silence, so that nobody hides more, or for longer, than they mean."""

from __future__ import annotations

from datetime import datetime

from actionwatch.alerts.silences import doubts_of_times
from actionwatch.base.model import Silence
from actionwatch.rules.load import Rules
from actionwatch.service.configuration import vocabulary
from actionwatch.settings import Settings


def find_doubts(settings: Settings, rules: Rules, made: Silence, now: datetime) -> list[str]:
    """Return a sentence about each doubt, with its remedy."""
    of_matchers = map(str, vocabulary(settings, rules).doubts(made.matchers))
    return [*doubts_of_times(made, settings.max_silence, now), *of_matchers]
