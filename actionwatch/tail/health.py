"""Open and resolve the self-alerts that follow from the polls of a source."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from actionwatch.alerts.self_alerts import OF_SOURCES, SelfAlerts
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import AccessDenied, SourceError
from actionwatch.base.model import Record
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.records import RecordReader
from actionwatch.store import marks, receipts, self_alerts, source_records, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.polls import Poll
from actionwatch.store.unproved_windows import UnprovedWindow
from actionwatch.tail.backoff import LONGEST
from actionwatch.tail.cursor import REPORTED_SKEW
from actionwatch.tail.planning import GRACE, lag_limit
from actionwatch.tail.record_watch import KnownNames, RecordWatch
from actionwatch.tail.source_alerts import SourceAlerts
from actionwatch.tail.state import PollReport, TailState
from actionwatch.tail.sweeping import FAILURES_TO_REPORT
from actionwatch.text.payloads import instant

UNREACHABLE_POLLS = 3  # failures in a row: a single lost response is not worth an alert


@dataclass(frozen=True, slots=True)
class _Stored:
    """The state of a source in the store when a poll has ended: all that is checked then, from one read."""

    names: KnownNames
    open_troubles: Sequence[str]
    waiting_since: datetime | None
    """When the first of the older windows that were not checked yet was due."""
    failed_count: int
    """Older windows that stay without proof."""
    unreported: UnprovedWindow | None
    """The first of them, if one is not reported yet."""
    vanished_count: int
    vanished: Sequence[Record]
    """Those that are not reported yet."""
    vanished_through: datetime | None


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
        self._reader = reader
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
        """Report and settle what follows from a poll that got responses.

        What is stored is read first, and nothing is reported in that transaction: each report needs a connection, and threads
        that hold one while they wait for another wait for each other.
        """
        stored = self._read(state.marks)
        self._alerts.begin_poll(["key_refused", "upstream_unreachable"])
        self._check_clock(state.server.skew)
        self._check_marks(report)
        self._check_proof(report, state, stored)
        self._check_older(stored)
        self._check_filters(report)
        self.records.check(stored.names, has_records=report.has_records)
        self._check_vanished(state, stored)
        self._alerts.settle_ended(stored.open_troubles)

    def _read(self, known: marks.Marks) -> _Stored:
        with self._database.read() as connection:
            count, unreported_count = unproved_windows.count_failed(connection, self._source, FAILURES_TO_REPORT)
            former = marks.former_names(connection, self._source)
            vanished_count = source_records.count_vanished(connection, self._source, known.begins_at, former)
            reported = known.vanished_reported_through
            return _Stored(
                KnownNames.read(connection, self._source, self._reader.organisation),
                self_alerts.read_open(connection, OF_SOURCES, self._source),
                unproved_windows.waiting_since(connection, self._source),
                count,
                unproved_windows.read_first_failed(connection, self._source, FAILURES_TO_REPORT)
                if unreported_count
                else None,
                vanished_count,
                source_records.read_vanished(connection, self._source, known.begins_at, reported, former)
                if vanished_count
                else (),
                receipts.read_newest_time(connection, self._source) if vanished_count else None,
            )

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

    def _check_proof(self, report: PollReport, state: TailState, stored: _Stored) -> None:
        now = state.server.now()
        lag, waiting = now - state.marks.proved_through, stored.waiting_since
        is_waiting = waiting is not None and now - waiting > GRACE + self._lag
        why = f": {report.unproved[0]}" if report.unproved else ""
        what = f"complete only through {instant(state.marks.proved_through)}{why}"
        if waiting is not None and is_waiting and lag <= self._lag:  # no poll had time to check them
            what = f"older windows have waited since {instant(waiting)} to be checked for late records"
        self._alerts.set("proof_lagging", what, is_wrong=lag > self._lag or is_waiting)

    def _check_older(self, stored: _Stored) -> None:
        """Report older windows that stay without proof, each once. It ends when all are proved, or a person resolves it."""
        first = stored.unreported
        if not stored.failed_count:
            self._alerts.end("window_unproved")
        elif first is not None:
            what = f"{counted(stored.failed_count, 'older window')} not proved: "
            what += f"{instant(first.starts_at)} to {instant(first.ends_at)}: {first.why}"
            self._alerts.report_news("window_unproved", what)
            with self._database.write() as connection:
                unproved_windows.note_reported(connection, self._source, FAILURES_TO_REPORT)

    def _check_filters(self, report: PollReport) -> None:
        what = f"the upstream ignored {' and '.join(sorted(report.ignored_filters))}"
        self._alerts.set("filter_ignored", what, is_wrong=bool(report.ignored_filters))

    def _check_vanished(self, state: TailState, stored: _Stored) -> None:
        """Report records that vanished, each once. It ends when all are back, or when a person resolves the alert.

        What is reported is stored: a process that is killed before it reports leaves that to the next one.
        """
        if not stored.vanished_count:
            self._alerts.end("window_shrunk")
        elif stored.vanished:
            first, last = stored.vanished[0], stored.vanished[-1]
            kinds = ", ".join(sorted({record.action_kind for record in stored.vanished}))
            what = f"the upstream no longer shows {counted(stored.vanished_count, 'record')} that it showed before"
            what += f". New since the last report: {kinds} between {instant(first.occurred_at)} and {instant(last.occurred_at)}"
            self._alerts.report_news("window_shrunk", what)
            state.commit(replace(state.marks, vanished_reported_through=stored.vanished_through))
