"""Open and resolve the self-alerts that follow from the polls of a source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import AccessDenied, SourceError
from actionwatch.base.model import Record
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.records import MAX_RECORD_CHARS, MAX_UNMAPPED_FIELDS, RecordReader
from actionwatch.store import receipts, records, seen_fields, unknown_kinds, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.polls import Poll
from actionwatch.tail.backoff import LONGEST
from actionwatch.tail.cursor import REPORTED_SKEW
from actionwatch.tail.planning import GRACE, lag_limit
from actionwatch.tail.state import PollReport, TailState
from actionwatch.tail.sweeping import FAILURES_TO_REPORT
from actionwatch.text.escaping import shorten
from actionwatch.text.payloads import instant
from actionwatch.text.raw_records import is_cut

UNREACHABLE_POLLS = 3  # failures in a row: a single lost response is not worth an alert
FIELD_NEWS = timedelta(days=1)  # how long a new field is reported
MAX_KINDS = 1000  # unknown kinds of a source that are kept; 81 are documented, but an upstream could invent more
MAX_NAME = 100  # characters of such a kind: the longest documented one has 42
NAMES_SHOWN = 10  # in one self-alert, and so many characters of each:
NAME_SHOWN = 60
LOOKED = ""  # stored with the known fields from the first record on, which may have only fields that we map


REMEDIES = {
    "clock_skew": "set this machine's clock (NTP), or ask the vendor. Records are read and matched, but nothing is proved "
    "beyond the earlier of the two times (5 minutes are tolerated)",
    "filter_ignored": "nothing is lost: actionwatch filters the responses again; but polls cost more. Inform the vendor",
    "mark_ahead": "records after the last valid proof are read again; check this machine's clock (NTP). Resolves by itself",
    "proof_lagging": "'actionwatch status' and the log show the reason; records are still stored and matched",
    "records_cut": "look at them in the console of the vendor, and ask the vendor why they are this large. Resolves by itself",
    "unknown_field": "look at one ('actionwatch records list -o json'); add another name of a known field to field_aliases",
    "unknown_kind": "decide whether rules should watch them, then add them to extra_kinds in the configuration",
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
        self._lag = lag_limit(poll_interval)
        self._declared_kinds = frozenset(map(_kept_name, known_kinds))
        self._noted_kinds: frozenset[str] = frozenset()
        """The unknown kinds in the store, as this process saw them last."""
        self._cut_keys: set[str] = set()
        """Of the records that were cut since the last poll."""
        self._over: list[str] = []
        """The troubles that the poll shows to be over."""
        self._reader = reader
        self._database = database
        self._self_alerts = self_alerts
        self._clock = clock
        with database.read() as connection:
            self._settle_identity(seen_fields.read(connection, reader.organisation))

    def note_failure(self, error: SourceError, poll: Poll) -> None:
        """Report why a poll failed: at once if a person must act or the next poll is far off, else after some failures."""
        if isinstance(error, AccessDenied):
            self._self_alerts.report("key_refused", self._source, error.what, error.remedy)
        elif poll.failures >= UNREACHABLE_POLLS or poll.backoff > LONGEST:
            which = "a poll failed" if poll.failures == 1 else f"{poll.failures} polls failed in a row"
            then = f"; the next one starts in {spell_duration(poll.backoff)}" if poll.backoff > LONGEST else ""
            what = f"{which}: {error.what}{then}"
            self._self_alerts.report("upstream_unreachable", self._source, what, error.remedy)

    def note_poll(self, report: PollReport, state: TailState) -> None:
        """Report and settle what follows from a poll that got responses."""
        self._over = ["key_refused", "upstream_unreachable"]  # together: one read, after nearly every poll
        self._check_clock(state.server.skew)
        self._check_marks(report)
        self._check_proof(report, state)
        self._check_older()
        self._check_filters(report)
        self._check_kinds()
        self._check_cut()
        self._check_fields(report)
        self._check_vanished(state)
        self._self_alerts.settle_all(self._over, self._source)

    def note_records(self, found: Sequence[Record]) -> None:
        """Note what people must know of records: unknown kinds, and that texts were cut.

        Call it before these records are stored: a process that is killed in between reads them again.
        """
        self._note_kinds({record.action_kind for record in found})
        cut = [record.key for record in found if is_cut(record)]
        if cut:
            self._cut_keys.update(cut)
            self._self_alerts.report("records_cut", self._source, self._describe_cut(), REMEDIES["records_cut"])

    def _note_kinds(self, kinds: Collection[str]) -> None:
        """Store which kinds are unknown; the next poll that gets responses reports them."""
        unknown = set(map(_kept_name, kinds)) - self._declared_kinds - self._noted_kinds
        if not unknown or len(self._noted_kinds) >= MAX_KINDS:
            return
        with self._database.write() as connection:
            stored = {kind.name for kind in unknown_kinds.read(connection, self._source)}
            added = sorted(unknown - stored)[: max(MAX_KINDS - len(stored), 0)]
            unknown_kinds.insert_new(connection, self._source, added)
        self._noted_kinds = frozenset(stored.union(added))

    def _check_clock(self, skew: timedelta) -> None:
        ahead = "ahead of" if skew > timedelta(0) else "behind"
        what = f"the upstream's clock is {spell_duration(abs(skew))} {ahead} ours"
        self._set("clock_skew", what, is_wrong=abs(skew) > REPORTED_SKEW)

    def _check_marks(self, report: PollReport) -> None:
        """Report that the source was taken to be read up to a time in the future. It ends when it is read up to now."""
        if report.mark_ahead is not None:
            what = f"a stored mark was {instant(report.mark_ahead)}, which is in the future"
            self._self_alerts.report("mark_ahead", self._source, what, REMEDIES["mark_ahead"])
        elif not report.unproved:
            self._over.append("mark_ahead")

    def _check_proof(self, report: PollReport, state: TailState) -> None:
        lag = state.server.now() - state.marks.proved_through
        why = f": {report.unproved[0]}" if report.unproved else ""
        what = f"complete only through {instant(state.marks.proved_through)}{why}"
        waiting = self._waiting_since(state.server.now())
        if waiting is not None and lag <= self._lag:
            what = f"older windows wait since {instant(waiting)} to be checked for late records"
        self._set("proof_lagging", what, is_wrong=lag > self._lag or waiting is not None)

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
            self._over.append("window_unproved")
        elif not all(window.is_reported for window in failing):
            first = failing[0]
            what = f"{counted(len(failing), 'older window')} not proved: "
            what += f"{instant(first.starts_at)} to {instant(first.ends_at)}: {first.why}"
            self._report_news("window_unproved", what)
            with self._database.write() as connection:
                unproved_windows.write(connection, [replace(window, is_reported=True) for window in failing])

    def _check_filters(self, report: PollReport) -> None:
        what = f"the upstream ignored {' and '.join(sorted(report.ignored_filters))}"
        self._set("filter_ignored", what, is_wrong=bool(report.ignored_filters))

    def _check_kinds(self) -> None:
        """Report the kinds that nobody declared, each once. It ends when all are declared, or a person resolves it."""
        with self._database.read() as connection:
            kinds = unknown_kinds.read(connection, self._source)
        declared = [kind.name for kind in kinds if kind.name in self._declared_kinds]
        unknown = [kind for kind in kinds if kind.name not in self._declared_kinds]
        news = [kind.name for kind in unknown if not kind.is_reported]
        if not unknown:
            self._over.append("unknown_kind")
        if not declared and not news:
            return
        if unknown:
            count = "at least " * (len(kinds) >= MAX_KINDS) + counted(len(unknown), "unknown kind")
            names = _spell_names([kind.name for kind in unknown])
            what = f"records of {count} come from {self._source}: {names}; severity medium is assumed"
            self._report_news("unknown_kind", what, is_new=bool(news))
        with self._database.write() as connection:
            unknown_kinds.delete(connection, self._source, declared)
            unknown_kinds.note_reported(connection, self._source, news)

    def _check_cut(self) -> None:
        """Report how many records were cut since the last poll; without any, it is over."""
        if self._cut_keys:
            self._self_alerts.update("records_cut", self._source, self._describe_cut())
        else:
            self._over.append("records_cut")
        self._cut_keys.clear()

    def _describe_cut(self) -> str:
        what = f"{counted(len(self._cut_keys), 'record')} had more than {MAX_RECORD_CHARS:,} characters, and was cut"
        return f"{what}: rules do not see what is missing. The newest is {max(self._cut_keys)}"

    def _check_fields(self, report: PollReport) -> None:
        """Report fields that no record had when the source was first read."""
        now, met = self._clock(), set(self._reader.unmapped_fields)
        if report.has_records:
            met.add(LOOKED)
        with self._database.read() as connection:
            known = seen_fields.read(connection, self._reader.organisation)
        added = sorted(met - known.keys())[: max(MAX_UNMAPPED_FIELDS + 1 - len(known), 0)]
        if added:
            with self._database.write() as connection:
                # The fields of the first records are what this upstream has; only later ones are news. They get a later time
                # even if the clock was set back: the identity of records depends on the fields with the earliest time.
                seen_at = max(now, min(known.values()) + FIELD_NEWS) if known else now - FIELD_NEWS
                seen_fields.insert_new(connection, self._reader.organisation, added, seen_at)
                known = seen_fields.read(connection, self._reader.organisation)
            self._settle_identity(known)
        news = sorted(name for name, at in known.items() if name != LOOKED and now - at < FIELD_NEWS)
        what = f"records carry fields never seen before: {_spell_names(news)}"
        self._set("unknown_field", what, is_wrong=bool(news))

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
            self._over.append("window_shrunk")
        elif vanished:
            first, last = vanished[0], vanished[-1]
            kinds = ", ".join(sorted({record.action_kind for record in vanished}))
            what = f"the upstream no longer shows {counted(count, 'record')} that it showed before"
            what += f". New since the last report: {kinds} between {instant(first.occurred_at)} and {instant(last.occurred_at)}"
            self._report_news("window_shrunk", what)
            state.commit(replace(known, vanished_reported_through=through))

    def _report_news(self, trouble: str, what: str, *, is_new: bool = True) -> None:
        """Open the alert of a trouble, or change what the open one says; without anything new, only the latter."""
        if is_new:
            self._self_alerts.report(trouble, self._source, what, REMEDIES[trouble])
        self._self_alerts.update(trouble, self._source, what)

    def _set(self, trouble: str, what: str, *, is_wrong: bool) -> None:
        if is_wrong:
            self._self_alerts.report(trouble, self._source, what, REMEDIES[trouble])
        else:
            self._over.append(trouble)


def _kept_name(kind: str) -> str:
    """Return a kind as it is kept: two kinds that begin with the same 100 characters are one."""
    return kind[:MAX_NAME]


def _spell_names(names: Sequence[str]) -> str:
    """Name the first few, and how many more there are."""
    shown = ", ".join(shorten(name, NAME_SHOWN) for name in names[:NAMES_SHOWN])
    return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown
