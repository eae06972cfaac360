"""The troubles actionwatch has with itself that are not over yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from actionwatch.store.tables import TROUBLE


@dataclass(frozen=True, slots=True)
class OpenTrouble:
    """A trouble that lasts: what it is, about what or whom, since when, what to do, and the alert that tells of it."""

    trouble: str
    subject: str
    since: datetime
    what: str
    remedy: str
    alert_id: str


def read_all(connection: Connection) -> list[OpenTrouble]:
    """Read what is wrong now, oldest first."""
    rows = connection.execute(select(TROUBLE).order_by(TROUBLE.c.since, TROUBLE.c.trouble, TROUBLE.c.subject))
    return [OpenTrouble(**row) for row in rows.mappings()]


def read(connection: Connection, trouble: str, subject: str) -> OpenTrouble | None:
    """Read one trouble; None where it is over or never was."""
    statement = select(TROUBLE).where(TROUBLE.c.trouble == trouble, TROUBLE.c.subject == subject)
    row = connection.execute(statement).mappings().first()
    return OpenTrouble(**row) if row else None


def insert(connection: Connection, opened: OpenTrouble) -> None:
    """Note that a trouble began."""
    connection.execute(TROUBLE.insert().values({name: getattr(opened, name) for name in opened.__dataclass_fields__}))


def correct(connection: Connection, trouble: str, subject: str, what: str, remedy: str) -> None:
    """Note that something else is to be done about a trouble that lasts."""
    its = (TROUBLE.c.trouble == trouble, TROUBLE.c.subject == subject)
    connection.execute(TROUBLE.update().where(*its).values(what=what, remedy=remedy))


def delete(connection: Connection, trouble: str, subject: str) -> None:
    """Note that a trouble is over."""
    connection.execute(TROUBLE.delete().where(TROUBLE.c.trouble == trouble, TROUBLE.c.subject == subject))


def delete_of_alert(connection: Connection, alert_id: str) -> None:
    """Note that a person declared the trouble of an alert over; where it is not, the next report opens another."""
    connection.execute(TROUBLE.delete().where(TROUBLE.c.alert_id == alert_id))
