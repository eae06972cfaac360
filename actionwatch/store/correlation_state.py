"""The saved state of correlations: a start continues from it instead of rebuilding the state from the records.

It is written in pieces, each in its own transaction, so that none is long, and the whole is never in memory.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from hashlib import blake2b

from sqlalchemy import Connection, func, select

from actionwatch.store.statements import upsert
from actionwatch.store.tables import CORRELATION_STATE, CORRELATION_STATE_PIECE

_TABLE = CORRELATION_STATE.c
_PIECES = CORRELATION_STATE_PIECE.c
_ONLY_ROW = 1
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class StoredState:
    """A state of `size` bytes. It holds all records up to `position`, and all alerts that were stored up to `epoch`."""

    position: int
    epoch: int
    digest: str
    name: str
    size: int


def read(connection: Connection) -> StoredState | None:
    """Read the newest state; None if there is none, or an older version wrote it."""
    row = connection.execute(select(CORRELATION_STATE)).first()
    if row is None or row.state is None or row.body:
        return None
    size = select(func.sum(func.length(_PIECES.body))).where(_PIECES.state == row.state)
    return StoredState(row.position, row.epoch, row.digest, row.state, connection.execute(size).scalar() or 0)


def read_body(connection: Connection, stored: StoredState) -> bytes | None:
    """Read the bytes of a state; None if they, or the rest of it, are not what was written."""
    pieces = select(_PIECES.body).where(_PIECES.state == stored.name).order_by(_PIECES.number)
    body = b"".join(connection.execute(pieces).scalars())
    digest = _finished(blake2b(body, digest_size=_DIGEST_BYTES), stored.position, stored.epoch)
    return body if digest == stored.digest else None


def read_epoch(connection: Connection) -> int:
    """Return the epoch of the newest state; 0 if there is none."""
    return connection.execute(select(_TABLE.epoch)).scalar() or 0


class NewState:
    """A state that is being written. It counts once it is finished; until then, the one before it does."""

    def __init__(self) -> None:
        self.size = 0
        """In bytes."""
        self._name = uuid.uuid4().hex
        self._piece_count = 0
        self._digest = blake2b(digest_size=_DIGEST_BYTES)

    def add(self, connection: Connection, piece: bytes) -> None:
        """Write the next piece."""
        row = {"state": self._name, "number": self._piece_count, "body": piece}
        connection.execute(CORRELATION_STATE_PIECE.insert().values(row))
        self._digest.update(piece)
        self._piece_count += 1
        self.size += len(piece)

    def finish(self, connection: Connection, position: int, epoch: int) -> bool:
        """Replace the state with this one, and delete the pieces of all others. Return whether its own were still there."""
        pieces = select(func.count()).where(_PIECES.state == self._name)
        if connection.execute(pieces).scalar_one() < self._piece_count:
            return False  # another process saves a state too
        digest = _finished(self._digest, position, epoch)
        row = {
            "id": _ONLY_ROW,
            "position": position,
            "epoch": epoch,
            "digest": digest,
            "body": b"",
            "state": self._name,
        }
        upsert(connection, CORRELATION_STATE, row)
        drop_unfinished(connection)
        return True


def drop_unfinished(connection: Connection) -> None:
    """Delete the pieces of states that are not the newest finished one."""
    newest = select(_TABLE.state).scalar_subquery()
    connection.execute(CORRELATION_STATE_PIECE.delete().where(_PIECES.state != func.coalesce(newest, "")))


def _finished(digest: blake2b, position: int, epoch: int) -> str:
    digest.update(f" {position} {epoch}".encode())
    return digest.hexdigest()
