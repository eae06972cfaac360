"""Address alerts: find the receivers of each, and write the messages they are owed into the outbox.

Used by the step that opens alerts from matches and by the troubles, which open alerts of their own. Everything here happens in
the caller's transaction: an alert and its deliveries are committed together (the transactional outbox).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from actionwatch.alerts.new_delivery import new_delivery
from actionwatch.alerts.routes import Route, alert_labels, mutes_for
from actionwatch.base.delivery import ESCALATION, Delivery, DeliveryStatus
from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Alert, Event, Level, Record
from actionwatch.store import alert_history, delivery_transitions, receiver_progress
from actionwatch.store.receiver_progress import ReceiverProgress

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
        """Owe `opened` to every receiver of these new alerts, and later to whom they escalate."""
        rows: list[Delivery] = []
        lines: list[alert_history.Entry] = []
        for steps in opened:
            alert, routed = steps[-1][0], self._routed(steps)
            rows += [new_delivery(alert.id, name, Event.OPENED, 1, now, now, mutes) for name, mutes in routed.items()]
            lines.append(alert_history.Entry(now, alert.id, "opened", alert.title))
            nobody = "nobody: the rule is in shadow mode" if alert.is_shadow else "no receiver: see route"
            lines.append(alert_history.Entry(now, alert.id, "routed", ", ".join(routed) or nobody))
            if alert.escalation and not alert.is_shadow:
                # To one who was told it is an update, to others the alert itself.
                after, to = alert.escalation.after, alert.escalation.to
                rows.append(new_delivery(alert.id, to, Event.UPDATED, ESCALATION, now, now + after))
                what = f"to {to} in {spell_duration(after)}, unless acknowledged"
                lines.append(alert_history.Entry(now, alert.id, "escalation", what))
        delivery_transitions.enqueue(connection, rows)
        alert_history.append(connection, lines)

    def update(self, connection: Connection, steps: Steps, now: datetime) -> None:
        """Owe the newest state to every receiver that is owed or was told anything, `opened` to those routed to only now."""
        alert, routed = steps[-1][0], self._routed(steps)
        known = receiver_progress.read(connection, alert.id)
        rows: list[Delivery] = []
        added: list[str] = []
        for name in dict.fromkeys((*known, *routed)):
            if name not in self._destinations:
                continue  # gone: whoever the routes lead to now is told in its place
            found = known.get(name, ReceiverProgress())
            if found.last is not None:
                mutes = routed.get(name, found.last.mutes)
                rows += self._news(found, found.last, alert, mutes, now)
            elif name in routed:
                rows.append(new_delivery(alert.id, name, Event.OPENED, found.next_ordinal, now, now, routed[name]))
                added.append(name)
        delivery_transitions.enqueue(connection, rows)
        if added:
            alert_history.append(connection, [alert_history.Entry(now, alert.id, "routed", f"also {', '.join(added)}")])

    def acknowledge(self, connection: Connection, alert: Alert, now: datetime) -> None:
        """Tell those told of an alert, now or soon, that somebody took it on; not by mail, which stays as it is."""
        rows: list[Delivery] = []
        for name, found in receiver_progress.read(connection, alert.id).items():
            last, destination = found.last, self._destinations.get(name)
            if last is None or destination is None or destination.is_updated_last:
                continue
            if delivery_transitions.change_event(connection, alert.id, name, Event.ACKED) or takes_newest_state(last):
                continue
            if not found.is_notified and last.status is not DeliveryStatus.PENDING:
                continue
            due_at = self._spaced(last, destination, now)
            rows.append(new_delivery(alert.id, name, Event.ACKED, found.next_ordinal, now, due_at, last.mutes))
        delivery_transitions.enqueue(connection, rows)
        alert_history.append(connection, [alert_history.Entry(now, alert.id, "acknowledged", f"by {alert.acked_by}")])

    def resolve(self, connection: Connection, alert: Alert, now: datetime, why: str = "") -> None:
        """Owe `resolved` to every receiver of an alert; an update that was not tried yet says it instead.

        A receiver that is gone is owed it only where it was told the alert: as a dead letter, which can go to its heir.
        """
        rows: list[Delivery] = []
        for name, found in receiver_progress.read(connection, alert.id).items():
            is_lost = name not in self._destinations and not found.is_notified
            if found.last is None or is_lost or _is_left_alone(found, found.last):
                continue
            if not delivery_transitions.change_event(connection, alert.id, name, Event.RESOLVED):
                due_at = _not_before(found.last, now)
                rows.append(
                    new_delivery(alert.id, name, Event.RESOLVED, found.next_ordinal, now, due_at, found.last.mutes)
                )
        delivery_transitions.enqueue(connection, rows)
        what = f"by {alert.resolved_by}" + (f": {why}" if why else "")
        alert_history.append(connection, [alert_history.Entry(now, alert.id, "resolved", what)])

    def test(self, connection: Connection, alert: Alert, receiver: str, now: datetime) -> str:
        """Owe a marked test message to one receiver, whatever the routes say; give the delivery's id."""
        row = new_delivery(alert.id, receiver, Event.TEST, 1, now, now)
        delivery_transitions.enqueue(connection, [row])
        alert_history.append(connection, [alert_history.Entry(now, alert.id, "tested", receiver)])
        return row.id

    def _routed(self, steps: Steps) -> dict[str, tuple[str, ...]]:
        """Name whom the routes lead to after any of these steps, each with the mute intervals of the first route to it."""
        routed: dict[str, tuple[str, ...]] = {}
        for alert, record in steps:
            if not alert.is_shadow:
                routed = {**mutes_for(self._route, alert_labels(alert, record)), **routed}
        return {name: routed[name] for name in self._destinations if name in routed}

    def _news(
        self, found: ReceiverProgress, last: Delivery, alert: Alert, mutes: tuple[str, ...], now: datetime
    ) -> list[Delivery]:
        """Owe a receiver the news of a match, unless a row that waits will tell it, or nothing more is to be told."""
        destination = self._destinations[last.receiver]
        is_low = last.why == "min_level" and alert.level < destination.min_level
        if takes_newest_state(last) or is_low or _is_collapsed(found, last):
            return []
        if not found.is_notified and last.status in (DeliveryStatus.SUPPRESSED, DeliveryStatus.HELD):
            return [new_delivery(alert.id, last.receiver, Event.OPENED, found.next_ordinal, now, now, mutes)]
        due_at = self._spaced(last, destination, now)
        if destination.is_updated_last:
            due_at = max(due_at, alert.first_at + alert.realert)
        return [new_delivery(alert.id, last.receiver, Event.UPDATED, found.next_ordinal, now, due_at, mutes)]

    def _spaced(self, last: Delivery, destination: Destination, now: datetime) -> datetime:
        """Say when an update may come after the message before it."""
        return max(now, (last.sent_at or _not_before(last, now)) + destination.updates)


def takes_newest_state(row: Delivery) -> bool:
    """Say whether a row will tell the newest state anyway: it is frozen at its first attempt only, a digest when it is made."""
    is_untried = row.status is DeliveryStatus.PENDING and row.body is None and row.event is not Event.RESOLVED
    return is_untried or (row.status is DeliveryStatus.HELD and row.awaits is not None)


def _is_collapsed(found: ReceiverProgress, last: Delivery) -> bool:
    """Say whether the alert went into a storm's summary, which is all that is told of it."""
    return last.status is DeliveryStatus.COLLAPSED and not found.is_notified


def _is_left_alone(found: ReceiverProgress, last: Delivery) -> bool:
    """Say whether a receiver is told nothing of a resolution: it was told nothing at all, or its digest will say so."""
    is_suppressed = last.status is DeliveryStatus.SUPPRESSED and not found.is_notified
    return (
        is_suppressed or _is_collapsed(found, last) or (last.status is DeliveryStatus.HELD and takes_newest_state(last))
    )


def _not_before(last: Delivery, now: datetime) -> datetime:
    """Say when a row that comes after `last` may fall due: looking for it before its turn would be idle."""
    return max(now, last.due_at) if last.status is DeliveryStatus.PENDING else now
