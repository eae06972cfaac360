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


class EntryOrigin(StrEnum):
    """The origin of an entry: the document did not run before, the entry before describes that time, or nothing does."""

    ADDED = "added"
    CHANGED = "changed"
    FOUND = "found"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEntry:
    """One change of what a document does, at a time of our clock.

    Records are matched after they happened, so the times of actions to which an entry applies begin earlier: actions before
    `may_begin_at` were matched as before, and those from `begins_at` on as the entry says. In between either may be true.
    `is_held`: the file is broken, and an older version runs. `since` is the time from which on this content runs.
    """

    at: datetime
    rule_id: str
    name: str
    state: RuleState
    origin: EntryOrigin
    may_begin_at: datetime
    begins_at: datetime
    is_held: bool = False
    why: str = ""
    since: datetime | None = None
    file: str = ""
    document: str = ""
    lists: str = ""
