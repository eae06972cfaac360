"""What a run of rules over records on a virtual clock gives: used by tests in rule files and by backtests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from actionwatch.base.model import Level, Record, RuleName
from actionwatch.rules.engine import Failure
from actionwatch.rules.model import Rule


@dataclass(frozen=True, slots=True)
class Fired:
    """One alert. `records` are those that count in it, in event order; empty where something was missing.

    In a replay, which may be of any length, `records` are the first and the last of them, and `count` says how many there are.
    """

    id: str
    rule: RuleName
    level: Level
    title: str
    body: str
    first_at: datetime
    last_at: datetime
    count: int
    records: tuple[Record, ...] = ()
    group: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    late_by: timedelta | None = None
    resolved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All alerts, in the order of their first time, and what went wrong with rules."""

    alerts: tuple[Fired, ...]
    failures: tuple[Failure, ...] = ()


class Simulate(Protocol):
    """Runs rules over records through the production engine, records coming in the order of `seen_at`.

    `begin` is from when on the stream is known whole, None: for as long as the rules need; `verified_until`, to when.
    """

    def __call__(
        self,
        rules: Sequence[Rule],
        records: Sequence[Record],
        *,
        begin: datetime | None,
        start: datetime,
        until: datetime,
        verified_until: datetime,
    ) -> Outcome:
        """Run."""
        ...


def ends(records: Sequence[Record]) -> tuple[Record, ...]:
    """Give the first and the last of some records."""
    return tuple(records) if len(records) < 2 else (records[0], records[-1])
