"""What each operation of the API reads or changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException

from actionwatch.alerts.silences import make_silence
from actionwatch.base.clock import EPOCH, TIMES_END
from actionwatch.base.delivery import DROPPED, Delivery, DeliveryStatus
from actionwatch.base.errors import SilenceOfFile
from actionwatch.base.ids import UUID
from actionwatch.base.model import Alert, Silence
from actionwatch.store import (
    alert_history,
    alerts,
    marks,
    outbox,
    polls,
    record_counts,
    record_search,
    records,
    silences,
)
from actionwatch.store.column_types import damaged
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.text.payloads import (
    RECORDS_SHOWN,
    DeliveryDocument,
    SilenceDocument,
    delivery_document,
    instant,
    record_document,
    silence_document,
)
from actionwatch.web.access import visitor_of
from actionwatch.web.api.call import DEFAULT_LIMIT, MAX_LIMIT, Call, Created
from actionwatch.web.api.documents import (
    AlertDetail,
    AlertItem,
    AlertPage,
    DecisionBody,
    DeliveryDetail,
    DeliveryPage,
    DropBody,
    ExpireBody,
    RecordDetail,
    RecordPage,
    RetryBody,
    RuleItem,
    RulePage,
    SilenceBody,
    SilencePage,
    SourceStatus,
    StatusDocument,
    alert_item,
    time,
)
from actionwatch.web.problems import InvalidRequest
from actionwatch.web.query import cursor
from actionwatch.web.reading import (
    DELIVERY_STATES,
    SEARCHED_ALERTS,
    SEARCHED_RECORDS,
    alert_filter,
    check_receiver,
    only_alert,
    only_delivery,
    only_record,
    only_silence,
    read_state,
    record_filter,
    rules_in_use,
)
from actionwatch.web.requests import author_of, check_may_decide

_UNDER_WAY = (DeliveryStatus.PENDING, DeliveryStatus.SENT)


def list_alerts(call: Call) -> AlertPage:
    """List alerts."""
    wanted, limit = alert_filter(call.query), _limit(call)
    after = call.query.cursor("cursor", datetime, str)
    call.query.check()
    with call.parts.database.read() as connection:
        found, rest = alerts.search(connection, wanted, limit, after, SEARCHED_ALERTS)
    return {"items": [alert_item(each) for each in found], "next": cursor(rest)}


def get_alert(call: Call) -> AlertDetail:
    """Show one alert."""
    with call.parts.database.read() as connection:
        alert = only_alert(connection, call.path("id"))
        held = records.read_of_alerts(connection, [alert.id], RECORDS_SHOWN)[alert.id]
        stops = outbox.without_digests(outbox.read_stopped(connection, [alert.id])[alert.id])
        sent = outbox.read_of_alert(connection, alert.id)
        lines = alert_history.read(connection, alert.id)
    return {
        **alert_item(alert),
        "records": [record_document(each) for each in held],
        "suppressed": [{"receiver": each.receiver, "by": each.why, "ref": each.ref} for each in stops],
        "deliveries": [delivery_document(each) for each in sent],
        "history": [{"at": instant(line.at), "stage": line.stage, "what": line.what} for line in lines],
    }


def acknowledge(call: Call) -> AlertItem:
    """Acknowledge an alert."""
    alert, author, comment = _decision(call)
    return alert_item(call.parts.actions.acknowledge(alert.id, author, comment)[0])


def resolve(call: Call) -> AlertItem:
    """Resolve an alert."""
    alert, author, comment = _decision(call)
    return alert_item(call.parts.actions.resolve(alert.id, author, comment)[0])


def list_records(call: Call) -> RecordPage:
    """Search records."""
    wanted, limit = record_filter(call.query), _limit(call)
    after = call.query.cursor("cursor", datetime, str, str)
    call.query.check()
    with call.parts.database.read() as connection:
        found, rest = record_search.search(connection, wanted, limit, after, SEARCHED_RECORDS)
    return {"items": [record_document(each) for each in found], "next": cursor(rest)}


def get_record(call: Call) -> RecordDetail:
    """Show one record."""
    with call.parts.database.read() as connection:
        record = only_record(connection, call.path("key"))
        its_alerts = alerts.read_of_record(connection, record.id)
    return {**record_document(record), "seen_at": instant(record.seen_at), "alerts": its_alerts}


def list_deliveries(call: Call) -> DeliveryPage:
    """List deliveries in one state."""
    status, limit = call.query.choice("state", DELIVERY_STATES, "waiting"), _limit(call)
    receiver = call.query.text("receiver")
    after = call.query.cursor("cursor", str, str if status is None else datetime, str)
    call.query.check()
    with call.parts.database.read() as connection:
        found, rest = outbox.read_page(connection, status, receiver, limit, after)
    return {"items": [delivery_document(each) for each in found], "next": cursor(rest)}


def get_delivery(call: Call) -> DeliveryDetail:
    """Show one delivery."""
    with call.parts.database.read() as connection:
        found = only_delivery(connection, call.path("id"))
    return {**delivery_document(found), "message": _message_of(found)}


def _message_of(delivery: Delivery) -> Any:
    """Return the message, None before it is made. Raises: StoreError, if it cannot be read."""
    try:
        return json.loads(delivery.body) if delivery.body else None
    except ValueError as exc:
        raise damaged(exc) from exc


def retry_delivery(call: Call) -> DeliveryDocument:
    """Send a dead letter again, or to another receiver."""
    author, to = _author(call, call.body), call.body.to
    if to is not None:
        check_receiver(call.parts, to)
    wanted = _named(call)
    done = call.parts.dead_letters.retry(wanted, author, to)
    if done.stranded:
        raise HTTPException(409, f'{done.stranding}: add "to", the name of another receiver, or drop it')
    return _decided(call, wanted, lambda row: row.status in _UNDER_WAY and to in (None, row.receiver))


def drop_delivery(call: Call) -> DeliveryDocument:
    """Give up a dead letter for good."""
    author, wanted = _author(call, call.body), _named(call)
    call.parts.dead_letters.drop(wanted, author)
    return _decided(call, wanted, lambda row: row.why == DROPPED)


def _named(call: Call) -> DeliveryFilter:
    """Return the delivery of the path."""
    with call.parts.database.read() as connection:
        return DeliveryFilter(ids=[only_delivery(connection, call.path("id")).id])


def _decided(call: Call, wanted: DeliveryFilter, is_so: Callable[[Delivery], bool]) -> DeliveryDocument:
    """Return a delivery after a decision, which it already had, or has now. Raises: HTTPException, if it was no dead letter."""
    with call.parts.database.read() as connection:
        (found,) = (outbox.read(connection, each) for each in wanted.ids or ())
    if found is None:
        raise HTTPException(404, "the delivery is gone: retention deleted it")
    if not is_so(found):
        raise HTTPException(409, f"{found.id} for {found.receiver} is {found.status.value}, not a dead letter")
    return delivery_document(found)


def list_silences(call: Call) -> SilencePage:
    """List silences in one state."""
    now = call.parts.clock()
    is_expired = call.query.choice("state", {"current": False, "expired": True}, "current")
    limit, after = _limit(call), call.query.cursor("cursor", datetime, str)
    call.query.check()
    with call.parts.database.read() as connection:
        if is_expired:
            found, rest = silences.read_expired(connection, now, limit, after)
        else:
            found, rest = silences.read_current(connection, now), None
    return {"items": [silence_document(each, now) for each in found], "next": cursor(rest)}


def get_silence(call: Call) -> SilenceDocument:
    """Show one silence."""
    with call.parts.database.read() as connection:
        return silence_document(only_silence(connection, call.path("id")), call.parts.clock())


def create_silence(call: Call) -> SilenceDocument | Created:
    """Create a silence, once: a request that is repeated gets the silence that the first one created."""
    now, body, silence_id = call.parts.clock(), call.body, call.path("id").lower()
    author = _author(call, body)
    if not UUID.fullmatch(silence_id):
        raise HTTPException(400, f"id: {silence_id} is not a UUID: choose one, such as uuidgen prints")
    with call.parts.database.read() as connection:
        known = silences.read_many(connection, [silence_id]).get(silence_id)
    if known is None:
        made = replace(_make(body, author, now), id=silence_id)
        if not body.force and (doubts := call.parts.doubts(made, now)):
            raise HTTPException(400, "; ".join([*doubts, 'add "force": true if this is what you want']))
        known, is_new = call.parts.actions.add_silence(made)
        if is_new:
            return Created(silence_document(known, now))
    if not _is_same(known, body, author):
        raise HTTPException(409, f"the silence {silence_id} exists with other values: choose another id")
    return silence_document(known, now)


def _make(body: SilenceBody, author: str, now: datetime) -> Silence:
    """Make what a request asks for. Raises: HTTPException, InvalidRequest."""
    starts_at = body.starts_at or now
    if not all(EPOCH <= at <= TIMES_END for at in (starts_at, body.ends_at)):
        raise HTTPException(400, "starts_at, ends_at: a time is centuries away: correct the year")
    try:
        return make_silence(body.matchers, author, body.comment, starts_at, body.ends_at, made_at=now)
    except ValueError as exc:
        raise InvalidRequest(str(exc)) from exc


def _is_same(known: Silence, body: SilenceBody, author: str) -> bool:
    """Return whether a request asks for a silence that exists, even if a person ended it early."""
    is_ended_early = known.ended_by is not None and known.ends_at <= body.ends_at
    texts = (tuple(body.matchers), author, body.comment.strip())
    return (
        texts == (known.matchers, known.author, known.comment)
        and (known.ends_at == body.ends_at or is_ended_early)
        and body.starts_at in (None, known.starts_at)
    )


def expire_silence(call: Call) -> SilenceDocument:
    """End a silence."""
    author = _author(call, call.body)
    with call.parts.database.read() as connection:
        known = only_silence(connection, call.path("id"))
    try:
        ended = call.parts.actions.expire_silence(known.id, author)
    except SilenceOfFile as exc:
        raise HTTPException(409, str(exc)) from exc
    return silence_document(ended, call.parts.clock())


def list_rules(call: Call) -> RulePage:
    """List the rules in use."""
    items: list[RuleItem] = [
        {
            "id": rule.name.id,
            "name": rule.name.name,
            "title": rule.name.title,
            "level": rule.level.word,
            "mode": rule.mode.value,
            "tags": list(rule.name.tags),
            "correlation": rule.correlation.type.value if rule.correlation else None,
            "file": rule.file,
            "line": rule.line,
        }
        for rule in rules_in_use(call.parts)
    ]
    return {"items": items, "next": None}


def get_status(call: Call) -> StatusDocument:
    """Say how things are."""
    unready = list(call.parts.unready())
    with call.parts.database.read() as connection:
        state = read_state(connection, call.parts, unready)
        known, asked = marks.read_all(connection), polls.read_all(connection)
        counts = record_counts.count_by_source(connection)
    verdict = state.verdict
    return {
        "is_seeing": verdict.is_seeing,
        "seeing": verdict.seeing,
        "is_quiet": verdict.is_quiet,
        "needs": verdict.needs,
        "unready": unready,
        "open_alerts": {level.word: count for level, count in state.open_counts.items()},
        "sources": [
            _source(name, known.get(name), asked.get(name), counts.get(name, 0)) for name in call.parts.sources
        ],
        "receivers": [
            {
                "name": each.name,
                "type": each.destination.type if each.destination else None,
                "pending": each.queue.pending,
                "dead": each.queue.dead,
                "last_sent": time(each.health.last_sent_at),
                "failing_since": time(each.health.failing_since),
                "last_error": each.health.last_error,
            }
            for each in state.receivers
        ],
        "troubles": [
            {
                "trouble": each.trouble,
                "subject": each.subject,
                "since": instant(each.since),
                "what": each.what,
                "remedy": each.remedy,
                "alert": each.alert_id,
            }
            for each in state.troubles
        ],
    }


def _source(name: str, mark: marks.Marks | None, poll: polls.Poll | None, count: int) -> SourceStatus:
    return {
        "name": name,
        "mark": time(mark.mark) if mark else None,
        "seen_through": time(mark.seen_through) if mark else None,
        "proved_through": time(mark.proved_through) if mark else None,
        "last_poll": time(poll.last_poll_at) if poll else None,
        "records": count,
    }


def _limit(call: Call) -> int:
    return call.query.number("limit", DEFAULT_LIMIT, MAX_LIMIT)


def _decision(call: Call) -> tuple[Alert, str, str]:
    """Return the alert that a decision is about, who decides, and the comment."""
    author = _author(call, call.body)
    with call.parts.database.read() as connection:
        return only_alert(connection, call.path("id")), author, call.body.comment.strip()


def _author(call: Call, body: DecisionBody | DropBody | ExpireBody | RetryBody | SilenceBody) -> str:
    """Return who decides. Raises: HTTPException, InvalidRequest."""
    check_may_decide(call.request)
    name = visitor_of(call.request).name
    if name is not None and body.author not in (None, name):
        raise HTTPException(400, f"author: the token is that of {name}: leave it out")
    return author_of(call.request, (body.author or "").strip())
