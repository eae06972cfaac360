"""Self-watch: judge what the polls, the clocks and the disk show, and report or settle the troubles that follow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import AccessDenied, SourceError
from actionwatch.instaclustr.records import RecordReader
from actionwatch.store import marks, receipts, records, seen_fields, unproved_windows
from actionwatch.store.database import Database
from actionwatch.tail.planning import GRACE
from actionwatch.tail.state import PollReport, TailState
from actionwatch.tail.sweeping import FAILURES_TO_REPORT
from actionwatch.text.payloads import instant

UNREACHABLE_POLLS = 3  # failures in a row before people are told: one lost answer is no news
LAG_POLLS = 20  # poll intervals without proof
LAG_LEAST = timedelta(minutes=10)
MAX_SKEW = timedelta(minutes=2)
FIELD_NEWS = timedelta(days=1)  # how long a field that was never seen before is told of
LOOKED = ""  # kept among the known fields from the first record on: it may have none that we do not map

log = structlog.get_logger()

REMEDIES = {
    "clock_skew": "set this machine's clock (NTP), or ask the vendor: windows follow the upstream's clock meanwhile",
    "filter_ignored": "nothing is lost: answers are filtered again here; polls cost more. Tell the vendor",
    "proof_lagging": "see 'actionwatch status' and the log for why; records go on being stored and matched meanwhile",
    "unknown_field": "look at one ('actionwatch records list -o json'); a known field's other name belongs into field_aliases",
    "unknown_kind": "decide whether a rule should watch it, then add it to extra_kinds in the configuration",
    "window_unproved": "'actionwatch records proof' lists what is not proved, with why; it is read again each hour. Run "
    "'actionwatch probe'",
    "window_shrunk": "the records are in the store ('actionwatch records list'): ask the vendor who deleted them, or whether "
    "retention did",
}


class SourceWatch:
    """What one source's polls show. `known_kinds` are the catalogue and the configuration's extra kinds."""

    def __init__(
        self,
        source: str,
        poll_interval: timedelta,
        known_kinds: Collection[str],
        reader: RecordReader,
        database: Database,
        troubles: SelfAlerts,
        clock: Callable[[], datetime],
    ) -> None:
        self._source = source
        self._lag = max(poll_interval * LAG_POLLS, LAG_LEAST)
        self._known_kinds = set(known_kinds)
        self._reader = reader
        self._database = database
        self._troubles = troubles
        self._clock = clock
        with database.read() as connection:
            self._settle_identity(seen_fields.read(connection, reader.organisation))

    def judge_failure(self, error: SourceError, failures: int) -> None:
        """Report why the upstream gave nothing: at once where a person must act, else after some polls."""
        if isinstance(error, AccessDenied):
            self._troubles.report("key_refused", self._source, error.what, error.remedy)
        elif failures >= UNREACHABLE_POLLS:
            what = f"{failures} polls failed in a row: {error.what}"
            self._troubles.report("upstream_unreachable", self._source, what, error.remedy)

    def judge_poll(self, report: PollReport, state: TailState) -> None:
        """Judge a poll that was answered."""
        self._troubles.settle("key_refused", self._source)
        self._troubles.settle("upstream_unreachable", self._source)
        self._judge_clock(state.server.skew)
        self._judge_proof(report, state)
        self._judge_older()
        self._judge_filters(report)
        self._judge_kinds(report)
        self._judge_fields(report)
        self._judge_vanished(state)

    def _judge_clock(self, skew: timedelta) -> None:
        ahead = "ahead of" if skew > timedelta(0) else "behind"
        what = f"the upstream's clock is {spell_duration(abs(skew))} {ahead} ours"
        self._judge("clock_skew", self._source, what, is_wrong=abs(skew) > MAX_SKEW)

    def _judge_proof(self, report: PollReport, state: TailState) -> None:
        lag = state.server.now() - state.marks.proved_through
        why = f": {report.unproved[0]}" if report.unproved else ""
        what = f"complete only through {instant(state.marks.proved_through)}{why}"
        waiting = self._waiting_since(state.server.now())
        if waiting is not None and lag <= self._lag:
            what = f"older windows wait since {instant(waiting)} to be checked for late records"
        self._judge("proof_lagging", self._source, what, is_wrong=lag > self._lag or waiting is not None)

    def _waiting_since(self, now: datetime) -> datetime | None:
        """Say since when a window waits that no poll had time to ask for; None where none waits for too long."""
        with self._database.read() as connection:
            waiting = [
                doubt.due_at
                for doubt in unproved_windows.read(connection, self._source)
                if not doubt.failure_count and now - doubt.due_at > GRACE + self._lag
            ]
        return min(waiting, default=None)

    def _judge_older(self) -> None:
        """Report older windows that stay without proof, each once. It ends when all are proved, or a person resolves it."""
        with self._database.read() as connection:
            windows = unproved_windows.read(connection, self._source)
        failing = [window for window in windows if window.failure_count >= FAILURES_TO_REPORT]
        if not failing:
            self._troubles.settle("window_unproved", self._source)
        elif not all(window.is_reported for window in failing):
            first = failing[0]
            what = f"{_windows(len(failing))} not proved: {instant(first.starts_at)} to {instant(first.ends_at)}: {first.why}"
            self._troubles.report("window_unproved", self._source, what, REMEDIES["window_unproved"])
            with self._database.write() as connection:
                unproved_windows.write(connection, [replace(window, is_reported=True) for window in failing])

    def _judge_filters(self, report: PollReport) -> None:
        what = f"the upstream ignored {' and '.join(sorted(report.ignored_filters))}"
        self._judge("filter_ignored", self._source, what, is_wrong=bool(report.ignored_filters))

    def _judge_kinds(self, report: PollReport) -> None:
        """Report the first sight of a kind; it stays open until the configuration knows it."""
        for kind in sorted(report.kinds - self._known_kinds):
            what = f"records of kind {kind} come from {self._source}; severity medium is assumed"
            self._troubles.report("unknown_kind", kind, what, REMEDIES["unknown_kind"])
            self._known_kinds.add(kind)

    def _judge_fields(self, report: PollReport) -> None:
        """Report fields that no record had when the source was first read."""
        now, met = self._clock(), set(self._reader.unmapped_fields)
        if report.kinds:
            met.add(LOOKED)
        with self._database.read() as connection:
            known = seen_fields.read(connection, self._reader.organisation)
        if met - known.keys():
            with self._database.write() as connection:
                # What is there at the first sight is how this upstream is; only what comes later is news, and is stored as
                # later, though the clock was set back since: identity rests on what has the earliest time.
                seen_at = max(now, min(known.values()) + FIELD_NEWS) if known else now - FIELD_NEWS
                seen_fields.insert_new(connection, self._reader.organisation, met - known.keys(), seen_at)
                known = seen_fields.read(connection, self._reader.organisation)
            self._settle_identity(known)
        news = sorted(name for name, at in known.items() if name != LOOKED and now - at < FIELD_NEWS)
        what = f"records carry fields never seen before: {', '.join(news)}"
        self._judge("unknown_field", self._source, what, is_wrong=bool(news))

    def _settle_identity(self, known: Mapping[str, datetime]) -> None:
        """Have identity rest on the fields of the first sight: records read before and after one is added stay the same."""
        if known:
            first_sight = min(known.values())
            self._reader.settle_identity(name for name, at in known.items() if at == first_sight)

    def _judge_vanished(self, state: TailState) -> None:
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
            self._troubles.settle("window_shrunk", self._source)
        elif vanished:
            first, last = vanished[0], vanished[-1]
            kinds = ", ".join(sorted({record.action_kind for record in vanished}))
            what = f"the upstream no longer shows {count} records that it showed before"
            what += f", last seen gone: {kinds} between {instant(first.occurred_at)} and {instant(last.occurred_at)}"
            self._troubles.report("window_shrunk", self._source, what, REMEDIES["window_shrunk"])
            state.marks = replace(known, vanished_reported_through=through)
            with self._database.write() as connection:
                marks.write(connection, state.marks)

    def _judge(self, trouble: str, subject: str, what: str, *, is_wrong: bool) -> None:
        if is_wrong:
            self._troubles.report(trouble, subject, what, REMEDIES[trouble])
        else:
            self._troubles.settle(trouble, subject)


def _windows(count: int) -> str:
    return "one older window is" if count == 1 else f"{count} older windows are"
