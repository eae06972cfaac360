"""The sessions of browsers that signed in, in the store so that every replica knows them, and that signing out ends them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from actionwatch.base.access import AccessToken
from actionwatch.store import tokens
from actionwatch.store.tables import SESSION

MAX_SESSIONS = 1000  # of one token: then the one that ends first is deleted


@dataclass(frozen=True, slots=True)
class Session:
    """A session that lasts. `token` is None if it began with the token of the configuration."""

    token: AccessToken | None = None


def insert(connection: Connection, digest: str, token_id: str | None, ends_at: datetime) -> None:
    """Store a session. `digest` is that of the cookie."""
    column = SESSION.c.token_id
    its = column.is_(None) if token_id is None else column == token_id
    kept = select(SESSION.c.digest).where(its).order_by(SESSION.c.ends_at.desc()).limit(MAX_SESSIONS - 1)
    connection.execute(SESSION.delete().where(its, SESSION.c.digest.not_in(kept)))
    connection.execute(SESSION.insert().values(digest=digest, token_id=token_id, ends_at=ends_at))


def read(connection: Connection, digest: str, now: datetime) -> Session | None:
    """Read a session, unless it has ended, or its token is revoked, expired or gone."""
    its = (SESSION.c.digest == digest, SESSION.c.ends_at > now)
    row = connection.execute(select(SESSION.c.token_id).where(*its)).first()
    if row is None or row.token_id is None:
        return None if row is None else Session()
    token = tokens.read(connection, row.token_id)
    return Session(token) if token is not None and token.status(now) == "valid" else None


def delete(connection: Connection, digest: str) -> None:
    """End a session."""
    connection.execute(SESSION.delete().where(SESSION.c.digest == digest))


def delete_ended(connection: Connection, now: datetime) -> int:
    """Delete the sessions that have ended. Return how many."""
    return connection.execute(SESSION.delete().where(SESSION.c.ends_at <= now)).rowcount
