"""The lines of JSON that `rules backtest --summary` prints: its progress, and the alerts that rules would have opened."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class TrialProgress(msgspec.Struct, frozen=True, tag="progress"):
    """The progress: the records so far that were read, or on which the rules ran, and the time of the last one."""

    record_count: int
    through: datetime
    step: Literal["read", "run"] = "run"


class TrialRefused(msgspec.Struct, frozen=True, tag="refused"):
    """The reason why there is no result: one sentence for each fault. The console makes it of the command's stderr."""

    faults: list[str]


class TrialAlert(msgspec.Struct, frozen=True):
    """An alert that a rule would have opened. `record_key` is that of its newest record; an absence has none."""

    title: str
    at: datetime
    record_count: int
    record_key: str | None


class FailedTest(msgspec.Struct, frozen=True):
    """A test in the rules that failed."""

    name: str
    line: int
    problems: list[str]


class TrialRule(msgspec.Struct, frozen=True, kw_only=True):
    """The alerts that one rule would have opened: `counts`, for each bar of the result."""

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
    """The alerts that rules would have opened from `start` to `end`. `notes`: see `rules check`, and why they may find nothing.

    `is_cut`: the time of `--max-time` was over before it reached the newest record.
    """

    start: datetime
    end: datetime
    is_cut: bool
    record_count: int
    rules: list[TrialRule]
    notes: list[str]


TrialEvent = TrialProgress | TrialRefused | TrialResult
