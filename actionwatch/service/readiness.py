"""The reasons why the service is not ready: those of `/readyz`, the console and the API.

A thread keeps in memory what the store says, so that an answer never waits for the database. If the database does not answer
that thread, the age of what it read last is a reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from actionwatch.base.durations import spell_duration, spell_seconds
from actionwatch.base.errors import StoreError
from actionwatch.base.plurals import counted
from actionwatch.base.reasons import Reason, SourceReason
from actionwatch.queries.source_health import MANY, SourceFacts, SourceHealth, judge, survey
from actionwatch.queries.status import by_subject
from actionwatch.service.roles import Roles
from actionwatch.service.step_watch import StepWatch
from actionwatch.store import polls, positions, records, self_alerts
from actionwatch.store.database import Database
from actionwatch.store.membership import tail_role
from actionwatch.store.polls import FAILED_POLLS, MISSED_POLLS, Poll

LOOK_SECONDS = 1.0
SILENT_AFTER = timedelta(seconds=10)  # an answer of the database takes milliseconds
_URGENT = ("mark_ahead", "key_refused")  # self-alerts of a source that no further poll ends by itself


@dataclass(frozen=True, slots=True)
class _Facts:
    """Facts of the store, with when they were read (monotonic): the last poll of each source, the open self-alerts, how many
    records wait for correlations; or an error."""

    read_at: float
    polls: Mapping[str, Poll] = field(default_factory=dict)
    opened: Sequence[self_alerts.OpenSelfAlert] = ()
    waiting_count: int = 0
    error: str | None = None


class Readiness:
    """Knows whether this process is ready. Safe to share between threads."""

    def __init__(
        self,
        database: Database,
        intervals: Callable[[], Mapping[str, timedelta]],
        ages: Callable[[], Mapping[str, timedelta | None]],
        steps: StepWatch,
        roles: Roles,
        records_learned: Callable[[], int | None] = lambda: None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`intervals` returns the poll intervals of the sources.

        `ages` returns how long ago this process polled each source, None if it has not yet. The store cannot show this,
        because clocks can be set.

        `records_learned` returns how many records correlations have read again since the start; None once they have caught up.
        """
        self._database = database
        self._intervals = intervals
        self._ages = ages
        self._steps = steps
        self._roles = roles
        self._records_learned = records_learned
        self._elapsed = elapsed
        self._facts = _Facts(elapsed(), error="the store has not been read yet")

    def look(self) -> None:
        """Read the store. A thread calls it each second."""
        try:
            with self._database.read() as connection:
                known = polls.read_all(connection)
                opened = self_alerts.read_all(connection)
                waiting = records.newest_id(connection) - positions.read_both(connection)[1]
        except StoreError as exc:
            self._facts = _Facts(self._elapsed(), error=str(exc))
            return
        self._facts = _Facts(self._elapsed(), known, opened, waiting)

    def reasons(self) -> Iterator[str]:
        """Describe each reason in a sentence. It waits for nothing."""
        yield from self._of_store(self._facts)
        yield from self._steps.reasons(self._roles.has)
        yield from self._roles.missing()

    def _of_store(self, facts: _Facts) -> Iterator[str]:
        if self._database.peers.term() is None:
            silent = spell_seconds(self._roles.silent_seconds())
            yield Reason(f"this replica has not renewed its lease for {silent}, so other replicas do its work")
        age = self._elapsed() - facts.read_at
        if age > SILENT_AFTER.total_seconds():
            yield Reason(f"the store has not answered for {spell_seconds(age)}")
        elif facts.error is not None:
            yield Reason(facts.error, "the store does not work")
        else:
            if (failure := self._database.write_failure) is not None:
                yield Reason(f"the store cannot be written: {failure}", "the store cannot be written")
            yield from self._of_sources(facts)
            if (count := self._records_learned()) is not None:
                yield Reason(
                    f"learning: correlations have read {counted(count, 'record')} since the start, and about "
                    f"{facts.waiting_count:,} wait for them; plain rules are ready"
                )

    def _of_sources(self, facts: _Facts) -> Iterator[str]:
        """Describe why sources are not ready: of many sources in total, and the worst ones."""
        found = [*_urgent(facts.opened), *self._of_polls(facts.polls)]
        intervals = self._intervals()
        if len(intervals) <= MANY or not found:
            yield from (reason for _, reason in found)
            return
        first = dict(reversed(found))
        unready = survey(self._healths(facts, first.keys() & intervals.keys()))
        yield SourceReason(f"{unready.count:,} of {counted(len(intervals), 'source')} are not ready: {unready.spelled}")
        yield from (first[name] for name in unready.first)
        if unready.count > len(unready.first):
            yield SourceReason(
                f"and {counted(unready.count - len(unready.first), 'more source')}: see 'actionwatch status'"
            )

    def _healths(self, facts: _Facts, names: Collection[str]) -> dict[str, SourceHealth]:
        ages, intervals, troubles = self._ages_here(), self._intervals(), by_subject(facts.opened)
        found = {}
        for name in names:
            poll = facts.polls.get(name)
            about = SourceFacts(
                troubles=troubles.get(name, ()),
                failures=poll.failures if poll else 0,
                since_poll=None if poll is None else ages.get(name, timedelta(0)),  # others poll what this one does not
                backoff=poll.backoff if poll else timedelta(0),
                interval=intervals.get(name),
            )
            found[name] = judge(about)
        return found

    def _ages_here(self) -> dict[str, timedelta | None]:
        """Return how long ago this process polled each source that is its task; None if it has not yet."""
        return {name: age for name, age in self._ages().items() if self._roles.has(tail_role(name))}

    def _of_polls(self, known: Mapping[str, Poll]) -> Iterator[tuple[str, SourceReason]]:
        ages = self._ages_here()
        for name, interval in self._intervals().items():
            poll, age = known.get(name), ages.get(name)
            if poll is None or (name in ages and age is None):
                yield name, SourceReason(f"source {name}: not polled yet")
            elif poll.failures >= FAILED_POLLS:
                yield (
                    name,
                    SourceReason(f"source {name}: {counted(poll.failures, 'poll')} failed in a row; see the log"),
                )
            elif age is not None and age > interval * MISSED_POLLS:
                waits = f", waits {spell_duration(poll.backoff)} after a failure" if poll.backoff else ""
                yield name, SourceReason(f"source {name}: last polled {spell_duration(age)} ago{waits}")


def _urgent(opened: Iterable[self_alerts.OpenSelfAlert]) -> Iterator[tuple[str, SourceReason]]:
    for each in opened:
        if each.trouble in _URGENT:
            subject = f"source {each.subject}"
            yield each.subject, SourceReason(f"{subject}: {each.remedy}", f"{subject}: needs a person")
