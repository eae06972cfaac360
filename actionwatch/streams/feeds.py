"""The feeds of streams: records, versions of alerts, decisions of people and versions of silences.

A record makes the same message each time, so its stream needs only a position. What depends on the time at which it is read
(an alert as it is now) is kept in the store until it is sent, in the transaction that moves the position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from actionwatch.alerts.routes import newest_labels
from actionwatch.base.model import Message, Record
from actionwatch.store import alerts, records, silences, streams
from actionwatch.store.streams import Mark
from actionwatch.streams import messages
from actionwatch.streams.driver import StreamMessage
from actionwatch.streams.messages import Plan
from actionwatch.streams.statements import is_late
from actionwatch.text.payloads import RECORDS_SHOWN, alert_document, alert_facts, instant, silence_document

_SCANNED = 5000  # rows of a history, of which most are about something else

DECISIONS = frozenset(
    {
        "acknowledged",
        "resolved",
        "reopened",
        "assigned",
        "noted",
        "commented",
        "silenced",
        "retried",
        "dropped",
    }
)
"""The stages of an alert's history that people decide; a rule can resolve an alert too."""


@dataclass(frozen=True, slots=True)
class Portion:
    """The next messages, and how far the feed was read for them."""

    messages: Sequence[StreamMessage]
    through: int


@dataclass(frozen=True, slots=True)
class Feed:
    """A table that streams read, by ids that only grow. `read` returns what follows a position."""

    name: str
    newest: Callable[[Connection], int]
    before: Callable[[Connection, datetime], int]
    """Returns the position from which on everything happened at or after a time."""
    read: Callable[[Connection, Plan, int, datetime], Portion]


def read_records(
    connection: Connection, plan: Plan, position: int, through: int | None, marks: Mapping[str, Mark]
) -> tuple[Portion, list[Record]]:
    """Read the next records, up to `through` at most. `marks` say which of them are late."""
    found = records.read_after(connection, position, plan.batch)
    if through is not None:
        found = [record for record in found if record.id <= through]
    made = [
        messages.record_message(plan, record, is_late=is_late(marks.get(record.source), record))
        for record in found
        if plan.takes_record(record)
    ]
    return Portion(made, found[-1].id if found else position), found


def _alerts(connection: Connection, plan: Plan, position: int, now: datetime) -> Portion:  # noqa: ARG001
    rows = streams.versions_after(connection, position, _SCANNED)
    newest: dict[str, int] = {}
    through = position
    for row in rows:
        if row.table_name == "alert":
            if row.row_key not in newest and len(newest) == plan.batch:
                break
            newest[row.row_key] = row.id
        through = row.id
    found = alerts.read_many(connection, newest)
    of_alerts = records.read_of_alerts(connection, list(found), RECORDS_SHOWN)
    new = streams.first_versions(connection, "alert", list(found))
    made = []
    for alert_id, version in newest.items():
        alert = found.get(alert_id)
        if alert is None or not plan.takes(newest_labels(alert, of_alerts)):
            continue
        is_new = new[alert_id] > position
        event = "resolved" if alert.status.value == "resolved" else "opened" if is_new else "updated"
        at = alert.resolved_at or alert.last_at
        message = Message(f"{alert_id}/{version}", f"alert.{event}", at, alert_document(alert, of_alerts[alert_id]))
        place = {"offset": version}
        made.append(messages.compose(plan, message, messages.ALERT, place, messages.alert_key(plan, alert)))
    return Portion(made, through)


def _decisions(connection: Connection, plan: Plan, position: int, now: datetime) -> Portion:  # noqa: ARG001
    rows = streams.entries_after(connection, position, plan.batch)
    decided = [row for row in rows if row.stage in DECISIONS]
    found = alerts.read_many(connection, {row.alert_id for row in decided})
    newest = records.read_of_alerts(connection, list(found), 1)
    made = []
    for row in decided:
        alert = found.get(row.alert_id)
        if not plan.takes(newest_labels(alert, newest) if alert else {}):
            continue
        data: dict[str, Any] = {"alert_id": row.alert_id, "stage": row.stage, "what": row.what, "at": instant(row.at)}
        data["alert"] = alert_facts(alert) if alert else None
        message = Message(f"{row.alert_id}/decision/{row.id}", f"decision.{row.stage}", row.at, data)
        place = {"offset": row.id}
        made.append(messages.compose(plan, message, messages.DECISION, place, messages.alert_key(plan, alert)))
    return Portion(made, rows[-1].id if rows else position)


def _silences(connection: Connection, plan: Plan, position: int, now: datetime) -> Portion:
    rows = streams.versions_after(connection, position, _SCANNED)
    newest = {row.row_key: row.id for row in rows if row.table_name == "silence"}
    found = silences.read_many(connection, list(newest)) if plan.takes({}) else {}
    made = []
    for silence_id, version in newest.items():
        silence = found.get(silence_id)
        if silence is not None:
            document = dict(silence_document(silence, now))
            message = Message(f"{silence_id}/{version}", "decision.silence", now, document)
            made.append(messages.compose(plan, message, messages.DECISION, {"offset": version}, silence_id))
    return Portion(made, rows[-1].id if rows else position)


_ALERTS = Feed(
    "alert", streams.newest_version, lambda connection, at: streams.version_before(connection, "alert", at), _alerts
)
_DECISIONS = Feed("alert_history", streams.newest_entry, streams.entry_before, _decisions)
_SILENCES = Feed(
    "silence",
    streams.newest_version,
    lambda connection, at: streams.version_before(connection, "silence", at),
    _silences,
)
KEPT_FEEDS: Mapping[str, tuple[Feed, ...]] = {
    "records": (),
    "alerts": (_ALERTS,),
    "decisions": (_DECISIONS, _SILENCES),
    "everything": (_ALERTS, _DECISIONS, _SILENCES),
}
"""The feeds whose messages are kept until they are sent, by what a stream sends."""
