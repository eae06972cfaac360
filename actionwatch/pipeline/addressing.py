"""Address alerts: find the receivers of each, and write the messages they are owed into the outbox.

Used by the step that opens alerts from matches and by the troubles, which open alerts of their own. Everything here happens in
the caller's transaction: an alert and its deliveries are committed together (the transactional outbox).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from actionwatch.alerts.grouping import stable_id
from actionwatch.alerts.routes import Route, alert_labels, receivers_for
from actionwatch.model import Alert, Delivery, DeliveryStatus, Event, Level, Record
from actionwatch.store import outbox, story


@dataclass(frozen=True, slots=True)
class Destination:
    """What addressing needs to know of a receiver.

    At most one update per alert within `updates`; with `is_updated_last` only one, when the rule's `realert` ends.
    """

    name: str
    updates: timedelta = timedelta(seconds=10)
    is_updated_last: bool = False
    min_level: Level = Level.INFORMATIONAL


class Addressing:
    """The routing tree and the receivers it leads to."""

    def __init__(self, route: Route, destinations: Mapping[str, Destination]) -> None:
        self._route = route
        self._destinations = destinations

    def open(self, connection: Connection, opened: Sequence[tuple[Alert, Record | None]], now: datetime) -> None:
        """Owe `opened` to every receiver of these new alerts; each comes with its newest record."""
        rows: list[Delivery] = []
        lines: list[story.Entry] = []
        for alert, record in opened:
            names = [destination.name for destination in self._receivers(alert, record)]
            rows += [_delivery(alert.id, name, Event.OPENED, 1, now, now) for name in names]
            lines.append(story.Entry(now, alert.id, "opened", alert.title))
            lines.append(
                story.Entry(now, alert.id, "routed", ", ".join(names) or "no receiver: see route and min_level")
            )
        outbox.insert_new(connection, rows)
        story.append(connection, lines)

    def update(self, connection: Connection, alert: Alert, record: Record | None, now: datetime) -> None:
        """Owe the newest state to every receiver that is owed or was told anything, `opened` to those routed to only now."""
        known = _last_rows(outbox.read_of_alert(connection, alert.id))
        rows = [self._update_after(last, alert, now) for last in known.values() if not _is_untried(last)]
        added = [destination.name for destination in self._receivers(alert, record) if destination.name not in known]
        rows += [_delivery(alert.id, name, Event.OPENED, 1, now, now) for name in added]
        outbox.insert_new(connection, rows)

    def resolve(self, connection: Connection, alert: Alert, now: datetime) -> None:
        """Owe `resolved` to every receiver of an alert; an update that was not tried yet says it instead."""
        known = _last_rows(outbox.read_of_alert(connection, alert.id))
        rows = [
            _delivery(alert.id, name, Event.RESOLVED, last.ordinal + 1, now, now)
            for name, last in known.items()
            if not outbox.turn_untried(connection, alert.id, name, Event.RESOLVED)
        ]
        outbox.insert_new(connection, rows)
        story.append(connection, [story.Entry(now, alert.id, "resolved", f"by {alert.resolved_by}")])

    def test(self, connection: Connection, alert: Alert, receiver: str, now: datetime) -> str:
        """Owe a marked test message to one receiver, whatever the routes say; give the delivery's id."""
        row = _delivery(alert.id, receiver, Event.TEST, 1, now, now)
        outbox.insert_new(connection, [row])
        story.append(connection, [story.Entry(now, alert.id, "tested", receiver)])
        return row.id

    def _receivers(self, alert: Alert, record: Record | None) -> list[Destination]:
        names = receivers_for(self._route, alert_labels(alert, record))
        chosen = (self._destinations[name] for name in names)
        return [destination for destination in chosen if alert.level >= destination.min_level]

    def _update_after(self, last: Delivery, alert: Alert, now: datetime) -> Delivery:
        """Space an update from the message before it, or hold it back until nothing more can join."""
        destination = self._destinations.get(last.receiver, Destination(last.receiver))
        due_at = max(now, last.due_at + destination.updates)
        if destination.is_updated_last:
            due_at = max(due_at, alert.first_at + alert.realert)
        return _delivery(alert.id, last.receiver, Event.UPDATED, last.ordinal + 1, now, due_at)


def _last_rows(rows: Iterable[Delivery]) -> dict[str, Delivery]:
    """Keep each receiver's last row; `rows` come in order."""
    return {row.receiver: row for row in rows}


def _is_untried(row: Delivery) -> bool:
    """Say whether a row will take the newest state anyway: what it says is frozen at its first attempt only."""
    return row.status is DeliveryStatus.PENDING and row.body is None and row.event is not Event.RESOLVED


def _delivery(alert_id: str, receiver: str, event: Event, ordinal: int, now: datetime, due_at: datetime) -> Delivery:
    """Make a row. Its id comes from the ordinal, not from event and count, which relabelling would make collide."""
    return Delivery(
        id=stable_id("delivery", alert_id, receiver, str(ordinal)),
        alert_id=alert_id,
        receiver=receiver,
        event=event,
        ordinal=ordinal,
        status=DeliveryStatus.PENDING,
        attempts=0,
        created_at=now,
        started_at=now,
        due_at=due_at,
    )
