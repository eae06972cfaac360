"""The deliveries: those that are not done, one with its message, and what people decide about dead letters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Query
from starlette.exceptions import HTTPException

from actionwatch.base.delivery import DROPPED, Delivery, DeliveryStatus
from actionwatch.queries import deliveries
from actionwatch.queries.deliveries import DeliveryDetail
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.text.payloads import DeliveryDocument, delivery_document
from actionwatch.web.api.documents import DeliveryPage, DropBody, RetryBody
from actionwatch.web.api.routing import CONTESTED, ONE, AtOnce, Id, Operator, errors, open_router
from actionwatch.web.filters import DeliveryQuery
from actionwatch.web.parts import Parts
from actionwatch.web.query import cursor
from actionwatch.web.requests import check_receiver

router = open_router()

_UNDER_WAY = (DeliveryStatus.PENDING, DeliveryStatus.SENT)


@router.get("/deliveries", responses=errors(400))
def list_deliveries(query: Annotated[DeliveryQuery, Query()], parts: AtOnce) -> DeliveryPage:
    """List the deliveries that are not done, by receiver and time."""
    after = query.after(*deliveries.place_of(query.state))
    with parts.database.read() as connection:
        page = deliveries.page(connection, query.state, query.receiver, query.limit, after)
    return {"items": [delivery_document(each) for each in page.items], "next": cursor(page.next)}


@router.get("/deliveries/{id}", **ONE)
def get_delivery(id: Id, parts: AtOnce) -> DeliveryDetail:
    """Show one delivery with its message. A unique prefix of its id is enough."""
    with parts.database.read() as connection:
        found = deliveries.find(connection, id)
    return deliveries.document(found)


@router.post("/deliveries/{id}/retry", **CONTESTED)
def retry_delivery(id: Id, body: RetryBody, operator: Operator, parts: AtOnce) -> DeliveryDocument:
    """Send a dead letter again, or to another receiver. Repeating it changes nothing while it waits or is sent."""
    author, to = operator.author(body.author), body.to
    if to is not None:
        check_receiver(parts, to)
    wanted = _named(parts, id)
    done = parts.dead_letters.retry(wanted, author, to)
    if done.stranded:
        raise HTTPException(409, f'{done.stranding}: add "to", the name of another receiver, or drop it')
    return _decided(parts, wanted, lambda row: row.status in _UNDER_WAY and to in (None, row.receiver))


@router.post("/deliveries/{id}/drop", **CONTESTED)
def drop_delivery(id: Id, body: DropBody, operator: Operator, parts: AtOnce) -> DeliveryDocument:
    """Give up a dead letter for good. Repeating it changes nothing."""
    author, wanted = operator.author(body.author), _named(parts, id)
    parts.dead_letters.drop(wanted, author)
    return _decided(parts, wanted, lambda row: row.why == DROPPED)


def _named(parts: Parts, beginning: str) -> DeliveryFilter:
    """Return the delivery of the path."""
    with parts.database.read() as connection:
        return DeliveryFilter(ids=[deliveries.find(connection, beginning).id])


def _decided(parts: Parts, wanted: DeliveryFilter, is_so: Callable[[Delivery], bool]) -> DeliveryDocument:
    """Return a delivery after a decision, which it already had, or has now. Raises: HTTPException, if it was no dead letter."""
    with parts.database.read() as connection:
        (found,) = (deliveries.find(connection, each) for each in wanted.ids or ())
    if not is_so(found):
        raise HTTPException(409, f"{found.id} for {found.receiver} is {found.status.value}, not a dead letter")
    return delivery_document(found)
