"""Decisions about an alert on its page: acknowledge, resolve, silence. Each decision has an author."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from actionwatch.web.console.alerts import show_with
from actionwatch.web.console.forms import Fields, check_comment, check_form, given_in
from actionwatch.web.console.page import link
from actionwatch.web.console.silencing import read_span, show_drafts
from actionwatch.web.parts import Parts
from actionwatch.web.requests import author_of


def submit(request: Request, parts: Parts, fields: Fields) -> Response:
    """Carry out a decision, or show the page of the alert with what is wrong. A silence is shown before it is made."""
    check_form(request, fields)
    given = given_in(fields, "action", "author", "comment", "span")
    try:
        author = author_of(request, given["author"])
        check_comment(given, is_needed=given["action"] == "silence")
    except ValueError as exc:
        return show_with(request, parts, 400, problem=str(exc), given=given)
    alert_id, comment = request.path_params["alert_id"], given["comment"]
    match given["action"]:
        case "ack":
            is_new = parts.actions.acknowledge(alert_id, author, comment)[1]
        case "resolve":
            is_new = parts.actions.resolve(alert_id, author, comment)[1]
        case "silence":
            return _silence(request, parts, {**given, "author": author}, is_confirmed="confirmed" in fields)
        case _:
            raise HTTPException(400, "action: use ack, resolve or silence")
    return _done(alert_id, given["action"] if is_new else "known")


def _silence(request: Request, parts: Parts, given: Mapping[str, str], *, is_confirmed: bool) -> Response:
    """Show what a silence would hide, then make it."""
    alert_id = request.path_params["alert_id"]
    author = given["author"]
    try:
        span = read_span(parts, given["span"])
        if is_confirmed:
            decision = parts.actions.silence(alert_id, author, span, given["comment"])
            return _done(alert_id, "silence" if decision.is_new else "known")
        draft = parts.actions.draft_silence(alert_id, author, span, given["comment"])
    except ValueError as exc:
        return show_with(request, parts, 400, problem=str(exc), given=given)
    return show_with(request, parts, drafts=show_drafts(parts, [draft]), given=given)


def _done(alert_id: str, what: str) -> Response:
    return RedirectResponse(link(f"/alerts/{alert_id}", done=what), 303)
