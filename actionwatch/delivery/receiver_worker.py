"""Send: each receiver has its own threads, rate and backlog, so that a receiver that hangs delays no other.

Rate, pause and concurrency apply to all processes that deliver from the store: each claim reads what the others do. A process
claims messages in advance, so that no thread waits, and sends at most its share of `concurrency` at a time. Where there are
more processes than that, they take turns.

Only the delivery worker (`worker.py`) sends jobs; attempts return through its inbox.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actionwatch.base.daemon_threads import Joinable, StartThread, start_daemon
from actionwatch.delivery.attempt import Attempt, Channel, MessageRenderer, Sending, send_once
from actionwatch.delivery.compose import Job

IN_HAND = 4  # jobs per thread, so that no thread waits for a commit, and a commit covers many
RATED_PORTION = timedelta(seconds=0.1)  # what a rate allows in this time is claimed at once, in one commit
HELD_ELSEWHERE = timedelta(seconds=0.05)  # how soon to check again for slots that another process holds
MOST_IN_HAND = 16  # of a quick receiver: if it hangs now, at 10 s each they all end within their lease
# Beside other processes, which wait for each other's rounds, so that each round should cover more. If the receiver hangs now,
# `attempt.LONGEST_WAIT` ends the wait of most of them.
MOST_IN_HAND_BESIDE_OTHERS = 32


@dataclass(slots=True)
class Capacity:
    """The capacity of a receiver: its concurrency, its rate and its pauses. Only one thread uses it."""

    channel: Channel
    sender_count: int = 1
    """How many processes share the receiver."""
    sender_rank: int = 0
    """The place of this process among them, from 0."""
    ended_count: int = 0
    """How many attempts ended during the delivery worker's last round."""
    paused_until: datetime | None = None
    closed_until: datetime | None = None
    """When the rate allows the next message, or when to check again whether other processes have free slots."""

    def free(self, now: datetime, in_hand_count: int, held_elsewhere: int = 0) -> int:
        """Return how many more messages the receiver can take now; `held_elsewhere` are being sent by other processes."""
        if self.wait_seconds(now) > 0:
            return 0
        is_shared_out = 1 < self.sender_count <= self.channel.concurrency
        most = (
            self.channel.concurrency - held_elsewhere if held_elsewhere and not is_shared_out else self._most_in_hand()
        )
        slots = max(most - in_hand_count, 0)
        return slots if self.channel.rate_per_second is None else min(slots, self._portion)

    @property
    def _portion(self) -> int:
        """How many messages a receiver with a rate gets at once."""
        return max(RATED_PORTION // self.interval, 1) if self.interval else 0

    def _most_in_hand(self) -> int:
        # A quick receiver gets a multiple of what it took in one round, so that rounds are few and large; a slow one gets few.
        if self.sender_count == 1:
            return max(self.share * IN_HAND, min(2 * self.ended_count, self.share * MOST_IN_HAND))
        if self.ended_count <= 1:
            return self.share  # others may be idle: what waits here, they could send
        # On top of what its threads are sending: a round begins when no more is left than that, so it would never grow.
        return min(self.share + 4 * self.ended_count, self.share * MOST_IN_HAND_BESIDE_OTHERS)

    @property
    def share(self) -> int:
        """How many messages this process sends at a time. The shares add up to `concurrency`, if that is enough for all."""
        return max((self.channel.concurrency + self.sender_count - 1 - self.sender_rank) // self.sender_count, 1)

    def wait_seconds(self, now: datetime) -> float:
        """Return how long a Retry-After, the rate or other processes keep the receiver closed."""
        paused = (self.paused_until - now).total_seconds() if self.paused_until else 0.0
        closed = (self.closed_until - now).total_seconds() if self.closed_until else 0.0
        if closed > max(self._closed_for(0), self._closed_for(self._portion)).total_seconds():
            closed = 0.0  # the clock was set back since
        return max(paused, closed, 0.0)

    @property
    def interval(self) -> timedelta:
        """How long the rate keeps the receiver closed for each message; zero without a rate."""
        rate = self.channel.rate_per_second
        return timedelta(seconds=1 / rate) if rate else timedelta(0)

    def _closed_for(self, claimed_count: int) -> timedelta:
        """Return how long a claim closes the receiver: as its rate demands, or until others may have freed a slot."""
        return self.interval * claimed_count if claimed_count else HELD_ELSEWHERE

    def close_after(self, claimed_count: int, now: datetime) -> datetime:
        """Close the receiver after a claim of so many messages, or of none because others hold all slots. Return until when."""
        self.closed_until = now + self._closed_for(claimed_count)
        return self.closed_until

    def follow_shared(self, paused_until: datetime | None, next_at: datetime | None) -> None:
        """Apply the pause and the rate that all processes share."""
        if paused_until is not None:
            self.pause(paused_until)
        if next_at is not None and self.interval:
            self.closed_until = next_at

    def pause(self, until: datetime) -> None:
        """Keep the receiver closed until a time; a shorter pause does not end a longer one."""
        self.paused_until = max(until, self.paused_until or until)

    def follow_clock(self, step: timedelta) -> None:
        """Move the pauses by a step of the clock."""
        self.paused_until = self.paused_until and self.paused_until + step
        self.closed_until = self.closed_until and self.closed_until + step


@dataclass(slots=True)
class ReceiverWorker:
    """One receiver's threads and backlog."""

    channel: Channel
    renderer: MessageRenderer
    on_ended: Callable[[Attempt], None]
    capacity: Capacity = field(init=False)
    jobs: queue.SimpleQueue[Job | None] = field(default_factory=queue.SimpleQueue)
    threads: list[Joinable] = field(default_factory=list)
    in_hand: dict[str, float] = field(default_factory=dict)
    """The deliveries whose attempt has not ended, each with the monotonic time at which `send` received it."""
    next_due_at: datetime | None = None
    """When the next of its rows is due, as the last look at the outbox saw it; None if no row waits."""
    term: Callable[[], int | None] = lambda: None
    """Returns the term of this process: it sends only what it claimed in it, and nothing without one."""
    start_thread: StartThread = start_daemon

    def __post_init__(self) -> None:
        self.capacity = Capacity(self.channel)

    def free(self, now: datetime, held_elsewhere: int = 0) -> int:
        """Return how many more messages the receiver can take now; `held_elsewhere` are being sent by other processes."""
        return self.capacity.free(now, len(self.in_hand), held_elsewhere)

    def is_due(self, now: datetime) -> bool:
        """Return whether one of its rows is due."""
        return self.next_due_at is not None and self.next_due_at <= now

    def send(self, job: Job) -> None:
        """Queue a job for the receiver's threads; `start_threads` follows."""
        self.in_hand[job.delivery.id] = time.monotonic()
        self.jobs.put(job)

    def start_threads(self) -> None:
        """Start the threads that the jobs in hand need, and end those beyond the share of this process.

        If the system refuses one, the next call tries again.
        """
        while len(self.threads) > self.capacity.share:
            self.threads.pop()
            self.jobs.put(None)  # whichever thread takes it ends
        while len(self.threads) < min(self.capacity.share, len(self.in_hand)):
            # Daemons: a send that hangs must not keep a process from ending.
            self.threads.append(self.start_thread(f"deliver-{self.channel.name}-{len(self.threads)}", self._work))

    def longest_send(self) -> timedelta:
        """Return how long the oldest delivery has been in hand."""
        began = list(self.in_hand.values())  # the delivery worker may change it meanwhile
        return timedelta(seconds=time.monotonic() - min(began)) if began else timedelta(0)

    @property
    def is_busy(self) -> bool:
        """Whether attempts ended in this round, and more jobs wait than its threads are sending."""
        return self.capacity.ended_count > 0 and len(self.in_hand) > self.capacity.share

    def take_back(self, attempt: Attempt) -> None:
        """Count an attempt that ended."""
        self.in_hand.pop(attempt.job.delivery.id, None)
        self.capacity.ended_count += 1

    def close(self) -> None:
        """End the threads and close the notifier, unless a send still hangs in it."""
        self._drop_jobs()
        for _ in self.threads:
            self.jobs.put(None)
        for thread in self.threads:
            thread.join(timeout=0 if self.in_hand else 1)
        if not self.in_hand:
            self.channel.notifier.close()

    def _drop_jobs(self) -> None:
        """Drop the jobs behind a send that hangs: nothing would record them. The next start retries them."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.jobs.get_nowait()

    def _work(self) -> None:
        while self.send_next():
            pass

    def send_next(self) -> bool:
        """Wait for a job and send it, in a thread of the receiver. Return False if the thread should end instead."""
        job = self.jobs.get()
        if job is None:
            return False
        self.on_ended(send_once(Sending(self.channel, self.renderer, self._is_mine, self._waited), job))
        return True

    def _is_mine(self, job: Job) -> bool:
        return job.term is not None and job.term == self.term()

    def _waited(self, job: Job) -> timedelta:
        return timedelta(seconds=time.monotonic() - self.in_hand[job.delivery.id])
