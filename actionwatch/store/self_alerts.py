"""The self-alerts that are open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from actionwatch.store.tables import TROUBLE


@dataclass(frozen=True, slots=True)
class OpenSelfAlert:
    """An open self-alert: its trouble, subject, start, description, remedy and alert."""

    trouble: str
    subject: str
    since: datetime
    what: str
    remedy: str
    alert_id: str


def read_all(connection: Connection) -> list[OpenSelfAlert]:
    """Read all open self-alerts, oldest first."""
    rows = connection.execute(select(TROUBLE).order_by(TROUBLE.c.since, TROUBLE.c.trouble, TROUBLE.c.subject))
    return [OpenSelfAlert(**row) for row in rows.mappings()]


def read(connection: Connection, trouble: str, subject: str) -> OpenSelfAlert | None:
    """Read one self-alert; None if it is not open."""
    statement = select(TROUBLE).where(TROUBLE.c.trouble == trouble, TROUBLE.c.subject == subject)
    row = connection.execute(statement).mappings().first()
    return OpenSelfAlert(**row) if row else None


def insert(connection: Connection, opened: OpenSelfAlert) -> None:
    """Insert an open self-alert."""
    connection.execute(TROUBLE.insert().values({name: getattr(opened, name) for name in opened.__dataclass_fields__}))


def correct(connection: Connection, trouble: str, subject: str, what: str, remedy: str) -> None:
    """Change the description and the remedy of an open self-alert."""
    its = (TROUBLE.c.trouble == trouble, TROUBLE.c.subject == subject)
    connection.execute(TROUBLE.update().where(*its).values(what=what, remedy=remedy))


def delete(connection: Connection, trouble: str, subject: str) -> None:
    """Delete a self-alert that is over."""
    connection.execute(TROUBLE.delete().where(TROUBLE.c.trouble == trouble, TROUBLE.c.subject == subject))


def delete_of_alert(connection: Connection, alert_id: str) -> None:
    """Delete the self-alert of an alert that a person resolved. If the trouble lasts, the next report opens another."""
    connection.execute(TROUBLE.delete().where(TROUBLE.c.alert_id == alert_id))
