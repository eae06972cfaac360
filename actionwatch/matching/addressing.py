"""Address alerts: find the receivers of each alert and enqueue their messages.

The matcher, the self-alerts and operator actions use it, in their transactions: an alert and its deliveries are committed
together (the transactional outbox).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route, alert_labels, mutes_for
from actionwatch.base.delivery import (
    ESCALATION,
    NOT_CONFIGURED,
    Delivery,
    DeliveryState,
    DeliveryStatus,
    delivery_about,
)
from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Alert, Escalation, Event, Record, Status
from actionwatch.matching.withdrawals import end_escalations, withdraw
from actionwatch.store import alert_history, delivery_transitions, receiver_progress
from actionwatch.store.receiver_progress import ReceiverProgress

Steps = Sequence[tuple[Alert, Record | None]]
"""An alert as it was after each match that joined it, with that match's record; never empty, the newest state last.

Each step is routed separately: the receivers of an alert must not depend on how many matches one batch holds.
"""


class Addressing:
    """The routing tree and the receivers it leads to, with their policies."""

    def __init__(self, route: Route, policies: Mapping[str, ReceiverPolicy]) -> None:
        self._route = route
        self._policies = policies

    def open(self, connection: Connection, opened: Sequence[Steps], now: datetime) -> None:
        """Enqueue `opened` for every receiver of these new alerts, and their escalations."""
        rows: list[Delivery] = []
        lines: list[alert_history.Entry] = []
        for steps in opened:
            alert, routed = steps[-1][0], self._routed(steps)
            rows += [delivery_about(alert, name, Event.OPENED, 1, now, now, mutes) for name, mutes in routed.items()]
            lines.append(alert_history.Entry(now, alert.id, "opened", alert.title))
            nobody = "nobody: the rule is in shadow mode" if alert.is_shadow else "no receiver: see route"
            lines.append(alert_history.Entry(now, alert.id, "routed", ", ".join(routed) or nobody))
            if alert.escalation and not alert.is_shadow:
                rows.append(_escalation(alert, alert.escalation, ESCALATION, now))
                lines.append(_escalation_line(alert, alert.escalation, now))
        delivery_transitions.enqueue(connection, rows)
        alert_history.append(connection, lines)

    def update(self, connection: Connection, steps: Steps, now: datetime) -> None:
        """Enqueue the newest state for every receiver that has rows of the alert, and `opened` for those routed to only now."""
        alert, routed = steps[-1][0], self._routed(steps)
        known = receiver_progress.read(connection, alert.id)
        rows: list[Delivery] = []
        added: list[str] = []
        for name in dict.fromkeys((*known, *routed)):
            if name not in self._policies:
                continue  # removed: the receivers that the routes name now get it
            found = known.get(name, ReceiverProgress())
            if found.last is not None:
                mutes = routed.get(name, found.last.mutes)
                rows += self._news(found, found.last, alert, mutes, now)
            elif name in routed:
                rows.append(delivery_about(alert, name, Event.OPENED, found.next_ordinal, now, now, routed[name]))
                added.append(name)
        delivery_transitions.enqueue(connection, rows)
        if added:
            alert_history.append(connection, [alert_history.Entry(now, alert.id, "routed", f"also {', '.join(added)}")])

    def acknowledge(self, connection: Connection, alert: Alert, now: datetime, why: str = "") -> None:
        """Enqueue `acked` for the receivers that are or will be notified, except by mail, which cannot change."""
        rows: list[Delivery] = []
        for name, found in receiver_progress.read(connection, alert.id).items():
            last, policy = found.last, self._policies.get(name)
            if last is None or policy is None or policy.is_updated_last:
                continue
            if delivery_transitions.change_event(connection, alert.id, name, Event.ACKED) or _reports_newest_state(
                last
            ):
                continue
            if not found.is_notified and last.status is not DeliveryStatus.PENDING:
                continue
            due_at = self._spaced(last, policy, now)
            rows.append(delivery_about(alert, name, Event.ACKED, found.next_ordinal, now, due_at, last.mutes))
        delivery_transitions.enqueue(connection, rows)
        what = f"by {alert.acked_by}" + (f": {why}" if why else "")
        alert_history.append(connection, [alert_history.Entry(now, alert.id, "acknowledged", what)])

    def resolve(self, connection: Connection, alert: Alert, now: datetime, why: str = "") -> None:
        """Enqueue `resolved` for every receiver of an alert; an update that was not attempted becomes it.

        A fallback that has a copy of the opening gets it too, whatever became of the original since. A removed receiver gets it
        only if it was notified: as a dead letter, which a person can send to another receiver.
        """
        rows: list[Delivery] = []
        for name, found in receiver_progress.read(connection, alert.id).items():
            is_lost = name not in self._policies and not found.is_notified
            if is_lost or not (found.copied or (found.last and _needs_resolution(found, found.last))):
                continue
            if not delivery_transitions.change_event(connection, alert.id, name, Event.RESOLVED):
                rows.append(_end(alert, name, found, now))
        delivery_transitions.enqueue(connection, rows)
        what = f"by {alert.resolved_by}" + (f": {why}" if why else "")
        alert_history.append(connection, [alert_history.Entry(now, alert.id, "resolved", what)])

    def tell(self, connection: Connection, alert: Alert, now: datetime) -> None:
        """Enqueue an update for the receivers that are or will be notified, except by mail: who is assigned, or a note."""
        rows: list[Delivery] = []
        for name, found in receiver_progress.read(connection, alert.id).items():
            last, policy = found.last, self._policies.get(name)
            if last is None or policy is None or policy.is_updated_last or _reports_newest_state(last):
                continue
            if found.is_notified or last.status is DeliveryStatus.PENDING:
                due_at = self._spaced(last, policy, now)
                rows.append(delivery_about(alert, name, Event.UPDATED, found.next_ordinal, now, due_at, last.mutes))
        delivery_transitions.enqueue(connection, rows)

    def reopen(self, connection: Connection, before: Alert, alert: Alert, record: Record | None, why: str = "") -> None:
        """Enqueue `opened` for the receivers of an alert that is open again, and its escalation; `before` has the decision.

        A receiver that has not got the decision yet shows the alert as it was, without a further message.
        """
        now = alert.reopened_at or alert.opened_at
        withdrawal = withdraw(connection, before, alert, self._policies, now)
        known = receiver_progress.read(connection, alert.id)
        routed = self._routed([(alert, record)])
        rows: list[Delivery] = []
        for name in dict.fromkeys((*known, *routed)):
            found = known.get(name, ReceiverProgress())
            if name not in self._policies or name in withdrawal.spared:
                continue
            if found.last and _reports_newest_state(found.last):
                continue
            if name in withdrawal.reached or name in routed or found.last is not None:
                rows.append(_again(alert, name, found, routed.get(name), now))
        delivery_transitions.enqueue(connection, rows)
        what = f"by {alert.reopened_by}" + (f": {why}" if why else "")
        alert_history.append(connection, [alert_history.Entry(now, alert.id, "reopened", what)])
        if alert.escalation and not alert.is_shadow:
            self._escalate_again(connection, before, alert, alert.escalation, now)

    def _escalate_again(
        self, connection: Connection, before: Alert, alert: Alert, escalation: Escalation, now: datetime
    ) -> None:
        """Begin the escalation again, unless its receiver was removed."""
        end_escalations(connection, before)
        line = alert_history.Entry(now, alert.id, "escalation", f"none: {escalation.to} is {NOT_CONFIGURED}")
        if escalation.to in self._policies:
            found = receiver_progress.read(connection, alert.id).get(escalation.to, ReceiverProgress())
            row = _escalation(alert, escalation, found.next_escalation, now)
            delivery_transitions.enqueue(connection, [row])
            line = _escalation_line(alert, escalation, now)
        alert_history.append(connection, [line])

    def _routed(self, steps: Steps) -> dict[str, tuple[str, ...]]:
        """Return the receivers that the routes name after any of these steps, with the mute intervals of their first route."""
        routed: dict[str, tuple[str, ...]] = {}
        for alert, record in steps:
            if not alert.is_shadow:
                routed = {**mutes_for(self._route, alert_labels(alert, record)), **routed}
        return {name: routed[name] for name in self._policies if name in routed}

    def _news(
        self, found: ReceiverProgress, last: Delivery, alert: Alert, mutes: tuple[str, ...], now: datetime
    ) -> list[Delivery]:
        """Return the row that reports a match to a receiver; none where a pending row will report it, or nothing must."""
        policy = self._policies[last.receiver]
        is_low = last.why == "min_level" and alert.level < policy.min_level
        if _reports_newest_state(last) or is_low or _is_collapsed(found, last):
            return []
        if not found.is_notified and last.status in (DeliveryStatus.SUPPRESSED, DeliveryStatus.HELD):
            return [delivery_about(alert, last.receiver, Event.OPENED, found.next_ordinal, now, now, mutes)]
        due_at = self._spaced(last, policy, now)
        if policy.is_updated_last:
            due_at = max(due_at, min(alert.first_at, now) + alert.realert)
        return [delivery_about(alert, last.receiver, Event.UPDATED, found.next_ordinal, now, due_at, mutes)]

    def _spaced(self, last: Delivery, policy: ReceiverPolicy, now: datetime) -> datetime:
        """Return when an update may follow the message before it. If that was sent in the future, the clock was set back."""
        last_at = min(last.sent_at, now) if last.sent_at else _not_before(last, now)
        return max(now, last_at + policy.updates)


def _escalation(alert: Alert, escalation: Escalation, ordinal: int, now: datetime) -> Delivery:
    """Return the escalation. For a receiver that was notified it is an update; the worker sends it to others as `opened`."""
    return delivery_about(alert, escalation.to, Event.UPDATED, ordinal, now, now + escalation.after)


def _escalation_line(alert: Alert, escalation: Escalation, now: datetime) -> alert_history.Entry:
    what = f"to {escalation.to} in {spell_duration(escalation.after)}, unless acknowledged"
    return alert_history.Entry(now, alert.id, "escalation", what)


def _again(
    alert: Alert, receiver: str, found: ReceiverProgress, mutes: tuple[str, ...] | None, now: datetime
) -> Delivery:
    """Return the row that opens an alert for a receiver again, or says that it is acknowledged again.

    `mutes` are those of the routes; None: none selects it now.
    """
    last = found.last
    event = Event.OPENED if alert.status is Status.OPEN else Event.ACKED
    if last is None and mutes is None:
        return delivery_about(alert, receiver, event, found.next_ordinal, now, now, fallback_of=found.copied)
    kept = mutes if mutes is not None else last.mutes if last is not None else ()
    due_at = _not_before(last, now) if last is not None else now
    return delivery_about(alert, receiver, event, found.next_ordinal, now, due_at, kept)


def _reports_newest_state(row: Delivery) -> bool:
    """Return whether a row will report the newest state: it is not frozen yet, or its digest is not written yet."""
    is_open = row.status is DeliveryStatus.PENDING and not row.is_frozen
    return is_open or row.state is DeliveryState.HELD_UNTIL_SUMMARY


def _is_collapsed(found: ReceiverProgress, last: Delivery) -> bool:
    """Return whether the alert went into a storm's summary, which alone reports it."""
    return last.status is DeliveryStatus.COLLAPSED and not found.is_notified


def _needs_resolution(found: ReceiverProgress, last: Delivery) -> bool:
    """Return whether a receiver gets a resolution: not if it was not notified, or its digest will show the resolution."""
    is_suppressed = last.status is DeliveryStatus.SUPPRESSED and not found.is_notified
    is_in_digest = last.status is DeliveryStatus.HELD and _reports_newest_state(last)
    return not (is_suppressed or is_in_digest or _is_collapsed(found, last))


def _end(alert: Alert, receiver: str, found: ReceiverProgress, now: datetime) -> Delivery:
    """Return the row that resolves an alert for a receiver; for one that only has a copy, in the place of the same receiver."""
    if found.last is None:
        return delivery_about(alert, receiver, Event.RESOLVED, found.next_ordinal, now, now, fallback_of=found.copied)
    due_at = _not_before(found.last, now)
    return delivery_about(alert, receiver, Event.RESOLVED, found.next_ordinal, now, due_at, found.last.mutes)


def _not_before(last: Delivery, now: datetime) -> datetime:
    """Return when a row after `last` may fall due: it cannot be claimed before its turn."""
    return max(now, last.due_at) if last.status is DeliveryStatus.PENDING else now
