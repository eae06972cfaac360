"""The silences: active, future and expired. Operators add and end them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.alerts.silences import MAX_MATCHER_CHARS, MAX_MATCHERS, make_silence
from actionwatch.base.durations import parse_duration
from actionwatch.base.ids import UUID
from actionwatch.base.model import Silence
from actionwatch.base.plurals import counted, is_or_are
from actionwatch.queries import PAGE_SIZE, names, silences
from actionwatch.text.escaping import shorten
from actionwatch.web.console.forms import Fields, check_comment, check_form, given_in, selected
from actionwatch.web.console.page import render_search
from actionwatch.web.console.silencing import show_drafts
from actionwatch.web.parts import Parts
from actionwatch.web.query import UrlQuery, parse_instant
from actionwatch.web.requests import author_of, decide_each

_SHOWN_CHARS = 60
_TYPED = ("author", "matchers", "starts", "ends", "comment", "silence_id")
_NOTHING_GIVEN = {**dict.fromkeys(_TYPED, ""), "ends": "2h"}


def show(request: Request, parts: Parts) -> Response:
    """Show the current silences, and the newest that expired."""
    return _show_with(request, parts)


def submit(request: Request, parts: Parts, fields: Fields) -> Response:
    """Add a silence, which is shown before it is made, or end the selected ones."""
    check_form(request, fields)
    given = given_in(fields, *_TYPED)
    if fields.get("action") not in ("add", "end"):
        raise HTTPException(400, "action: use add or end")
    try:
        author = author_of(request, given["author"])
        if fields["action"] == "end":
            note, problem = _end(parts, selected(fields, "silence"), author)
            return _show_with(request, parts, note=note, problem=problem)
        check_comment(given, "The reason is missing: a silence needs one, with a person to ask.")
        made = _make(parts, given, author)
    except ValueError as exc:
        return _show_with(request, parts, 400, problem=str(exc), given=given, chosen=fields.getlist("id"))
    return _add(request, parts, made, given, fields)


def _add(request: Request, parts: Parts, made: Silence, given: Mapping[str, str], fields: Fields) -> Response:
    """Show what a silence would hide and its probable mistakes, then add it, once."""
    doubts = list(parts.configuration.doubts(made, parts.clock()))
    is_doubtful = bool(doubts) and "force" not in fields
    if "confirmed" not in fields or is_doubtful:
        values = {"drafts": show_drafts(parts, [made]), "doubts": doubts, "given": {**given, "silence_id": made.id}}
        problem = "This is probably a mistake: confirm that you want it." if "confirmed" in fields else ""
        return _show_with(request, parts, 400 if problem else 200, problem=problem, **values)
    is_new = parts.actions.add_silence(made)[1]
    return _show_with(request, parts, note="The silence is added." if is_new else "This silence was added before.")


def _make(parts: Parts, given: Mapping[str, str], author: str) -> Silence:
    """Make the silence of a form. Raises: ValueError, with a sentence."""
    now = parts.clock()
    matchers = [line.strip() for line in given["matchers"].splitlines() if line.strip()]
    if len(matchers) > MAX_MATCHERS:
        raise ValueError(f"matchers: {counted(len(matchers), 'line')}: write at most {MAX_MATCHERS}.")
    if any(len(text) > MAX_MATCHER_CHARS for text in matchers):
        raise ValueError(f"matchers: a line is too long: shorten it to {MAX_MATCHER_CHARS:,} characters.")
    starts_at = _time("from", given["starts"], now) if given["starts"] else now
    ends_at = _time("until", given["ends"], starts_at)
    made = make_silence(matchers, author, given["comment"], starts_at, ends_at, made_at=now)
    chosen = given["silence_id"].lower()  # of the page that showed it: to send its form twice makes one silence
    return replace(made, id=chosen if UUID.fullmatch(chosen) else str(uuid.uuid4()))


def _time(name: str, text: str, base: datetime) -> datetime:
    """Read a time, or a duration after another one. Raises: ValueError, with a sentence."""
    try:
        at: datetime | None = parse_instant((base + parse_duration(text)).isoformat())
    except (ValueError, OverflowError):
        at = parse_instant(text)
    if at is None:
        shown = shorten(text, _SHOWN_CHARS) or "nothing"
        raise ValueError(f"{name}: {shown} is not a time: use 2h, or 2026-11-25T09:00Z (without a zone, it is UTC).")
    return at


def _end(parts: Parts, ids: Sequence[str], author: str) -> tuple[str, str]:
    """End silences now. Return how many are over, and what keeps others."""
    ended, missed = decide_each(ids, lambda silence_id: parts.actions.expire_silence(silence_id, author))
    note = f"{counted(len(ended), 'silence')} {is_or_are(len(ended))} over." if ended else ""
    return note, " ".join(f"{why}." for _, why in missed)


def _show_with(request: Request, parts: Parts, code: int = 200, **decision: Any) -> Response:
    """Show the page with the state of a decision: `note`, `problem`, `drafts`, `doubts`, the `given` values, `chosen` ids."""
    now = parts.clock()
    query = UrlQuery(request.query_params)
    after = query.after(datetime, str)
    with parts.database.read() as connection:
        current = silences.page(connection, "current", now, PAGE_SIZE, after).items
        expired = silences.page(connection, "expired", now, PAGE_SIZE, after)
        drafts = [made for made, _ in decision.get("drafts", ())]
        named = names.of_silences(connection, [*current, *expired.items, *drafts])
    blank = {"note": "", "problem": "", "drafts": (), "doubts": (), "given": _NOTHING_GIVEN, "chosen": ()}
    return render_search(
        request,
        "silences.html",
        now,
        query,
        expired,
        code,
        groups=[
            ("Active", [each for each in current if each.status(now) == "active"]),
            ("Future", [each for each in current if each.status(now) == "pending"]),
            ("Expired", expired.items),
        ],
        names=named,
        **{**blank, **decision},
    )
