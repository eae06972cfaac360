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
    ) -> None:
        self._database = database
        self._batch_size = batch_size
        self._engine = engine
        self._addressing = addressing
        self._clock = clock
        self._lock = threading.Lock()

    def run_once(self) -> int:
        """Match every record stored so far; give how many alerts were opened."""
        opened = 0
        with self._lock:
            while (in_batch := self._match_batch()) is not None:
                opened += in_batch
        return opened

    def _match_batch(self) -> int | None:
        """Match the next records and commit what follows; None where there are none."""
        with self._database.read() as connection:
            position = positions.read(connection, POSITION)
            batch = records.read_after(connection, position, self._batch_size)
        if not batch:
            return None
        # In event time, so that it does not matter in which order the upstream gave what came together.
        live = sorted((record for record in batch if not record.is_backlog), key=_event_order)
        matches = list(self._engine.evaluate(live))
        for failure in self._engine.take_failures():
            log.error("rule_failed", failure=str(failure))
        with self._database.write() as connection:
            opened = self._write(connection, matches)
            positions.write(connection, POSITION, batch[-1].id)
        for alert in opened:
            log.info("alert_opened", alert=alert.id, rule=alert.rule.name, level=alert.level.word, title=alert.title)
        return len(opened)

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


def _event_order(record: Record) -> tuple[datetime, str]:
    return record.occurred_at, record.key
