"""The process that tries a draft: it reads a request from its input, and writes events to its output, one in a line."""

from __future__ import annotations

import contextlib
import os
import pickle  # nosec B403
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from actionwatch.base.clock import Spans
from actionwatch.base.errors import ActionwatchError, ConfigError
from actionwatch.base.model import Alert, Record, seen_at_once
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.rules.case_runner import CaseRunner, SimulationResult
from actionwatch.rules.lists import list_folders, read_lists
from actionwatch.rules.load import Rules, read_documents
from actionwatch.rules.model import Rule
from actionwatch.rules.trial import (
    FailedTest,
    TrialAlert,
    TrialEvent,
    TrialProgress,
    TrialRefused,
    TrialResult,
    TrialRule,
)
from actionwatch.service.rule_context import LoadedRules, RuleContext
from actionwatch.service.simulation import replay, simulate, to_replay
from actionwatch.service.trial import TrialRequest
from actionwatch.store import marks, records
from actionwatch.store.database import StoreReader
from actionwatch.text.escaping import visible
from actionwatch.text.yaml_document import read_text

_DRAFT = "draft"
"""The file name of the draft in the location of a fault."""
BARS = 30
_NEWEST = 10  # alerts that are shown of each rule
_MAX_ERRORS = 5  # of each rule
RUN_SECONDS = 30.0  # then the result covers the records so far: the listener ends a request after 60 s
_LAST_SECONDS = 50  # for all; then the kernel ends the process
_MAX_BYTES = 384 * 1024 * 1024
_NICE = 10
_OOM_SCORE = "500"
_PROGRESS_SECONDS = 0.3

Emit = Callable[[TrialEvent], None]


def main() -> None:
    """Run one trial, with limits of CPU, memory and time."""
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.nice(_NICE)
    with contextlib.suppress(OSError):  # the kernel ends it before the service
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    resource.setrlimit(resource.RLIMIT_DATA, (_MAX_BYTES, _MAX_BYTES))
    signal.alarm(_LAST_SECONDS)
    try:
        # The service writes it: see `trial.py`.
        request: TrialRequest = pickle.load(sys.stdin.buffer)  # noqa: S301  # nosec B301
        _emit(answer(request, _emit))
    except BrokenPipeError:  # nobody waits for the result any longer
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _emit(event: TrialEvent) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.buffer.flush()


def answer(request: TrialRequest, emit: Emit) -> TrialResult | TrialRefused:
    """Run the rules of a draft, or say why it is refused."""
    try:
        return run(request, emit)
    except ConfigError as exc:
        return TrialRefused([str(fault) for fault in exc.faults])
    except ActionwatchError as exc:
        return TrialRefused([str(exc)])
    except MemoryError:
        limit = _MAX_BYTES // (1024 * 1024)
        return TrialRefused(
            [f"the trial needs more than {limit} MiB of memory: choose a shorter time, or narrow the rule"]
        )


def run(request: TrialRequest, emit: Emit) -> TrialResult:
    """Run the rules of a draft over the stored records, and their tests. Raises: ConfigError, StoreError."""
    loaded = _load(request)
    found = loaded.found
    mine = [rule for rule in found.rules if rule.file == _DRAFT]
    faults = [fault for fault in found.faults if fault.file == _DRAFT]
    if faults:
        raise ConfigError(*faults)
    if not mine:
        raise ActionwatchError("the draft has no rule: a filter is tried with the rules to which it applies")
    tests = CaseRunner(found.rules, simulate, KINDS, loaded.context.lists, loaded.rebuild)
    store = StoreReader.open(request.store)
    try:
        with store.read() as connection:
            result = _replay(connection, request.since, mine, found, emit)
    finally:
        store.close()
    rules = [_with_tests(each, rule, tests) for each, rule in zip(result.rules, _shown(mine), strict=True)]
    notes = [str(note) for note in found.notes if note.file == _DRAFT]
    return msgspec.structs.replace(result, rules=rules, notes=notes)


def _load(request: TrialRequest) -> LoadedRules:
    """Build the draft with the rules in use, which its correlations may name. It comes first, and so replaces the same rule."""
    lists = read_lists(list_folders(request.lists, request.rules))
    context = RuleContext(request.rules, lists, request.known_kinds, request.intervals, None)
    documents = (*read_text(request.draft, _DRAFT), *read_documents(request.rules).documents)
    return LoadedRules(context.build(documents), documents, context)


def _replay(connection: Connection, since: datetime, mine: Sequence[Rule], found: Rules, emit: Emit) -> TrialResult:
    known = marks.read_all(connection).values()
    if not known:
        raise ActionwatchError("no source has been polled yet: wait for the first poll")
    start = max(since, min(mark.begins_at for mark in known))
    begin = max(
        since, max(mark.begins_at for mark in known)
    )  # before it, a source may have had actions that nobody read
    end = max([begin, *(mark.seen_through for mark in known)])
    taken = _TimedRecords(records.stream_since(connection, start, records.newest_id(connection)), start, emit)
    outcome = replay(
        to_replay(mine, found.rules), taken, begin=begin, end=min([end, *(mark.proved_through for mark in known)])
    )
    end = taken.through if taken.is_cut else max(end, taken.through)
    return TrialResult(
        start=start,
        end=end,
        is_cut=taken.is_cut,
        record_count=taken.count,
        rules=_results(_shown(mine), outcome, start, end),
        notes=[],
    )


class _TimedRecords:
    """The records of a trial until `RUN_SECONDS` are over: how many, and up to which time."""

    def __init__(self, stored: Iterable[Record], start: datetime, emit: Emit) -> None:
        self._stored = stored
        self._emit = emit
        self.count = 0
        self.through = start
        self.is_cut = False

    def __iter__(self) -> Iterator[Record]:
        began = reported = time.monotonic()
        for record in self._stored:
            now = time.monotonic()
            if now - began >= RUN_SECONDS:
                self.is_cut = True
                return
            if now - reported >= _PROGRESS_SECONDS:
                reported = now
                self._emit(TrialProgress(self.count, self.through))
            self.count += 1
            self.through = max(self.through, record.occurred_at)
            yield seen_at_once(record)


def _shown(rules: Sequence[Rule]) -> list[Rule]:
    return [rule for rule in rules if not rule.is_silent]


def _results(rules: Sequence[Rule], outcome: SimulationResult, start: datetime, end: datetime) -> list[TrialRule]:
    """Return the result of each rule, without what absences would have opened after a cut: later records may prevent it."""
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


def _with_tests(result: TrialRule, rule: Rule, tests: CaseRunner) -> TrialRule:
    failed = [each for each in tests.run(rule) if each.problems]
    failures = [FailedTest(each.case.name, each.case.line, list(map(visible, each.problems))) for each in failed]
    return msgspec.structs.replace(result, test_count=len(rule.tests), failed_tests=failures)


if __name__ == "__main__":
    main()
