"""The deliveries that are not done: waiting, held by a gate until a summary, and dead letters."""

from __future__ import annotations

from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from actionwatch.store import alerts, outbox
from actionwatch.web.console.page import href, render
from actionwatch.web.parts import Parts
from actionwatch.web.query import Query, place
from actionwatch.web.reading import DELIVERY_STATES, read_receivers

PER_PAGE = 50


def show(request: Request, parts: Parts) -> Response:
    """Show the deliveries in one state, by receiver."""
    now = parts.clock()
    query = Query(request.query_params, now)
    status = query.choice("state", DELIVERY_STATES, "waiting")
    receiver = query.text("receiver")
    after = query.place("after", str, str if status is None else datetime, str)
    with parts.database.read() as connection:
        queues = read_receivers(connection, parts)
        found, rest = (
            outbox.read_page(connection, status, receiver, PER_PAGE, after) if not query.problems else ([], None)
        )
        titles = alerts.read_many(connection, {row.alert_id for row in found})
    state = next(word for word, each in DELIVERY_STATES.items() if each is status)
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
        states=list(DELIVERY_STATES),
        receiver=receiver,
    )
