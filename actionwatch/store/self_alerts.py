"""The self-alerts that are open."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from actionwatch.base.model import SELF_RULE_NAME, Alert
from actionwatch.store.tables import SELF_ALERT

# Built once: every poll and every round of deliveries runs them.
_ALL = select(SELF_ALERT).order_by(SELF_ALERT.c.since, SELF_ALERT.c.trouble, SELF_ALERT.c.subject)
_OPEN = (
    select(SELF_ALERT.c.trouble)
    .where(SELF_ALERT.c.trouble.in_(bindparam("troubles", expanding=True)), SELF_ALERT.c.subject == bindparam("about"))
    .order_by(SELF_ALERT.c.trouble)
)
_ONE = select(SELF_ALERT).where(SELF_ALERT.c.trouble == bindparam("of"), SELF_ALERT.c.subject == bindparam("about"))


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
    return [OpenSelfAlert(**row) for row in connection.execute(_ALL).mappings()]


def read(connection: Connection, trouble: str, subject: str) -> OpenSelfAlert | None:
    """Read one self-alert; None if it is not open."""
    row = connection.execute(_ONE, {"of": trouble, "about": subject}).mappings().first()
    return OpenSelfAlert(**row) if row else None


def read_open(connection: Connection, troubles: Collection[str], subject: str) -> list[str]:
    """Return which of these troubles of a subject have an open self-alert."""
    return list(connection.execute(_OPEN, {"troubles": list(troubles), "about": subject}).scalars())


def insert(connection: Connection, opened: OpenSelfAlert) -> None:
    """Insert an open self-alert."""
    connection.execute(SELF_ALERT.insert().values(asdict(opened)))


def restore(connection: Connection, alert: Alert) -> None:
    """Make an alert that a person reopened a self-alert again, if it was one, and none of its trouble and subject is open."""
    trouble, subject = alert.labels.get("trouble"), (alert.group or {}).get("subject")
    if alert.rule.id == SELF_RULE_NAME and trouble and subject and read(connection, trouble, subject) is None:
        remedy = alert.runbook or ""
        insert(connection, OpenSelfAlert(trouble, subject, alert.opened_at, alert.body, remedy, alert.id))


def correct(connection: Connection, trouble: str, subject: str, what: str, remedy: str) -> None:
    """Change the description and the remedy of an open self-alert."""
    its = (SELF_ALERT.c.trouble == trouble, SELF_ALERT.c.subject == subject)
    connection.execute(SELF_ALERT.update().where(*its).values(what=what, remedy=remedy))


def delete(connection: Connection, trouble: str, subject: str) -> None:
    """Delete a self-alert that is over."""
    connection.execute(SELF_ALERT.delete().where(SELF_ALERT.c.trouble == trouble, SELF_ALERT.c.subject == subject))


def delete_of_alert(connection: Connection, alert_id: str) -> None:
    """Delete the self-alert of an alert that a person resolved. If the trouble lasts, the next report opens another."""
    connection.execute(SELF_ALERT.delete().where(SELF_ALERT.c.alert_id == alert_id))
