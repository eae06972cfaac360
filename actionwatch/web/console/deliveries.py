"""The deliveries that are not done: waiting, held by a gate until a summary, and dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.delivery import DeliveryStatus
from actionwatch.store import alerts, outbox
from actionwatch.web.console.overview import read_receivers
from actionwatch.web.console.page import href, render
from actionwatch.web.console.parts import Parts
from actionwatch.web.console.query import Query, place

PER_PAGE = 50
_STATES: Mapping[str, DeliveryStatus | None] = {
    "waiting": DeliveryStatus.PENDING,
    "held": None,
    "dead": DeliveryStatus.DEAD,
}
"""The status of the rows; None: they wait for a summary, in any status."""


def show(request: Request, parts: Parts) -> Response:
    """Show the deliveries in one state, by receiver."""
    now = parts.clock()
    query = Query(request.query_params, now)
    status = query.choice("state", _STATES, "waiting")
    receiver = query.text("receiver")
    after = query.place("after", str, str if status is None else datetime, str)
    with parts.database.read() as connection:
        queues = read_receivers(connection, parts)
        found, rest = (
            outbox.read_page(connection, status, receiver, PER_PAGE, after) if not query.problems else ([], None)
        )
        titles = alerts.read_many(connection, {row.alert_id for row in found})
    state = next(word for word, each in _STATES.items() if each is status)
    return render(
        request,
        "deliveries.html",
        now,
        400 if query.problems else 200,
        found=found,
        alerts=titles,
        receivers=queues,
        older=rest and href("/deliveries", {"state": state, "receiver": receiver}, after=place(*rest)),
        is_first=after is None,
        query=query,
        state=state,
        states=list(_STATES),
        receiver=receiver,
    )
