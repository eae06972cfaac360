"""Match: stored records -> matches -> alerts and the deliveries they owe.

Reads records after its position in the order in which they were stored, so that a late record is never passed over, and writes
alerts, deliveries and the new position in one transaction: killed anywhere, it does the batch again and changes nothing twice.

Plain rules and correlations have a position each. As a rule the two are the same, and one transaction serves both; while the
state of correlations is rebuilt, plain rules go on alone, and correlations then take what they missed.
"""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.grouping import alert_to_join, grouping_key, join, open_alert
from actionwatch.base.model import Alert, Match, Record
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.correlating import Abandoned, Correlating
from actionwatch.store import alerts, positions, records
from actionwatch.store.database import Database
from actionwatch.store.positions import CORRELATED, MATCHED
from actionwatch.store.records import Portion

BATCH = 2000  # records a transaction: long enough to spread its cost, short enough to let other writers in

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
        self._engine = engine
        self._addressing = addressing
        self._clock = clock
        self._batch_size = batch_size
        self._correlating = correlating or Correlating((), addressing)
        self.dropped_groups = 0
        """How many groups of correlations were dropped for want of room since the start."""
        self._verified: datetime | None = None
        self._opened_count = 0
        self._lock = threading.Lock()
        self._following: tuple[Evaluator, Correlating] | None = None
        self._used: tuple[Evaluator, Correlating] | None = None
        self._is_stopping = False

    def run_once(self) -> int:
        """Match every record stored so far; give how many alerts were opened."""
        with self._lock:
            self._opened_count = 0
            while True:
                self._take_up(self._following)
                self._match_all()
                if self._is_stopping or not self._is_superseded():
                    return self._opened_count

    def use(self, engine: Evaluator, correlating: Correlating | None) -> None:
        """Match by other rules, all of them from one batch to the next; what is under way is not waited for."""
        self._following = (engine, correlating or Correlating((), self._addressing))

    def stop(self) -> None:
        """Have `run_once` leave what is left after the batch under way to a later process."""
        self._is_stopping = True

    def _take_up(self, following: tuple[Evaluator, Correlating] | None) -> None:
        self._used = following
        if following is not None:
            self._engine, self._correlating = following

    def _is_superseded(self) -> bool:
        return self._following is not self._used

    def _is_to_leave(self) -> bool:
        return self._is_stopping or self._is_superseded()

    def _match_all(self) -> None:
        """Match what is stored; what is verified then is judged, unless it is to be left, or others are to judge it."""
        try:
            self._correlating.end_unexpected(self._database, self._clock())
            # Read before the records: what is verified up to here is among those that are stored by now.
            with self._database.read() as connection:
                verified = self._correlating.look(connection)
            while (is_more := self._match_next()) or not self._correlating.is_ready:
                if self._is_to_leave():
                    return
                if not is_more:
                    with contextlib.suppress(Abandoned):
                        self._correlating.rebuild(self._database, self._match_meanwhile)
            self._verified = verified
            self._judge()
        except BaseException:
            self._correlating.forget()  # what it took in may not have been committed
            raise

    def _match_meanwhile(self) -> None:
        """Let plain rules have what came while the state of correlations is rebuilt.

        Raises: Abandoned, where that state is not wanted any more.
        """
        following = self._following
        if self._is_stopping or (following is not None and following[1] is not self._correlating):
            raise Abandoned
        self._take_up(following)
        while not self._is_to_leave() and self._match_next():
            pass

    def _match_next(self) -> bool:
        """Match the next records; say whether there were any."""
        with self._database.read() as connection:
            matched, correlated = positions.read_both(connection)
            is_behind = self._correlating.is_ready and correlated < matched
            new = records.read_unmatched(connection, matched, self._batch_size)
            missed = records.read_unmatched(connection, correlated, self._batch_size) if is_behind else None
        if missed is not None:
            self._match(new, matched, MATCHED)  # plain rules have not missed these: they need not wait their turn
            self._match(missed, correlated, CORRELATED)
            return new.through > matched or missed.through > correlated
        self._match(new, matched, *((MATCHED, CORRELATED) if self._correlating.is_ready else (MATCHED,)))
        return new.through > matched

    def _match(self, portion: Portion, position: int, *steps: str) -> None:
        """Take a portion of records one step further, or both steps, and commit what follows."""
        if portion.through == position:
            return
        # In event time, so that it does not matter in which order the upstream gave what came together.
        ordered = sorted(portion.records, key=_event_order)
        matches: list[Match] = []
        if MATCHED in steps:
            matches += self._engine.evaluate([record for record in ordered if not record.is_backlog])
            self._log_failures(self._engine.take_failures())
        if CORRELATED in steps:
            self._correlating.take(ordered)
            if not self._correlating.is_ready:  # a record was too late for what is kept: these are taken again
                steps = tuple(step for step in steps if step != CORRELATED)
        with self._database.write() as connection:
            opened = self._write(connection, matches)
            if CORRELATED in steps:
                opened += self._correlating.write(connection, self._verified, self._clock())
            for step in steps:
                positions.write(connection, step, portion.through)
        self._note_opened(opened)

    def _judge(self) -> None:
        """Let what is verified now open and resolve alerts, though no record came."""
        correlating = self._correlating
        self._log_failures(correlating.take_failures())
        self.dropped_groups += correlating.report_evictions()
        if correlating.is_due(self._verified):
            with self._database.write() as connection:
                opened = correlating.write(connection, self._verified, self._clock())
            self._note_opened(opened)

    def _note_opened(self, opened: Sequence[Alert]) -> None:
        self._opened_count += len(opened)
        for alert in opened:
            log.info("alert_opened", alert=alert.id, rule=alert.rule.name, level=alert.level.word, title=alert.title)

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
            if (match.rule.id, match.record.id) not in held:  # each record alerts once per rule
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
    """Join a match to an alert, of the store or of this batch, or open one.

    The alert that it opens is new: its id comes from the rule, the group and the record's key, each action comes here once
    (`records.read_unmatched`), and a record that the rule has met already does not (`held`).
    """
    key = grouping_key(match)
    if key not in batch.known:
        unresolved = alerts.read_unresolved(connection, key) if match.group is not None else []
        batch.known[key] = {alert.id: alert for alert in unresolved}
    alert = alert_to_join(match, batch.known[key].values())
    if alert is None:
        alert = open_alert(match, now)
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
