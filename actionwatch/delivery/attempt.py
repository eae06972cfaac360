"""The life of one attempt: a due row of the outbox -> a message at its receiver -> a recorded outcome.

`STAGES` has it in order. A stage lets an attempt go on, or ends it with a decision that has its reason. Each decision except
`Leave` leads to one transition and one line in the history of the alert: `lifecycle.apply`.

Three callers go through the stages, because no transaction may wait for a receiver: a round (`rounds.py`) claims the due rows
of a receiver together; a thread of the receiver (`receiver_worker.py`) sends one message; the next round records what ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.base.delivery import Delivery
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import DeliveryError, Fault, TransientDeliveryError
from actionwatch.base.model import Message, Receipt, Rendered
from actionwatch.delivery.compose import Job, compose_all
from actionwatch.delivery.gate_check import GateCheck
from actionwatch.delivery.lifecycle import Accepted, DeliveryOutcome, GateDecision, Leave
from actionwatch.delivery.retry import Bury, RetryAt, decide
from actionwatch.notifiers.base import Notifier
from actionwatch.settings import RetryPolicy
from actionwatch.store import delivery_transitions
from actionwatch.store.outbox import DueDelivery
from actionwatch.text.escaping import visible

LEASE = timedelta(minutes=5)  # longer than any send; after it, the rows of a dead process can be claimed again
LONGEST_WAIT = timedelta(minutes=2)  # for a thread; what is left of the lease is enough for a send

log = structlog.get_logger()


class MessageRenderer(Protocol):
    """Fills a notifier's templates: `render/renderer.py`. `version` changes when other templates are used."""

    version: int

    def render(self, names: tuple[str, ...], message: Message) -> tuple[Rendered, Sequence[Fault]]:
        """Return the texts, and what went wrong where a plain text replaces a template."""
        ...


