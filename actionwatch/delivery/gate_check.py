"""Check due rows against the gates: read what the gates need, and apply their decisions.

Works in the claiming transaction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.inhibition import Labelled, uninhibited
from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy
from actionwatch.alerts.routes import newest_labels
from actionwatch.base.delivery import Delivery
from actionwatch.base.model import Event, Record
from actionwatch.delivery import lifecycle
from actionwatch.delivery.gates import UPDATES, GateContext, decide, decisions, is_kept_from_receiver
from actionwatch.delivery.inhibiting import read_inhibitors
from actionwatch.delivery.lifecycle import Collapse, GateDecision
from actionwatch.store import outbox, records, silences, suppressed_deliveries
from actionwatch.store.outbox import DueDelivery


class GateCheck:
    """Checks rows against the gates under one global policy."""

    def __init__(self, global_policy: GlobalPolicy) -> None:
        self.global_policy = global_policy

    def check(
        self, connection: Connection, policy: ReceiverPolicy, due: Sequence[DueDelivery], most: int, now: datetime
    ) -> list[DueDelivery]:
        """Check due rows of one receiver until `most` have passed; the rest is left alone. Frozen rows pass.

        A storm counts all openings that are due: with a slow rate, or a slow receiver, those beyond its limit would wait for
        hours. They collapse, though there is no slot for them.

        Returns: the rows that passed, each with the event that it is for its receiver.
        """
        stopped: list[tuple[Delivery, GateDecision]] = []
        contexts = self._contexts(connection, policy, [each for each in due if _is_gated(each.delivery)], now)
        passed: list[DueDelivery] = []
        passed_count = _count_passed(connection, policy, due[0].delivery.receiver, now) if contexts else 0
        for each in due:
            has_slot = len(passed) < most
            if not has_slot and policy.storm is None:
                break
            row = each.delivery
            context = contexts.get(row.id)
            decision = None if context is None else decide(replace(context, passed_count=passed_count))
            if decision is None:
                passed_count += context is not None and context.event is Event.OPENED
                passed += [as_received(each) if context else each] if has_slot else []
            elif has_slot or isinstance(decision, Collapse):
                stopped.append((row, decision))
        lifecycle.apply(connection, stopped, now)
        return passed

    def is_storm_due(self, connection: Connection, policy: ReceiverPolicy, receiver: str, now: datetime) -> bool:
        """Return whether more openings are due than a storm lets through: then `check` should see them all."""
        if policy.storm is None:
            return False
        due = suppressed_deliveries.count_due_openings(connection, receiver, now, policy.storm.above + 1)
        return due > 0 and due + _count_passed(connection, policy, receiver, now) > policy.storm.above

    def foresee(
        self, connection: Connection, policy: ReceiverPolicy, row: DueDelivery, now: datetime
    ) -> list[GateDecision]:
        """Return what each gate that would stop a row now decides, in the order of the gates. Changes nothing."""
        passed_count = _count_passed(connection, policy, row.delivery.receiver, now)
        contexts = self._contexts(connection, policy, [row], now)
        return [
            decision
            for context in contexts.values()
            for decision in decisions(replace(context, passed_count=passed_count))
        ]

    def _contexts(
        self, connection: Connection, policy: ReceiverPolicy, due: Sequence[DueDelivery], now: datetime
    ) -> dict[str, GateContext]:
        """Read what the gates need, by delivery id; a row whose alert is not in the store has none."""
        if not due:
            return {}
        known = {each.alert.id: each.alert for each in due if each.alert is not None}
        active = silences.read_active(connection, now)
        newest: Mapping[str, Sequence[Record]] = {}
        if active or self.global_policy.inhibit_rules:  # nothing else looks at labels
            newest = records.read_of_alerts(connection, known, 1)
        contexts = {
            each.delivery.id: GateContext(
                each.delivery,
                _event_of(each),
                each.alert,
                newest_labels(each.alert, newest),
                each.is_notified,
                now,
                policy,
                self.global_policy,
                active,
            )
            for each in due
            if each.alert is not None
        }
        inhibitors = self._inhibitors(connection, list(contexts.values()))
        if not inhibitors:
            return contexts
        return {row_id: replace(context, inhibitors=inhibitors) for row_id, context in contexts.items()}

    def _inhibitors(self, connection: Connection, targets: Sequence[GateContext]) -> list[Labelled]:
        """Read the alerts that may inhibit any of these at their receiver: only those about which it gets a message.

        Otherwise an alert that a silence or the route keeps from it would hide another one, and it would learn of neither.
        """
        labelled = [Labelled(context.alert, context.labels) for context in targets]
        found = {
            each.alert.id: each for each in read_inhibitors(connection, self.global_policy.inhibit_rules, labelled)
        }
        if not found:
            return []
        first = targets[0]
        receiver = first.delivery.receiver
        reached = outbox.read_reached(connection, receiver, found)
        reached |= {
            row.alert_id
            for row in outbox.read_pending(connection, receiver, found.keys() - reached)
            if not is_kept_from_receiver(
                replace(
                    first,
                    delivery=row,
                    event=row.event,
                    alert=found[row.alert_id].alert,
                    labels=found[row.alert_id].labels,
                )
            )
        }
        return uninhibited(
            self.global_policy.inhibit_rules, [each for alert_id, each in found.items() if alert_id in reached]
        )


def _event_of(due: DueDelivery) -> Event:
    """Return what a row is for its receiver: an update is the opening for one that got nothing."""
    return Event.OPENED if due.delivery.event in UPDATES and not due.is_notified else due.delivery.event


def as_received(due: DueDelivery) -> DueDelivery:
    """Return a row with the event that it is for its receiver."""
    event = _event_of(due)
    if due.delivery.event is event:
        return due
    return dataclasses.replace(due, delivery=replace(due.delivery, event=event))


def _count_passed(connection: Connection, policy: ReceiverPolicy, receiver: str, now: datetime) -> int:
    """Count the openings that count as part of a storm."""
    if policy.storm is None:
        return 0
    since = now - policy.storm.per
    return suppressed_deliveries.count_let_through(connection, receiver, since, now, policy.storm.above)


def _is_gated(delivery: Delivery) -> bool:
    return not delivery.is_frozen and delivery.event not in (Event.TEST, Event.SUMMARY)
