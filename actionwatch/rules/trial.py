"""What the trial of a draft of rules finds: which alerts it would have opened. Sent between processes as lines of JSON."""

from __future__ import annotations

from datetime import datetime

import msgspec


class TrialProgress(msgspec.Struct, frozen=True, tag="progress"):
    """How far the trial is: the records so far, and the time of the last one."""

    record_count: int
    through: datetime


class TrialRefused(msgspec.Struct, frozen=True, tag="refused"):
    """Why there is no result: one sentence for each fault."""

    faults: list[str]


class TrialAlert(msgspec.Struct, frozen=True):
    """An alert that the draft would have opened. `record_key` is that of its newest record; an absence has none."""

    title: str
    at: datetime
    record_count: int
    record_key: str | None


class FailedTest(msgspec.Struct, frozen=True):
    """A test in the draft that failed."""

    name: str
    line: int
    problems: list[str]


class TrialRule(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule of the draft would have done. `counts` are its alerts in each bar of the result."""

    name: str
    title: str
    level: str
    alert_count: int
    record_count: int
    counts: list[int]
    newest: list[TrialAlert]
    errors: list[str]
    test_count: int
    failed_tests: list[FailedTest]


class TrialResult(msgspec.Struct, frozen=True, kw_only=True, tag="result"):
    """What a draft would have done with the records from `start` to `end`. `notes` are probable mistakes in it.

    `is_cut`: the time for a trial was over before it reached the newest record.
    """

    start: datetime
    end: datetime
    is_cut: bool
    record_count: int
    rules: list[TrialRule]
    notes: list[str]


TrialEvent = TrialProgress | TrialRefused | TrialResult
