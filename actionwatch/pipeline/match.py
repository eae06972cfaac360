"""Match: stored records -> matches -> alerts and the deliveries they owe.

Reads records after its position in the order in which they were stored, so that a late record is never passed over, and writes
alerts, deliveries and the new position in one transaction: killed anywhere, it does the batch again and changes nothing twice.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.grouping import alert_to_join, grouping_key, join, open_alert
from actionwatch.model import Alert, Match, Record
from actionwatch.pipeline.addressing import Addressing
from actionwatch.pipeline.correlating import Correlating, Sight
from actionwatch.store import alerts, positions, records
from actionwatch.store.database import Database

BATCH = 2000  # records a transaction: long enough to spread its cost, short enough to let other writers in
POSITION = "match"

log = structlog.get_logger()


class Evaluator(Protocol):
    """What finds the rules a record meets: the engine of `rules/`."""

    def evaluate(self, batch: Sequence[Record]) -> Iterable[Match]:
        """Give the matches of a batch, in record order."""
        ...

    def take_failures(self) -> Sequence[object]:
        """Give what went wrong with rules since the last call, each fit to be shown, and forget it."""
        ...


@dataclass(slots=True)
class _Batch:
    """The alerts a batch touches, each as it was after each of its matches; read once, written once."""

    opened: dict[str, list[tuple[Alert, Record]]] = field(default_factory=lambda: defaultdict(list))
    changed: dict[str, list[tuple[Alert, Record]]] = field(default_factory=lambda: defaultdict(list))
    group_of: dict[str, str] = field(default_factory=dict)
    known: dict[str, dict[str, Alert]] = field(default_factory=dict)
    joined: list[tuple[str, int]] = field(default_factory=list)


class Matcher:
    """The step. One at a time: `run_once` waits for the one under way."""

    def __init__(
        self,
        database: Database,
        engine: Evaluator,
        addressing: Addressing,
        clock: Callable[[], datetime],
        batch_size: int = BATCH,
        correlating: Correlating | None = None,
    ) -> None:
        self._database = database
        self._correlating = None if correlating is None or correlating.is_idle else correlating
        self._verified: datetime | None = None
        self._batch_size = batch_size
        self.dropped_groups = 0
        """How many groups of correlations were dropped for want of room since the start."""
        self._engine = engine
        self._addressing = addressing
        self._clock = clock
        self._lock = threading.Lock()
        self._following: tuple[Evaluator, Correlating | None] | None = None
        self._used: tuple[Evaluator, Correlating | None] | None = None
        self._is_stopping = False

    def run_once(self) -> int:
        """Match every record stored so far; give how many alerts were opened."""
        opened = 0
        with self._lock:
            while True:
                self._used = self._following
                if self._used is not None:
                    self._engine, self._correlating = self._used
                opened += self._match_whole()
                if self._is_stopping or not self._is_superseded():
                    return opened

    def use(self, engine: Evaluator, correlating: Correlating | None) -> None:
        """Match by other rules, all of them from one batch to the next; what is under way is not waited for."""
        self._following = (engine, None if correlating is None or correlating.is_idle else correlating)

    def stop(self) -> None:
        """Have `run_once` leave what is left after the batch under way to a later process."""
        self._is_stopping = True

    def _is_superseded(self) -> bool:
        return self._following is not self._used

    def _match_whole(self) -> int:
        if self._correlating is None:
            return self._match_all(None)
        try:
            return self._match_all(self._correlating)
        except BaseException:
            self._correlating.forget()  # what it took in may not have been committed
            raise

    def _match_all(self, correlating: Correlating | None) -> int:
        opened = 0
        # Read before the records: what is verified up to here is among those that are stored by now.
        sight = self._look(correlating) if correlating is not None else None
        while (in_batch := self._match_batch(correlating, sight)) is not None:
            opened += in_batch
            if self._is_stopping or self._is_superseded():
                return opened  # not all is matched yet: nothing more can be judged by these rules
        if correlating is not None and sight is not None:
            self._verified = sight.verified
            opened += self._judge(correlating)
        return opened

    def _match_batch(self, correlating: Correlating | None, sight: Sight | None) -> int | None:
        """Match the next records and commit what follows; None where there are none."""
        with self._database.read() as connection:
            position = positions.read(connection, POSITION)
            batch = records.read_after(connection, position, self._batch_size)
        if not batch:
            return None
        # In event time, so that it does not matter in which order the upstream gave what came together.
        ordered = sorted(batch, key=_event_order)
        matches = list(self._engine.evaluate([record for record in ordered if not record.is_backlog]))
        self._log_failures(self._engine.take_failures())
        if correlating is not None and sight is not None:
            correlating.prepare(self._database, sight, position)
            correlating.take(self._database, ordered, batch[-1].id)
        with self._database.write() as connection:
            opened = self._write(connection, matches)
            if correlating is not None:
                opened += correlating.write(connection, self._verified, self._clock())
            positions.write(connection, POSITION, batch[-1].id)
        _log_opened(opened)
        return len(opened)

    def _look(self, correlating: Correlating) -> Sight:
        """See how far the sources see, and have the state of the correlations that belongs to the position."""
        with self._database.read() as connection:
            sight = correlating.look(connection)
            position = positions.read(connection, POSITION)
        correlating.prepare(self._database, sight, position)
        return sight

    def _judge(self, correlating: Correlating) -> int:
        """Let what is verified now open and resolve alerts, though no record came."""
        self._log_failures(correlating.take_failures())
        self.dropped_groups += correlating.report_evictions()
        if not correlating.is_due(self._verified):
            return 0
        with self._database.write() as connection:
            opened = correlating.write(connection, self._verified, self._clock())
        _log_opened(opened)
        return len(opened)

    def _log_failures(self, failures: Sequence[object]) -> None:
        for failure in failures:
            log.error("rule_failed", failure=str(failure))

    def _write(self, connection: Connection, matches: Sequence[Match]) -> list[Alert]:
        """Write what a batch of matches changes; give the alerts it opened."""
        if not matches:
            return []
        now = self._clock()
        batch = _Batch()
        held = alerts.read_joined(connection, {match.record.id for match in matches})
        for match in matches:
            if (
                match.rule.id,
                match.record.id,
            ) not in held:  # each record alerts once per rule, however often it is read
                _place(connection, batch, match, now)
        opened = [steps[-1][0] for steps in batch.opened.values()]
        alerts.insert_new(connection, [(alert, batch.group_of[alert.id]) for alert in opened])
        alerts.join(connection, batch.joined)
        self._addressing.open(connection, list(batch.opened.values()), now)
        for steps in batch.changed.values():
            alerts.update(connection, steps[-1][0])
            self._addressing.update(connection, steps, now)
        return opened


def _place(connection: Connection, batch: _Batch, match: Match, now: datetime) -> None:
    """Join a match to an alert, of the store or of this batch, or open one."""
    key = grouping_key(match)
    if key not in batch.known:
        unresolved = alerts.read_unresolved(connection, key) if match.group is not None else []
        batch.known[key] = {alert.id: alert for alert in unresolved}
    alert = alert_to_join(match, batch.known[key].values())
    if alert is None:
        alert = open_alert(match, now)
        if alerts.read(connection, alert.id):
            return  # an equal record, of another source, opened it before
        batch.opened[alert.id].append((alert, match.record))
        batch.group_of[alert.id] = key
    else:
        alert = join(alert, match)
        touched = batch.opened if alert.id in batch.opened else batch.changed
        touched[alert.id].append((alert, match.record))
    batch.known[key][alert.id] = alert
    batch.joined.append((alert.id, match.record.id))


def _log_opened(opened: Iterable[Alert]) -> None:
    for alert in opened:
        log.info("alert_opened", alert=alert.id, rule=alert.rule.name, level=alert.level.word, title=alert.title)


def _event_order(record: Record) -> tuple[datetime, str]:
    return record.occurred_at, record.key
