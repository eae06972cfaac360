"""Open and resolve the self-alerts that follow from the polls of a source."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace
from datetime import datetime, timedelta

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import AccessDenied, SourceError
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.records import RecordReader
from actionwatch.store import marks, receipts, source_records, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.polls import Poll
from actionwatch.tail.backoff import LONGEST
from actionwatch.tail.cursor import REPORTED_SKEW
from actionwatch.tail.planning import GRACE, lag_limit
from actionwatch.tail.record_watch import RecordWatch
from actionwatch.tail.source_alerts import SourceAlerts
from actionwatch.tail.state import PollReport, TailState
from actionwatch.tail.sweeping import FAILURES_TO_REPORT
from actionwatch.text.payloads import instant

UNREACHABLE_POLLS = 3  # failures in a row: a single lost response is not worth an alert


class SourceWatch:
    """Watches the polls of one source, and its records. `declared_kinds` are those that `kept_kinds` returns."""

    def __init__(
        self,
        source: str,
        poll_interval: timedelta,
        declared_kinds: Set[str],
        reader: RecordReader,
        database: Database,
        self_alerts: SelfAlerts,
        clock: Callable[[], datetime],
        is_out: Callable[[], bool] = lambda: False,
    ) -> None:
        """`is_out` returns whether the upstream answers no source: then one self-alert speaks for all."""
        self._is_out = is_out
        self._source = source
        self._lag = lag_limit(poll_interval)
        self._database = database
        self._alerts = SourceAlerts(source, self_alerts)
        self.records = RecordWatch(source, declared_kinds, reader, database, self._alerts, clock)

    def note_failure(self, error: SourceError, poll: Poll) -> None:
        """Report why a poll failed: at once if a person must act or the next poll is far off, else after some failures."""
        if isinstance(error, AccessDenied):
            self._alerts.report("key_refused", error.what, error.remedy)
        elif not self._is_out() and (poll.failures >= UNREACHABLE_POLLS or poll.backoff > LONGEST):
            which = "a poll failed" if poll.failures == 1 else f"{poll.failures} polls failed in a row"
            then = f"; the next one starts in {spell_duration(poll.backoff)}" if poll.backoff > LONGEST else ""
            what = f"{which}: {error.what}{then}"
            self._alerts.report("upstream_unreachable", what, error.remedy)

    def note_poll(self, report: PollReport, state: TailState) -> None:
        """Report and settle what follows from a poll that got responses."""
        self._alerts.begin_poll(["key_refused", "upstream_unreachable"])
        self._check_clock(state.server.skew)
        self._check_marks(report)
        self._check_proof(report, state)
        self._check_older()
        self._check_filters(report)
        self.records.check(has_records=report.has_records)
        self._check_vanished(state)
        self._alerts.settle_ended()

    def _check_clock(self, skew: timedelta) -> None:
        ahead = "ahead of" if skew > timedelta(0) else "behind"
        what = f"the upstream's clock is {spell_duration(abs(skew))} {ahead} ours"
        self._alerts.set("clock_skew", what, is_wrong=abs(skew) > REPORTED_SKEW)

    def _check_marks(self, report: PollReport) -> None:
        """Report that the source was taken to be read up to a time in the future. It ends when it is read up to now."""
        if report.mark_ahead is not None:
            what = f"a stored mark was {instant(report.mark_ahead)}, which is in the future"
            self._alerts.report("mark_ahead", what)
        elif not report.unproved:
            self._alerts.end("mark_ahead")

    def _check_proof(self, report: PollReport, state: TailState) -> None:
        lag = state.server.now() - state.marks.proved_through
        why = f": {report.unproved[0]}" if report.unproved else ""
        what = f"complete only through {instant(state.marks.proved_through)}{why}"
        waiting = self._waiting_since(state.server.now())
        if waiting is not None and lag <= self._lag:
            what = f"older windows have waited since {instant(waiting)} to be checked for late records"
        self._alerts.set("proof_lagging", what, is_wrong=lag > self._lag or waiting is not None)

    def _waiting_since(self, now: datetime) -> datetime | None:
        """Return since when a window waits that no poll had time to check; None if none waits for too long."""
        with self._database.read() as connection:
            since = unproved_windows.waiting_since(connection, self._source)
        return since if since is not None and now - since > GRACE + self._lag else None

    def _check_older(self) -> None:
        """Report older windows that stay without proof, each once. It ends when all are proved, or a person resolves it."""
        with self._database.read() as connection:
            count, unreported_count = unproved_windows.count_failed(connection, self._source, FAILURES_TO_REPORT)
            if unreported_count:
                first = unproved_windows.read_first_failed(connection, self._source, FAILURES_TO_REPORT)
        if not count:
            self._alerts.end("window_unproved")
        elif unreported_count:
            what = f"{counted(count, 'older window')} not proved: "
            what += f"{instant(first.starts_at)} to {instant(first.ends_at)}: {first.why}"
            self._alerts.report_news("window_unproved", what)
            with self._database.write() as connection:
                unproved_windows.note_reported(connection, self._source, FAILURES_TO_REPORT)

    def _check_filters(self, report: PollReport) -> None:
        what = f"the upstream ignored {' and '.join(sorted(report.ignored_filters))}"
        self._alerts.set("filter_ignored", what, is_wrong=bool(report.ignored_filters))

    def _check_vanished(self, state: TailState) -> None:
        """Report records that vanished, each once. It ends when all are back, or when a person resolves the alert.

        What is reported is stored: a process that is killed before it reports leaves that to the next one.
        """
        known = state.marks
        with self._database.read() as connection:
            former = marks.former_names(connection, self._source)
            count = source_records.count_vanished(connection, self._source, known.begins_at, former)
            if count:
                through = receipts.read_newest_time(connection, self._source)
                reported = known.vanished_reported_through
                vanished = source_records.read_vanished(connection, self._source, known.begins_at, reported, former)
        if not count:
            self._alerts.end("window_shrunk")
        elif vanished:
            first, last = vanished[0], vanished[-1]
            kinds = ", ".join(sorted({record.action_kind for record in vanished}))
            what = f"the upstream no longer shows {counted(count, 'record')} that it showed before"
            what += f". New since the last report: {kinds} between {instant(first.occurred_at)} and {instant(last.occurred_at)}"
            self._alerts.report_news("window_shrunk", what)
            state.commit(replace(known, vanished_reported_through=through))
