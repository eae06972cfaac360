"""The records: a search, which is also the timeline of a user or a cluster, and one record with its proof and raw text."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.model import Record
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.store import alerts, receipts, records
from actionwatch.text.payloads import instant
from actionwatch.text.raw_records import read_raw
from actionwatch.web.console.page import href, render, render_search
from actionwatch.web.parts import Parts
from actionwatch.web.query import Query
from actionwatch.web.reading import SEARCHED_RECORDS, only_record, record_filter

PER_PAGE = 50
RECEIPTS_SHOWN = 5
AROUND = timedelta(minutes=30)  # before and after a record: "what else did they do that hour"


def show_list(request: Request, parts: Parts) -> Response:
    """Show the records that match the filters of the query, newest first."""
    now = parts.clock()
    query = Query(request.query_params, now)
    wanted = record_filter(query)
    after = query.place("after", datetime, str, str)
    found: list[Record] = []
    older = None
    if not query.problems:
        with parts.database.read() as connection:
            found, older = records.search(connection, wanted, PER_PAGE, after, SEARCHED_RECORDS)
    return render_search(
        request,
        "records.html",
        now,
        query,
        after,
        older,
        found=found,
        subject=wanted.user or wanted.cluster or wanted.account,
        kinds=sorted(KINDS),
    )


def show(request: Request, parts: Parts) -> Response:
    """Show one record. A unique prefix of its key is enough."""
    beginning = request.path_params["key"]
    with parts.database.read() as connection:
        record = only_record(connection, beginning)
        values: dict[str, Any] = {
            "copies": records.read_copies(connection, record.key),
            "alerts": list(alerts.read_many(connection, alerts.read_of_record(connection, record.id)).values()),
            "receipts": receipts.read_covering(connection, record, RECEIPTS_SHOWN),
        }
    raw = json.dumps(read_raw(record.raw), indent=2, ensure_ascii=False)
    return render(request, "record.html", parts.clock(), record=record, raw=raw, around=_around(record), **values)


def _around(record: Record) -> dict[str, Markup]:
    """Return the links to what the user, and what happened in the cluster, around the time of a record."""
    span = {"since": instant(record.occurred_at - AROUND), "until": instant(record.occurred_at + AROUND)}
    subjects = {
        "user": record.user_name,
        "cluster": record.cluster.id or record.cluster.name,
        "account": record.account.id or record.account.name,
    }
    return {name: href("/records", span, **{name: value}) for name, value in subjects.items() if value}
