"""Carry out what people decide about an alert, by a command or a button: acknowledge, resolve, reopen, assign, note, silence.

Each action is one transaction that changes the alert and enqueues its messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts import ledger
from actionwatch.alerts.silences import make_silence, matchers_of
from actionwatch.base.errors import ActionwatchError, SilenceOfFile
from actionwatch.base.model import Alert, Decision, Silence, Status
from actionwatch.matching.addressing import Addressing
from actionwatch.store import alert_history, alerts, records, self_alerts, silences
from actionwatch.store.database import Database
from actionwatch.text.escaping import visible
from actionwatch.text.payloads import instant

_SILENCE_BY_BUTTON = timedelta(hours=1)
_PRESSED_TOGETHER = timedelta(minutes=1)  # two people who press the button within this time mean the same silence

log = structlog.get_logger()


class OperatorActions:
    """The actions of operators. Safe to share between threads."""

    def __init__(
        self,
        database: Database,
        addressing: Addressing,
        clock: Callable[[], datetime],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._addressing = addressing
        self._clock = clock
        self._wake = wake

    def at(self, now: datetime) -> OperatorActions:
        """Return the actions at an instant."""
        return OperatorActions(self._database, self._addressing, lambda: now, self._wake)

    def act(self, action: str, alert_id: str, who: str) -> Decision:
        """Carry out the action of a button (`ack`, `silence`, `resolve` or `reopen`).

        Raises: ActionwatchError, StoreError.
        """
        match action:
            case "ack":
                return _describe(*self.acknowledge(alert_id, who))
            case "resolve":
                return _describe(*self.resolve(alert_id, who))
            case "reopen":
                return _describe(*self.reopen(alert_id, who))
            case "silence":
                return self.silence(alert_id, who, _SILENCE_BY_BUTTON, f"by a button of alert {alert_id}")
        raise ActionwatchError(f"there is no action {action!r}")

    def acknowledge(self, alert_id: str, who: str, comment: str = "") -> tuple[Alert, bool]:
        """Acknowledge an alert, which stops its escalation. An acknowledged or resolved alert only keeps the comment.

        Returns: the alert, and whether this changed it. Raises: ActionwatchError, if the alert does not exist.
        """
        with self._database.write(is_durable=True) as connection:
            alert = _existing(connection, alert_id)
            if alert.status is not Status.OPEN:
                _note_comment(connection, alert_id, who, comment, self._clock())
                return alert, False
            alert = ledger.acknowledge(alert, who)
            alerts.update(connection, alert)
            self._addressing.acknowledge(connection, alert, self._clock(), visible(comment))
        log.info("alert_acknowledged", alert=alert.id, by=who)
        self._wake()
        return alert, True

    def resolve(self, alert_id: str, who: str, comment: str = "") -> tuple[Alert, bool]:
        """Resolve an alert: the next match opens a new one. A resolved alert only keeps the comment.

        Returns: the alert, and whether this changed it. Raises: ActionwatchError, if the alert does not exist.
        """
        with self._database.write(is_durable=True) as connection:
            alert = _existing(connection, alert_id)
            if alert.status is Status.RESOLVED:
                _note_comment(connection, alert_id, who, comment, self._clock())
                return alert, False
            now = self._clock()
            alert = ledger.resolve(alert, who, now)
            alerts.update(connection, alert)
            self_alerts.delete_of_alert(connection, alert.id)
            self._addressing.resolve(connection, alert, now, visible(comment))
        log.info("alert_resolved", alert=alert.id, by=who)
        self._wake()
        return alert, True

    def reopen(self, alert_id: str, who: str, comment: str = "") -> tuple[Alert, bool]:
        """Open an acknowledged or resolved alert again: its receivers get it as a new one, and it escalates. An open one only
        keeps the comment.

        Returns: the alert, and whether this changed it. Raises: ActionwatchError, if the alert does not exist.
        """
        with self._database.write(is_durable=True) as connection:
            before = _existing(connection, alert_id)
            if before.status is Status.OPEN:
                _note_comment(connection, alert_id, who, comment, self._clock())
                return before, False
            alert = ledger.reopen(before, who, self._clock())
            alerts.update(connection, alert)
            self_alerts.restore(connection, alert)
            newest = records.read_of_alerts(connection, [alert.id], 1)[alert.id]
            record = newest[-1] if newest else None
            self._addressing.reopen(connection, before, alert, record, visible(comment))
        log.info("alert_reopened", alert=alert.id, by=who)
        self._wake()
        return alert, True

    def assign(self, alert_id: str, who: str, to: str | None, comment: str = "") -> tuple[Alert, bool]:
        """Assign an alert to a person; None: to nobody. One that is assigned so only keeps the comment.

        Returns: the alert, and whether this changed it. Raises: ActionwatchError, if the alert does not exist.
        """
        with self._database.write(is_durable=True) as connection:
            alert = _existing(connection, alert_id)
            if alert.assigned_to == to:
                _note_comment(connection, alert_id, who, comment, self._clock())
                return alert, False
            what = f"to {to or 'nobody'} by {who}" + (f": {visible(comment)}" if comment else "")
            alert = self._tell(connection, replace(alert, assigned_to=to), "assigned", what)
        log.info("alert_assigned", alert=alert.id, to=to, by=who)
        self._wake()
        return alert, True

    def note(self, alert_id: str, who: str, comment: str) -> tuple[Alert, bool]:
        """Write something about an alert, without a decision. The same note of the same person is written once.

        Returns: the alert, and whether this changed it. Raises: ActionwatchError, if the alert does not exist.
        """
        with self._database.write(is_durable=True) as connection:
            alert, text = _existing(connection, alert_id), visible(comment)
            if (alert.note, alert.noted_by) == (text, who):
                return alert, False
            alert = self._tell(connection, replace(alert, note=text, noted_by=who), "noted", f"by {who}: {text}")
        log.info("alert_noted", alert=alert.id, by=who)
        self._wake()
        return alert, True

    def _tell(self, connection: Connection, alert: Alert, stage: str, what: str) -> Alert:
        """Store what changed without a decision, and tell the receivers, unless the alert is over."""
        now = self._clock()
        alerts.update(connection, alert)
        if alert.status is not Status.RESOLVED:
            self._addressing.tell(connection, alert, now)
        alert_history.append(connection, [alert_history.Entry(now, alert.id, stage, what)])
        return alert

    def draft_silence(self, alert_id: str, who: str, span: timedelta, comment: str) -> Silence:
        """Return the silence that `silence` would make.

        Raises: ActionwatchError, StoreError; ValueError with `what: remedy`.
        """
        with self._database.read() as connection:
            return _draft(connection, _existing(connection, alert_id), who, span, comment, self._clock())

    def silence(self, alert_id: str, who: str, span: timedelta, comment: str) -> Decision:
        """Silence the rule and group of an alert for some time from now, unless somebody just did.

        Raises: ActionwatchError, StoreError; ValueError with `what: remedy`.
        """
        now = self._clock()
        with self._database.write(is_durable=True) as connection:
            alert = _existing(connection, alert_id)
            made = _draft(connection, alert, who, span, comment, now)
            matchers = made.matchers
            known = _like(silences.read_active(connection, now), matchers, made.ends_at - _PRESSED_TOGETHER)
            if known is not None:
                return Decision(_describe_silence(known), is_new=False)
            silences.write(connection, made)
            what = f"by {who} until {instant(made.ends_at)} ({made.id}): {' '.join(matchers)}"
            alert_history.append(connection, [alert_history.Entry(now, alert.id, "silenced", what)])
        log.info("silence_added", silence=made.id, by=who, matchers=list(matchers))
        return Decision(_describe_silence(made), is_new=True)

    def add_silence(self, made: Silence) -> tuple[Silence, bool]:
        """Store a silence, unless there is one with its id. Return the one that is stored, and whether it is new."""
        with self._database.write(is_durable=True) as connection:
            known = silences.read_many(connection, [made.id]).get(made.id)
            if known is not None:
                return known, False
            silences.write(connection, made)
        log.info("silence_added", silence=made.id, by=made.author, matchers=list(made.matchers))
        return made, True

    def expire_silence(self, silence_id: str, who: str) -> Silence:
        """End a silence now, if it has not ended.

        Raises: ActionwatchError, if it does not exist; SilenceOfFile with `what: remedy`.
        """
        with self._database.write(is_durable=True) as connection:
            known = silences.read_many(connection, [silence_id]).get(silence_id)
            if known is None:
                raise ActionwatchError(f"no silence has the id {silence_id}")
            if known.file is not None:
                raise SilenceOfFile(f"{silence_id} comes from {known.file}: remove it there")
            count = silences.expire(connection, [silence_id], self._clock(), who)
            ended = silences.read_many(connection, [silence_id])[silence_id]
        if count:
            log.info("silence_expired", silence=silence_id, by=who)
        return ended


def _existing(connection: Connection, alert_id: str) -> Alert:
    alert = alerts.read(connection, alert_id)
    if alert is None:
        raise ActionwatchError(f"no alert has the id {alert_id}")
    return alert


def _describe(alert: Alert, is_new: bool) -> Decision:
    opened = f"Reopened by {alert.reopened_by}" if alert.reopened_by else "It is open"
    states = {
        Status.OPEN: opened,
        Status.ACKED: f"Acknowledged by {alert.acked_by}",
        Status.RESOLVED: f"Resolved by {alert.resolved_by}",
    }
    return Decision(states[alert.status], is_new)


def _describe_silence(silence: Silence) -> str:
    return f"Silenced until {silence.ends_at:%H:%M} UTC by {silence.author}: {' '.join(silence.matchers)}"


def _like(found: Sequence[Silence], matchers: tuple[str, ...], until: datetime) -> Silence | None:
    """Return a silence with the same matchers that lasts as long, if any."""
    return next((each for each in found if set(each.matchers) == set(matchers) and each.ends_at >= until), None)


def _note_comment(connection: Connection, alert_id: str, who: str, comment: str, now: datetime) -> None:
    """Keep a comment to an alert that was decided before, once: a program repeats a request that it saw no response to."""
    what = f"by {who}: {visible(comment)}"
    if comment and what not in {line.what for line in alert_history.read(connection, alert_id)}:
        alert_history.append(connection, [alert_history.Entry(now, alert_id, "commented", what)])


def _draft(
    connection: Connection,
    alert: Alert,
    who: str,
    span: timedelta,
    comment: str,
    now: datetime,
) -> Silence:
    newest = records.read_of_alerts(connection, [alert.id], 1)[alert.id]
    matchers = matchers_of(alert, newest[-1] if newest else None)
    return make_silence(matchers, who, comment, now, now + span, made_at=now)
