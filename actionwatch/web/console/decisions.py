"""Decisions about alerts: about one on its page, or about several in their list. Each has an author; each alert is separate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from actionwatch.base.access import is_own_name, is_person
from actionwatch.base.model import Alert, Silence, Status
from actionwatch.base.plurals import counted, is_or_are
from actionwatch.text.escaping import one_line
from actionwatch.web.console.alert_list import show_list_with
from actionwatch.web.console.alerts import CLOSING, show_with
from actionwatch.web.console.forms import Fields, check_comment, check_form, given_in, selected
from actionwatch.web.console.page import link
from actionwatch.web.console.silencing import read_span, show_drafts
from actionwatch.web.parts import Parts
from actionwatch.web.requests import author_of, decide_each

_TYPED = ("action", "author", "comment", "span", "to")
_DONE = {
    "ack": ("alert", "acknowledged"),
    "resolve": ("alert", "resolved"),
    "reopen": ("alert", "open again"),
    "take": ("alert", "assigned"),
    "assign": ("alert", "assigned"),
    "note": ("note", "written"),
    "silence": ("silence", "active"),
}
_NEEDS_COMMENT = {
    "silence": "The reason is missing: a silence needs one, with a person to ask.",
    "note": "The note is empty: write it into the field of the comment.",
}


@dataclass(frozen=True, slots=True)
class _Missed:
    """An alert that was not changed, and why. It has no title if it no longer exists."""

    id: str
    title: str
    why: str


@dataclass(frozen=True, slots=True)
class _Result:
    """An alert that a decision changed, or why it did not."""

    title: str
    missed: _Missed | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """The fields of a form; `span` is the length of a silence, `to` whom an alert is assigned to."""

    parts: Parts
    action: str
    author: str
    comment: str
    span: timedelta
    to: str | None

    def draft(self, alert_id: str) -> Silence:
        """Return the silence that this would make. Raises: ValueError, ActionwatchError."""
        return self.parts.actions.draft_silence(alert_id, self.author, self.span, self.comment)

    def decide(self, alert_id: str) -> _Result:
        """Carry it out. Raises: ValueError, ActionwatchError."""
        actions = self.parts.actions
        if self.action == "silence":
            decision = actions.silence(alert_id, self.author, self.span, self.comment)
            missed = None if decision.is_new else _Missed(alert_id, "", f"not needed: {decision.text}")
            return _Result("", missed)
        acts: dict[str, Callable[[], tuple[Alert, bool]]] = {
            "ack": lambda: actions.acknowledge(alert_id, self.author, self.comment),
            "resolve": lambda: actions.resolve(alert_id, self.author, self.comment),
            "reopen": lambda: actions.reopen(alert_id, self.author, self.comment),
            "take": lambda: actions.assign(alert_id, self.author, self.author, self.comment),
            "assign": lambda: actions.assign(alert_id, self.author, self.to, self.comment),
            "note": lambda: actions.note(alert_id, self.author, self.comment),
        }
        alert, is_new = acts[self.action]()
        missed = None if is_new else _Missed(alert.id, alert.title, _before(alert, self.action))
        return _Result(alert.title, missed)


def _read(request: Request, parts: Parts, given: Mapping[str, str]) -> _Asked:
    """Read what was typed. Raises: HTTPException; ValueError, with a sentence."""
    action, to = given["action"], given["to"] or None
    if action not in _DONE:
        raise HTTPException(400, f"action: use {', '.join(_DONE)}")
    author = author_of(request, given["author"])
    if to is not None and action != "assign":
        raise ValueError("You wrote a name: press Assign, or empty the field.")
    check_comment(given, _NEEDS_COMMENT.get(action))
    if action == "assign" and to is not None and (not is_person(to) or is_own_name(to)):
        raise ValueError(f"{one_line(to)} is not the name of a person.")
    span = read_span(parts, given["span"]) if action == "silence" else timedelta(0)
    return _Asked(parts, action, author, given["comment"], span, to)


def submit_one(request: Request, parts: Parts, fields: Fields) -> Response:
    """Decide about one alert, or show its page with what is wrong. A silence is shown before it is made."""
    check_form(request, fields)
    given, alert_id = given_in(fields, *_TYPED), request.path_params["alert_id"]
    try:
        asked = _read(request, parts, given)
        if asked.action == "silence" and "confirmed" not in fields:
            drafts = show_drafts(parts, [asked.draft(alert_id)])
            return show_with(request, parts, drafts=drafts, given={**given, "author": asked.author})
        missed = asked.decide(alert_id).missed
    except ValueError as exc:
        return show_with(request, parts, 400, problem=str(exc), given=given)
    return RedirectResponse(link(f"/alerts/{alert_id}", done="known" if missed else asked.action), 303)


def submit_several(request: Request, parts: Parts, fields: Fields) -> Response:
    """Decide about the selected alerts, or show the list with what is wrong. Silences are shown before they are made."""
    check_form(request, fields)
    given = given_in(fields, *_TYPED)
    try:
        asked, ids = _read(request, parts, given), selected(fields, "alert")
        if asked.action == "silence":
            return _silence_several(request, asked, ids, given, is_draft="confirmed" not in fields)
        done, gone = decide_each(ids, asked.decide)
    except ValueError as exc:
        return show_list_with(request, parts, 400, problem=str(exc), given=given, chosen=fields.getlist("id"))
    return _show_done(request, asked, [*done], [_Missed(alert_id, "", why) for alert_id, why in gone])


def _silence_several(
    request: Request, asked: _Asked, ids: Sequence[str], given: Mapping[str, str], *, is_draft: bool
) -> Response:
    found, gone = decide_each(ids, asked.draft)
    drafts, missed = _one_of_each_group(found), [_Missed(alert_id, "", why) for alert_id, why in gone]
    if is_draft:
        shown, typed = show_drafts(asked.parts, [draft for _, draft in drafts]), {**given, "author": asked.author}
        return show_list_with(request, asked.parts, drafts=shown, missed=missed, given=typed, chosen=ids)
    done, gone = decide_each([alert_id for alert_id, _ in drafts], asked.decide)
    return _show_done(request, asked, done, [*missed, *(_Missed(alert_id, "", why) for alert_id, why in gone)])


def _show_done(
    request: Request, asked: _Asked, done: Sequence[tuple[str, _Result]], gone: Sequence[_Missed]
) -> Response:
    """Show the list with the names of the alerts that were changed, and the button that reopens them."""
    changed = [(alert_id, result.title) for alert_id, result in done if result.missed is None]
    missed = [*gone, *(result.missed for _, result in done if result.missed is not None)]
    noun, word = _DONE[asked.action]
    note = f"{counted(len(changed), noun)} {is_or_are(len(changed))} {word}." if changed else ""
    reopenable = [alert_id for alert_id, _ in changed] if asked.action in CLOSING else []
    titles = [title for _, title in changed if title]
    given = {"author": asked.author, "comment": "", "span": "", "to": ""}
    shown: dict[str, Any] = {"note": note, "titles": titles, "reopenable": reopenable}
    return show_list_with(request, asked.parts, **shown, missed=missed, given=given)


def _one_of_each_group(drafts: Sequence[tuple[str, Silence]]) -> list[tuple[str, Silence]]:
    """Return the first silence for each rule and group, with the id of its alert."""
    of_group = {frozenset(draft.matchers): (alert_id, draft) for alert_id, draft in reversed(drafts)}
    return list(reversed(of_group.values()))


def _before(alert: Alert, action: str) -> str:
    """Say what has already been decided about an alert."""
    if action in ("take", "assign"):
        return f"already assigned to {alert.assigned_to or 'nobody'}"
    if action == "note":
        return "it already has this note"
    states = {
        Status.OPEN: "it is open",
        Status.ACKED: f"already acknowledged by {alert.acked_by}",
        Status.RESOLVED: f"already resolved by {alert.resolved_by}",
    }
    return states[alert.status]
