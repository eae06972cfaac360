"""The silences: a list, one silence, and how one begins and ends."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import Query, Response
from starlette.exceptions import HTTPException

from actionwatch.alerts.silences import make_silence
from actionwatch.base.clock import EPOCH, TIMES_END
from actionwatch.base.errors import NotFound, SilenceOfFile
from actionwatch.base.ids import UUID
from actionwatch.base.model import Silence
from actionwatch.queries import silences
from actionwatch.text.payloads import SilenceDocument, silence_document
from actionwatch.web.api.documents import DraftedSilence, ExpireBody, SilenceBody, SilencePage
from actionwatch.web.api.routing import CHANGE, CONTESTED, ONE, AtOnce, Id, Operator, errors, open_router, written
from actionwatch.web.filters import SilenceQuery
from actionwatch.web.parts import Parts
from actionwatch.web.problems import InvalidRequest
from actionwatch.web.query import cursor

router = open_router()


@router.get("/silences", responses=errors(400))
def list_silences(query: Annotated[SilenceQuery, Query()], parts: AtOnce) -> SilencePage:
    """List silences."""
    now, after = parts.clock(), query.after(datetime, str)
    with parts.database.read() as connection:
        page = silences.page(connection, query.state, now, query.limit, after)
    return {"items": [silence_document(each, now) for each in page.items], "next": cursor(page.next)}


@router.get("/silences/{id}", **ONE)
def get_silence(id: Id, parts: AtOnce) -> SilenceDocument:
    """Show one silence. A unique prefix of its id is enough."""
    with parts.database.read() as connection:
        return silence_document(silences.find(connection, id), parts.clock())


@router.post("/silences/preview", **CHANGE)
def preview_silence(body: SilenceBody, operator: Operator, parts: AtOnce) -> DraftedSilence:
    """Show what a silence would hide, and what is doubtful about it, without making it."""
    now = parts.clock()
    made = _make(body, operator.author(body.author), parts)
    with parts.database.read() as connection:
        (found,) = silences.preview(connection, [made], now)
    return {
        "silence": silence_document(made, now),
        "doubts": list(parts.configuration.doubts(made, now)),
        "alert_count": found.alert_count,
        "hidden": found.hidden,
        "is_cut": found.is_cut,
    }


_CREATED = {201: {"model": SilenceDocument, "description": "Created"}}


@router.put(
    "/silences/{id}",
    response_model=SilenceDocument,
    **{**CONTESTED, "responses": errors(400, 409, 413, 415) | _CREATED},
)
def create_silence(id: Id, body: SilenceBody, operator: Operator, parts: AtOnce) -> Response:
    """Create a silence under an id that the client chooses, a UUID. Repeating it changes nothing."""
    now, silence_id = parts.clock(), id.lower()
    author = operator.author(body.author)
    if not UUID.fullmatch(silence_id):
        raise HTTPException(400, f"id: {silence_id} is not a UUID: choose one, such as uuidgen prints")
    known, is_new = None, False
    with parts.database.read() as connection, contextlib.suppress(NotFound):
        known = silences.find(connection, silence_id)
    if known is None:
        made = replace(_make(body, author, parts), id=silence_id)
        if not body.force and (doubts := parts.configuration.doubts(made, now)):
            raise HTTPException(400, "; ".join([*doubts, 'add "force": true if this is what you want']))
        known, is_new = parts.actions.add_silence(made)
    if not is_new and not _is_same(known, body, author):
        raise HTTPException(409, f"the silence {silence_id} exists with other values: choose another id")
    return written(silence_document(known, now), 201 if is_new else 200)


def _make(body: SilenceBody, author: str, parts: Parts) -> Silence:
    """Make what a request asks for. Raises: HTTPException, InvalidRequest."""
    now = parts.clock()
    starts_at = body.starts_at or now
    if not all(EPOCH <= at <= TIMES_END for at in (starts_at, body.ends_at)):
        raise HTTPException(400, "starts_at, ends_at: a time is centuries away: correct the year")
    try:
        return make_silence(body.matchers, author, body.comment, starts_at, body.ends_at, made_at=now)
    except ValueError as exc:
        raise InvalidRequest(str(exc)) from exc


def _is_same(known: Silence, body: SilenceBody, author: str) -> bool:
    """Return whether a request asks for a silence that exists, even if a person ended it early."""
    is_ended_early = known.ended_by is not None and known.ends_at <= body.ends_at
    texts = (tuple(body.matchers), author, body.comment.strip())
    return (
        texts == (known.matchers, known.author, known.comment)
        and (known.ends_at == body.ends_at or is_ended_early)
        and body.starts_at in (None, known.starts_at)
    )


@router.post("/silences/{id}/expire", **CONTESTED)
def expire_silence(id: Id, body: ExpireBody, operator: Operator, parts: AtOnce) -> SilenceDocument:
    """End a silence now. Repeating it changes nothing."""
    author = operator.author(body.author)
    with parts.database.read() as connection:
        known = silences.find(connection, id)
    try:
        ended = parts.actions.expire_silence(known.id, author)
    except SilenceOfFile as exc:
        raise HTTPException(409, str(exc)) from exc
    return silence_document(ended, parts.clock())
