"""The alerts: a list with filters, one alert, and what people decide about it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query

from actionwatch.queries import alerts
from actionwatch.web.api.documents import AlertDetail, AlertItem, AlertPage, DecisionBody, alert_item
from actionwatch.web.api.routing import CHANGE, ONE, AtOnce, Id, Operator, errors, open_router
from actionwatch.web.filters import AlertQuery
from actionwatch.web.parts import Parts
from actionwatch.web.query import cursor

router = open_router()


@router.get("/alerts", responses=errors(400))
def list_alerts(query: Annotated[AlertQuery, Query()], parts: AtOnce) -> AlertPage:
    """List alerts, newest first. A page of a search reads 20,000 alerts: it may be empty although others follow."""
    wanted, after = query.filter(parts.clock()), query.after(datetime, str)
    with parts.database.read() as connection:
        page = alerts.search(connection, wanted, query.limit, alerts.SEARCHED, after)
    return {"items": [alert_item(each) for each in page.items], "next": cursor(page.next)}


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


def _named(parts: Parts, beginning: str) -> str:
    """Return the id of the alert of the path."""
    with parts.database.read() as connection:
        return alerts.find(connection, beginning).id
