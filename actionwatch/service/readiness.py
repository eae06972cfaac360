"""The reasons why the service is not ready: those of `/readyz`, the console and the API.

A thread keeps in memory what the store says, so that an answer never waits for the database. If the database does not answer
that thread, the age of what it read last is a reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import StoreError
from actionwatch.base.plurals import counted
from actionwatch.base.reasons import Reason, SourceReason
from actionwatch.service.roles import Roles
from actionwatch.service.step_watch import StepWatch
from actionwatch.store import polls, positions, records, self_alerts
from actionwatch.store.database import Database
from actionwatch.store.membership import tail_role
from actionwatch.store.polls import Poll

LOOK_SECONDS = 1.0
SILENT_AFTER = timedelta(seconds=10)  # an answer of the database takes milliseconds
FAILED_POLLS = 3  # in a row; a single failure is usual, and the next poll reads what it missed
_URGENT = ("mark_ahead", "key_refused")  # self-alerts of a source that no further poll ends by itself


@dataclass(frozen=True, slots=True)
class _Facts:
    """Facts of the store, with when they were read (monotonic): the last poll of each source, what is urgent, how many
    records wait for correlations; or an error."""

    read_at: float
    polls: Mapping[str, Poll] = field(default_factory=dict)
    urgent: tuple[str, ...] = ()
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
        urgent = tuple(
            SourceReason(f"source {each.subject}: {each.remedy}", f"source {each.subject}: needs a person")
            for each in opened
            if each.trouble in _URGENT
        )
        self._facts = _Facts(self._elapsed(), known, urgent, waiting)

    def reasons(self) -> Iterator[str]:
        """Describe each reason in a sentence. It waits for nothing."""
        yield from self._of_store(self._facts)
        yield from self._steps.reasons(self._roles.has)
        yield from self._roles.missing()

    def _of_store(self, facts: _Facts) -> Iterator[str]:
        if self._database.peers.term() is None:
            silent = _spell(self._roles.silent_seconds())
            yield Reason(f"this replica has not renewed its lease for {silent}, so other replicas do its work")
        age = self._elapsed() - facts.read_at
        if age > SILENT_AFTER.total_seconds():
            yield Reason(f"the store has not answered for {_spell(age)}")
        elif facts.error is not None:
            yield Reason(facts.error, "the store does not work")
        else:
            if (failure := self._database.write_failure) is not None:
                yield Reason(f"the store cannot be written: {failure}", "the store cannot be written")
            yield from facts.urgent
            yield from self._of_sources(facts.polls)
            if (count := self._records_learned()) is not None:
                yield Reason(
                    f"learning: correlations have read {counted(count, 'record')} since the start, and about "
                    f"{facts.waiting_count:,} wait for them; plain rules are ready"
                )

    def _of_sources(self, known: Mapping[str, Poll]) -> Iterator[str]:
        ages = {name: age for name, age in self._ages().items() if self._roles.has(tail_role(name))}
        for name, interval in self._intervals().items():
            poll, age = known.get(name), ages.get(name)
            if poll is None or (name in ages and age is None):
                yield SourceReason(f"source {name}: not polled yet")
            elif poll.failures >= FAILED_POLLS:
                yield SourceReason(f"source {name}: {counted(poll.failures, 'poll')} failed in a row; see the log")
            elif age is not None and age > interval * polls.MISSED_POLLS:
                waits = f", waits {spell_duration(poll.backoff)} after a failure" if poll.backoff else ""
                yield SourceReason(f"source {name}: last polled {spell_duration(age)} ago{waits}")


def _spell(seconds: float) -> str:
    return spell_duration(timedelta(seconds=round(seconds)))