@dataclass(frozen=True, slots=True)
class Channel:
    """A receiver: its notifier, its templates, its limits and its policy."""

    name: str
    notifier: Notifier
    templates: tuple[str, ...]
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    concurrency: int = 4
    rate_per_second: float | None = None
    policy: ReceiverPolicy = field(default_factory=ReceiverPolicy)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to send a job, and how it ended: with an error, or without one and with a receipt; or it is `left` to others."""

    job: Job
    render_failures: Sequence[Fault] = ()
    templates_version: int = 0
    """The version of the renderer before it filled the templates."""
    receipt: Receipt = field(default_factory=Receipt)
    error: DeliveryError | None = None
    left: Leave | None = None
    rendered: Rendered = field(default_factory=Rendered)


@dataclass(slots=True)
class Claim:
    """The transaction in which the stages claim rows of one receiver, which has `free` slots."""

    connection: Connection
    gates: GateCheck
    policy: ReceiverPolicy
    now: datetime
    free: int
    sender: str = ""
    in_hand: Collection[str] = ()
    """The rows that threads of this process are sending."""


@dataclass(frozen=True, slots=True)
class Sending:
    """The receiver to which the stages send. `is_mine`: this process may still send a job; `waited`: how long it has waited."""

    channel: Channel
    renderer: MessageRenderer
    is_mine: Callable[[Job], bool] = lambda _: True
    waited: Callable[[Job], timedelta] = lambda _: timedelta(0)


def gate(claim: Claim, due: Sequence[DueDelivery]) -> list[DueDelivery | GateDecision | Leave]:
    """Stop what a gate stops, and leave what has no free slot. A message that was attempted passes."""
    checked = claim.gates.check(claim.connection, claim.policy, due, claim.free, claim.now)
    claim.free -= sum(isinstance(each, DueDelivery) for each in checked)
    return checked


def compose(claim: Claim, passed: Sequence[DueDelivery]) -> list[Job | Bury]:
    """Write the messages, or take those that were frozen. Bury what has no alert, or cannot be written."""
    return compose_all(claim.connection, passed, claim.now, claim.gates.global_policy)


def lease(claim: Claim, jobs: Sequence[Job]) -> list[Job | Leave]:
    """Freeze the messages, and lease the rows to this process. Leave what is sent already: a send may outlast its lease."""
    rows = [job.delivery for job in jobs]
    leased = delivery_transitions.claim(claim.connection, rows, claim.now + LEASE, claim.sender, claim.in_hand)
    by_id = {each.id: each for each in leased if each.id not in claim.in_hand}
    elsewhere = Leave("a thread of this process is sending it, or it is no longer pending")
    return [replace(job, delivery=by_id[job.delivery.id]) if job.delivery.id in by_id else elsewhere for job in jobs]


def check_wait(sending: Sending, attempt: Attempt) -> Attempt:
    """Refuse a job that has waited so long that its lease may end: another process may send it then."""
    if sending.waited(attempt.job) > LONGEST_WAIT:
        waited = spell_duration(LONGEST_WAIT)
        raise TransientDeliveryError(f"not sent: it waited more than {waited} for the messages before it")
    return attempt


def render(sending: Sending, attempt: Attempt) -> Attempt:
    """Fill the templates of the receiver. A template that fails is replaced by another text, and reported."""
    version = sending.renderer.version
    rendered, failures = sending.renderer.render(sending.channel.templates, attempt.job.message)
    return replace(attempt, rendered=rendered, render_failures=failures, templates_version=version)


def check_term(sending: Sending, attempt: Attempt) -> Attempt:
    """Leave a job that others may have claimed since. This is the last check: nothing slow runs between it and `send`."""
    if sending.is_mine(attempt.job):
        return attempt
    return replace(attempt, left=Leave("others may have claimed it since"))


def send(sending: Sending, attempt: Attempt) -> Attempt:
    """Give the message to the notifier, with its id: the idempotency key."""
    job = attempt.job
    return replace(attempt, receipt=sending.channel.notifier.send(job.message, attempt.rendered, job.reference))


def conclude(
    attempt: Attempt, started_at: datetime, now: datetime, jitter: Callable[[], float], policy: RetryPolicy
) -> Accepted | RetryAt | Bury:
    """Decide what follows: it is sent, or it is tried again, or it is a dead letter."""
    if attempt.error is not None:
        return decide(attempt.error, attempt.job.delivery.attempts, started_at, now, jitter(), policy)
    note = attempt.receipt.note
    return Accepted(attempt.job.message.type, note and visible(note))


ClaimStage = Callable[[Claim, Sequence[Any]], Sequence[Any]]
"""It returns, for each row that goes on, the input of the next stage; for each other row, the decision that ends it."""
SendStage = Callable[[Sending, Attempt], Attempt]
"""A `DeliveryError` that it raises ends the attempt, as `left` does."""

CLAIMING: tuple[ClaimStage, ...] = (
    gate,  # Suppress, Collapse, Hold: a gate stops it; Leave: no free slot
    compose,  # Bury: no alert, or it cannot be written
    lease,  # Leave: it is being sent, or somebody ended it
)
SENDING: tuple[SendStage, ...] = (
    check_wait,  # an error: its lease may end soon
    render,  # an error of the renderer
    check_term,  # Leave: others may have claimed it
    send,  # a receipt, or an error
)
STAGES = (*CLAIMING, *SENDING, conclude)
"""`CLAIMING` in a transaction, `SENDING` in a thread without one, and in the next transaction Accepted, RetryAt or Bury."""


def claim_due(
    stages: Sequence[ClaimStage], claim: Claim, due: Sequence[DueDelivery]
) -> tuple[list[Any], list[tuple[Delivery, DeliveryOutcome]]]:
    """Take due rows through stages. Return the results of the last stage, and the decisions that ended the others."""
    going: list[Any] = list(due)
    ended: list[tuple[Delivery, DeliveryOutcome]] = []
    for stage in stages:
        results = list(zip(going, stage(claim, going), strict=True))
        ended += [(each.delivery, result) for each, result in results if isinstance(result, DeliveryOutcome)]
        going = [result for _, result in results if not isinstance(result, DeliveryOutcome | Leave)]
    return going, ended


def send_once(sending: Sending, job: Job) -> Attempt:
    """Take a job through the stages that send. Every error is in the result."""
    attempt = Attempt(job)
    try:
        for stage in SENDING:
            attempt = stage(sending, attempt)
            if attempt.left is not None:
                return attempt
    except DeliveryError as exc:
        attempt = replace(attempt, error=exc)
    except BaseException as exc:
        # A notifier's bug, even a SystemExit, must not lose a message or end a thread: the message is retried.
        log.exception("notifier_failed", receiver=sending.channel.name, error=type(exc).__name__)
        attempt = replace(attempt, error=TransientDeliveryError(f"unexpected {type(exc).__name__}"))
    return attempt
