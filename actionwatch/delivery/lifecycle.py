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

`base/delivery.py` holds the states, their owners and the table of transitions; `store/delivery_transitions.py` makes them, and
a test compares what it does with the table. Gates decide only before the first attempt. Every attempt ends in one of the
clauses `Accepted`, `RetryAt` and `Bury`. Two other modules of the store write columns that hold no state: `waits.py` moves
times by a step of the clock, `retention.py` deletes rows and bodies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.delivery import Delivery
from actionwatch.delivery.retry import Bury, RetryAt
from actionwatch.store import alert_history, delivery_transitions
from actionwatch.store.delivery_transitions import Suppression
from actionwatch.text.escaping import visible
from actionwatch.text.payloads import instant


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver accepted a message of this type; `note` says what people should know, such as refused recipients."""

    message_type: str
    note: str | None = None


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


@dataclass(frozen=True, slots=True)
class Leave:
    """It stays as it is for now, for a reason: no transition."""

    why: str


GateDecision = Suppress | Collapse | Hold
DeliveryOutcome = Accepted | RetryAt | Bury | GateDecision

_OVERTAKEN = "this does not count: the delivery has gone on meanwhile"  # another process has claimed it, or it is gone


def apply(
    connection: Connection, outcomes: Sequence[tuple[Delivery, DeliveryOutcome]], now: datetime
) -> list[tuple[Delivery, str]]:
    """Make the transition that follows each outcome, and write a line for each into its alert's history.

    Returns: the dead letters, each with its reason, for the fallbacks of their receivers.
    """
    accepted: dict[tuple[str, str | None], dict[str, str | None]] = defaultdict(dict)
    suppressed: list[Suppression] = []
    collapsed: list[tuple[Delivery, datetime]] = []
    held: list[tuple[Delivery, datetime]] = []
    dead: list[tuple[Delivery, str]] = []
    lines: list[alert_history.Entry] = []
    for delivery, outcome in outcomes:
        match outcome:
            case Accepted(message_type, note):
                accepted[delivery.receiver, delivery.leased_by][delivery.id] = note
                what = f"{message_type} accepted" + (f"; {note}" if note else "")
            case RetryAt(at, error):
                is_made = delivery_transitions.retry(connection, delivery, at, visible(error))
                what = f"{visible(error)}; " + (f"next attempt at {instant(at)}" if is_made else _OVERTAKEN)
            case Bury(why, error):
                is_made = delivery_transitions.bury(connection, delivery, visible(why), error and visible(error))
                if is_made:
                    dead.append((delivery, visible(why)))
                follows = f"dead letter: {visible(why)}" if is_made else _OVERTAKEN
                what = f"{visible(error)}; {follows}" if error else follows
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
    return dead


def _history_line(delivery: Delivery, outcome: DeliveryOutcome, what: str, now: datetime) -> alert_history.Entry:
    if isinstance(outcome, GateDecision):
        return alert_history.Entry(now, delivery.alert_id, f"gate to {delivery.receiver}", visible(what))
    is_attempt = not isinstance(outcome, Bury) or outcome.error is not None
    attempt = f"attempt {delivery.attempts}: " if is_attempt else ""
    return alert_history.Entry(now, delivery.alert_id, f"delivery to {delivery.receiver}", attempt + what)
