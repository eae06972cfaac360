"""The linked accounts, with history: what each was called, and how it was set up, from when to when."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import Connection, or_, select

from actionwatch.model import LinkedAccount
from actionwatch.store.tables import LINKED_ACCOUNT

_TABLE = LINKED_ACCOUNT.c


def read_current(connection: Connection, source: str) -> dict[str, LinkedAccount]:
    """Read the accounts that are linked now, by id."""
    rows = connection.execute(select(LINKED_ACCOUNT).where(_TABLE.source == source, _TABLE.valid_to.is_(None)))
    return {row.account_id: LinkedAccount(row.account_id, row.name, json.loads(row.raw)) for row in rows}


def is_known(connection: Connection, source: str) -> bool:
    """Say whether this source's accounts were ever listed."""
    return connection.execute(select(_TABLE.id).where(_TABLE.source == source).limit(1)).first() is not None


def name_at(connection: Connection, source: str, account_id: str, at: datetime) -> str | None:
    """Give an account's name as of a time; before we knew it, the first name we know."""
    statement = (
        select(_TABLE.name)
        .where(_TABLE.source == source, _TABLE.account_id == account_id)
        .where(or_(_TABLE.valid_to.is_(None), _TABLE.valid_to > at))
        .order_by(_TABLE.valid_from)
        .limit(1)
    )
    name: str | None = connection.execute(statement).scalar()
    return name


def begin(connection: Connection, source: str, account: LinkedAccount, at: datetime) -> None:
    """Note how an account is from now on."""
    values = {
        "source": source,
        "account_id": account.id,
        "name": account.name,
        "raw": json.dumps(dict(account.raw)),
        "valid_from": at,
        "valid_to": None,
    }
    connection.execute(LINKED_ACCOUNT.insert().values(values))


def end(connection: Connection, source: str, account_id: str, at: datetime) -> None:
    """Note that an account is no longer as it was, or no longer linked."""
    is_it = (_TABLE.source == source, _TABLE.account_id == account_id, _TABLE.valid_to.is_(None))
    connection.execute(LINKED_ACCOUNT.update().where(*is_it).values(valid_to=at))
