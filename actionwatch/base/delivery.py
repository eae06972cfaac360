"""A delivery (one message of one alert for one receiver), the states that it can be in, and the transitions between them.

`store/delivery_transitions.py` makes the transitions and refuses every other one; `delivery/lifecycle.py` decides which one
follows a gate or an attempt. docs/alerts.md, "The life of a delivery", shows the same table to people; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum

import msgspec

from actionwatch.base.ids import stable_id
from actionwatch.base.model import Alert, Event
from actionwatch.base.plurals import counted, is_or_are

ESCALATION = -1
"""The ordinal of an escalation: it is outside the order of its alert's messages. Ask `Delivery.is_escalation`.

Each time that a person reopens the alert, another one follows, with the next lower number.
"""

NOT_NOTIFIED = "untold"
"""Why a resolution is not sent: its receiver did not get the opening."""
NOT_CONFIGURED = "no longer configured"
"""Why a message is dead: the configuration does not name its receiver."""
READDRESSED = "readdressed"
"""Why a row is where it is: a person sent a dead letter to another receiver. `ref` names the other receiver."""
DROPPED = "dropped"
"""Why a message is never sent: a person dropped the dead letter. `ref` names the person."""


class DeliveryStatus(StrEnum):
    """The `status` of a row: what `deliveries list` shows."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"
    SUPPRESSED = "suppressed"
    COLLAPSED = "collapsed"
    HELD = "held"


class DeliveryState(Enum):
    """Each state: the row's `status`, and whether a summary still has to report the row (`awaits` names which one)."""

    PENDING = (DeliveryStatus.PENDING, False)
    """Waits for its first or next attempt, or is being sent under a lease."""
    SENT = (DeliveryStatus.SENT, False)
    """The receiver accepted the message."""
    DEAD = (DeliveryStatus.DEAD, False)
    """actionwatch gave up: a dead letter."""
    SUPPRESSED = (DeliveryStatus.SUPPRESSED, False)
    """Never sent: a gate stopped it, a person dropped it, or it moved to another receiver."""
    SUPPRESSED_UNTIL_SUMMARY = (DeliveryStatus.SUPPRESSED, True)
    """Never sent: a silence or a mute interval stopped it. The summary at its end reports it."""
    COLLAPSED_UNTIL_SUMMARY = (DeliveryStatus.COLLAPSED, True)
    """Never sent: it came in a storm. The storm's summary reports it."""
    COLLAPSED = (DeliveryStatus.COLLAPSED, False)
    """The storm's summary reported it."""
    HELD_UNTIL_SUMMARY = (DeliveryStatus.HELD, True)
    """Never sent: it waits for a digest, which reports it."""
    HELD = (DeliveryStatus.HELD, False)
    """The digest reported it."""

    @property
    def status(self) -> DeliveryStatus:
        """The row's `status`."""
        return self.value[0]

    @property
    def awaits_summary(self) -> bool:
        """Whether the row's `awaits` is set."""
        return self.value[1]


OWNERS: dict[DeliveryState, str] = {
    DeliveryState.PENDING: "the delivery worker, when it is due",
    DeliveryState.DEAD: "a person",
    DeliveryState.SUPPRESSED_UNTIL_SUMMARY: "the summary at the end of the silence or mute interval",
    DeliveryState.COLLAPSED_UNTIL_SUMMARY: "the summary of the storm",
    DeliveryState.HELD_UNTIL_SUMMARY: "the digest",
}
"""Who moves a row on. A state that is not here is final: its rows stay until retention deletes them."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One kind of change. `moves`: from which state to which; from None, where it creates the row."""

    name: str
    moves: tuple[tuple[DeliveryState | None, DeliveryState], ...]
    actor: str

    @property
    def sources(self) -> frozenset[DeliveryState | None]:
        """The states that allow it."""
        return frozenset(source for source, _ in self.moves)


_S = DeliveryState
_STAYS_PENDING = ((_S.PENDING, _S.PENDING),)

ENQUEUE = Transition(
    "enqueue", ((None, _S.PENDING),), "matching (an alert opens, changes or ends), summaries, fallbacks"
)
CHANGE_EVENT = Transition(
    "change_event",
    _STAYS_PENDING,
    "matching: an update that was not attempted becomes an acknowledgement or a resolve, or these an update, if the alert is "
    "reopened",
)
CLAIM = Transition("claim", _STAYS_PENDING, "the delivery worker: takes a lease, freezes the body, counts the attempt")
FREEZE = Transition("freeze", _STAYS_PENDING, "the delivery worker: freezes the body for a fallback copy")
RELEASE = Transition(
    "release",
    _STAYS_PENDING,
    "a delivery worker, at its start and when another replica has ended: ends the leases of dead processes",
)
RETRY = Transition("retry", _STAYS_PENDING, "the delivery worker: a temporary error")
SENT = Transition("sent", ((_S.PENDING, _S.SENT),), "the delivery worker: the receiver accepted the message")
BURY = Transition(
    "bury",
    tuple((source, _S.DEAD) for source in (_S.PENDING, _S.COLLAPSED_UNTIL_SUMMARY, _S.HELD_UNTIL_SUMMARY)),
    "the delivery worker: a permanent error, too late for a retry, or the receiver is no longer configured",
)
SUPPRESS = Transition(
    "suppress",
    ((_S.PENDING, _S.SUPPRESSED), (_S.PENDING, _S.SUPPRESSED_UNTIL_SUMMARY)),
    "a gate, before the first attempt; or a person, who reopens the alert: what only the decision needed",
)
COLLAPSE = Transition(
    "collapse", ((_S.PENDING, _S.COLLAPSED_UNTIL_SUMMARY),), "the storm gate, before the first attempt"
)
HOLD = Transition("hold", ((_S.PENDING, _S.HELD_UNTIL_SUMMARY),), "the digest gate, before the first attempt")
SUMMARISE = Transition(
    "summarise",
    (
        (_S.SUPPRESSED_UNTIL_SUMMARY, _S.SUPPRESSED),
        (_S.COLLAPSED_UNTIL_SUMMARY, _S.COLLAPSED),
        (_S.HELD_UNTIL_SUMMARY, _S.HELD),
    ),
    "a summary, which `reported_in` names",
)
REQUEUE = Transition(
    "requeue",
    ((_S.DEAD, _S.PENDING), (_S.SUPPRESSED, _S.PENDING)),
    "a person, by `deliveries retry`: dead letters, and the end that a receiver did not get because its opening was dead",
)
READDRESS = Transition(
    "readdress",
    ((_S.DEAD, _S.PENDING), (None, _S.SUPPRESSED)),
    "a person, by `deliveries retry --to`: moves a dead letter to another receiver and leaves a row in its old place",
)
DROP = Transition("drop", ((_S.DEAD, _S.SUPPRESSED),), "a person, by `deliveries drop`")

