"""Step 1: the user actions of one source -> stored records, with proof."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import SourceError, StoreError
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.query import Query
from actionwatch.store import marks, polls
from actionwatch.store.database import Database
from actionwatch.tail.accounts import AccountWatch
from actionwatch.tail.backoff import backoff_after
from actionwatch.tail.catching_up import CatchingUp, OnBacklog
from actionwatch.tail.comparison import Comparison
from actionwatch.tail.health import SourceWatch
from actionwatch.tail.pager import Pager
from actionwatch.tail.planning import begin_of
from actionwatch.tail.polling import Poller
from actionwatch.tail.quiet import QuietPolls
from actionwatch.tail.reading import WindowReader
from actionwatch.tail.receipt_writer import ReceiptWriter
from actionwatch.tail.record_aliases import RecordAliases
from actionwatch.tail.record_watch import IdentityChanged
from actionwatch.tail.record_writer import RecordWriter
from actionwatch.tail.rounds import Rounds
from actionwatch.tail.state import GaveWay, PollReport, Stopped, TailOptions, TailState
from actionwatch.tail.sweeping import Sweeper
from actionwatch.text.payloads import instant

log = structlog.get_logger()


class SourceTail:
    """Tails one source. Runs one poll at a time."""

    def __init__(
        self,
        options: TailOptions,
        upstream: Client,
        database: Database,
        watch: SourceWatch,
        clock: Callable[[], datetime],
        accounts: AccountWatch | None = None,
        on_stored: Callable[[], None] = lambda: None,
        on_backlog: OnBacklog = lambda _: None,
        gives_way: Callable[[], bool] = lambda: False,
        elapsed: Callable[[], float] = time.monotonic,
        rounds: Rounds | None = None,
    ) -> None:
        """Call `on_stored` after new records were committed, and `on_backlog` with the progress of catching up.

        `gives_way` returns whether a poll that reads a backlog is to end, because other sources wait.
        `elapsed` returns seconds that no step of the clock changes.
        Quiet polls of all sources with the same `rounds` are committed together.
        """
        self._upstream = upstream
        self._watch = watch
        self._accounts = accounts
        self._state = TailState(options, database, clock, elapsed)
        self._state.gives_way = gives_way
        name_accounts = accounts.name_accounts if accounts else list
        self._aliases = RecordAliases(options.organisation, watch.records.note_change)
        writer = RecordWriter(self._state, on_stored, name_accounts, watch.records.note_records, self._aliases)
        pager = Pager(upstream, self._state, writer)
        reader = WindowReader(self._state, pager, ReceiptWriter(self._state, writer))
        comparison = Comparison(self._state, pager)
        sweeper = Sweeper(self._state, comparison, reader)
        self._catching_up = CatchingUp(self._state, on_backlog)
        self._poller = Poller(self._state, pager, comparison, reader, sweeper, self._catching_up)
        self._quiet = QuietPolls(self._state, pager, sweeper, rounds or Rounds(database))
        self._elapsed = elapsed
        self._noted_at: float | None = None
        self._resumes_at = elapsed()
        self.gave_way = False
        """Whether the last poll ended before it had read everything, because other sources waited."""

    @property
    def age(self) -> timedelta | None:
        """The time since the last poll of this process was noted, whatever happens to the clock; None before the first."""
        return None if self._noted_at is None else timedelta(seconds=self._elapsed() - self._noted_at)

    def follow_clock(self, step: timedelta) -> None:
        """Adjust to a step of our clock: the upstream's time continues."""
        self._quiet.forget()
        self._state.server.follow_clock(step)
        self._catching_up.follow_clock(step)

    def stop(self) -> None:
        """Break off the poll at its next page."""
        self._state.is_stopping = True

    @property
    def waits(self) -> float:
        """For how many seconds the backoff of a failed poll of this process still lasts; 0 if none does."""
        return max(self._resumes_at - self._elapsed(), 0.0)

    def run_once(self) -> PollReport:
        """Poll once. Never raises a SourceError: it is in the report."""
        if self._accounts is not None:
            self._accounts.wait_for_first()
        report, is_quiet = PollReport(), False
        self.gave_way = False
        try:
            is_quiet = self._quiet.run_once(report)
            if not is_quiet:
                self._state.marks = self._read_marks(report)
                self._poll(report)
        except Stopped:
            return report
        except GaveWay:
            self.gave_way = True
            self._catching_up.pause()
        except SourceError as exc:
            report.error = exc
        if is_quiet:
            self._noted_at = self._resumes_at = self._elapsed()
        else:
            self._note(report)
        if self._accounts is not None and report.error is None:
            self._accounts.note_poll()
        return report

    def _poll(self, report: PollReport) -> None:
        try:
            self._poller.run_once(report)
        except IdentityChanged:  # once at most: what is stored by now has the right keys
            self._poller.run_once(report)
        finally:
            self._aliases.forget_walk()

    # -- where it begins -----------------------------------------------------------------------------------------------

    def _read_marks(self, report: PollReport) -> marks.Marks:
        """Read the marks, or begin: the clock of the first response says what "now" is."""
        with self._state.database.read() as connection:
            self._watch.records.begin_poll(connection)
            self._catching_up.begin_poll(connection)
            known = marks.read(connection, self._state.options.name)
            is_renamed = known is None and self._left(connection) is not None
        if is_renamed:
            known = self._take_over()
        if known is not None:
            return known
        now = self._state.server.now()
        page = self._upstream.counts(Query(start=now - timedelta(minutes=1), end=now))
        report.request_count += 1
        self._state.server.compare(page.server_date)
        self._state.commit(_first_marks(self._state.options, self._state.server.passed()))
        return self._state.marks

    def _take_over(self) -> marks.Marks | None:
        """Continue where a source of the same organisation stopped that is no longer configured: it was renamed.

        A new start would silently leave out what happened since.
        """
        with self._state.database.write() as connection:
            latest = self._left(connection)
            if latest is None:
                return None
            renamed = marks.rename(connection, latest, self._state.options.name)
        log.info("source_renamed", source=renamed.name, before=latest.name, mark=instant(renamed.mark))
        return renamed

    def _left(self, connection: Connection) -> marks.Marks | None:
        found = marks.read_of_organisation(connection, self._state.options.organisation)
        return marks.find_left(found, self._state.options.configured())

    # -- what is reported ----------------------------------------------------------------------------------------------

    def _note(self, report: PollReport) -> None:
        """Store how the poll went, and open or resolve the self-alerts that follow from it."""
        name, error = self._state.options.name, report.error
        interval, retry_after = self._state.options.poll_interval, error.retry_after if error else None
        try:
            with self._state.database.write() as connection:
                poll = polls.note_poll(
                    connection,
                    name,
                    self._state.clock(),
                    str(error) if error else None,
                    self._state.server.skew,
                    lambda failures: backoff_after(failures, interval, retry_after),
                )
        except StoreError as exc:
            log.warning("poll_not_noted", source=name, error=str(exc))
            return
        self._noted_at = self._elapsed()
        self._resumes_at = self._noted_at + poll.backoff.total_seconds()
        if self.gave_way:
            log.debug("poll_gave_way", source=name, new=report.new_count, requests=report.request_count)
        elif error is None:
            self._watch.note_poll(report, self._state)
            self._quiet.note_full(report)
            log.debug("poll_completed", source=name, new=report.new_count, requests=report.request_count)
        else:
            self._watch.note_failure(error, poll)
            waits = spell_duration(poll.backoff)
            log.warning("poll_failed", source=name, error=str(error), failures=poll.failures, waits=waits)


def _first_marks(options: TailOptions, now: datetime) -> marks.Marks:
    begins_at = begin_of(options.start, now)
    return marks.Marks(
        name=options.name,
        organisation=options.organisation,
        begins_at=begins_at,
        alerts_from=begins_at if options.alert_backlog else now,
        mark=begins_at,
        seen_through=begins_at,
        proved_through=begins_at,
    )
