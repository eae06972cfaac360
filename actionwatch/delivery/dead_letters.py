"""Let people retry dead letters, send them to another receiver, or drop them: by a command, in the console, through the API.

Each action records who decided. It is one transaction, or several if there are many dead letters, so that the other steps can
write between them. A message keeps its id; one that was attempted is sent word for word, and one that was not passes its
receiver's gates, as every message does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy import Connection

from actionwatch.base.delivery import ESCALATION, Delivery, DeliveryStatus, Retried, delivery_about
from actionwatch.base.model import Event, Status
from actionwatch.store import alert_history, alerts, delivery_transitions, outbox, receiver_progress
from actionwatch.store.database import Database
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.store.receiver_progress import ReceiverProgress
from actionwatch.store.statements import portions

PORTION = 500  # dead letters of a transaction: to move them takes less than a second of CPU

_NEWS = (Event.OPENED, Event.UPDATED, Event.ACKED)

log = structlog.get_logger()


class DeadLetters:
    """Retries and drops dead letters. Rows that are no longer dead, because somebody was faster, stay as they are."""

    def __init__(
        self,
        database: Database,
        receivers: Collection[str],
        clock: Callable[[], datetime],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`receivers` are the names in the configuration."""
        self._database = database
        self._receivers = receivers
        self._clock = clock
        self._wake = wake

    def at(self, now: datetime) -> DeadLetters:
        """Return the actions at an instant."""
        return DeadLetters(self._database, self._receivers, lambda: now, self._wake)

    def retry(self, wanted: DeliveryFilter, who: str, to: str | None = None) -> Retried:
        """Send dead letters again, each under its old id, to their receivers or to another one.

        Those for a receiver that is not configured stay dead without `to`; if ids are wanted, all do then. Raises: StoreError.
        """
        with self._database.read() as connection:
            stranded = {} if to else outbox.count_dead_letters(connection, wanted, excluding=self._receivers)
        if stranded and wanted.ids is not None:
            return Retried(0, stranded)
        count = 0
        for some in self._portions(wanted):
            with self._database.write(is_durable=True) as connection:
                if to is not None:
                    count += readdress(connection, some, to, who, self._clock())
                else:
                    count += replay(connection, some, self._receivers, who, self._clock())
        if count:
            log.info("dead_letters_retried", count=count, by=who, to=to)
            self._wake()
        return Retried(count, stranded)

    def drop(self, wanted: DeliveryFilter, who: str) -> int:
        """Give up dead letters for good. Return how many. Raises: StoreError."""
        count = 0
        for some in self._portions(wanted):
            with self._database.write(is_durable=True) as connection:
                count += drop(connection, some, who, self._clock())
        if count:
            log.info("dead_letters_dropped", count=count, by=who)
        return count

    def _portions(self, wanted: DeliveryFilter) -> Iterator[DeliveryFilter]:
        """Yield what is wanted in portions, those of each alert in the order of sending."""
        with self._database.read() as connection:
            ids = outbox.read_dead_ids(connection, wanted)
        for some in portions(ids, PORTION):
            yield replace(wanted, ids=some)


def replay(connection: Connection, wanted: DeliveryFilter, configured: Collection[str], who: str, now: datetime) -> int:
    """Make the dead letters of configured receivers pending again. Return how many. The others would only be buried again."""
    letters = [each for each in outbox.read_dead_letters(connection, wanted) if each.receiver in configured]
    for receiver in {each.receiver for each in letters}:
        delivery_transitions.requeue(connection, replace(wanted, receiver=receiver), now)
    _append_history(connection, letters, "retried", lambda each: f"goes to {each.receiver} again", who, now)
    _enqueue_ends(connection, {(each.alert_id, each.receiver) for each in letters}, now)
    return len(letters)


def readdress(connection: Connection, wanted: DeliveryFilter, to: str, who: str, now: datetime) -> int:
    """Make dead letters pending for another receiver, in the order of each alert. Return how many."""
    letters = outbox.read_dead_letters(connection, wanted)
    if any(each.receiver == to for each in letters):
        replay(connection, replace(wanted, receiver=to), {to}, who, now)
    moved = [each for each in letters if each.receiver != to]
    for letter in moved:
        _move(connection, letter, to, now)
    _append_history(connection, moved, "retried", lambda each: f"goes to {to} in place of {each.receiver}", who, now)
    _enqueue_ends(connection, {(each.alert_id, to) for each in moved}, now)
    return len(letters)


def drop(connection: Connection, wanted: DeliveryFilter, who: str, now: datetime) -> int:
    """Give up dead letters for good. Return how many."""
    letters = outbox.read_dead_letters(connection, wanted)
    _append_history(connection, letters, "dropped", lambda each: f"for {each.receiver} is not sent", who, now)
    return delivery_transitions.drop(connection, wanted, who)


def _move(connection: Connection, letter: Delivery, to: str, now: datetime) -> None:
    found = receiver_progress.read(connection, letter.alert_id).get(to, ReceiverProgress())
    is_known = found.is_notified or (found.last is not None and found.last.status is DeliveryStatus.PENDING)
    # For a receiver that knows the alert, an opening that was not attempted is an update. A frozen message stays as it is.
    is_update = letter.event is Event.OPENED and not letter.is_frozen and is_known
    event = Event.UPDATED if is_update else letter.event
    ordinal = found.next_ordinal
    if letter.is_escalation and not outbox.has_ordinal(connection, letter.alert_id, to, ESCALATION):
        ordinal = ESCALATION
    delivery_transitions.readdress(connection, letter, to, ordinal, event, now)


def _append_history(
    connection: Connection,
    letters: Iterable[Delivery],
    stage: str,
    what: Callable[[Delivery], str],
    who: str,
    now: datetime,
) -> None:
    """Add a line to the history of each alert. A summary is about no single one."""
    lines = (
        (each.alert_id, f"{each.event.word} {what(each)}, by {who}")
        for each in letters
        if each.event is not Event.SUMMARY
    )
    alert_history.append(connection, [alert_history.Entry(now, alert_id, stage, line) for alert_id, line in lines])


def _enqueue_ends(connection: Connection, places: Iterable[tuple[str, str]], now: datetime) -> None:
    """Enqueue the end of resolved alerts for the receivers that get news of them only now."""
    for alert_id, receiver in sorted(places):
        alert = alerts.read(connection, alert_id)
        if alert is None or alert.status is not Status.RESOLVED:
            continue
        waiting = [row.event for row in outbox.read_pending(connection, receiver, [alert_id])]
        # An end that was sent already does not end what the news open again.
        if waiting and waiting[-1] in _NEWS:
            ordinal = receiver_progress.read(connection, alert_id)[receiver].next_ordinal
            row = delivery_about(alert, receiver, Event.RESOLVED, ordinal, now, now)
            delivery_transitions.enqueue(connection, [row])
