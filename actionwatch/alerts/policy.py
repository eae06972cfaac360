"""Policies: which messages a receiver gets and when. Pure values, made by `service/app.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actionwatch.alerts.inhibition import InhibitRule
from actionwatch.base.model import Level
from actionwatch.text.crontab import Crontab
from actionwatch.text.links import NO_LINKS, Links
from actionwatch.text.timeintervals import TimeInterval


@dataclass(frozen=True, slots=True)
class Storm:
    """More than `above` alerts within `per` are a storm: summaries report the others."""

    above: int = 30
    per: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ReceiverPolicy:
    """One receiver's policy. `storm` None: every alert is a message.

    At most one update per alert within `updates`; with `is_updated_last` only one, when the rule's `realert` ends.
    """

    min_level: Level = Level.INFORMATIONAL
    storm: Storm | None = None
    digest: Crontab | None = None
    updates: timedelta = timedelta(seconds=10)
    is_updated_last: bool = False
    fallback: str | None = None
    fallback_after: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class GlobalPolicy:
    """The policy for every receiver: the inhibition rules, the time intervals that routes name, the links of messages."""

    inhibit_rules: tuple[InhibitRule, ...] = ()
    intervals: Mapping[str, TimeInterval] = field(default_factory=dict)
    links: Links = NO_LINKS

    def active_mute(self, names: Iterable[str], at: datetime) -> str | None:
        """Return the first of these intervals that contains a time; one that is no longer configured never does."""
        return next((name for name in names if name in self.intervals and self.intervals[name].holds(at)), None)
