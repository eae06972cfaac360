"""Claim the due rows of a receiver: check the gates, freeze each message at its first attempt, take a lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.delivery import lifecycle
from actionwatch.delivery.compose import FailedMessage, compose
from actionwatch.delivery.fallback import Fallbacks
from actionwatch.delivery.gate_check import GateCheck, as_received
from actionwatch.delivery.receiver_worker import Job, ReceiverWorker
from actionwatch.delivery.retry import Bury
from actionwatch.store import delivery_transitions, outbox, receivers
from actionwatch.store.outbox import DueDelivery

LEASE = timedelta(minutes=5)  # longer than any send; after it, the rows of a dead process can be claimed again
ROWS_AT_ONCE = 500  # rows that one transaction checks, so that a storm does not lock the store for long

log = structlog.get_logger()

Prepared = list[tuple[DueDelivery, Job | FailedMessage]]
"""Due rows with their messages, composed before the transaction that freezes them."""


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
        read_count = 0
        while free > 0 and read_count < ROWS_AT_ONCE:
            due = outbox.read_due(connection, channel.name, now, limit)
            if not due:
                break
            passed = self._gates.check(connection, channel.policy, due, free, now)
            composed = compose(connection, passed, now, self._gates.global_policy)
            jobs += self._lease(connection, worker, self._jobs_of(connection, composed, now), now)
            if len(passed) == len(due) < limit:
                break  # these were all; behind one that a gate stops, another one of its alert may be due
            free -= len(passed)
            read_count += len(due)
            limit = min(limit * 4, ROWS_AT_ONCE)  # rows that gates stop take no slot: read more
        if jobs and worker.interval:
            receivers.note_next(connection, channel.name, worker.close_after(len(jobs), now))
        worker.next_due_at = outbox.next_due(connection, channel.name, now)
        return jobs

    def _lease(self, connection: Connection, worker: ReceiverWorker, jobs: list[Job], now: datetime) -> list[Job]:
        rows = [job.delivery for job in jobs]
        claimed = delivery_transitions.claim(connection, rows, now + LEASE, self._sender, worker.in_hand)
        by_id = {job.delivery.id: job for job in jobs}
        # A send that outlasts its lease is not started twice.
        return [replace(by_id[each.id], delivery=each) for each in claimed if each.id not in worker.in_hand]

    def prepare(self, connection: Connection, receiver: str, now: datetime) -> Prepared:
        """Compose the messages of the due rows that were not attempted. It only reads, so that no other writer waits for it."""
        due = [as_received(each) for each in outbox.read_due_unfrozen(connection, receiver, now, ROWS_AT_ONCE)]
        return list(zip(due, compose(connection, due, now, self._gates.global_policy), strict=True))

    def freeze_due(
        self, connection: Connection, receiver: str, policy: ReceiverPolicy, prepared: Prepared, now: datetime
    ) -> None:
        """Check and freeze the due rows that were not attempted, so that a fallback copies the same text.

        A row whose alert changed since its message was prepared waits for the next time.
        """
        due = outbox.read_due_unfrozen(connection, receiver, now, ROWS_AT_ONCE)
        passed = {each.delivery.id: each for each in self._gates.check(connection, policy, due, len(due), now)}
        current = [composed for each, composed in prepared if passed.get(each.delivery.id) == each]
        jobs = self._jobs_of(connection, current, now)
        delivery_transitions.freeze(connection, [job.delivery for job in jobs])

    def _jobs_of(self, connection: Connection, composed: Sequence[Job | FailedMessage], now: datetime) -> list[Job]:
        """Return the jobs, and make dead letters of the deliveries whose message cannot be composed."""
        failures = [each for each in composed if isinstance(each, FailedMessage)]
        for delivery, why in failures:
            log.error("delivery_buried", delivery=delivery.id, alert=delivery.alert_id, why=why)
        dead = lifecycle.apply(connection, [(delivery, Bury(why)) for delivery, why in failures], now)
        self._fallbacks.fall_back(connection, dead, now)
        return [each for each in composed if isinstance(each, Job)]


def _free_slots(connection: Connection, worker: ReceiverWorker, now: datetime) -> int:
    """Return how many more messages a receiver can take, counting those of all processes; none if no message is due."""
    name, mine = worker.channel.name, len(worker.in_hand)
    paused_until, next_at, leased, worker.next_due_at = receivers.read_availability(
        connection, name, now, mine + worker.channel.concurrency
    )
    if not worker.is_due(now):
        return 0
    worker.follow_shared(paused_until, next_at)
    free = worker.free(now, held_elsewhere=max(leased - mine, 0))
    if not free and leased > mine and not worker.wait_seconds(now):
        worker.close_after(0, now)
    return free
