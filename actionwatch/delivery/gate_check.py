"""Check due rows against the gates: read what the gates need, such as the alerts that inhibit others.

Works in the claiming transaction. A batch of matching commits its alerts together, so an inhibiting alert is never missed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.inhibition import (
    InhibitRule,
    Labelled,
    inhibitor_of,
    rules_with_source,
    rules_with_target,
    uninhibited,
)
from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy
from actionwatch.alerts.routes import newest_labels
from actionwatch.base.delivery import Delivery
from actionwatch.base.model import Alert, Event, Record
from actionwatch.delivery.gates import UPDATES, GateContext, decide, decisions, is_kept_from_receiver
from actionwatch.delivery.lifecycle import Collapse, GateDecision, Leave
from actionwatch.store import alerts, outbox, records, silences, suppressed_deliveries
from actionwatch.store.outbox import DueDelivery

_NO_SLOT = Leave("its receiver has no free slot")


class GateCheck:
    """Checks rows against the gates under one global policy."""

    def __init__(self, global_policy: GlobalPolicy) -> None:
        self.global_policy = global_policy

    def check(
        self, connection: Connection, policy: ReceiverPolicy, due: Sequence[DueDelivery], most: int, now: datetime
    ) -> list[DueDelivery | GateDecision | Leave]:
        """Check due rows of one receiver until `most` have passed; the rest is left.

        A storm counts all openings that are due: with a slow rate, or a slow receiver, those beyond its limit would wait for
        hours. They collapse, though there is no slot for them.

        Returns: for each row the decision that stops it, or the row with the event that it is for its receiver.
        """
        contexts = self._contexts(connection, policy, [each for each in due if _is_gated(each.delivery)], now)
        passed_count = _count_passed(connection, policy, due[0].delivery.receiver, now) if contexts else 0
        checked: list[DueDelivery | GateDecision | Leave] = []
        for each in due:
            context = contexts.get(each.delivery.id) if most > 0 or policy.storm is not None else None
            decision = None if context is None else decide(replace(context, passed_count=passed_count))
            if context is not None and decision is None:
                passed_count += context.event is Event.OPENED
            if most <= 0 and not isinstance(decision, Collapse):
                checked.append(_NO_SLOT)
            elif decision is not None:
                checked.append(decision)
            else:
                checked.append(as_received(each) if context else each)
                most -= 1
        return checked

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


def read_inhibitors(
    connection: Connection, rules: Sequence[InhibitRule], targets: Iterable[Labelled]
) -> list[Labelled]:
    """Read the alerts that may inhibit any of these. It reads nothing unless a rule has one of them as a target."""
    alerts_at = [each.alert.last_at for each in targets if rules_with_target(each.labels, rules)]
    if not alerts_at:
        return []
    names = _all_names([rule.source_rules for rule in rules])
    return _labelled(connection, alerts.read_at_work(connection, min(alerts_at), max(alerts_at), names))


def read_inhibited(
    connection: Connection, rules: Sequence[InhibitRule], sources: Iterable[Labelled]
) -> dict[str, list[Alert]]:
    """Read the alerts that each of these inhibits, oldest first; sources that inhibit nothing are left out."""
    found: dict[str, list[Alert]] = {}
    for source in sources:
        if own := rules_with_source(source.labels, rules):
            first, last = source.alert.first_at, source.alert.last_at + source.alert.realert
            near = alerts.read_at_work(connection, first, last, _all_names([rule.target_rules for rule in own]))
            inhibited = [each.alert for each in _labelled(connection, near) if inhibitor_of(each, own, [source])]
            found |= {source.alert.id: inhibited} if inhibited else {}
    return found


def _labelled(connection: Connection, found: Collection[Alert]) -> list[Labelled]:
    newest = records.read_of_alerts(connection, [alert.id for alert in found], 1)
    return [Labelled(alert, newest_labels(alert, newest)) for alert in found]


def _all_names(named: Sequence[tuple[str, ...]]) -> set[str] | None:
    """Return the rule names that any of these matchers allow; None if some matchers do not name rules."""
    return {name for names in named for name in names} if all(named) else None
