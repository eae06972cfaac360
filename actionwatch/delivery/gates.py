"""Gates: what a message passes when it is first about to be sent, in one list; each lets it through or says why not.

Judged by `worker.py` in its claiming transaction, only while the message is not frozen; what passed once is never judged
again. A stopped message is never sent later. The rate, the last gate of all, is the channel's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.inhibition import Labelled, inhibitor_of
from actionwatch.alerts.policy import House, Policy
from actionwatch.alerts.routes import Labels, alert_labels
from actionwatch.alerts.silences import silence_for
from actionwatch.base.model import (
    ESCALATION,
    READDRESSED,
    UNTOLD,
    Alert,
    Delivery,
    DeliveryStatus,
    Event,
    Record,
    Silence,
    Status,
)
from actionwatch.store import alert_history, alerts, records, silences, suppressed_deliveries
from actionwatch.store.outbox import Due
from actionwatch.text.escaping import visible
from actionwatch.text.payloads import instant


@dataclass(frozen=True, slots=True)
class Suppress:
    """Not sent, for a reason (`by`) and what it refers to. `awaits`: the summary that will tell of it at the end, if any."""

    by: str
    ref: str | None
    what: str
    awaits: str | None = None


@dataclass(frozen=True, slots=True)
class Collapse:
    """Told in a storm's summary, not before `until`."""

    until: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Told in the digest that is due at `until`."""

    until: datetime
    what: str


Verdict = Suppress | Collapse | Hold


class Context(msgspec.Struct, frozen=True):
    """All that a gate may look at. `event` is what the message is to its receiver; `let_through` counts what a storm counts."""

    delivery: Delivery
    event: Event
    alert: Alert
    labels: Labels
    is_told: bool
    now: datetime
    policy: Policy
    house: House
    silences: Sequence[Silence] = ()
    inhibitors: Sequence[Labelled] = ()
    let_through: int = 0

    @property
    def is_readdressed(self) -> bool:
        """Whether a person chose this receiver for it, in the place of one that may have been told more."""
        return self.delivery.why == READDRESSED


def untold(context: Context) -> Verdict | None:
    """Keep the end of an alert from those who never heard of its beginning."""
    if context.is_told or context.is_readdressed:
        return None
    return Suppress(UNTOLD, None, "this receiver was never told that it opened")


def taken_on(context: Context) -> Verdict | None:
    """End an escalation when a person has taken the alert on, or it is over."""
    alert = context.alert
    if context.delivery.ordinal != ESCALATION or alert.status is Status.OPEN:
        return None
    who = alert.acked_by if alert.status is Status.ACKED else alert.resolved_by
    return Suppress(alert.status.value, who, f"no escalation: {alert.status.value} by {who}")


def silence(context: Context) -> Verdict | None:
    """Keep quiet while somebody asked for it."""
    found = silence_for(context.labels, context.silences, context.now)
    if found is None:
        return None
    what = f"silence {found.id} by {found.author} until {instant(found.ends_at)}: {found.comment}"
    return Suppress("silence", found.id, what, awaits="silence")


def inhibition(context: Context) -> Verdict | None:
    """Keep an alert back that another one explains."""
    rules = context.house.inhibit_rules
    source = inhibitor_of(Labelled(context.alert, context.labels), rules, context.inhibitors)
    if source is None:
        return None
    return Suppress("inhibition", source.id, f"inhibited by alert {source.id}: {source.title}")


def mute(context: Context) -> Verdict | None:
    """Respect the hours in which a route delivers nothing."""
    name = context.house.muting(context.delivery.mutes, context.now)
    if name is None:
        return None
    return Suppress("mute", name, f"muted: the time interval {name} holds", awaits="mute")


def min_level(context: Context) -> Verdict | None:
    """Tell a receiver only what is bad enough for it."""
    least = context.policy.min_level
    if context.alert.level >= least or context.is_readdressed:
        return None
    return Suppress("min_level", least.word, f"{context.alert.level.word} is below its min_level {least.word}")


def storm(context: Context) -> Verdict | None:
    """Collapse what comes beyond what a person can read."""
    limit = context.policy.storm
    if limit is None or context.let_through < limit.above:
        return None
    what = f"storm: {limit.above} alerts went to it lately; this one comes in a summary"
    return Collapse(context.now + context.policy.updates, what)


def digest(context: Context) -> Verdict | None:
    """Hold everything for the digest."""
    if context.policy.digest is None:
        return None
    until = context.policy.digest.next_after(context.now)
    return Hold(until, f"held for the digest of {instant(until)}")


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: what judges, and which messages it judges. A copy for a fallback receiver passed the others before."""

    judge: Callable[[Context], Verdict | None]
    events: frozenset[Event]
    is_for_copies: bool = False


NEWS = frozenset({Event.OPENED, Event.UPDATED})
OPENED = frozenset({Event.OPENED})
RESOLVED = frozenset({Event.RESOLVED})
UPDATES = frozenset({Event.UPDATED, Event.ACKED})
ALL = OPENED | UPDATES | RESOLVED

