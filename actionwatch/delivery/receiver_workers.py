"""The receivers of one process together: what is in hand, and how processes share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import DeliveryError
from actionwatch.delivery.claiming import LEASE
from actionwatch.delivery.inbox import Inbox
from actionwatch.delivery.receiver_worker import Channel, Job, MessageRenderer, ReceiverWorker


class ReceiverWorkers:
    """The workers of all receivers. Their attempts return through the inbox."""

    def __init__(
        self, channels: Sequence[Channel], renderer: MessageRenderer, inbox: Inbox, term: Callable[[], int | None]
    ) -> None:
        self.by_name = {channel.name: ReceiverWorker(channel, renderer, inbox.put, term=term) for channel in channels}
        self._inbox = inbox

    def send(self, jobs: Sequence[Job]) -> None:
        """Send jobs in the threads of their receivers."""
        for job in jobs:
            self.by_name[job.delivery.receiver].send(job)
        for worker in self.by_name.values():
            worker.start_threads()

    def under_way(self) -> int:
        """Count the messages whose attempt has started and is not recorded."""
        return sum(len(worker.in_hand) for worker in self.by_name.values()) + len(self._inbox.ended)

    def in_hand(self) -> set[str]:
        """Return the rows whose attempt has started and is not recorded."""
        ended = {attempt.job.delivery.id for attempt in self._inbox.ended}
        return ended.union(*(worker.in_hand for worker in self.by_name.values()))

    def check_sends(self) -> None:
        """Check that every send ends: a notifier has time limits, so one that outlasts a lease hangs.

        Raises: DeliveryError, with the receivers.
        """
        hung = [name for name, worker in self.by_name.items() if worker.longest_send() > LEASE]
        if hung:
            limit = spell_duration(LEASE)
            raise DeliveryError(f"sends to {', '.join(hung)} have been running for more than {limit}")

    def share_out(self, senders: Sequence[str], own: str) -> None:
        """Divide what receivers take at a time among the processes that send, of which this is the one with the name `own`."""
        for worker in self.by_name.values():
            worker.sender_count, worker.sender_rank = len(senders), senders.index(own)

    def close(self) -> None:
        """End the threads and close the notifiers."""
        for worker in self.by_name.values():
            worker.close()
