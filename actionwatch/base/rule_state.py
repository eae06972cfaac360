"""The history of a rule document: the nouns of `store/rule_history.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RuleState(StrEnum):
    """The state of a document. `feeds`: it only feeds correlations. `broken`: its file is broken, and no version of it runs."""

    LIVE = "live"
    SHADOW = "shadow"
    OFF = "off"
    FEEDS = "feeds"
    FILTER = "filter"
    REMOVED = "removed"
    BROKEN = "broken"


GONE = (RuleState.REMOVED, RuleState.BROKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEntry:
    """One change of what a document does, at a time of our clock.

    `is_held`: the file is broken, and an older version runs. `since` is the time from which on this content runs.
    """

    at: datetime
    rule_id: str
    name: str
    state: RuleState
    is_held: bool = False
    why: str = ""
    since: datetime | None = None
    file: str = ""