TRANSITIONS = (
    ENQUEUE, CHANGE_EVENT, CLAIM, FREEZE, RELEASE, RETRY, SENT, BURY, SUPPRESS, COLLAPSE, HOLD, SUMMARISE, REQUEUE, READDRESS,
    DROP,
)  # fmt: skip
"""Retention deletes rows in a final state; nothing else leaves the table."""


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One row of the outbox. `ordinal` counts within alert and receiver; it is the order of sending."""

    id: str
    alert_id: str
    receiver: str
    event: Event
    ordinal: int
    status: DeliveryStatus
    attempts: int
    created_at: datetime
    started_at: datetime
    """`retry.give_up_after` counts from here: the creation, or the last replay."""
    due_at: datetime
    sent_at: datetime | None = None
    last_error: str | None = None
    why: str | None = None
    body: str | None = None
    """The frozen message as JSON; None until the first attempt."""
    ref: str | None = None
    """What `why` refers to: the silence, the inhibiting alert, the time interval, the other receiver."""
    mutes: tuple[str, ...] = ()
    """The time intervals of its route in which it must not be delivered."""
    fallback_of: str | None = None
    """The delivery that it copies, where its receiver is the fallback of another."""
    awaits: str | None = None
    """The reason of the summary that still has to report it, where a gate stopped it."""
    leased_by: str | None = None
    """The process that is sending it."""

    @property
    def is_frozen(self) -> bool:
        """Whether its text is fixed, because it was attempted or copied for a fallback. Gates no longer apply to it."""
        return self.body is not None

    @property
    def is_escalation(self) -> bool:
        """Whether it escalates the alert: it waits for no other message, and none waits for it before its first attempt."""
        return self.ordinal <= ESCALATION

    @property
    def is_fallback(self) -> bool:
        """Whether it copies another receiver's message."""
        return self.fallback_of is not None

    @property
    def is_readdressed(self) -> bool:
        """Whether a person sent it to this receiver in place of another one."""
        return self.why == READDRESSED and self.status is not DeliveryStatus.SUPPRESSED

    @property
    def state(self) -> DeliveryState:
        """Where it is in its life."""
        return DeliveryState((self.status, self.awaits is not None))


def new_delivery(
    alert_id: str,
    receiver: str,
    event: Event,
    ordinal: int,
    now: datetime,
    due_at: datetime,
    mutes: tuple[str, ...] = (),
    *,
    fallback_of: str | None = None,
    reopened_at: datetime | None = None,
) -> Delivery:
    """Make a row that is pending. Its id comes from the ordinal: one from event and count would change with the event.

    `reopened_at` of the alert is part of it too: retention may have deleted the rows before, with their ordinals.
    """
    reopened = () if reopened_at is None else (reopened_at.isoformat(),)
    return Delivery(
        id=stable_id("delivery", alert_id, receiver, str(ordinal), *reopened),
        alert_id=alert_id,
        receiver=receiver,
        event=event,
        ordinal=ordinal,
        status=DeliveryStatus.PENDING,
        attempts=0,
        created_at=now,
        started_at=now,
        due_at=due_at,
        mutes=mutes,
        fallback_of=fallback_of,
    )


@dataclass(frozen=True, slots=True)
class Retried:
    """The number of dead letters that are sent again, and that stay dead for each receiver that is not configured."""

    count: int
    stranded: Mapping[str, int]

    @property
    def stranding(self) -> str:
        """Describe those that stay dead, without a remedy."""
        whose = ", ".join(f"{count} for {name}" for name, count in self.stranded.items())
        total = sum(self.stranded.values())
        return (
            f"{counted(total, 'dead letter')} {is_or_are(total)} for a receiver that is no longer configured ({whose})"
        )


def delivery_about(
    alert: Alert,
    receiver: str,
    event: Event,
    ordinal: int,
    now: datetime,
    due_at: datetime,
    mutes: tuple[str, ...] = (),
    *,
    fallback_of: str | None = None,
) -> Delivery:
    """Make a row about an alert that is stored, which may have been reopened."""
    reopened_at = alert.reopened_at
    return new_delivery(
        alert.id, receiver, event, ordinal, now, due_at, mutes, fallback_of=fallback_of, reopened_at=reopened_at
    )
