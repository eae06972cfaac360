"""The sessions of browsers that signed in, in the store so that every replica knows them, and that signing out ends them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, select

from actionwatch.base.access import AccessRole, AccessToken, Person
from actionwatch.store import tokens
from actionwatch.store.tables import SESSION

MAX_SESSIONS = 1000  # of one token or person: then the one that ends first is deleted


@dataclass(frozen=True, slots=True)
class Session:
    """A session that lasts. `token` is None if it began with the token of the configuration, or with a provider, which named a
    `person`.
    """

    token: AccessToken | None = None
    person: Person | None = None


def insert(
    connection: Connection,
    digest: str,
    token_id: str | None,
    ends_at: datetime,
    person: Person | None = None,
) -> None:
    """Store a session. `digest` is that of the cookie; `person` is who has no token."""
    named = {} if person is None else asdict(person)
    owner = ((SESSION.c.token_id, token_id), (SESSION.c.name, named.get("name")))
    its = and_(*(column.is_(None) if of is None else column == of for column, of in owner))
    kept = select(SESSION.c.digest).where(its).order_by(SESSION.c.ends_at.desc()).limit(MAX_SESSIONS - 1)
    connection.execute(SESSION.delete().where(its, SESSION.c.digest.not_in(kept)))
    connection.execute(SESSION.insert().values(digest=digest, token_id=token_id, ends_at=ends_at, **named))


def read(connection: Connection, digest: str, now: datetime) -> Session | None:
    """Read a session, unless it has ended, or its token is revoked, expired or gone."""
    its = (SESSION.c.digest == digest, SESSION.c.ends_at > now)
    columns = (SESSION.c.token_id, SESSION.c.name, SESSION.c.role)
    row = connection.execute(select(*columns).where(*its)).first()
    if row is None:
        return None
    if row.token_id is None:
        return Session(person=Person(row.name, AccessRole(row.role)) if row.name is not None else None)
    token = tokens.read(connection, row.token_id)
    return Session(token) if token is not None and token.status(now) == "valid" else None


def delete(connection: Connection, digest: str) -> None:
    """End a session."""
    connection.execute(SESSION.delete().where(SESSION.c.digest == digest))


def delete_ended(connection: Connection, now: datetime) -> int:
    """Delete the sessions that have ended. Return how many."""
    return connection.execute(SESSION.delete().where(SESSION.c.ends_at <= now)).rowcount
