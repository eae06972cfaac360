"""What people decide about an alert on its page: acknowledge, resolve, silence. Each decision has an author."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from actionwatch.base.access import MAX_AUTHOR_CHARS
from actionwatch.base.durations import parse_duration, spell_duration
from actionwatch.base.plurals import counted
from actionwatch.text.escaping import one_line
from actionwatch.web.access import Visitor, visitor_of
from actionwatch.web.console.alerts import SILENCE_SPANS, show_with
from actionwatch.web.console.form_tokens import FIELD
from actionwatch.web.console.page import link
from actionwatch.web.console.parts import Parts

MAX_COMMENT_CHARS = 1000


def submit(request: Request, parts: Parts, fields: Mapping[str, str]) -> Response:
    """Carry out a decision, or show the page of the alert with what is wrong. A silence is shown before it is made."""
    visitor = visitor_of(request)
    if not visitor.may_decide:
        raise HTTPException(403, _refuse(visitor))
    if not request.app.state.form_tokens.is_valid(request, fields.get(FIELD, "")):
        raise HTTPException(403, "this form is older than the session or the service: open the alert again")
    given = {name: fields.get(name, "").strip() for name in ("action", "author", "comment", "span")}
    if visitor.name is not None:
        given["author"] = visitor.name  # whatever the form says
    if problem := _problem(given) or _problem_of_name(request, given["author"]):
        return show_with(request, parts, 400, problem=problem, given=given)
    alert_id = request.path_params["alert_id"]
    author, comment = one_line(given["author"]), given["comment"]
    match given["action"]:
        case "ack":
            is_new = parts.actions.acknowledge(alert_id, author, comment)[1]
        case "resolve":
            is_new = parts.actions.resolve(alert_id, author, comment)[1]
        case "silence":
            return _silence(request, parts, given, is_confirmed="confirmed" in fields)
        case _:
            raise HTTPException(400, "action: use ack, resolve or silence")
    return _done(alert_id, given["action"] if is_new else "known")


def _refuse(visitor: Visitor) -> str:
    """Return why a visitor may not decide, and what helps."""
    if visitor.name is not None:
        return f"{visitor.name} has the role {visitor.role}: it sees everything and changes nothing. Ask an operator to decide."
    return (
        "without a token the console only shows: use the terminal, or sign in with a token "
        "('actionwatch tokens create NAME --role operator' makes one)"
    )


def _problem_of_name(request: Request, name: str) -> str:
    """Return what is wrong with a name that was typed: it must not be that of somebody whom a token proves."""
    if visitor_of(request).name is None and request.state.access.is_name_taken(name):
        return f"{name} has a token: sign in with it to decide under this name, or write another name."
    return ""


def _problem(given: Mapping[str, str]) -> str:
    """Return what is wrong with the values of a form; empty if nothing is."""
    if not given["author"]:
        return "Your name is missing: write it, because the history keeps who decided."
    for name, most in (("author", MAX_AUTHOR_CHARS), ("comment", MAX_COMMENT_CHARS)):
        if len(given[name]) > most:
            return f"{name}: {counted(len(given[name]), 'character')}: shorten it to {most:,}."
    if given["action"] == "silence" and not given["comment"]:
        return "The reason is missing: a silence needs one, with a person to ask."
    return ""


def _silence(request: Request, parts: Parts, given: Mapping[str, str], *, is_confirmed: bool) -> Response:
    """Show what a silence would hide, then make it."""
    alert_id = request.path_params["alert_id"]
    author, span = one_line(given["author"]), _span(given["span"])
    if span is None or span > parts.max_silence:
        most = spell_duration(parts.max_silence)
        return show_with(request, parts, 400, problem=f"A silence lasts at most {most} (max_silence).", given=given)
    try:
        if is_confirmed:
            decision = parts.actions.silence(alert_id, author, span, given["comment"])
            return _done(alert_id, "silence" if decision.is_new else "known")
        draft = parts.actions.draft_silence(alert_id, author, span, given["comment"])
    except ValueError as exc:
        return show_with(request, parts, 400, problem=str(exc), given=given)
    with parts.database.read() as connection:
        hidden = parts.preview(connection, draft, parts.clock())
    preview = {"matchers": " ".join(draft.matchers), "ends_at": draft.ends_at, "hidden": hidden}
    return show_with(request, parts, preview=preview, given=given)


def _span(text: str) -> timedelta | None:
    return parse_duration(text) if text in SILENCE_SPANS else None


def _done(alert_id: str, what: str) -> Response:
    return RedirectResponse(link(f"/alerts/{alert_id}", done=what), 303)
