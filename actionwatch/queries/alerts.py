"""The alerts: a search, and one alert with everything that the store has about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from sqlalchemy import Connection
from typing_extensions import TypedDict

from actionwatch.alerts.routes import newest_labels
from actionwatch.alerts.silences import silence_for
from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.base.model import Alert, Level, Record, Status
from actionwatch.queries.pages import Page, only
from actionwatch.store import alert_history, alerts, open_alerts, outbox, records, silences, tokens
from actionwatch.store.alerts import AlertFilter
from actionwatch.store.statements import PageKey, PageKind
from actionwatch.text.payloads import (
    RECORDS_SHOWN,
    AlertDocument,
    DeliveryDocument,
    JsonSchema,
    LevelWord,
    SuppressedDocument,
    Time,
    alert_document,
    delivery_document,
    instant,
)

GROUPINGS = tuple(open_alerts.GROUPINGS)
AlertGroup = open_alerts.AlertGroup
read_groups = open_alerts.read_groups
read_of_group = open_alerts.read_of_group
SEARCHED = 20_000  # alerts, for one page of a search: to look at the records of more takes seconds
_HOLDING = ("silence", "inhibition", "mute", "min_level", "storm", "digest")  # the gates of which people want to know


class FoldedAlert(TypedDict):
    """An alert that a list shows below another one: that one inhibits it, or the correlation of that one explains it."""

    id: str
    rule: str
    level: LevelWord
    title: str
    opened_at: Time
    why: Annotated[str, JsonSchema({"enum": ["inhibited", "explained"]})]


class StoppedAlert(AlertDocument):
    """An alert with its newest 50 records, the newest last, and what held its messages back."""

    suppressed: list[SuppressedDocument]


class WithFolded(TypedDict):
    """The first 50 alerts below an alert of a list, worst first, then newest, and how many there are."""

    folded: list[FoldedAlert]
    folded_count: int


class ListedAlert(StoppedAlert, WithFolded):
    """An alert of a list, with the alerts below it."""


class HistoryLine(TypedDict):
    """An event in the life of an alert: a route, a gate, an attempt, a decision."""

    at: Time
    stage: str
    what: str


class WholeAlert(StoppedAlert):
    """An alert with its deliveries and its history."""

    deliveries: list[DeliveryDocument]
    history: list[HistoryLine]


@dataclass(frozen=True, slots=True)
class FoundAlert:
    """An alert with its newest records, the newest last, and each reason that stopped its messages, once."""

    alert: Alert
    records: Sequence[Record]
    stops: Sequence[outbox.Stop]
    deliveries: Sequence[Delivery]
    history: Sequence[alert_history.Entry]

    @property
    def escalation(self) -> Delivery | None:
        """The escalation that waits, which an acknowledgement or a resolve stops."""
        waiting = (row for row in self.deliveries if row.is_escalation and row.status is DeliveryStatus.PENDING)
        return next(waiting, None) if self.alert.status is Status.OPEN else None

    def document(self) -> WholeAlert:
        """Return it as JSON."""
        return {
            **_with_stops(self.alert, self.records, self.stops),
            "deliveries": [delivery_document(each) for each in self.deliveries],
            "history": [{"at": instant(line.at), "stage": line.stage, "what": line.what} for line in self.history],
        }


def search(
    connection: Connection, wanted: AlertFilter, limit: int, most: int | None, after: PageKey | None = None
) -> Page[Alert]:
    """Return the next alerts that match a filter, after a place. Looks at about `most`; None: at all.

    Those that need a person come worst first, then newest; a list of others is newest first.
    """
    find = open_alerts.search if wanted.needs_person else alerts.search
    return Page(*find(connection, wanted, limit, after, most))


def place_of(wanted: AlertFilter) -> tuple[PageKind, ...]:
    """Return of what the places of a list with this filter are made, for its cursor."""
    return (Level, datetime, str) if wanted.needs_person else (datetime, str)


Folded = Mapping[str, open_alerts.Below]


def read_folded(connection: Connection, wanted: AlertFilter, found: Sequence[Alert]) -> Folded:
    """Return the alerts that a list shows below these, by the id of the one above."""
    return open_alerts.read_folded(connection, found) if open_alerts.is_folding(wanted) and found else {}


def folded_document(folded: Folded, alert_id: str) -> WithFolded:
    """Return the alerts below an alert as JSON."""
    below = folded.get(alert_id)
    items: list[FoldedAlert] = [
        {
            "id": each.id,
            "rule": each.rule.name,
            "level": each.level.word,
            "title": each.title,
            "opened_at": instant(each.opened_at),
            "why": why,
        }
        for why, each in (below.first if below else ())
    ]
    return {"folded": items, "folded_count": below.count if below else 0}


def can_group(wanted: AlertFilter) -> bool:
    """Return whether a list has groups and counts: it is what needs a person, of some levels or of all."""
    return not open_alerts.is_narrowed(wanted)


def count_needs(connection: Connection) -> dict[Level, int]:
    """Count the alerts that need a person, by level."""
    return open_alerts.count_by_level(connection)


def find(connection: Connection, beginning: str) -> Alert:
    """Return the alert whose id starts with this. Raises: NotFound."""
    return only(alerts.read_by_prefix(connection, beginning), "alert", beginning, "alerts list")


def read_details(connection: Connection, beginning: str) -> FoundAlert:
    """Return what the store has about the alert whose id starts with this. Raises: NotFound."""
    alert = find(connection, beginning)
    return FoundAlert(
        alert,
        records.read_of_alerts(connection, [alert.id], RECORDS_SHOWN)[alert.id],
        outbox.without_digests(outbox.read_stopped(connection, [alert.id])[alert.id]),
        outbox.read_of_alert(connection, alert.id),
        alert_history.read(connection, alert.id),
    )


def read_people(connection: Connection) -> list[str]:
    """Return the names of the people who have a token, to whom alerts can be assigned, in order."""
    return sorted({token.name for token in tokens.read_all(connection) if token.revoked_at is None})


def read_documents(connection: Connection, found: Sequence[Alert], folded: Folded) -> list[ListedAlert]:
    """Return alerts of a list as JSON, with those below them."""
    ids = [alert.id for alert in found]
    held, stops = records.read_of_alerts(connection, ids, RECORDS_SHOWN), outbox.read_stopped(connection, ids)
    return [
        {
            **_with_stops(alert, held[alert.id], outbox.without_digests(stops[alert.id])),
            **folded_document(folded, alert.id),
        }
        for alert in found
    ]


def _with_stops(alert: Alert, held: Sequence[Record], stops: Sequence[outbox.Stop]) -> StoppedAlert:
    suppressed: list[SuppressedDocument] = [
        {"receiver": stop.receiver, "by": stop.why, "ref": stop.ref} for stop in stops
    ]
    return {**alert_document(alert, held), "suppressed": suppressed}


def read_holds(
    connection: Connection, found: Sequence[Alert], now: datetime
) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Return what held messages of alerts back, or holds their next ones, by the id of the alert: each gate, and its subject.

    The subject is the id of a silence or of an alert, or a name, or empty.
    """
    active = silences.read_active(connection, now)
    near = [alert for alert in found if alert.status is not Status.RESOLVED] if active else []
    newest = records.read_of_alerts(connection, [alert.id for alert in near], 1)
    silencing = {alert.id: silence_for(newest_labels(alert, newest), active, now) for alert in near}
    holds: dict[str, list[tuple[str, str]]] = {}
    for alert_id, stops in outbox.read_stopped(connection, [alert.id for alert in found]).items():
        silence = silencing.get(alert_id)
        next_ones = [("silence", silence.id)] if silence else []
        stopped = [(stop.why, stop.ref or "") for stop in stops if stop.why in _HOLDING]
        holds[alert_id] = list(dict.fromkeys([*next_ones, *stopped]))
    return holds
