"""The saved state of correlations: a start continues from it instead of rebuilding the state from the records."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from sqlalchemy import Connection, select

from actionwatch.store.statements import upsert
from actionwatch.store.tables import CORRELATION_STATE

_TABLE = CORRELATION_STATE.c
_ONLY_ROW = 1


@dataclass(frozen=True, slots=True)
class StoredState:
    """A state as bytes. It holds all records up to `position`, and all alerts that were stored up to `epoch`."""

    position: int
    epoch: int
    body: bytes
    is_intact: bool
    """Whether the bytes are those that were written."""


def read(connection: Connection) -> StoredState | None:
    """Read the newest state; None if there is none."""
    row = connection.execute(select(CORRELATION_STATE)).first()
    if row is None:
        return None
    return StoredState(row.position, row.epoch, row.body, row.digest == _digest(row.position, row.epoch, row.body))


def read_epoch(connection: Connection) -> int:
    """Return the epoch of the newest state; 0 if there is none."""
    return connection.execute(select(_TABLE.epoch)).scalar() or 0


def write(connection: Connection, position: int, epoch: int, body: bytes) -> None:
    """Replace the state."""
    digest = _digest(position, epoch, body)
    row = {"id": _ONLY_ROW, "position": position, "epoch": epoch, "digest": digest, "body": body}
    upsert(connection, CORRELATION_STATE, row)


def _digest(position: int, epoch: int, body: bytes) -> str:
    return blake2b(f"{position} {epoch} ".encode() + body, digest_size=16).hexdigest()