GATES: tuple[Gate, ...] = (
    Gate(untold, RESOLVED, is_for_copies=True),
    Gate(taken_on, NEWS),
    Gate(silence, NEWS),
    Gate(inhibition, NEWS),
    Gate(mute, NEWS),
    Gate(min_level, NEWS),
    Gate(storm, OPENED),
    Gate(digest, ALL, is_for_copies=True),
)
"""In order; the first that stops a message counts.

Who was told of an alert is told that somebody took it on, and that it is over, whatever hides news: a page would go on
waking people, and a ticket stay open for ever.
"""


def judge(context: Context) -> Verdict | None:
    """Take a message through the gates; None: it is sent."""
    is_copy = context.delivery.fallback_of is not None
    for gate in GATES:
        if context.event in gate.events and (gate.is_for_copies or not is_copy):
            verdict = gate.judge(context)
            if verdict is not None:
                return verdict
    return None


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of rows: those that go on, each as what it is to its receiver; and all that end an alert, sent or not."""

    passed: list[Due]
    ends: list[Delivery]


class Gatekeeper:
    """Takes due rows of one receiver through the gates, and writes down what stops them."""

    def __init__(self, house: House) -> None:
        self._house = house

    def judge(self, connection: Connection, policy: Policy, due: Sequence[Due], most: int, now: datetime) -> Judged:
        """Judge rows until `most` have passed; the rest is left as it is. What is frozen passes."""
        stops: list[suppressed_deliveries.Stop] = []
        lines: list[alert_history.Entry] = []
        contexts = self._contexts(connection, policy, [each for each in due if _is_judged(each)], now)
        judged = Judged([], [])
        let_through = self._count(connection, policy, due[0].delivery.receiver, now) if contexts else 0
        for each in due:
            if len(judged.passed) >= most:
                break
            row = each.delivery
            context = contexts.get(row.id)
            if context is None:
                judged.passed.append(each)
                continue
            if context.event is Event.RESOLVED:
                judged.ends.append(row)
            verdict = judge(_counting(context, let_through))
            if verdict is None:
                judged.passed.append(each if row.event is context.event else _as(each, context.event))
                let_through += context.event is Event.OPENED
                continue
            stops.append(_stop(row, verdict))
            lines.append(alert_history.Entry(now, row.alert_id, f"gate to {row.receiver}", visible(verdict.what)))
        suppressed_deliveries.stop(connection, stops)
        alert_history.append(connection, lines)
        return judged

    def _contexts(
        self, connection: Connection, policy: Policy, due: Sequence[Due], now: datetime
    ) -> dict[str, Context]:
        """Read what the gates look at, by delivery; a row whose alert is gone has none."""
        if not due:
            return {}
        known = {each.alert.id: each.alert for each in due if each.alert is not None}
        quiet = silences.read_active(connection, now)
        newest: Mapping[str, Sequence[Record]] = {}
        if quiet or self._house.inhibit_rules:  # nothing else looks at labels
            newest = records.read_of_alerts(connection, known, 1)
        inhibitors = self._inhibitors(connection, list(known.values()))
        found: dict[str, Context] = {}
        for each in due:
            row, alert = each.delivery, each.alert
            if alert is not None:
                labels = _labels(alert, newest)
                event = Event.OPENED if row.event in UPDATES and not each.is_told else row.event
                found[row.id] = Context(
                    row, event, alert, labels, each.is_told, now, policy, self._house, quiet, inhibitors
                )
        return found

    def _inhibitors(self, connection: Connection, targets: Sequence[Alert]) -> list[Labelled]:
        """Read the alerts that may inhibit any of these."""
        rules = self._house.inhibit_rules
        if not rules or not targets:
            return []
        names = [rule.source_rules for rule in rules]
        only = {name for some in names for name in some} if all(names) else None
        first, last = min(alert.last_at for alert in targets), max(alert.last_at for alert in targets)
        found = alerts.read_at_work(connection, first, last, only)
        newest = records.read_of_alerts(connection, [alert.id for alert in found], 1)
        return [Labelled(alert, _labels(alert, newest)) for alert in found]

    def _count(self, connection: Connection, policy: Policy, receiver: str, now: datetime) -> int:
        if policy.storm is None:
            return 0
        return suppressed_deliveries.count_let_through(
            connection, receiver, now - policy.storm.per, now, policy.storm.above
        )


def _is_judged(due: Due) -> bool:
    return due.delivery.body is None and due.delivery.event not in (Event.TEST, Event.SUMMARY)


def _as(due: Due, event: Event) -> Due:
    return Due(replace(due.delivery, event=event), due.alert, due.is_told)


def _labels(alert: Alert, newest: Mapping[str, Sequence[Record]]) -> Labels:
    found = newest.get(alert.id)
    return alert_labels(alert, found[-1] if found else None)


def _counting(context: Context, let_through: int) -> Context:
    """Bring a context up to date with what passed before it."""
    return context if context.policy.storm is None else replace(context, let_through=let_through)


def _stop(row: Delivery, verdict: Verdict) -> suppressed_deliveries.Stop:
    match verdict:
        case Suppress(by, ref, _, awaits):
            return suppressed_deliveries.Stop(row, DeliveryStatus.SUPPRESSED, by, ref, awaits, row.due_at)
        case Collapse(until):
            return suppressed_deliveries.Stop(row, DeliveryStatus.COLLAPSED, "storm", None, "storm", until)
        case Hold(until):
            return suppressed_deliveries.Stop(row, DeliveryStatus.HELD, "digest", None, "digest", until)
