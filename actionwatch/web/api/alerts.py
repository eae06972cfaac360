"""The alerts: a list with filters, one alert, and what people decide about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Query

from actionwatch.base.model import Alert
from actionwatch.queries import alerts
from actionwatch.web.api.documents import (
    AlertDetail,
    AlertItem,
    AlertPage,
    AssignBody,
    Decided,
    DecisionBody,
    DecisionsBody,
    ListedItem,
    NoteBody,
    alert_item,
)
from actionwatch.web.api.routing import CHANGE, ONE, AtOnce, Id, Operator, errors, open_router
from actionwatch.web.filters import AlertQuery
from actionwatch.web.parts import Parts
from actionwatch.web.problems import InvalidRequest
from actionwatch.web.query import cursor
from actionwatch.web.requests import decide_each

router = open_router()


@router.get("/alerts", responses=errors(400))
def list_alerts(query: Annotated[AlertQuery, Query()], parts: AtOnce) -> AlertPage:
    """List the alerts that need a person, worst first, then newest; with `status` others, newest first. A page may be short."""
    wanted = query.filter(parts.clock())
    after = query.after(*alerts.place_of(wanted))
    with parts.database.read() as connection:
        page = alerts.search(connection, wanted, query.limit, alerts.SEARCHED, after)
        folded = alerts.read_folded(connection, wanted, page.items)
    items: list[ListedItem] = [{**alert_item(each), **alerts.folded_document(folded, each.id)} for each in page.items]
    return {"items": items, "next": cursor(page.next)}


@router.get("/alerts/{id}", **ONE)
def get_alert(id: Id, parts: AtOnce) -> AlertDetail:
    """Show one alert. A unique prefix of its id is enough."""
    with parts.database.read() as connection:
        found = alerts.read_details(connection, id)
    return {**alert_item(found.alert), **found.document()}


@router.post("/alerts/{id}/acknowledge", **CHANGE)
def acknowledge_alert(id: Id, body: DecisionBody, operator: Operator, parts: AtOnce) -> AlertItem:
    """Acknowledge an alert, which stops its escalation. Repeating it changes nothing."""
    author = operator.author(body.author)
    return alert_item(parts.actions.acknowledge(_named(parts, id), author, body.comment.strip())[0])


@router.post("/alerts/{id}/resolve", **CHANGE)
def resolve_alert(id: Id, body: DecisionBody, operator: Operator, parts: AtOnce) -> AlertItem:
    """Resolve an alert: the next match opens a new one. Repeating it changes nothing."""
    author = operator.author(body.author)
    return alert_item(parts.actions.resolve(_named(parts, id), author, body.comment.strip())[0])


@router.post("/alerts/{id}/reopen", **CHANGE)
def reopen_alert(id: Id, body: DecisionBody, operator: Operator, parts: AtOnce) -> AlertItem:
    """Open an acknowledged or resolved alert again: receivers and escalation follow as for a new one."""
    author = operator.author(body.author)
    return alert_item(parts.actions.reopen(_named(parts, id), author, body.comment.strip())[0])


@router.post("/alerts/{id}/assign", **CHANGE)
def assign_alert(id: Id, body: AssignBody, operator: Operator, parts: AtOnce) -> AlertItem:
    """Assign an alert to a person, or to nobody. Repeating it changes nothing."""
    author = operator.author(body.author)
    return alert_item(parts.actions.assign(_named(parts, id), author, body.to, body.comment.strip())[0])


@router.post("/alerts/{id}/note", **CHANGE)
def note_alert(id: Id, body: NoteBody, operator: Operator, parts: AtOnce) -> AlertItem:
    """Write a note about an alert, without a decision. Repeating it changes nothing."""
    author = operator.author(body.author)
    return alert_item(parts.actions.note(_named(parts, id), author, _note_in(body.comment))[0])


@router.post("/alerts/decisions", **CHANGE)
def decide_alerts(body: DecisionsBody, operator: Operator, parts: AtOnce) -> Decided:
    """Decide about several alerts, each separately. Repeating it changes nothing."""
    author, comment = operator.author(body.author), body.comment.strip()
    if body.action == "note":
        comment = _note_in(comment)
    actions = parts.actions
    acts: dict[str, Callable[[str], tuple[Alert, bool]]] = {
        "acknowledge": lambda alert_id: actions.acknowledge(alert_id, author, comment),
        "resolve": lambda alert_id: actions.resolve(alert_id, author, comment),
        "reopen": lambda alert_id: actions.reopen(alert_id, author, comment),
        "assign": lambda alert_id: actions.assign(alert_id, author, body.to, comment),
        "note": lambda alert_id: actions.note(alert_id, author, comment),
    }
    decided, missed = decide_each(dict.fromkeys(body.ids), acts[body.action])
    return {
        "items": [alert_item(alert) for _, (alert, _) in decided],
        "missed": [{"id": alert_id, "why": why} for alert_id, why in missed],
    }


def _note_in(comment: str) -> str:
    if not comment.strip():
        raise InvalidRequest("comment: the note is empty")
    return comment.strip()


def _named(parts: Parts, beginning: str) -> str:
    """Return the id of the alert of the path."""
    with parts.database.read() as connection:
        return alerts.find(connection, beginning).id
