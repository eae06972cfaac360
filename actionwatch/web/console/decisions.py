"""Decisions about alerts: about one on its page, or about several in their list. Each has an author; each alert is separate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from actionwatch.base.errors import ActionwatchError, StoreError
from actionwatch.base.model import Alert, Silence
from actionwatch.base.plurals import counted, is_or_are
from actionwatch.web.console.alerts import show_list_with, show_with
from actionwatch.web.console.forms import Fields, check_comment, check_form, given_in, selected
from actionwatch.web.console.page import link
from actionwatch.web.console.silencing import read_span, show_drafts
from actionwatch.web.parts import Parts
from actionwatch.web.requests import author_of

_TYPED = ("action", "author", "comment", "span")
_DONE = {"ack": ("alert", "acknowledged"), "resolve": ("alert", "resolved"), "silence": ("silence", "active")}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Missed:
    """An alert that was not changed, and why. It has no title if it no longer exists."""

    id: str
    title: str
    why: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """The fields of a form; `span` is the length of a silence."""

    parts: Parts
    action: str
    author: str
    comment: str
    span: timedelta

    def draft(self, alert_id: str) -> Silence:
        """Return the silence that this would make. Raises: ValueError, ActionwatchError."""
        return self.parts.actions.draft_silence(alert_id, self.author, self.span, self.comment)

    def decide(self, alert_id: str) -> _Missed | None:
        """Carry it out. Return why nothing changed, if somebody has already decided. Raises: ValueError, ActionwatchError."""
        actions = self.parts.actions
        if self.action == "silence":
            decision = actions.silence(alert_id, self.author, self.span, self.comment)
            return None if decision.is_new else _Missed(alert_id, "", f"not needed: {decision.text}")
        act = actions.acknowledge if self.action == "ack" else actions.resolve
        alert, is_new = act(alert_id, self.author, self.comment)
        return None if is_new else _Missed(alert.id, alert.title, _before(alert))


def _read(request: Request, parts: Parts, given: Mapping[str, str]) -> _Asked:
    """Read what was typed. Raises: HTTPException; ValueError, with a sentence."""
    action = given["action"]
    if action not in _DONE:
        raise HTTPException(400, "action: use ack, resolve or silence")
    author = author_of(request, given["author"])
    check_comment(given, is_needed=action == "silence")
    span = read_span(parts, given["span"]) if action == "silence" else timedelta(0)
    return _Asked(parts, action, author, given["comment"], span)


def submit_one(request: Request, parts: Parts, fields: Fields) -> Response:
    """Decide about one alert, or show its page with what is wrong. A silence is shown before it is made."""
    check_form(request, fields)
    given, alert_id = given_in(fields, *_TYPED), request.path_params["alert_id"]
    drafts, missed = list[Silence](), None
    try:
        asked = _read(request, parts, given)
        if asked.action == "silence" and "confirmed" not in fields:
            drafts = [asked.draft(alert_id)]
        else:
            missed = asked.decide(alert_id)
    except ValueError as exc:
        return show_with(request, parts, 400, problem=str(exc), given=given)
    if drafts:
        return show_with(request, parts, drafts=show_drafts(parts, drafts), given={**given, "author": asked.author})
    return RedirectResponse(link(f"/alerts/{alert_id}", done="known" if missed else asked.action), 303)


def submit_several(request: Request, parts: Parts, fields: Fields) -> Response:
    """Decide about the selected alerts, or show the list with what is wrong. Silences are shown before they are made."""
    check_form(request, fields)
    given = given_in(fields, *_TYPED)
    drafts, missed, done = list[tuple[str, Silence]](), list[_Missed](), list[tuple[str, _Missed | None]]()
    try:
        asked, ids = _read(request, parts, given), selected(fields, "alert")
        is_draft = asked.action == "silence" and "confirmed" not in fields
        chosen = ids
        if asked.action == "silence":
            drafts, missed = _each(ids, asked.draft)
            drafts = _one_of_each_group(drafts)
            chosen = [alert_id for alert_id, _ in drafts]
        if not is_draft:
            done, gone = _each(chosen, asked.decide)
            missed = [*missed, *gone, *(old for _, old in done if old)]
    except ValueError as exc:
        return show_list_with(request, parts, 400, problem=str(exc), given=given, chosen=fields.getlist("id"))
    if is_draft:
        shown, given = show_drafts(parts, [draft for _, draft in drafts]), {**given, "author": asked.author}
        return show_list_with(request, parts, drafts=shown, missed=missed, given=given, chosen=ids)
    count, (noun, word) = sum(old is None for _, old in done), _DONE[asked.action]
    note = f"{counted(count, noun)} {is_or_are(count)} {word}." if count else ""
    return show_list_with(request, parts, note=note, missed=missed)


def _one_of_each_group(drafts: Sequence[tuple[str, Silence]]) -> list[tuple[str, Silence]]:
    """Return the first silence for each rule and group, with the id of its alert."""
    of_group = {frozenset(draft.matchers): (alert_id, draft) for alert_id, draft in reversed(drafts)}
    return list(reversed(of_group.values()))


def _each(ids: Iterable[str], act: Callable[[str], _T]) -> tuple[list[tuple[str, _T]], list[_Missed]]:
    """Do something for each alert. Return the results, and the alerts that no longer exist."""
    done: list[tuple[str, _T]] = []
    missed = []
    for alert_id in ids:
        try:
            done.append((alert_id, act(alert_id)))
        except StoreError:
            raise
        except ActionwatchError as exc:
            missed.append(_Missed(alert_id, "", str(exc)))
    return done, missed


def _before(alert: Alert) -> str:
    """Say who has already decided about an alert."""
    return (
        f"already resolved by {alert.resolved_by}" if alert.resolved_at else f"already acknowledged by {alert.acked_by}"
    )
