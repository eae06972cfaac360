"""`rules backtest --summary`: one document about all rules, and before it how far the backtest is. The console shows both."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from actionwatch.base.clock import Spans
from actionwatch.base.model import Alert, Record
from actionwatch.cli.output import echo
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.rules.trial import FailedTest, TrialAlert, TrialEvent, TrialProgress, TrialResult, TrialRule
from actionwatch.text.escaping import visible

if TYPE_CHECKING:
    from actionwatch.cli.rules.record_source import BacktestRecords
    from actionwatch.rules.case_runner import SimulationResult
    from actionwatch.rules.model import Rule
    from actionwatch.service.rule_context import LoadedRules

BARS = 30
_NEWEST = 10  # alerts of each rule
_MAX_ERRORS = 5  # of each rule
_PROGRESS_SECONDS = 0.3


class Watch:
    """Lets records through until the time is over, and reports how many. Reading takes at most half of the time."""

    def __init__(
        self, longest: timedelta | None, *, is_reported: bool, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._elapsed = elapsed
        self._seconds = longest.total_seconds() if longest is not None else float("inf")
        self._is_reported = is_reported
        self._began = elapsed()
        self.is_cut = False
        self.count = 0
        """The records on which the rules ran."""
        self.through: datetime | None = None

    def reading(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records that are read."""
        for number, record in enumerate(self._until(records, self._seconds / 2), 1):
            yield record
            self._report(TrialProgress(number, record.occurred_at, "read"))

    def running(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records on which the rules run."""
        for record in self._until(records, self._seconds):
            self.count += 1
            self.through = max(self.through or record.occurred_at, record.occurred_at)
            yield record
            self._report(TrialProgress(self.count, self.through))

    def _until(self, records: Iterable[Record], seconds: float) -> Iterator[Record]:
        self._reported = self._elapsed()
        for record in records:
            if self._elapsed() - self._began >= seconds:
                self.is_cut = True
                return
            yield record

    def _report(self, progress: TrialProgress) -> None:
        now = self._elapsed()
        if self._is_reported and now - self._reported >= _PROGRESS_SECONDS:
            self._reported = now
            show(progress)


def show(event: TrialEvent, *, is_indented: bool = False) -> None:
    """Print a document at once, because whoever reads it shows it to a person; in one line, unless it is indented."""
    document = msgspec.json.encode(event)
    echo(msgspec.json.format(document, indent=2 if is_indented else -1).decode())


def summarize(
    loaded: LoadedRules,
    chosen: Sequence[Rule],
    outcome: SimulationResult,
    found: BacktestRecords,
    watch: Watch,
) -> TrialResult:
    """Return what rules would have done, and the results of their tests.

    Without what absences would have opened after a cut: later records may prevent it.
    """
    files = {rule.file for rule in chosen if not rule.is_silent}
    first = found.records.first_at
    start = min(found.begin, first) if first is not None else found.begin
    end = max(watch.through or start, start) if watch.is_cut else found.end
    mine = [rule for rule in chosen if not rule.is_silent]
    results = _results(mine, outcome, start, end)
    return TrialResult(
        start=start,
        end=end,
        is_cut=watch.is_cut,
        record_count=watch.count,
        rules=[_with_tests(each, rule, loaded) for each, rule in zip(results, mine, strict=True)],
        notes=[*found.notes, *(str(note) for note in loaded.found.notes if note.file in files)],
    )


def _results(rules: Sequence[Rule], outcome: SimulationResult, start: datetime, end: datetime) -> list[TrialRule]:
    alerts = defaultdict(list)
    for alert in outcome.alerts:
        if alert.last_at <= end:
            alerts[alert.rule.id].append(alert)
    errors = defaultdict(list)
    for failure in outcome.failures:
        errors[failure.rule.id].append(visible(f"{failure.what} (record {failure.record_key})"))
    spans = Spans.between(start, end, BARS)
    return [
        TrialRule(
            name=rule.name.name,
            title=rule.name.title,
            level=rule.level.word,
            alert_count=len(alerts[rule.name.id]),
            record_count=sum(alert.count for alert in alerts[rule.name.id]),
            counts=spans.count_each(alert.first_at for alert in alerts[rule.name.id]),
            newest=[_shown_alert(alert, outcome) for alert in reversed(alerts[rule.name.id][-_NEWEST:])],
            errors=errors[rule.name.id][:_MAX_ERRORS],
            test_count=0,
            failed_tests=[],
        )
        for rule in rules
    ]


def _shown_alert(alert: Alert, outcome: SimulationResult) -> TrialAlert:
    own = outcome.records.get(alert.id, ())
    return TrialAlert(visible(alert.title), alert.first_at, alert.count, own[-1].key if own else None)


def _with_tests(result: TrialRule, rule: Rule, loaded: LoadedRules) -> TrialRule:
    from actionwatch.rules.case_runner import CaseRunner
    from actionwatch.service.simulation import simulate

    tests = CaseRunner(loaded.found.rules, simulate, KINDS, loaded.context.lists, loaded.rebuild)
    failed = [each for each in tests.run(rule) if each.problems]
    failures = [FailedTest(each.case.name, each.case.line, list(map(visible, each.problems))) for each in failed]
    return msgspec.structs.replace(result, test_count=len(rule.tests), failed_tests=failures)
