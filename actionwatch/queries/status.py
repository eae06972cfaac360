"""The progress of the sources, the queues of the receivers, the problems, and everything that needs a person."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Connection
from typing_extensions import TypedDict

from actionwatch.base.clock import EPOCH
from actionwatch.base.model import Level
from actionwatch.base.source_labels import labels_of
from actionwatch.queries.source_health import SourceFacts, SourceHealth, judge
from actionwatch.queries.verdict import Failing, Verdict, assess
from actionwatch.store import backlog_progress, marks, open_alerts, outbox, polls, receivers, record_counts, self_alerts
from actionwatch.text.matchers import Matcher
from actionwatch.text.payloads import Time, instant


class SourceStatus(TypedDict):
    """The progress of a source; times are null before the first poll."""

    name: str
    mark: Time | None
    seen_through: Time | None
    proved_through: Time | None
    last_poll: Time | None
    records: int


class Trouble(Protocol):
    """A trouble, and what it is about."""

    @property
    def trouble(self) -> str: ...
    @property
    def subject(self) -> str: ...


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Configured = TypeVar("Configured", bound=_Named)


@dataclass(frozen=True, slots=True)
class SourceState:
    """The progress of a source. Marks and the poll are None before the first poll."""

    name: str
    record_count: int = 0
    marks: marks.Marks | None = None
    poll: polls.Poll | None = None
    backlog: backlog_progress.Backlog | None = None

    @property
    def last_progress_at(self) -> datetime | None:
        """When it was last polled, or read a part of a backlog; None: never."""
        poll, backlog = self.poll, self.backlog
        return max((at for at in (poll and poll.last_poll_at, backlog and backlog.noted_at) if at), default=None)

    @property
    def proved_at(self) -> datetime:
        """Up to when it is proved, by our clock; long ago if nothing is."""
        return self.marks.proved_through - self._skew if self.marks else EPOCH

    @property
    def _skew(self) -> timedelta:
        return self.poll.clock_skew if self.poll else timedelta(0)

    def facts(self, troubles: Collection[str], interval: timedelta | None, now: datetime) -> SourceFacts:
        """Return what decides about its state at a time. `troubles` are about it, and `interval` is that of its polls."""
        poll, last = self.poll, self.last_progress_at
        return SourceFacts(
            troubles=troubles,
            failures=poll.failures if poll else 0,
            since_poll=now - last if last else None,
            backoff=poll.backoff if poll else timedelta(0),
            interval=interval,
            unread=self.upstream_time(now) - self.marks.seen_through if self.marks else timedelta(0),
            is_catching_up=self.backlog is not None,
        )

    def upstream_time(self, now: datetime) -> datetime:
        """Return what the clock of the upstream showed at an instant of ours. The marks are times of that clock."""
        return now + self._skew

    def document(self) -> SourceStatus:
        """Return it as JSON."""
        mark, poll = self.marks, self.poll
        return {
            "name": self.name,
            "mark": instant(mark.mark) if mark else None,
            "seen_through": instant(mark.seen_through) if mark else None,
            "proved_through": instant(mark.proved_through) if mark else None,
            "last_poll": instant(poll.last_poll_at) if poll else None,
            "records": self.record_count,
        }


@dataclass(frozen=True, slots=True)
class ReceiverState(Generic[Configured]):
    """The queue and the health of a receiver; `configured` is None if it was removed from the configuration."""

    name: str
    configured: Configured | None
    queue: outbox.Queue = field(default_factory=outbox.Queue)
    health: receivers.Health = field(default_factory=receivers.Health)


@dataclass(frozen=True, slots=True)
class State(Generic[Configured]):
    """The sources and the state of each in one word, the receivers, the open self-alerts and the open alerts by level.

    The verdict follows from them.
    """

    sources: Sequence[SourceState]
    healths: Mapping[str, SourceHealth]
    receivers: Sequence[ReceiverState[Configured]]
    troubles: Sequence[self_alerts.OpenSelfAlert]
    open_counts: Mapping[Level, int]
    verdict: Verdict


def read_sources(connection: Connection, names: Iterable[str]) -> list[SourceState]:
    """Return the state of these sources."""
    known, asked = marks.read_all(connection), polls.read_all(connection)
    counts, behind = record_counts.count_by_source(connection), backlog_progress.read_all(connection)
    return [
        SourceState(each, counts.get(each, 0), known.get(each), asked.get(each), behind.get(each)) for each in names
    ]


def judge_sources(
    sources: Iterable[SourceState], intervals: Mapping[str, timedelta], troubles: Iterable[Trouble], now: datetime
) -> dict[str, SourceHealth]:
    """Return the state of each source in one word at a time. `intervals` are those of the polls, by name."""
    about = by_subject(troubles)
    return {each.name: judge(each.facts(about.get(each.name, ()), intervals.get(each.name), now)) for each in sources}


def by_subject(troubles: Iterable[Trouble]) -> dict[str, list[str]]:
    """Return the names of troubles by what they are about."""
    found: dict[str, list[str]] = {}
    for each in troubles:
        found.setdefault(each.subject, []).append(each.trouble)
    return found


def has_labels(source: str, matchers: Iterable[Matcher]) -> bool:
    """Return whether the labels of a source, and its name as the label `source`, match all matchers."""
    labels = {**labels_of(source), "source": source}
    return all(matcher.is_met(labels) for matcher in matchers)


def failing(sources: Iterable[SourceState]) -> list[Failing]:
    """Return the sources whose last polls failed. Their times are of our clock."""
    found = []
    for each in sources:
        if each.poll is not None and each.poll.failures:
            seen = each.marks.seen_through - each.poll.clock_skew if each.marks else None
            found.append(Failing(each.name, each.poll.failures, each.poll.last_error or "", seen))
    return found


def read_receivers(connection: Connection, configured: Iterable[Configured]) -> list[ReceiverState[Configured]]:
    """Return the receivers of the configuration, and removed ones as long as they have messages."""
    queues, health = outbox.count_queues(connection), receivers.read_all(connection)
    known = {each.name: each for each in configured}
    return [
        ReceiverState(name, known.get(name), queues.get(name, outbox.Queue()), health.get(name, receivers.Health()))
        for name in [*known, *sorted(queues.keys() - known.keys())]
    ]


def read_state(
    connection: Connection,
    intervals: Mapping[str, timedelta],
    configured: Iterable[Configured],
    unready: Sequence[str],
    now: datetime,
) -> State[Configured]:
    """Return what people see first. The sources with their `intervals`, and `configured` receivers, are in the configuration.

    `unready` describes why the service does not see everything.
    """
    opened, its_receivers = self_alerts.read_all(connection), read_receivers(connection, configured)
    open_counts = open_alerts.count_by_level(connection)
    its_sources = read_sources(connection, intervals)
    verdict = assess(
        intervals,
        unready,
        [(each.trouble, f"{each.subject}: {each.what}") for each in opened],
        failing(its_sources),
        open_counts,
        sum(each.queue.dead for each in its_receivers),
    )
    healths = judge_sources(its_sources, intervals, opened, now)
    return State(its_sources, healths, its_receivers, opened, open_counts, verdict)
