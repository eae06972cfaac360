"""Open and resolve the self-alerts that follow from the polls of a source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import AccessDenied, SourceError
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.records import RecordReader
from actionwatch.store import receipts, records, seen_fields, unproved_windows
from actionwatch.store.database import Database
from actionwatch.tail.planning import GRACE
from actionwatch.tail.state import PollReport, TailState
from actionwatch.tail.sweeping import FAILURES_TO_REPORT
from actionwatch.text.payloads import instant

UNREACHABLE_POLLS = 3  # failures in a row: a single lost response is not worth an alert
LAG_POLLS = 20  # poll intervals without proof
LAG_LEAST = timedelta(minutes=10)
MAX_SKEW = timedelta(minutes=2)
FIELD_NEWS = timedelta(days=1)  # how long a new field is reported
LOOKED = ""  # stored with the known fields from the first record on, which may have only fields that we map

log = structlog.get_logger()

REMEDIES = {
    "clock_skew": "set this machine's clock (NTP), or ask the vendor. Records are read and matched, but nothing is proved "
    "beyond the earlier of the two times (5 minutes are tolerated)",
    "filter_ignored": "nothing is lost: actionwatch filters the responses again; but polls cost more. Inform the vendor",
    "mark_ahead": "records after the last valid proof are read again; check this machine's clock (NTP). Resolves by itself",
    "proof_lagging": "'actionwatch status' and the log show the reason; records are still stored and matched",
    "unknown_field": "look at one ('actionwatch records list -o json'); add another name of a known field to field_aliases",
    "unknown_kind": "decide whether a rule should watch it, then add it to extra_kinds in the configuration",
    "window_unproved": "'actionwatch records proof' lists the windows and the reasons; they are read again each hour; run "
    "'actionwatch probe'",
    "window_shrunk": "the store still has the records ('actionwatch records list'): ask the vendor whether a person or "
    "retention deleted them",
}


class SourceWatch:
    """Watches the polls of one source. `known_kinds` are the catalogue and the configuration's extra kinds."""

    def __init__(
        self,
        source: str,
        poll_interval: timedelta,
        known_kinds: Collection[str],
        reader: RecordReader,
        database: Database,
        self_alerts: SelfAlerts,
        clock: Callable[[], datetime],
    ) -> None:
        self._source = source
        self._lag = max(poll_interval * LAG_POLLS, LAG_LEAST)
        self._known_kinds = set(known_kinds)
        self._reader = reader
        self._database = database
        self._self_alerts = self_alerts
        self._clock = clock
        with database.read() as connection:
            self._settle_identity(seen_fields.read(connection, reader.organisation))

    def note_failure(self, error: SourceError, failures: int) -> None:
        """Report why a poll failed: at once if a person must act, otherwise after some failures in a row."""
        if isinstance(error, AccessDenied):
            self._self_alerts.report("key_refused", self._source, error.what, error.remedy)
        elif failures >= UNREACHABLE_POLLS:
            what = f"{failures} polls failed in a row: {error.what}"
            self._self_alerts.report("upstream_unreachable", self._source, what, error.remedy)

    def note_poll(self, report: PollReport, state: TailState) -> None:
        """Report and settle what follows from a poll that got responses."""
        self._self_alerts.settle("key_refused", self._source)
        self._self_alerts.settle("upstream_unreachable", self._source)
        self._check_clock(state.server.skew)
        self._check_marks(report)
        self._check_proof(report, state)
        self._check_older()
        self._check_filters(report)
        self._check_fields(report)
        self._check_vanished(state)

    def note_kinds(self, kinds: Collection[str]) -> None:
        """Report each kind that is seen for the first time. It stays open until the configuration contains it.

        Call it before records of these kinds are stored: a process that is killed in between reads them again.
        """
        for kind in sorted(set(kinds) - self._known_kinds):
            what = f"records of kind {kind} come from {self._source}; severity medium is assumed"
            self._self_alerts.report("unknown_kind", kind, what, REMEDIES["unknown_kind"])
            self._known_kinds.add(kind)

    def _check_clock(self, skew: timedelta) -> None:
        ahead = "ahead of" if skew > timedelta(0) else "behind"
        what = f"the upstream's clock is {spell_duration(abs(skew))} {ahead} ours"
        self._set("clock_skew", self._source, what, is_wrong=abs(skew) > MAX_SKEW)

    def _check_marks(self, report: PollReport) -> None:
        """Report that the source was taken to be read up to a time in the future. It ends when it is read up to now."""
        if report.mark_ahead is not None:
            what = f"a stored mark was {instant(report.mark_ahead)}, which is in the future"
            self._self_alerts.report("mark_ahead", self._source, what, REMEDIES["mark_ahead"])
        elif not report.unproved:
            self._self_alerts.settle("mark_ahead", self._source)

    def _check_proof(self, report: PollReport, state: TailState) -> None:
        lag = state.server.now() - state.marks.proved_through
        why = f": {report.unproved[0]}" if report.unproved else ""
        what = f"complete only through {instant(state.marks.proved_through)}{why}"
        waiting = self._waiting_since(state.server.now())
        if waiting is not None and lag <= self._lag:
            what = f"older windows wait since {instant(waiting)} to be checked for late records"
        self._set("proof_lagging", self._source, what, is_wrong=lag > self._lag or waiting is not None)

    def _waiting_since(self, now: datetime) -> datetime | None:
        """Return since when a window waits that no poll had time to check; None if none waits for too long."""
        with self._database.read() as connection:
            waiting = [
                window.due_at
                for window in unproved_windows.read(connection, self._source)
                if not window.failure_count and now - window.due_at > GRACE + self._lag
            ]
        return min(waiting, default=None)

    def _check_older(self) -> None:
        """Report older windows that stay without proof, each once. It ends when all are proved, or a person resolves it."""
        with self._database.read() as connection:
            windows = unproved_windows.read(connection, self._source)
        failing = [window for window in windows if window.failure_count >= FAILURES_TO_REPORT]
        if not failing:
            self._self_alerts.settle("window_unproved", self._source)
        elif not all(window.is_reported for window in failing):
            first = failing[0]
            what = f"{counted(len(failing), 'older window')} not proved: "
            what += f"{instant(first.starts_at)} to {instant(first.ends_at)}: {first.why}"
            self._self_alerts.report("window_unproved", self._source, what, REMEDIES["window_unproved"])
            with self._database.write() as connection:
                unproved_windows.write(connection, [replace(window, is_reported=True) for window in failing])

    def _check_filters(self, report: PollReport) -> None:
        what = f"the upstream ignored {' and '.join(sorted(report.ignored_filters))}"
        self._set("filter_ignored", self._source, what, is_wrong=bool(report.ignored_filters))

    def _check_fields(self, report: PollReport) -> None:
        """Report fields that no record had when the source was first read."""
        now, met = self._clock(), set(self._reader.unmapped_fields)
        if report.has_records:
            met.add(LOOKED)
        with self._database.read() as connection:
            known = seen_fields.read(connection, self._reader.organisation)
        if met - known.keys():
            with self._database.write() as connection:
                # The fields of the first records are what this upstream has; only later ones are news. They get a later time
                # even if the clock was set back: the identity of records depends on the fields with the earliest time.
                seen_at = max(now, min(known.values()) + FIELD_NEWS) if known else now - FIELD_NEWS
                seen_fields.insert_new(connection, self._reader.organisation, met - known.keys(), seen_at)
                known = seen_fields.read(connection, self._reader.organisation)
            self._settle_identity(known)
        news = sorted(name for name, at in known.items() if name != LOOKED and now - at < FIELD_NEWS)
        what = f"records carry fields never seen before: {', '.join(news)}"
        self._set("unknown_field", self._source, what, is_wrong=bool(news))

    def _settle_identity(self, known: Mapping[str, datetime]) -> None:
        """Base the identity of records on the fields of the first ones, so that it does not change when a field is added."""
        if known:
            first_sight = min(known.values())
            self._reader.settle_identity(name for name, at in known.items() if at == first_sight)

    def _check_vanished(self, state: TailState) -> None:
        """Report records that vanished, each once. It ends when all are back, or when a person resolves the alert.

        What is reported is stored: a process that is killed before it reports leaves that to the next one.
        """
        known = state.marks
        with self._database.read() as connection:
            count = records.count_vanished(connection, self._source, known.begins_at)
            if count:
                through = receipts.read_newest_time(connection, self._source)
                reported = known.vanished_reported_through
                vanished = records.read_vanished(connection, self._source, known.begins_at, reported)
        if not count:
            self._self_alerts.settle("window_shrunk", self._source)
        elif vanished:
            first, last = vanished[0], vanished[-1]
            kinds = ", ".join(sorted({record.action_kind for record in vanished}))
            what = f"the upstream no longer shows {counted(count, 'record')} that it showed before"
            what += f". New since the last report: {kinds} between {instant(first.occurred_at)} and {instant(last.occurred_at)}"
            self._self_alerts.report("window_shrunk", self._source, what, REMEDIES["window_shrunk"])
            state.commit(replace(known, vanished_reported_through=through))

    def _set(self, trouble: str, subject: str, what: str, *, is_wrong: bool) -> None:
        if is_wrong:
            self._self_alerts.report(trouble, subject, what, REMEDIES[trouble])
        else:
            self._self_alerts.settle(trouble, subject)
