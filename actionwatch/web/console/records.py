"""The records: a search, which is also the timeline of a user or a cluster, and one record with its proof and raw text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import structlog
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.model import Record, RecordFilter
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.queries import PAGE_SIZE, names, records
from actionwatch.store.statements import PageKey
from actionwatch.text.formats.exports import FORMATS, ExportFormat
from actionwatch.text.payloads import instant
from actionwatch.text.raw_records import read_raw
from actionwatch.web.connections import Bound, break_off, download
from actionwatch.web.console.page import given_query, href, render, render_search
from actionwatch.web.filters import RecordQuery, read_form
from actionwatch.web.parts import Parts
from actionwatch.web.query import UrlQuery

EXPORTED_AT_ONCE = 500  # records in memory, of an export
SEARCHED_AT_ONCE = 2000  # for them: fewer than for a page, where all match the search for the end of a part costs most
MAX_EXPORTS = 20  # at once: each takes a connection of the listener until it is complete, and probes need some too
_AROUND = timedelta(minutes=30)  # before and after a record: "what else did they do that hour"

log = structlog.get_logger()


def show_list(request: Request, parts: Parts) -> Response:
    """Show the records that match the filters of the query, newest first."""
    now = parts.clock()
    query = UrlQuery(request.query_params)
    wanted = read_form(query, RecordQuery).filter(now)
    after = query.after(*records.place_of(wanted))
    with parts.database.read() as connection:
        page = None if query.problems else records.search(connection, wanted, PAGE_SIZE, records.SEARCHED, after)
    subject, named = wanted.user or wanted.cluster or wanted.account, names.of_records(page.items if page else ())
    return render_search(
        request,
        "records.html",
        now,
        query,
        page,
        subject=named.get(subject, subject) if subject else None,
        kinds=sorted(KINDS),
        exports=[
            (form.name, href("/records/export", given_query(request), format=name, after=None))
            for name, form in FORMATS.items()
        ],
    )


def export(request: Request, parts: Parts) -> Response:
    """Send all records that match the filters of the query as a file, newest first, in parts."""
    # A page of another site could start one by an image, and each may read the whole store.
    if request.headers.get("sec-fetch-site") == "cross-site":
        raise HTTPException(403, "another site asked for this file: open the page Records here, and export there")
    now = parts.clock()
    query = UrlQuery(request.query_params)
    wanted, form = read_form(query, RecordQuery).filter(now), query.choice("format", FORMATS, "jsonl")
    if query.problems:
        raise HTTPException(400, "; ".join(query.problems.values()))
    headers = {
        "content-disposition": f'attachment; filename="records-{now:%Y%m%dT%H%M%SZ}.{form.suffix}"',
        "content-type": form.media_type,
    }
    if request.method == "HEAD":
        return Response(headers=headers)
    refusal = f"{MAX_EXPORTS} exports are running, which is the maximum: try again when one has ended"
    chunks = _chunks(parts, wanted, form)
    first = next(chunks)  # while an error can still be a page
    return download(request, Bound("export", MAX_EXPORTS, refusal), _stream(request, first, chunks), headers)


async def _stream(request: Request, first: bytes, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Send the chunks. One export at a time reads the store; a slow client blocks neither the store nor the others.

    It ends as soon as its visitor may no longer read, for example because the token was revoked.
    """
    chunk: bytes | None = first
    while chunk is not None:
        yield chunk
        async with request.app.state.exporting:
            chunk = await run_in_threadpool(next, chunks, None)
        if await run_in_threadpool(request.state.access.identify, request) is None:
            log.warning("export_broken_off", why="the token or the session has ended")
            break_off(request)
            return


def _chunks(parts: Parts, wanted: RecordFilter, form: ExportFormat) -> Iterator[bytes]:
    """Yield a file in chunks, each of one short reading of the store. Where nothing matches, a chunk may be empty."""
    after: PageKey | None = None
    is_first, is_over = True, False
    while not is_over:
        with parts.database.read() as connection:
            page = records.search(connection, wanted, EXPORTED_AT_ONCE, SEARCHED_AT_ONCE, after)
        found, after, is_over = page.items, page.next, page.next is None
        text = form.write(found, is_first=is_first) if found or (is_over and is_first) else ""
        is_first = is_first and not found
        yield f"{text}{form.end if is_over else ''}".encode("utf-8", "replace")


def show(request: Request, parts: Parts) -> Response:
    """Show one record. A unique prefix of its key is enough."""
    with parts.database.read() as connection:
        found = records.read_details(connection, request.path_params["key"])
    record = found.record
    raw = json.dumps(read_raw(record.raw), indent=2, ensure_ascii=False)
    around = _around(record)
    return render(request, "record.html", parts.clock(), found=found, record=record, raw=raw, around=around)


def _around(record: Record) -> dict[str, Markup]:
    """Return the links to what the user, and what happened in the cluster, around the time of a record."""
    span = {"since": instant(record.occurred_at - _AROUND), "until": instant(record.occurred_at + _AROUND)}
    subjects = {
        "user": record.user_name,
        "cluster": record.cluster.id or record.cluster.name,
        "account": record.account.id or record.account.name,
    }
    return {name: href("/records", span, **{name: value}) for name, value in subjects.items() if value}
