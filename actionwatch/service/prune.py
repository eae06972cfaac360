"""Delete what is older than its retention, in small transactions so that no other writer waits long."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Connection

from actionwatch.service.lookback import Lookback
from actionwatch.settings import Retention
from actionwatch.store import alerts, correlations, marks, positions, receipts, records, retention, unproved_windows
from actionwatch.store.database import Database

BATCH = 5000  # rows per transaction

log = structlog.get_logger()


def run_once(database: Database, kept: Retention, now: datetime, back: Lookback = Lookback()) -> dict[str, int]:  # noqa: B008 - frozen
    """Delete what is older than its retention and no longer needed. Return the number of deleted rows of each kind.

    The records of an alert stay as long as the alert. What polls, sweeps and rules can still need stays longer (`lookback.py`).
    Ages count from the newest time through which a source was seen, so a clock that is years ahead deletes nothing.
    """
    with database.read() as connection:
        seen = [found.seen_through for found in marks.read_all(connection).values()]  # by the upstream's clock
    now = min(now, max(seen, default=now))
    forgotten, finished = now - kept.records, now - kept.deliveries

    def old_records(connection: Connection) -> int:
        # Delete only matched records: every rule must see a record before it is deleted.
        matched = min(positions.read_both(connection))
        return records.delete_older(connection, forgotten, matched, BATCH, back.needed)

    deleted = {
        "correlated": _in_batches(database, lambda c: correlations.delete_older(c, min(forgotten, back.found_since))),
        "deliveries": _in_batches(database, lambda c: retention.delete_deliveries(c, finished, forgotten, now, BATCH)),
        "alerts": _in_batches(database, lambda c: alerts.delete_settled(c, forgotten, now, BATCH)),
        "records": _in_batches(database, old_records),
        "receipts": _in_batches(database, lambda c: receipts.delete_older(c, now - kept.receipts, BATCH)),
    }
    # Unproved windows stay visible as long as any record or receipt of their time.
    _in_batches(database, lambda c: unproved_windows.delete_older(c, min(forgotten, now - kept.receipts)))
    _in_batches(database, lambda c: retention.delete_bodies(c, finished, BATCH))
    if any(deleted.values()):
        log.info("store_pruned", **deleted)
    return deleted


def _in_batches(database: Database, delete: Callable[[Connection], int]) -> int:
    total = 0
    while True:
        with database.write() as connection:
            deleted = delete(connection)
        total += deleted
        if deleted < BATCH:
            return total
