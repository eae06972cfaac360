"""The records: a search, and one record."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from actionwatch.queries import records
from actionwatch.text.payloads import instant, record_document
from actionwatch.web.api.documents import RecordDetail, RecordPage
from actionwatch.web.api.routing import ONE, AtOnce, Id, errors, open_router
from actionwatch.web.filters import RecordQuery
from actionwatch.web.query import cursor

router = open_router()


@router.get("/records", responses=errors(400))
def list_records(query: Annotated[RecordQuery, Query()], parts: AtOnce) -> RecordPage:
    """Search records, newest first. A page may be empty although others follow: it searches 10,000 descriptions."""
    wanted = query.filter(parts.clock())
    after = query.after(*records.place_of(wanted))
    with parts.database.read() as connection:
        page = records.search(connection, wanted, query.limit, records.SEARCHED, after)
    return {"items": [record_document(each) for each in page.items], "next": cursor(page.next)}


@router.get("/records/{key}", **ONE)
def get_record(key: Id, parts: AtOnce) -> RecordDetail:
    """Show one record. A unique prefix of its key is enough."""
    with parts.database.read() as connection:
        found = records.read_details(connection, key)
    seen_at, alerts = instant(found.record.seen_at), [each.id for each in found.alerts]
    return {**record_document(found.record), "seen_at": seen_at, "alerts": alerts}
