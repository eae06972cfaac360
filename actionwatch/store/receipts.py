"""The receipts: for each window of time, what proved that the store holds all the upstream held."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from actionwatch.store.tables import RECEIPT


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReceipt:
    """One proved window. `digest` is over the sorted record keys; `method` names what proved it."""

    source: str
    starts_at: datetime
    ends_at: datetime
    judged_at: datetime
    method: str
    record_count: int
    kind_counts: Mapping[str, int]
    digest: str
    request_count: int


def insert(connection: Connection, receipt: WindowReceipt) -> None:
    """Store the receipt of one window."""
    values = {name: getattr(receipt, name) for name in receipt.__dataclass_fields__}
    values["kind_counts"] = json.dumps(dict(sorted(receipt.kind_counts.items())))
    connection.execute(RECEIPT.insert().values(values))


def read(connection: Connection, source: str, limit: int) -> list[WindowReceipt]:
    """Read a source's newest receipts, newest first."""
    statement = select(RECEIPT).where(RECEIPT.c.source == source).order_by(RECEIPT.c.id.desc()).limit(limit)
    return [_receipt(dict(row)) for row in connection.execute(statement).mappings()]


def read_covering(connection: Connection, source: str, at: datetime, limit: int) -> list[WindowReceipt]:
    """Read a source's receipts whose window holds an instant, the first to prove it first."""
    covers = (RECEIPT.c.source == source, RECEIPT.c.starts_at <= at, RECEIPT.c.ends_at >= at)
    statement = select(RECEIPT).where(*covers).order_by(RECEIPT.c.id).limit(limit)
    return [_receipt(dict(row)) for row in connection.execute(statement).mappings()]


def delete_older(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` receipts of windows that ended before a time; give how many."""
    doomed = select(RECEIPT.c.id).where(RECEIPT.c.ends_at < before).limit(limit)
    return connection.execute(RECEIPT.delete().where(RECEIPT.c.id.in_(doomed))).rowcount


def _receipt(row: dict[str, Any]) -> WindowReceipt:
    row.pop("id")
    return WindowReceipt(**{**row, "kind_counts": json.loads(row["kind_counts"])})
