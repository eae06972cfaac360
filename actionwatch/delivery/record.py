"""Record how attempts ended: the delivery's next state, its receiver's health, and the fallback of a dead letter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection

from actionwatch.base.delivery import Delivery
from actionwatch.base.errors import DeliveryError, TransientDeliveryError
from actionwatch.base.model import Event
from actionwatch.delivery import lifecycle
from actionwatch.delivery.fallback import Fallbacks
from actionwatch.delivery.lifecycle import Accepted, DeliveryOutcome
from actionwatch.delivery.receiver_worker import Attempt, ReceiverWorker
from actionwatch.delivery.retry import Bury, RetryAt, decide
from actionwatch.store import alert_history, delivery_latency, outbox, receivers
from actionwatch.text.escaping import visible

log = structlog.get_logger()


class Recorder:
    """Records the attempts of these receivers."""

    def __init__(
        self, workers: Mapping[str, ReceiverWorker], fallbacks: Fallbacks, jitter: Callable[[], float]
    ) -> None:
        self._workers = workers
        self._fallbacks = fallbacks
        self._jitter = jitter

    def record(self, connection: Connection, attempts: Sequence[Attempt], now: datetime) -> None:
        """Record attempts in the order in which they ended."""
        accepted = [each for each in attempts if each.error is None]
        _note_acceptances(connection, accepted, now)
        _note_render_failures(connection, attempts, now)
        # Read it again: a step of the clock since the claim has moved the stored times.
        failed = [each.job.delivery.id for each in attempts if each.error is not None]
        started = outbox.read_started(connection, failed) if failed else {}
        last_accepted = {each.job.delivery.receiver: each for each in accepted}
        outcomes: list[tuple[Delivery, DeliveryOutcome]] = []
        for each in attempts:
            delivery = each.job.delivery
            outcomes.append((delivery, self._outcome(connection, each, started, now)))
            # What failed before it is over, what fails after it is not.
            if last_accepted.get(delivery.receiver) is each:
                receivers.note_success(connection, delivery.receiver, now)
        dead = lifecycle.apply(connection, outcomes, now)
        self._fallbacks.fall_back(connection, dead, now)
        _log_failures(attempts, {delivery.id for delivery, _ in dead})

    def _outcome(
        self, connection: Connection, attempt: Attempt, started: Mapping[str, datetime], now: datetime
    ) -> DeliveryOutcome:
        delivery = attempt.job.delivery
        if attempt.error is not None:
            started_at = started.get(delivery.id, delivery.started_at)
            return self._failure(connection, delivery, attempt.error, started_at, now)
        note = attempt.receipt.note
        return Accepted(attempt.job.message.type, note and visible(note))

    def _failure(
        self, connection: Connection, delivery: Delivery, error: DeliveryError, started_at: datetime, now: datetime
    ) -> RetryAt | Bury:
        """Decide what follows an error, and store the failure and the pause of the receiver."""
        worker, text = self._workers[delivery.receiver], visible(str(error))
        follows = decide(error, delivery.attempts, started_at, now, self._jitter(), worker.channel.retry)
        if isinstance(error, TransientDeliveryError) and error.retry_after:
            worker.pause(now + error.retry_after)
        receivers.note_failure(connection, delivery.receiver, now, text, worker.paused_until)
        return follows


def _note_acceptances(connection: Connection, accepted: Sequence[Attempt], now: datetime) -> None:
    """Store the references that receivers gave for the messages, and how long openings took."""
    for name in dict.fromkeys(each.job.delivery.receiver for each in accepted):
        sent = [each.job.delivery.id for each in accepted if each.job.delivery.receiver == name]
        log.info("delivery_sent", receiver=name, count=len(sent), deliveries=sent)
    for each in accepted:
        delivery, reference = each.job.delivery, each.receipt.reference
        if reference is not None and delivery.event is not Event.SUMMARY:  # a summary is never updated
            # The store refuses lone surrogates, which the JSON of a receiver may hold.
            receivers.write_reference(connection, delivery.alert_id, delivery.receiver, visible(reference))
    opened = [each.job for each in accepted if each.job.delivery.event is Event.OPENED]
    latencies = [(job.alert, job.delivery) for job in opened if job.alert is not None]
    delivery_latency.note(connection, latencies, now)


def _note_render_failures(connection: Connection, attempts: Sequence[Attempt], now: datetime) -> None:
    lines = [
        alert_history.Entry(now, row.alert_id, f"delivery to {row.receiver}", f"template: {visible(str(failure))}")
        for row, failures in ((each.job.delivery, each.render_failures) for each in attempts)
        for failure in failures
    ]
    alert_history.append(connection, lines)


def _log_failures(attempts: Sequence[Attempt], dead: Collection[str]) -> None:
    for each in attempts:
        if each.error is not None:
            row = each.job.delivery
            event = "delivery_buried" if row.id in dead else "delivery_failed"
            error = visible(str(each.error))
            log.warning(event, delivery=row.id, receiver=row.receiver, attempt=row.attempts, error=error)
