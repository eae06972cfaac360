"""The life of a delivery: what follows each decision of a gate and each attempt, one clause for each.

                     claim, retry, release
                           ┌──┐
                           │  ▼      sent
    enqueue ────────────▶ pending ─────────▶ sent
                           ▲  │  bury
     requeue, readdress ┌──┘  ├────────────▶ dead ────▶ suppressed
     (from dead) ───────┘     │                   drop
                              │ suppress, collapse, hold            summarise
                              └────────────▶ suppressed ┐ until a ────────────▶ the same status,
                                             collapsed  │ summary               `reported_in` the summary
                                             held       ┘

`base/delivery.py` holds the states, their owners and the table of transitions; `store/delivery_transitions.py` makes them.
Gates decide only before the first attempt. Every attempt ends in one of the clauses `Accepted`, `RetryAt` and `Bury`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection

from actionwatch.base.delivery import Delivery
from actionwatch.delivery.retry import Bury, RetryAt
from actionwatch.store import alert_history, delivery_transitions
from actionwatch.store.delivery_transitions import Suppression
from actionwatch.text.escaping import visible
from actionwatch.text.payloads import instant

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver accepted a message of this type; `note` says what people should know, such as refused recipients."""

    message_type: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed with an error, and what follows."""

    error: str
    follows: RetryAt | Bury


@dataclass(frozen=True, slots=True)
class Suppress:
    """A gate stops it, for a reason (`by`) and what that refers to. `awaits`: the summary that reports it later, if any."""

    by: str
    ref: str | None
    what: str
    awaits: str | None = None


@dataclass(frozen=True, slots=True)
class Collapse:
    """The summary of a storm reports it, not before `until`."""

    until: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Hold:
    """The digest that is due at `until` reports it."""

    until: datetime
    what: str


GateDecision = Suppress | Collapse | Hold
DeliveryOutcome = Accepted | Failed | Bury | GateDecision


def apply(connection: Connection, outcomes: Sequence[tuple[Delivery, DeliveryOutcome]], now: datetime) -> None:
    """Make the transition that follows each outcome, and write a line for each into its alert's history."""
    accepted: dict[tuple[str, str | None], dict[str, str | None]] = defaultdict(dict)
    suppressed: list[Suppression] = []
    collapsed: list[tuple[Delivery, datetime]] = []
    held: list[tuple[Delivery, datetime]] = []
    lines: list[alert_history.Entry] = []
    for delivery, outcome in outcomes:
        match outcome:
            case Accepted(message_type, note):
                accepted[delivery.receiver, delivery.leased_by][delivery.id] = note
                what = f"{message_type} accepted" + (f"; {note}" if note else "")
            case Failed(error, RetryAt(at)):
                delivery_transitions.retry(connection, delivery, at, error)
                what = f"{error}; next attempt at {instant(at)}"
            case Failed(error, Bury(why)):
                delivery_transitions.bury(connection, delivery, visible(why), error)
                what = f"{error}; dead letter: {visible(why)}"
            case Bury(why):
                delivery_transitions.bury(connection, delivery, why)
                what = f"dead letter: {why}"
            case Suppress(by, ref, what, awaits):
                suppressed.append(Suppression(delivery, by, ref, awaits))
            case Collapse(until, what):
                collapsed.append((delivery, until))
            case Hold(until, what):
                held.append((delivery, until))
        lines.append(_history_line(delivery, outcome, what, now))
    for (receiver, sender), notes in accepted.items():
        delivery_transitions.sent(connection, receiver, sender, notes, now)
    delivery_transitions.suppress(connection, suppressed)
    delivery_transitions.collapse(connection, collapsed)
    delivery_transitions.hold(connection, held)
    alert_history.append(connection, lines)


def _history_line(delivery: Delivery, outcome: DeliveryOutcome, what: str, now: datetime) -> alert_history.Entry:
    if isinstance(outcome, GateDecision):
        return alert_history.Entry(now, delivery.alert_id, f"gate to {delivery.receiver}", visible(what))
    attempt = "" if isinstance(outcome, Bury) else f"attempt {delivery.attempts}: "
    return alert_history.Entry(now, delivery.alert_id, f"delivery to {delivery.receiver}", attempt + what)
