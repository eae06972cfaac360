"""The silences: active, to come, and expired."""

from __future__ import annotations

from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from actionwatch.store import silences
from actionwatch.web.console.page import href, render
from actionwatch.web.parts import Parts
from actionwatch.web.query import Query, place

PER_PAGE = 50


def show(request: Request, parts: Parts) -> Response:
    """Show the current silences, and the newest that expired."""
    now = parts.clock()
    query = Query(request.query_params, now)
    after = query.place("after", datetime, str)
    with parts.database.read() as connection:
        current = silences.read_current(connection, now) if after is None else []
        expired, older = silences.read_expired(connection, now, PER_PAGE, after)
    return render(
        request,
        "silences.html",
        now,
        400 if query.problems else 200,
        groups=[
            ("Active", [each for each in current if each.status(now) == "active"]),
            ("To come", [each for each in current if each.status(now) == "pending"]),
            ("Expired", expired),
        ],
        older=older and href("/silences", after=place(*older)),
        is_first=after is None,
        query=query,
    )
