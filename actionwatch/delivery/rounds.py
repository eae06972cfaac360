"""The rounds of the delivery worker: one transaction records the attempts that ended, then claims the rows that are due."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.base.delivery import Delivery
from actionwatch.base.errors import DeliveryError, RoleLost, StoreBusy, StoreClosed, TransientDeliveryError
from actionwatch.base.model import Event
from actionwatch.delivery import lifecycle
from actionwatch.delivery.attempt import CLAIMING, Attempt, Claim, ClaimStage, claim_due, conclude, gate
from actionwatch.delivery.compose import Job, compose_all
from actionwatch.delivery.fallback import Fallbacks
from actionwatch.delivery.gate_check import GateCheck, as_received
from actionwatch.delivery.health import TemplateWatch
from actionwatch.delivery.lifecycle import DeliveryOutcome, Leave
from actionwatch.delivery.receiver_worker import ReceiverWorker
from actionwatch.delivery.receiver_workers import Inbox, ReceiverWorkers
from actionwatch.delivery.retry import Bury
from actionwatch.store import alert_history, delivery_latency, delivery_transitions, outbox, receivers
from actionwatch.store.database import Database
from actionwatch.store.outbox import DueDelivery
from actionwatch.text.escaping import visible

ROWS_AT_ONCE = 500  # rows that one transaction checks, so that a storm does not lock the store for long

_CHANGED = Leave("its alert has changed since its message was composed")

log = structlog.get_logger()

Prepared = list[tuple[DueDelivery, Job | Bury]]
"""Due rows with their messages, composed before the transaction that freezes them."""


class Rounds:
    """The transactions of one process, which `sender` names, for all of its receivers."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        receivers: ReceiverWorkers,
        inbox: Inbox,
        recorder: Recorder,
        claimer: Claimer,
        templates: TemplateWatch,
        sender: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._receivers = receivers
        self._inbox = inbox
        self._recorder = recorder
        self._claimer = claimer
        self._templates = templates
        self._sender = sender

    def record_and_claim(self, claiming: Sequence[ReceiverWorker]) -> tuple[list[Job], Exception | None]:
        """Record the attempts that ended and claim for receivers, in one transaction if that works for all of them.

        Returns: the jobs, and why the claim for a receiver failed. Raises: StoreBusy, if this process may claim nothing.
        """
        ended = self._inbox.ended
        if not ended and not claiming:
            return [], None
        if claiming and self._database.peers.term() is None:
            self._commit(ended, [])
            raise StoreBusy("this replica has not renewed its lease for too long, so it claims no messages")
        try:
            return self._commit(ended, claiming), None
        except (StoreBusy, StoreClosed, RoleLost):
            raise
        except Exception as exc:
            log.warning("claims_separated", error=repr(exc))
        return self._claim_separately(ended, claiming)

    def _claim_separately(
        self, ended: Sequence[Attempt], claiming: Sequence[ReceiverWorker]
    ) -> tuple[list[Job], Exception | None]:
        """Claim for each receiver in its own transaction, so that one whose claim fails keeps no other from its messages.

        One of them reports that this step fails.
        """
        self._commit(ended, [])
        jobs: list[Job] = []
        failure: Exception | None = None
        for each in claiming:
            each.capacity.closed_until = None  # the claim that was rolled back may have used up its rate
            try:
                jobs += self._commit([], [each])
            except Exception as exc:
                log.error("claim_failed", receiver=each.channel.name, error=repr(exc))
                failure = exc
        return jobs, failure

    def _commit(self, ended: Sequence[Attempt], claiming: Sequence[ReceiverWorker]) -> list[Job]:
        """Record attempts and claim for receivers, in one transaction."""
        term = self._database.peers.term()  # before it: if the term ends meanwhile, others may take over what it claims
        # A server that fails over forgets commits that did not wait for the disk: not one of a message that was sent, because
        # it would be written again, with another time under the same id.
        with self._database.write(is_durable=self._database.is_shared and bool(claiming)) as connection:
            self._recorder.record(connection, ended, self._clock())
            if self._database.is_shared:
                self._receivers.share_out(
                    sorted({self._sender, *self._database.peers.read_senders(connection)}), self._sender
                )
            claimed = [job for each in claiming for job in self._claimer.claim(connection, each, self._clock())]
        self._inbox.ended = []
        self._templates.collect(ended)
        return [replace(job, term=term) for job in claimed]


