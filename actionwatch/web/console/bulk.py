"""Decisions about several alerts of the list at once. Each alert is handled separately, as on its page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.errors import ActionwatchError, StoreError
from actionwatch.base.model import Alert
from actionwatch.base.plurals import counted, is_or_are
from actionwatch.web.console.alerts import show_list_with
from actionwatch.web.console.forms import Fields, check_comment, check_form, given_in, selected
from actionwatch.web.console.silencing import read_span, show_drafts
from actionwatch.web.parts import Parts
from actionwatch.web.requests import author_of

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Missed:
    """An alert that was not changed, and why. It has no title if it no longer exists."""

    id: str
    title: str
    why: str


def submit(request: Request, parts: Parts, fields: Fields) -> Response:
    """Carry out a decision about the selected alerts, or show the list with what is wrong."""
    check_form(request, fields)
    given = given_in(fields, "action", "author", "comment", "span")
    action, comment = given["action"], given["comment"]
    if action not in ("ack", "resolve", "silence"):
        raise HTTPException(400, "action: use ack, resolve or silence")
    try:
        author, ids = author_of(request, given["author"]), selected(fields, "alert")
        check_comment(given, is_needed=action == "silence")
        if action == "silence":
            span = read_span(parts, given["span"])
            return _silence(request, parts, ids, {**given, "author": author}, span, is_confirmed="confirmed" in fields)
    except ValueError as exc:
        return show_list_with(request, parts, 400, problem=str(exc), given=given, chosen=fields.getlist("id"))
    decide = parts.actions.acknowledge if action == "ack" else parts.actions.resolve
    done, missed = _each(ids, lambda alert_id: decide(alert_id, author, comment))
    old = [alert for _, (alert, is_new) in done if not is_new]
    missed += [Missed(alert.id, alert.title, _before(alert)) for alert in old]
    note = _spell(len(done) - len(old), "alert", "acknowledged" if action == "ack" else "resolved")
    return show_list_with(request, parts, note=note, missed=missed)


def _silence(
    request: Request,
    parts: Parts,
    ids: Sequence[str],
    given: Mapping[str, str],
    span: timedelta,
    *,
    is_confirmed: bool,
) -> Response:
    """Show what the silences would hide, then make them: one for each rule and group. Raises: ValueError."""
    author, comment = given["author"], given["comment"]
    drafts, missed = _each(ids, lambda alert_id: parts.actions.draft_silence(alert_id, author, span, comment))
    of_group = {frozenset(draft.matchers): (alert_id, draft) for alert_id, draft in reversed(drafts)}
    chosen = [alert_id for alert_id, _ in reversed(of_group.values())]
    if not is_confirmed:
        shown = show_drafts(parts, [draft for _, draft in reversed(of_group.values())])
        return show_list_with(request, parts, drafts=shown, missed=missed, given=given, chosen=ids)
    done, gone = _each(chosen, lambda alert_id: parts.actions.silence(alert_id, author, span, comment))
    old = [Missed(alert_id, "", f"not needed: {decision.text}") for alert_id, decision in done if not decision.is_new]
    note = _spell(len(done) - len(old), "silence", "active")
    return show_list_with(request, parts, note=note, missed=[*missed, *gone, *old])


def _each(ids: Iterable[str], act: Callable[[str], _T]) -> tuple[list[tuple[str, _T]], list[Missed]]:
    """Do something for each alert. Return the results, and the alerts that no longer exist."""
    done: list[tuple[str, _T]] = []
    missed = []
    for alert_id in ids:
        try:
            done.append((alert_id, act(alert_id)))
        except StoreError:
            raise
        except ActionwatchError as exc:
            missed.append(Missed(alert_id, "", str(exc)))
    return done, missed


def _before(alert: Alert) -> str:
    """Say who has already decided about an alert."""
    return (
        f"already resolved by {alert.resolved_by}" if alert.resolved_at else f"already acknowledged by {alert.acked_by}"
    )


def _spell(count: int, noun: str, word: str) -> str:
    return f"{counted(count, noun)} {is_or_are(count)} {word}." if count else ""
