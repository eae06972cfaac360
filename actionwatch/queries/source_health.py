"""The state of a source in one word, in one order of severity, and the survey of many sources: totals and exceptions. Pure.

`status`, the overview, the page of sources, `/readyz` and `/metrics` show them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from actionwatch.base.plurals import counted
from actionwatch.store.polls import FAILED_POLLS, MISSED_POLLS

MANY = 20  # sources: of more than these, people see totals and exceptions, and at most so many exceptions


class SourceHealth(StrEnum):
    """The state of a source, the worst first. Only a source in the last one needs nothing."""

    REFUSED = "refused"
    SILENT = "silent"
    UNPROVED = "unproved"
    PAUSED = "paused"
    BEHIND = "behind"
    CURRENT = "current"

    @property
    def severity(self) -> int:
        """The place in the order of severity; 0 is the worst."""
        return _SEVERITIES[self]

    @property
    def needs_attention(self) -> bool:
        """Whether the source is an exception."""
        return self is not SourceHealth.CURRENT


_SEVERITIES = {each: place for place, each in enumerate(SourceHealth)}
MEANINGS: Mapping[SourceHealth, str] = {
    SourceHealth.REFUSED: "the upstream refuses the key or the linked accounts",
    SourceHealth.SILENT: "not polled yet, not for ten intervals, or three polls in a row failed",
    SourceHealth.UNPROVED: "read, but older records are not proved, or have disappeared upstream",
    SourceHealth.PAUSED: "the last poll failed, and the next one waits",
    SourceHealth.BEHIND: "catches up with older records",
    SourceHealth.CURRENT: "read and proved",
}
_OF_TROUBLES: Mapping[SourceHealth, frozenset[str]] = {
    SourceHealth.REFUSED: frozenset({"key_refused", "accounts_refused"}),
    SourceHealth.SILENT: frozenset({"upstream_unreachable", "mark_ahead", "service_stopped", "poll_overdue"}),
    SourceHealth.UNPROVED: frozenset({"proof_lagging", "window_unproved", "window_shrunk"}),
}
"""The states that an open self-alert about the source, or a trouble that a command detects, implies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """The facts that decide about the state of a source.

    `since_poll` is the time since its last poll or progress of a backlog; None: there was none. `backoff` is how long it waits
    after a failed poll, `interval` how often it is polled (None: not known), `unread` the time up to now that is not read.
    """

    troubles: Collection[str] = ()
    failures: int = 0
    since_poll: timedelta | None = None
    backoff: timedelta = timedelta(0)
    interval: timedelta | None = None
    unread: timedelta = timedelta(0)
    is_catching_up: bool = False

    def exceeds(self, span: timedelta, allowed: timedelta = timedelta(0)) -> bool:
        """Return whether a span is longer than that of missed polls, and what is allowed besides."""
        return self.interval is not None and span > self.interval * MISSED_POLLS + allowed


_TESTS: Mapping[SourceHealth, Callable[[SourceFacts], bool]] = {
    SourceHealth.SILENT: lambda facts: (
        facts.since_poll is None or facts.failures >= FAILED_POLLS or facts.exceeds(facts.since_poll, facts.backoff)
    ),
    SourceHealth.PAUSED: lambda facts: facts.failures > 0,
    SourceHealth.BEHIND: lambda facts: facts.is_catching_up or facts.exceeds(facts.unread),
}
"""The states that follow from polls and marks."""


def judge(facts: SourceFacts) -> SourceHealth:
    """Return the worst state that the facts imply."""
    implied = {each for each, troubles in _OF_TROUBLES.items() if not troubles.isdisjoint(facts.troubles)}
    implied |= {each for each, test in _TESTS.items() if test(facts)}
    return min(implied, key=lambda each: each.severity, default=SourceHealth.CURRENT)


@dataclass(frozen=True, slots=True)
class Survey:
    """The number of sources in each state, the worst first, and the names of those that are not current, in this order."""

    totals: Mapping[SourceHealth, int]
    exceptions: Sequence[str]

    @property
    def count(self) -> int:
        """How many sources there are."""
        return sum(self.totals.values())

    @property
    def is_large(self) -> bool:
        """Whether there are so many sources that people see totals and exceptions instead of each."""
        return self.count > MANY

    @property
    def first(self) -> Sequence[str]:
        """The names of the worst exceptions, as many as people see at once."""
        return self.exceptions[:MANY]

    @property
    def spelled(self) -> str:
        """The totals as people read them."""
        return ", ".join(f"{count:,} {health.value}" for health, count in self.totals.items() if count)

    def __str__(self) -> str:
        """Return the number of sources, and the totals."""
        return f"{counted(self.count, 'source')}: {self.spelled}" if self.count else "0 sources"


def survey(healths: Mapping[str, SourceHealth]) -> Survey:
    """Return the survey of sources, by their names. Exceptions in the same state are in the order of their names."""
    counts = Counter(healths.values())
    wrong = [name for name, health in healths.items() if health.needs_attention]
    ordered = sorted(wrong, key=lambda name: (healths[name].severity, name))
    return Survey({health: counts[health] for health in SourceHealth}, ordered)
