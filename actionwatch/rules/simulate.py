"""Run correlations over records on a virtual clock, through the code of the service: for `rules test` and `backtest`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from actionwatch.base.model import Record
from actionwatch.rules.correlations.live.changes import Change, Past, What
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.description import Telling, highest_level, tell, with_missing
from actionwatch.rules.engine import Failure
from actionwatch.rules.fired import Fired, Outcome, ends
from actionwatch.rules.model import Correlation, Found, Kind, Rule

JUST_BEFORE = timedelta(microseconds=1)


class Simulation:
    """A run over records that come in the order of `seen_at`, those of one instant together.

    `begin` is from when on the stream is known whole, None: for as long as each rule needs before `start`. In a replay nothing
    comes late: only what the rules need is held, and of each alert its first and its last record.
    """

    def __init__(
        self, rules: Sequence[Rule], *, begin: datetime | None, start: datetime, is_replay: bool = False
    ) -> None:
        past = Past(begin=lambda rule: begin or _begin(rule, start))
        self._correlator = Correlator(rules, past, keep=timedelta(0) if is_replay else None)
        self._is_replay = is_replay
        self._fired: dict[str, Fired] = {}
        self._failures: list[Failure] = []

    @property
    def is_idle(self) -> bool:
        """Whether there is no correlation at all."""
        return not self._correlator.rules

    def take(self, at: datetime, records: Sequence[Record], verified_until: datetime) -> None:
        """Take what was seen at an instant; what is verified follows the clock, up to `verified_until`."""
        self.judge(min(at - JUST_BEFORE, verified_until))
        self._correlator.take(records)
        self.judge(min(at, verified_until))

    def judge(self, verified: datetime) -> None:
        """Let what is verified now open and resolve alerts, though no record came."""
        if self._correlator.is_due(verified):
            for change in self._correlator.changes(verified):
                self._apply(change)

    def outcome(self) -> Outcome:
        """Give the alerts so far."""
        alerts = sorted(self._fired.values(), key=lambda fired: (fired.first_at, fired.id))
        return Outcome(tuple(alerts), (*self._failures, *self._correlator.take_failures()))

    def _apply(self, change: Change) -> None:
        name, rule = change.told.public_id, change.rule
        if change.what is What.OPEN and change.found is not None and name not in self._fired:
            self._fired[name] = self._opened(change, change.found)
        elif change.what in (What.OPEN, What.JOIN) and name in self._fired:
            fired = self._fired[name]
            if rule.is_absence and change.found is not None:
                self._fired[name] = self._with_missing(change, change.found, fired)
            known = {record.key for record in fired.records}
            new = [record for record in change.records if record.key not in known]
            if new:
                self._fired[name] = self._joined(rule, fired, new)
        elif change.what is What.RESOLVE and name in self._fired:
            self._fired[name] = replace(self._fired[name], resolved_at=change.at)

    def _tell(self, change: Change, found: Found) -> Telling:
        def on_failure(key: str, what: str) -> None:
            self._failures.append(Failure(change.rule.name, key, what))

        return tell(change.rule, change.group, found, change.records, on_failure)

    def _opened(self, change: Change, found: Found) -> Fired:
        rule, told = change.rule, self._tell(change, found)
        return Fired(
            id=change.told.public_id,
            rule=rule.name,
            level=told.match.level,
            title=told.match.title,
            body=told.match.body,
            first_at=told.first_at,
            last_at=told.last_at,
            count=told.count,
            records=self._kept(change.records),
            group=dict(told.match.group or {}),
            labels=told.match.labels,
            late_by=told.late_by,
        )

    def _with_missing(self, change: Change, found: Found, fired: Fired) -> Fired:
        told = self._tell(change, found)
        return replace(
            fired,
            body=with_missing(fired.body, told.match.body),
            level=max(fired.level, told.match.level),
            last_at=max(fired.last_at, told.last_at),
        )

    def _joined(self, rule: Correlation, fired: Fired, new: Sequence[Record]) -> Fired:
        records = sorted((*fired.records, *new), key=lambda record: (record.occurred_at, record.key))
        late = [each for each in (fired.late_by, *(record.late_by for record in new)) if each is not None]
        return replace(
            fired,
            records=self._kept(records),
            count=fired.count + len(new),
            level=max(fired.level, highest_level(rule, new)),
            first_at=min(fired.first_at, records[0].occurred_at),
            last_at=records[-1].occurred_at,
            late_by=max(late, default=None),
        )

    def _kept(self, records: Sequence[Record]) -> tuple[Record, ...]:
        return ends(records) if self._is_replay else tuple(records)


def _begin(rule: Correlation, start: datetime) -> datetime:
    """Say from when on the stream must be known for a rule not to start cold."""
    if rule.kind is Kind.SPIKE:
        return start - rule.timespan * (rule.windows + 1)
    return start - rule.history
