"""What people decide about an alert on its page: acknowledge, resolve, silence. Each decision has an author."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from actionwatch.base.access import MAX_COMMENT_CHARS
from actionwatch.base.durations import parse_duration, spell_duration
from actionwatch.base.plurals import counted
from actionwatch.web.console.alerts import SILENCE_SPANS, show_with
from actionwatch.web.console.form_tokens import FIELD
from actionwatch.web.console.page import link
from actionwatch.web.parts import Parts
from actionwatch.web.requests import author_of, check_may_decide


def submit(request: Request, parts: Parts, fields: Mapping[str, str]) -> Response:
    """Carry out a decision, or show the page of the alert with what is wrong. A silence is shown before it is made."""
    check_may_decide(request)
    if not request.app.state.form_tokens.is_valid(request, fields.get(FIELD, "")):
        raise HTTPException(403, "this form is older than the session or the service: open the alert again")
    given = {name: fields.get(name, "").strip() for name in ("action", "author", "comment", "span")}
    try:
        author = author_of(request, given["author"])
        _check_comment(given)
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


def _check_comment(given: Mapping[str, str]) -> None:
    """Check the comment of a form. Raises: ValueError, with a sentence about it."""
    count = len(given["comment"])
    if count > MAX_COMMENT_CHARS:
        raise ValueError(f"comment: {counted(count, 'character')}: shorten it to {MAX_COMMENT_CHARS:,}.")
    if given["action"] == "silence" and not count:
        raise ValueError("The reason is missing: a silence needs one, with a person to ask.")


def _silence(request: Request, parts: Parts, given: Mapping[str, str], *, is_confirmed: bool) -> Response:
    """Show what a silence would hide, then make it."""
    alert_id = request.path_params["alert_id"]
    author, span = given["author"], _span(given["span"])
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
