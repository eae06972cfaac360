"""Gates: the checks before the first attempt of a message, in one list. Each lets it pass or decides what happens instead.

Pure: `gate_check.py` reads what they need. A message that passed is frozen and not checked again; one that a gate stopped is
never sent later. The receiver worker applies the rate limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from actionwatch.alerts.inhibition import Labelled, inhibitor_of
from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy
from actionwatch.alerts.silences import silence_for
from actionwatch.base.delivery import NOT_NOTIFIED, Delivery
from actionwatch.base.model import Alert, Event, Silence, Status
from actionwatch.base.plurals import counted
from actionwatch.delivery.lifecycle import Collapse, GateDecision, Hold, Suppress
from actionwatch.text.matchers import Labels
from actionwatch.text.payloads import instant


class GateContext(msgspec.Struct, frozen=True):
    """The input of a gate. `event`: what the message is for its receiver; `passed_count`: what a storm counts."""

    delivery: Delivery
    event: Event
    alert: Alert
    labels: Labels
    is_notified: bool
    now: datetime
    policy: ReceiverPolicy
    global_policy: GlobalPolicy
    silences: Sequence[Silence] = ()
    inhibitors: Sequence[Labelled] = ()
    passed_count: int = 0


def not_notified(context: GateContext) -> GateDecision | None:
    """Suppress the end of an alert for a receiver that did not get the opening."""
    if context.is_notified or context.delivery.is_readdressed:
        return None
    return Suppress(NOT_NOTIFIED, None, "this receiver did not get the opening")


def handled(context: GateContext) -> GateDecision | None:
    """Suppress an escalation of an alert that is acknowledged or resolved."""
    alert = context.alert
    if not context.delivery.is_escalation or alert.status is Status.OPEN:
        return None
    who = alert.acked_by if alert.status is Status.ACKED else alert.resolved_by
    return Suppress(alert.status.value, who, f"no escalation: {alert.status.value} by {who}")


def silence(context: GateContext) -> GateDecision | None:
    """Suppress news of alerts that match an active silence."""
    found = silence_for(context.labels, context.silences, context.now)
    if found is None:
        return None
    what = f"silence {found.id} by {found.author} until {instant(found.ends_at)}: {found.comment}"
    return Suppress("silence", found.id, what, awaits="silence")


def inhibition(context: GateContext) -> GateDecision | None:
    """Suppress news of an alert that another alert inhibits. `inhibitors` are alerts that this receiver gets."""
    rules = context.global_policy.inhibit_rules
    source = inhibitor_of(Labelled(context.alert, context.labels), rules, context.inhibitors)
    if source is None:
        return None
    return Suppress("inhibition", source.id, f"inhibited by alert {source.id}: {source.title}")


def mute(context: GateContext) -> GateDecision | None:
    """Suppress news during a mute interval of the route."""
    name = context.global_policy.active_mute(context.delivery.mutes, context.now)
    if name is None:
        return None
    return Suppress("mute", name, f"muted: the time interval {name} is active", awaits="mute")


def min_level(context: GateContext) -> GateDecision | None:
    """Suppress news below the receiver's level."""
    least = context.policy.min_level
    if context.alert.level >= least or context.delivery.is_readdressed:
        return None
    return Suppress("min_level", least.word, f"{context.alert.level.word} is below its min_level {least.word}")


def storm(context: GateContext) -> GateDecision | None:
    """Collapse openings beyond the number that a person can read. `passed_count`: sent, being sent, and due before this one."""
    limit = context.policy.storm
    if limit is None or context.passed_count < limit.above:
        return None
    before = f"{counted(limit.above, 'alert')} {'was' if limit.above == 1 else 'were'} sent to it recently, or will be"
    what = f"storm: {before}; a summary reports this one"
    return Collapse(context.now + context.policy.updates, what)


def digest(context: GateContext) -> GateDecision | None:
    """Hold everything until the digest."""
    if context.policy.digest is None:
        return None
    until = context.policy.digest.next_after(context.now)
    return Hold(until, f"held for the digest of {instant(until)}")


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate and the events it applies to. A fallback copy passed the other gates before."""

    decide: Callable[[GateContext], GateDecision | None]
    events: frozenset[Event]
    applies_to_fallbacks: bool = False


NEWS = frozenset({Event.OPENED, Event.UPDATED})
OPENED = frozenset({Event.OPENED})
RESOLVED = frozenset({Event.RESOLVED})
UPDATES = frozenset({Event.UPDATED, Event.ACKED})
ALL = OPENED | UPDATES | RESOLVED

GATES: tuple[Gate, ...] = (
    Gate(not_notified, RESOLVED, applies_to_fallbacks=True),
    Gate(handled, NEWS),
    Gate(silence, NEWS),
    Gate(inhibition, NEWS),
    Gate(mute, NEWS),
    Gate(min_level, NEWS),
    Gate(storm, OPENED),
    Gate(digest, ALL, applies_to_fallbacks=True),
)
"""In order; the first that stops a message counts.

Gates that suppress news let acknowledgements and resolutions pass to a receiver that was notified: otherwise a page would keep
alarming people, or a ticket would stay open.
"""


def decide(context: GateContext) -> GateDecision | None:
    """Return the decision of the first gate that stops a message; None if it passes all."""
    return next(decisions(context), None)


def is_kept_from_receiver(context: GateContext) -> bool:
    """Return whether the receiver of a pending row gets no message by it, now or in a summary of a storm or digest.

    An escalation that was not attempted may never be sent: people may handle the alert first.
    """
    row = context.delivery
    if row.is_frozen or row.is_fallback:
        return False
    return row.is_escalation or any(gate(context) is not None for gate in (silence, mute, min_level))


def decisions(context: GateContext) -> Iterator[GateDecision]:
    """Yield the decision of each gate that would stop a message, in the order of the gates."""
    for gate in GATES:
        if context.event in gate.events and (gate.applies_to_fallbacks or not context.delivery.is_fallback):
            decision = gate.decide(context)
            if decision is not None:
                yield decision
