"""The deliveries that are not finished: waiting, held until a summary, and dead letters, which people retry or drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.plurals import counted, is_or_are
from actionwatch.queries import PAGE_SIZE, names
from actionwatch.queries.deliveries import STATES, page, place_of
from actionwatch.queries.status import read_receivers
from actionwatch.store import alerts, outbox
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.web.console.forms import Fields, check_form, given_in, selected
from actionwatch.web.console.page import render_search
from actionwatch.web.filters import DeliveryQuery, read_form
from actionwatch.web.parts import Parts
from actionwatch.web.query import UrlQuery
from actionwatch.web.requests import author_of, check_receiver

_NOTHING_GIVEN = {"author": "", "which": "selected", "to": ""}


@dataclass(frozen=True, slots=True)
class _Decision:
    """The fields of a form: the dead letters with these `ids`, or all of a receiver. `to`: another receiver for them."""

    action: str
    author: str
    to: str | None
    ids: Sequence[str] | None
    receiver: str | None

    @property
    def wanted(self) -> DeliveryFilter:
        """The dead letters."""
        return DeliveryFilter(ids=self.ids, receiver=self.receiver)


def show(request: Request, parts: Parts) -> Response:
    """Show the deliveries in one state, by receiver."""
    return _show_with(request, parts)


def submit(request: Request, parts: Parts, fields: Fields) -> Response:
    """Carry out a decision about dead letters, or show what is wrong. The page asks before it does what cannot be undone."""
    check_form(request, fields)
    given = given_in(fields, "action", "author", "which", "to")
    kept: dict[str, Any] = {"given": given, "chosen": fields.getlist("id")}
    try:
        decision = _read(request, parts, fields, given)
    except ValueError as exc:
        return _show_with(request, parts, 400, problem=str(exc), **kept)
    if "confirmed" not in fields and (decision.action == "drop" or decision.ids is None):
        return _show_with(request, parts, question=_ask(parts, decision), **kept)
    note, problem = _carry_out(parts, decision)
    return _show_with(request, parts, 400 if problem else 200, note=note, problem=problem)


def _read(request: Request, parts: Parts, fields: Fields, given: Mapping[str, str]) -> _Decision:
    """Read a form. Raises: ValueError, with a sentence."""
    action, to, receiver = given["action"], given["to"] or None, None
    if action not in ("retry", "drop"):
        raise HTTPException(400, "action: use retry or drop")
    author = author_of(request, given["author"])
    if to is not None:
        check_receiver(parts, to)
    if given["which"] != "all":
        return _Decision(action, author, to, selected(fields, "dead letter"), None)
    receiver = read_form(UrlQuery(request.query_params), DeliveryQuery).receiver
    if receiver is None:
        raise ValueError("Choose a receiver first: all dead letters of one receiver can be decided about at once.")
    return _Decision(action, author, to, None, receiver)


def _ask(parts: Parts, decision: _Decision) -> str:
    """Return the question that is asked before a decision."""
    with parts.database.read() as connection:
        count = sum(outbox.count_dead_letters(connection, decision.wanted, excluding=()).values())
    which = f"{counted(count, 'dead letter')}{f' of {decision.receiver}' if decision.receiver else ''}"
    if decision.action == "drop":
        return f"Drop {which} for good? Nobody gets {'this message' if count == 1 else 'these messages'} then."
    return f"Send {which} to {decision.to}?" if decision.to else f"Send {which} again?"


def _carry_out(parts: Parts, decision: _Decision) -> tuple[str, str]:
    """Carry out a decision. Return what happened, and what did not and why."""
    if decision.action == "drop":
        count, stranding = parts.dead_letters.drop(decision.wanted, decision.author), ""
        done = f"{counted(count, 'dead letter')} {is_or_are(count)} dropped."
    else:
        found = parts.dead_letters.retry(decision.wanted, decision.author, decision.to)
        count, where = found.count, f"to {decision.to}" if decision.to else "again"
        stranding = f"{found.stranding}: choose another receiver, or drop them." if found.stranded else ""
        done = f"{counted(count, 'dead letter')} will be sent {where}."
    missed = len(decision.ids) - count if decision.ids is not None and not stranding else 0
    if missed:  # somebody else was faster, or the form was sent twice
        stay = (
            "was not changed: it is no longer a dead letter"
            if missed == 1
            else "were not changed: they are no longer dead letters"
        )
        done = f"{done if count else ''} {missed} {stay}.".lstrip()
    return done if count or missed or not stranding else "", stranding


def _show_with(request: Request, parts: Parts, code: int = 200, **decision: Any) -> Response:
    """Show the list with the state of a decision: `note`, `problem`, `question`, the `given` values, the `chosen` ids."""
    now = parts.clock()
    query = UrlQuery(request.query_params)
    asked = read_form(query, DeliveryQuery)
    state, receiver = asked.state, asked.receiver
    after = query.after(*place_of(state))
    with parts.database.read() as connection:
        queues = read_receivers(connection, parts.configuration.receivers)
        found = None if query.problems else page(connection, state, receiver, PAGE_SIZE, after)
        held_by = names.of_stops(connection, [(row.why, row.ref) for row in found.items] if found else ())
        titles = alerts.read_many(connection, {row.alert_id for row in found.items} if found else ())
    values: dict[str, Any] = {
        "alerts": titles,
        "held_by": held_by,
        "receivers": queues,
        "state": state,
        "states": list(STATES),
        "receiver": receiver,
    }
    blank = {"note": "", "problem": "", "question": "", "given": _NOTHING_GIVEN, "chosen": ()}
    return render_search(request, "deliveries.html", now, query, found, code, **values, **{**blank, **decision})
