"""Replay dead letters, to the receiver they were for or to another: always under the ids they had.

A message that was tried goes out word for word; one that never was passes its receiver's gates, as every message does. Used by
the commands; each function works in its caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.alerts.new_delivery import owed
from actionwatch.base.model import ESCALATION, Delivery, DeliveryStatus, Event, Status
from actionwatch.store import alert_history, alerts, outbox, receiver_progress
from actionwatch.store.outbox import Wanted
from actionwatch.store.receiver_progress import Standing

NEWS = (Event.OPENED, Event.UPDATED, Event.ACKED)


def replay(connection: Connection, wanted: Wanted, configured: Collection[str], now: datetime) -> int:
    """Make the dead letters of configured receivers pending again; give how many. The others would only die again."""
    letters = [each for each in outbox.read_letters(connection, wanted) if each.receiver in configured]
    for receiver in {each.receiver for each in letters}:
        outbox.replay(connection, wanted.ids, now, receiver=receiver, since=wanted.since)
    _owe_ends(connection, {(each.alert_id, each.receiver) for each in letters}, now)
    return len(letters)


def readdress(connection: Connection, wanted: Wanted, to: str, now: datetime) -> int:
    """Make dead letters pending for another receiver, in the order of each alert; give how many."""
    letters = outbox.read_letters(connection, wanted)
    if any(each.receiver == to for each in letters):
        replay(connection, replace(wanted, receiver=to), {to}, now)
    moved = [each for each in letters if each.receiver != to]
    for letter in moved:
        _move(connection, letter, to, now)
    _owe_ends(connection, {(each.alert_id, to) for each in moved}, now)
    return len(letters)


def _move(connection: Connection, letter: Delivery, to: str, now: datetime) -> None:
    found = receiver_progress.read(connection, letter.alert_id).get(to, Standing())
    is_known = found.is_told or (found.last is not None and found.last.status is DeliveryStatus.PENDING)
    # To one who knows the alert an opening that nobody got is an update. What was tried stays what it was.
    is_update = letter.event is Event.OPENED and letter.body is None and is_known
    event = Event.UPDATED if is_update else letter.event
    ordinal = found.next_ordinal
    if letter.ordinal == ESCALATION and not outbox.is_taken(connection, letter.alert_id, to, ESCALATION):
        ordinal = ESCALATION
    outbox.move(connection, letter, to, ordinal, event, now)
    if letter.event is not Event.SUMMARY:
        what = f"{letter.event.word} goes to {to} in place of {letter.receiver}"
        alert_history.append(connection, [alert_history.Entry(now, letter.alert_id, "retried", what)])


def _owe_ends(connection: Connection, places: Iterable[tuple[str, str]], now: datetime) -> None:
    """Owe the end of alerts that are over to the receivers that get their openings only now."""
    for alert_id, receiver in sorted(places):
        alert = alerts.read(connection, alert_id)
        if alert is None or alert.status is not Status.RESOLVED:
            continue
        rows = [row for row in outbox.read_of_alert(connection, alert_id) if row.receiver == receiver]
        is_news = any(row.event in NEWS and row.status is DeliveryStatus.PENDING for row in rows)
        has_end = any(row.event is Event.RESOLVED and row.status is not DeliveryStatus.SUPPRESSED for row in rows)
        if is_news and not has_end:
            ordinal = receiver_progress.read(connection, alert_id)[receiver].next_ordinal
            outbox.insert_new(connection, [owed(alert_id, receiver, Event.RESOLVED, ordinal, now, now)])
