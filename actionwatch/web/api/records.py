"""The records: a search, and one record."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query

from actionwatch.store import alerts, record_search
from actionwatch.text.payloads import instant, record_document
from actionwatch.web.api.documents import RecordDetail, RecordPage
from actionwatch.web.api.filters import RecordQuery
from actionwatch.web.api.routing import ONE, AtOnce, Id, errors, open_router
from actionwatch.web.query import cursor
from actionwatch.web.reading import SEARCHED_RECORDS, only_record

router = open_router()


@router.get("/records", responses=errors(400))
def list_records(query: Annotated[RecordQuery, Query()], parts: AtOnce) -> RecordPage:
    """Search records, newest first. A page reads 10,000 records: it may be empty although others follow."""
    wanted, after = query.filter(parts.clock()), query.after(datetime, str, str)
    with parts.database.read() as connection:
        found, rest = record_search.search(connection, wanted, query.limit, after, SEARCHED_RECORDS)
    return {"items": [record_document(each) for each in found], "next": cursor(rest)}


@router.get("/records/{key}", **ONE)
def get_record(key: Id, parts: AtOnce) -> RecordDetail:
    """Show one record. A unique prefix of its key is enough."""
    with parts.database.read() as connection:
        record = only_record(connection, key)
        its_alerts = alerts.read_of_record(connection, record.id)
    return {**record_document(record), "seen_at": instant(record.seen_at), "alerts": its_alerts}
