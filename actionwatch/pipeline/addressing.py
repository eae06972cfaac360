"""Address alerts: find the receivers of each, and write the messages they are owed into the outbox.

Used by the step that opens alerts from matches and by the troubles, which open alerts of their own. Everything here happens in
the caller's transaction: an alert and its deliveries are committed together (the transactional outbox).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from actionwatch.alerts.grouping import stable_id
from actionwatch.alerts.routes import Route, alert_labels, receivers_for
from actionwatch.model import Alert, Delivery, DeliveryStatus, Event, Level, Record
from actionwatch.store import outbox, story

Steps = Sequence[tuple[Alert, Record | None]]
"""An alert as it was after each match that joined it, with that match's record; never empty, the newest state last.

Each step is routed by itself: what an alert's receivers are must not hang on how many matches one batch brought.
"""


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

    def open(self, connection: Connection, opened: Sequence[Steps], now: datetime) -> None:
        """Owe `opened` to every receiver of these new alerts."""
        rows: list[Delivery] = []
        lines: list[story.Entry] = []
        for steps in opened:
            alert, names = steps[-1][0], self._receivers(steps)
            rows += [_delivery(alert.id, name, Event.OPENED, 1, now, now) for name in names]
            lines.append(story.Entry(now, alert.id, "opened", alert.title))
            lines.append(
                story.Entry(now, alert.id, "routed", ", ".join(names) or "no receiver: see route and min_level")
            )
        outbox.insert_new(connection, rows)
        story.append(connection, lines)

    def update(self, connection: Connection, steps: Steps, now: datetime) -> None:
        """Owe the newest state to every receiver that is owed or was told anything, `opened` to those routed to only now."""
        alert = steps[-1][0]
        known = outbox.read_last(connection, alert.id)
        rows = [self._update_after(last, alert, now) for last in known.values() if not _is_untried(last)]
        added = [name for name in self._receivers(steps) if name not in known]
        rows += [_delivery(alert.id, name, Event.OPENED, 1, now, now) for name in added]
        outbox.insert_new(connection, rows)
        if added:
            story.append(connection, [story.Entry(now, alert.id, "routed", f"also {', '.join(added)}")])

    def resolve(self, connection: Connection, alert: Alert, now: datetime) -> None:
        """Owe `resolved` to every receiver of an alert; an update that was not tried yet says it instead."""
        known = outbox.read_last(connection, alert.id)
        rows = [
            _delivery(alert.id, name, Event.RESOLVED, last.ordinal + 1, now, _not_before(last, now))
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

    def _receivers(self, steps: Steps) -> list[str]:
        """Name whom the routes lead to, after any of these steps, and whose level it reaches."""
        routed = (
            name
            for alert, record in steps
            for name in receivers_for(self._route, alert_labels(alert, record))
            if alert.level >= self._destinations[name].min_level
        )
        return list(dict.fromkeys(routed))

    def _update_after(self, last: Delivery, alert: Alert, now: datetime) -> Delivery:
        """Space an update from the message before it, or hold it back until nothing more can join."""
        destination = self._destinations.get(last.receiver, Destination(last.receiver))
        due_at = max(now, (last.sent_at or _not_before(last, now)) + destination.updates)
        if destination.is_updated_last:
            due_at = max(due_at, alert.first_at + alert.realert)
        return _delivery(alert.id, last.receiver, Event.UPDATED, last.ordinal + 1, now, due_at)


def _is_untried(row: Delivery) -> bool:
    """Say whether a row will take the newest state anyway: what it says is frozen at its first attempt only."""
    return row.status is DeliveryStatus.PENDING and row.body is None and row.event is not Event.RESOLVED


def _not_before(last: Delivery, now: datetime) -> datetime:
    """Say when a row that comes after `last` may fall due: looking for it before its turn would be idle."""
    return max(now, last.due_at) if last.status is DeliveryStatus.PENDING else now


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
