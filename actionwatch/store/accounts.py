"""The linked accounts with their history: the name and the settings of each, and when they were valid.

A state is what `begin` stored; its fields that nobody uses are those of the last listing (`refresh`).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from actionwatch.base.model import LinkedAccount
from actionwatch.store.tables import LINKED_ACCOUNT

_TABLE = LINKED_ACCOUNT.c
_LISTED = ""  # the id of a row that holds when the accounts of an organisation were first and last listed


def read_current(connection: Connection, organisation: str) -> dict[str, LinkedAccount]:
    """Read the currently linked accounts by id."""
    statement = select(LINKED_ACCOUNT).where(_TABLE.organisation == organisation, _TABLE.valid_to.is_(None))
    rows = connection.execute(statement)
    return {row.account_id: LinkedAccount(row.account_id, row.name, row.raw) for row in rows}


def name_history(connection: Connection, organisation: str) -> dict[str, list[tuple[datetime | None, str]]]:
    """Read the names of every account that was ever linked, oldest first, each with its end; None for the current name."""
    found: dict[str, list[tuple[datetime | None, str]]] = {}
    statement = select(_TABLE.account_id, _TABLE.valid_to, _TABLE.name).where(_TABLE.organisation == organisation)
    for row in connection.execute(statement.order_by(_TABLE.valid_from, _TABLE.id)):
        found.setdefault(row.account_id, []).append((row.valid_to, row.name))
    return found


def note_listed(connection: Connection, organisation: str, at: datetime, *, is_first: bool) -> None:
    """Store when the accounts of an organisation were listed, even if there are none."""
    if is_first:
        begin(connection, organisation, LinkedAccount(_LISTED, ""), at, until=at)
        return
    is_it = (_TABLE.organisation == organisation, _TABLE.account_id == _LISTED)
    connection.execute(LINKED_ACCOUNT.update().where(*is_it).values(valid_to=at))


def listed_at(connection: Connection, organisation: str) -> datetime | None:
    """Return when the accounts of an organisation were last listed; None if never."""
    is_it = (_TABLE.organisation == organisation, _TABLE.account_id == _LISTED)
    found: datetime | None = connection.execute(select(_TABLE.valid_to).where(*is_it)).scalar()
    return found


def begin(
    connection: Connection, organisation: str, account: LinkedAccount, at: datetime, until: datetime | None = None
) -> None:
    """Store the state of an account that is valid from now on, or until a time that is known already."""
    values = {
        "organisation": organisation,
        "account_id": account.id,
        "name": account.name,
        "raw": account.raw,
        "valid_from": at,
        "valid_to": until,
    }
    connection.execute(LINKED_ACCOUNT.insert().values(values))


def refresh(connection: Connection, organisation: str, account: LinkedAccount) -> None:
    """Replace the fields of the current state of an account."""
    is_it = (_TABLE.organisation == organisation, _TABLE.account_id == account.id, _TABLE.valid_to.is_(None))
    connection.execute(LINKED_ACCOUNT.update().where(*is_it).values(raw=account.raw))


def end(connection: Connection, organisation: str, account_id: str, at: datetime) -> None:
    """End the state of an account that changed or is no longer linked."""
    is_it = (_TABLE.organisation == organisation, _TABLE.account_id == account_id, _TABLE.valid_to.is_(None))
    connection.execute(LINKED_ACCOUNT.update().where(*is_it).values(valid_to=at))


def delete_older(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` states that ended before a time; return how many. When accounts were last listed stays."""
    ended = select(_TABLE.id).where(_TABLE.valid_to < before, _TABLE.account_id != _LISTED)
    doomed = ended.order_by(_TABLE.id).limit(limit)
    return connection.execute(LINKED_ACCOUNT.delete().where(_TABLE.id.in_(doomed))).rowcount
