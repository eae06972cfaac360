"""What the console and the API read: the filters of a query, one item by a prefix of its id, and how things are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.base.model import LEVELS, Level, Record, RecordFilter, Silence, Status
from actionwatch.instaclustr.kinds import normalise_kind
from actionwatch.rules.model import Rule
from actionwatch.store import alerts, outbox, receivers, records, self_alerts, silences
from actionwatch.text.escaping import shorten
from actionwatch.web.parts import Destination, Parts
from actionwatch.web.problems import InvalidRequest
from actionwatch.web.query import UrlQuery
from actionwatch.web.verdict import Verdict, assess

SEARCHED_RECORDS = 10_000  # for one page of a search: a tenth of a second where none matches
_MAX_NAME_CHARS = 60  # of a wrong name, in a message
_MAX_COUNTED_OPEN = 1000  # alerts of one level
STATUSES: Mapping[str, Status] = {status.value: status for status in Status}
DELIVERY_STATES: Mapping[str, DeliveryStatus | None] = {
    "waiting": DeliveryStatus.PENDING,
    "held": None,
    "dead": DeliveryStatus.DEAD,
}
"""The status of the rows; None: they wait for a summary, in any status."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """What people see about a receiver; `destination` is None if it is no longer configured."""

    name: str
    destination: Destination | None
    queue: outbox.Queue
    health: receivers.Health


@dataclass(frozen=True, slots=True)
class State:
    """How things are: the receivers, the open self-alerts, the open alerts by level, and what follows."""

    receivers: Sequence[ReceiverState]
    troubles: Sequence[self_alerts.OpenSelfAlert]
    open_counts: Mapping[Level, int]
    verdict: Verdict


def alert_filter(query: UrlQuery) -> alerts.AlertFilter:
    """Read the filter of alerts."""
    return alerts.AlertFilter(
        levels=query.choices("level", LEVELS),
        statuses=query.choices("status", STATUSES),
        rules=query.words("rule"),
        user=query.text("user"),
        cluster=query.text("cluster"),
        account=query.text("account"),
        text=query.text("text"),
        since=query.time("since"),
        until=query.time("until"),
    )


def record_filter(query: UrlQuery) -> RecordFilter:
    """Read the filter of records."""
    return RecordFilter(
        kinds=[normalise_kind(kind) for kind in query.words("kind")],
        user=query.text("user"),
        account=query.text("account"),
        cluster=query.text("cluster"),
        keyword=query.text("text"),
        since=query.time("since"),
        until=query.time("until"),
    )


def rules_in_use(parts: Parts) -> list[Rule]:
    """Return the rules that make alerts, by name."""
    return sorted((rule for rule in parts.rules() if not rule.is_silent), key=lambda rule: rule.name.name)


def rule_in_use(parts: Parts, name: str) -> Rule:
    """Return the rule with this id or name. Raises: HTTPException, if there is none."""
    for rule in parts.rules():
        if name in (rule.name.id, rule.name.name):
            return rule
    raise HTTPException(404, f"no rule in use has the id or name {name}: it may have been removed")


def only_record(connection: Connection, beginning: str) -> Record:
    """Read the record whose key has this prefix. Raises: HTTPException, if there is none, or several."""
    found = records.read_by_prefix(connection, beginning)
    return _only(found, [each.key for each in found], "stored record", "key", beginning)


def only_delivery(connection: Connection, beginning: str) -> Delivery:
    """Read the delivery whose id has this prefix. Raises: HTTPException, if there is none, or several."""
    found = outbox.read_by_prefix(connection, beginning)
    return _only(found, [each.id for each in found], "delivery", "id", beginning)


def only_silence(connection: Connection, beginning: str) -> Silence:
    """Read the silence whose id has this prefix. Raises: HTTPException, if there is none, or several."""
    found = silences.read_by_prefix(connection, beginning)
    return _only(found, [each.id for each in found], "silence", "id", beginning)


def _only(found: Sequence[_T], names: Collection[str], noun: str, name: str, beginning: str) -> _T:
    if not found:
        raise HTTPException(404, f"no {noun} has the {name} {beginning}: retention may have deleted it")
    if len(found) > 1 and next(iter(names)) != beginning:
        raise HTTPException(404, f"several have a {name} that begins with {beginning}: give a longer one")
    return found[0]


def check_receiver(parts: Parts, name: str) -> None:
    """Check that the configuration has a receiver. Raises: InvalidRequest, with a sentence."""
    known = [each.name for each in parts.receivers]
    if name not in known:
        shown = shorten(name, _MAX_NAME_CHARS)
        raise InvalidRequest(
            f"to: no receiver has the name {shown}: use {', '.join(known) or 'none, because none is configured'}"
        )


def read_receivers(connection: Connection, parts: Parts) -> list[ReceiverState]:
    """Return the receivers of the configuration, and removed ones as long as they have messages."""
    queues, health = outbox.count_queues(connection), receivers.read_all(connection)
    configured = {each.name: each for each in parts.receivers}
    names = [*configured, *sorted(queues.keys() - configured.keys())]
    return [
        ReceiverState(
            name, configured.get(name), queues.get(name, outbox.Queue()), health.get(name, receivers.Health())
        )
        for name in names
    ]


def read_state(connection: Connection, parts: Parts, unready: Sequence[str]) -> State:
    """Read how things are. `unready` describes why the service does not see everything."""
    opened = self_alerts.read_all(connection)
    queues = read_receivers(connection, parts)
    open_counts = alerts.count_open(connection, _MAX_COUNTED_OPEN)
    verdict = assess(
        parts.sources,
        unready,
        [(each.trouble, f"{each.subject}: {each.what}") for each in opened],
        open_counts,
        sum(each.queue.dead for each in queues),
        most=_MAX_COUNTED_OPEN,
    )
    return State(queues, opened, open_counts, verdict)