class Claimer:
    """Claims rows for the receivers of one process, which `sender` names."""

    def __init__(self, gates: GateCheck, fallbacks: Fallbacks, sender: str) -> None:
        self._gates = gates
        self._fallbacks = fallbacks
        self._sender = sender

    def claim(self, connection: Connection, worker: ReceiverWorker, now: datetime) -> list[Job]:
        """Return the jobs that a receiver can take now, claimed; in the caller's transaction."""
        channel = worker.channel
        jobs: list[Job] = []
        free = limit = _free_slots(connection, worker, now)
        if not free:
            return jobs
        if self._gates.is_storm_due(connection, channel.policy, channel.name, now):
            limit = ROWS_AT_ONCE  # also those that have no slot yet
        claim = Claim(connection, self._gates, channel.policy, now, free, self._sender, worker.in_hand)
        read_count = 0
        while claim.free > 0 and read_count < ROWS_AT_ONCE:
            due = outbox.read_due(connection, channel.name, now, limit)
            if not due:
                break
            free = claim.free
            jobs += self._go_through(CLAIMING, claim, due)
            if free - claim.free == len(due) < limit:
                break  # these were all; behind one that a gate stops, another one of its alert may be due
            read_count += len(due)
            limit = min(limit * 4, ROWS_AT_ONCE)  # rows that gates stop take no slot: read more
        if jobs and worker.capacity.interval:
            receivers.note_next(connection, channel.name, worker.capacity.close_after(len(jobs), now))
        worker.next_due_at = outbox.next_due(connection, channel.name, now)
        return jobs

    def prepare(self, connection: Connection, receiver: str, now: datetime) -> Prepared:
        """Compose the messages of the due rows that were not attempted. It only reads, so that no other writer waits for it."""
        due = [as_received(each) for each in outbox.read_due_unfrozen(connection, receiver, now, ROWS_AT_ONCE)]
        return list(zip(due, compose_all(connection, due, now, self._gates.global_policy), strict=True))

    def freeze_due(
        self, connection: Connection, receiver: str, policy: ReceiverPolicy, prepared: Prepared, now: datetime
    ) -> None:
        """Check and freeze the due rows that were not attempted, so that a fallback copies the same text.

        A row whose alert changed since its message was prepared waits for the next time.
        """
        known = {due.delivery.id: (due, composed) for due, composed in prepared}

        def take_prepared(_: Claim, passed: Sequence[DueDelivery]) -> list[Job | Bury | Leave]:
            found = [(each, *known.get(each.delivery.id, (None, _CHANGED))) for each in passed]
            return [composed if due == each else _CHANGED for each, due, composed in found]

        due = outbox.read_due_unfrozen(connection, receiver, now, ROWS_AT_ONCE)
        claim = Claim(connection, self._gates, policy, now, free=len(due))
        frozen = self._go_through((gate, take_prepared), claim, due)
        delivery_transitions.freeze(connection, [each.delivery for each in frozen])

    def _go_through(self, stages: Sequence[ClaimStage], claim: Claim, due: Sequence[DueDelivery]) -> list[Any]:
        """Take due rows through stages, and make the transitions of those that they end. Return the results of the last."""
        made, ended = claim_due(stages, claim, due)
        for delivery, outcome in ended:
            if isinstance(outcome, Bury):
                log.error("delivery_buried", delivery=delivery.id, alert=delivery.alert_id, why=outcome.why)
        dead = lifecycle.apply(claim.connection, ended, claim.now)
        self._fallbacks.fall_back(claim.connection, dead, claim.now)
        return made


def _free_slots(connection: Connection, worker: ReceiverWorker, now: datetime) -> int:
    """Return how many more messages a receiver can take, counting those of all processes; none if no message is due."""
    name, mine = worker.channel.name, len(worker.in_hand)
    paused_until, next_at, leased, worker.next_due_at = receivers.read_availability(
        connection, name, now, mine + worker.channel.concurrency
    )
    if not worker.is_due(now):
        return 0
    worker.capacity.follow_shared(paused_until, next_at)
    free = worker.free(now, held_elsewhere=max(leased - mine, 0))
    if not free and leased > mine and not worker.capacity.wait_seconds(now):
        worker.capacity.close_after(0, now)
    return free


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
            delivery, worker = each.job.delivery, self._workers[each.job.delivery.receiver]
            started_at = started.get(delivery.id, delivery.started_at)
            outcomes.append((delivery, conclude(each, started_at, now, self._jitter, worker.channel.retry)))
            if each.error is not None:
                _note_failure(connection, worker, each.error, now)
            # What failed before it is over, what fails after it is not.
            elif last_accepted[delivery.receiver] is each:
                receivers.note_success(connection, delivery.receiver, now)
        dead = lifecycle.apply(connection, outcomes, now)
        self._fallbacks.fall_back(connection, dead, now)
        _log_failures(attempts, {delivery.id for delivery, _ in dead})


def _note_failure(connection: Connection, worker: ReceiverWorker, error: DeliveryError, now: datetime) -> None:
    """Store the failure of a receiver, and pause it if it asks for that."""
    if isinstance(error, TransientDeliveryError) and error.retry_after:
        worker.capacity.pause(now + error.retry_after)
    receivers.note_failure(connection, worker.channel.name, now, visible(str(error)), worker.capacity.paused_until)


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
    delivery_latency.note_sent(connection, latencies, now)


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
