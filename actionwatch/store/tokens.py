"""The tokens of people, by which the console and the API know who decides. No secret is stored, only its digest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from actionwatch.base.access import AccessToken
from actionwatch.base.unicode import folded
from actionwatch.store.statements import has_prefix
from actionwatch.store.tables import TOKEN

_COLUMNS = [TOKEN.c[name] for name in AccessToken.__dataclass_fields__]


def insert(connection: Connection, token: AccessToken, digest: str) -> None:
    """Store a new token with the digest of its secret."""
    connection.execute(TOKEN.insert().values(**asdict(token), digest=digest))


def read_all(connection: Connection) -> list[AccessToken]:
    """Read every token, by name, the newest of a name first."""
    return _read(connection, select(*_COLUMNS).order_by(TOKEN.c.name, TOKEN.c.created_at.desc(), TOKEN.c.id))


def read(connection: Connection, token_id: str) -> AccessToken | None:
    """Read a token, valid or not."""
    return next(iter(_read(connection, select(*_COLUMNS).where(TOKEN.c.id == token_id))), None)


def read_valid(connection: Connection, digest: str, now: datetime) -> AccessToken | None:
    """Read the token whose secret has this digest, if it is valid."""
    return next(iter(_read(connection, select(*_COLUMNS).where(TOKEN.c.digest == digest, _is_valid(now)))), None)


def find(connection: Connection, beginning: str) -> list[AccessToken]:
    """Read the tokens of the person with this name; without one, at most two whose id has this prefix."""
    named = _read(connection, select(*_COLUMNS).where(TOKEN.c.name == beginning).order_by(TOKEN.c.id))
    return named or _read(
        connection, select(*_COLUMNS).where(has_prefix(TOKEN.c.id, beginning)).order_by(TOKEN.c.id).limit(2)
    )


def has_name(connection: Connection, name: str) -> bool:
    """Return whether a token, valid or not, has this name, in whatever case and form of its characters."""
    return folded(name) in map(folded, connection.execute(select(TOKEN.c.name)).scalars())


def revoke(connection: Connection, ids: Collection[str], who: str, now: datetime) -> int:
    """Revoke those of these tokens that are valid. Return how many."""
    ends = (TOKEN.c.id.in_(ids), _is_valid(now))
    return connection.execute(TOKEN.update().where(*ends).values(revoked_at=now, revoked_by=who)).rowcount


def note_use(connection: Connection, token_id: str, now: datetime) -> None:
    """Note when a token was used."""
    connection.execute(TOKEN.update().where(TOKEN.c.id == token_id).values(last_used_at=now))


def delete_ended(connection: Connection, before: datetime) -> int:
    """Delete the tokens that were revoked or expired before a time. Return how many."""
    ended = func.coalesce(TOKEN.c.revoked_at, TOKEN.c.expires_at) < before
    return connection.execute(TOKEN.delete().where(ended)).rowcount


def _is_valid(now: datetime) -> ColumnElement[bool]:
    """Return the condition for tokens that are neither revoked nor expired."""
    return and_(TOKEN.c.revoked_at.is_(None), or_(TOKEN.c.expires_at.is_(None), TOKEN.c.expires_at > now))


def _read(connection: Connection, statement: Select[Any]) -> list[AccessToken]:
    return [AccessToken(*row) for row in connection.execute(statement)]
