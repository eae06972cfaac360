"""One alert with its records, why its rule matched, and each attempt to deliver it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.model import Alert, Record, Status
from actionwatch.queries import alerts, names
from actionwatch.rules.explain import Explanation, explain, feeders_of
from actionwatch.text.escaping import shorten, steps
from actionwatch.text.payloads import explain_command
from actionwatch.web.console.alert_list import NOTHING_GIVEN
from actionwatch.web.console.page import render
from actionwatch.web.console.silencing import SPANS
from actionwatch.web.parts import Parts

_TITLE_CHARS = 200  # of an alert, in a note about it
_NOTES = {
    "ack": "Acknowledged: {}",
    "resolve": "Resolved, the next match opens a new alert: {}",
    "reopen": "Open again, its receivers and its escalation follow as for a new alert: {}",
    "take": "Assigned to you: {}",
    "assign": "Assigned: {}",
    "note": "The note is written: {}",
    "silence": "The silence is active, and its summary will report what it hid: {}",
    "known": "Nothing changed, because somebody has already decided this. A comment is kept in the history: {}",
}
CLOSING = ("ack", "resolve")  # the note about one offers to reopen the alert


def show(request: Request, parts: Parts) -> Response:
    """Show one alert. A unique prefix of its id is enough."""
    return show_with(request, parts, done=request.query_params.get("done", ""))


def show_with(request: Request, parts: Parts, code: int = 200, done: str = "", **decision: Any) -> Response:
    """Show one alert with the state of a decision: what was `done`, `problem`, `drafts`, the `given` values."""
    with parts.database.read() as connection:
        found = alerts.read_details(connection, request.path_params["alert_id"])
        people = alerts.read_people(connection)
        refs = [*((row.why, row.ref) for row in found.deliveries), *((stop.why, stop.ref) for stop in found.stops)]
        held_by = names.of_stops(connection, refs)
    return render(
        request,
        "alert.html",
        parts.clock(),
        code,
        found=found,
        alert=found.alert,
        explanation=_explain(parts, found.alert, found.records[-1]) if found.records else None,
        runbook=steps(found.alert.runbook or ""),
        command=explain_command(found.alert.id),
        spans=SPANS,
        people=people,
        names=names.of_records(found.records),
        held_by=held_by,
        escalation=found.escalation,
        note=_NOTES[done].format(shorten(found.alert.title, _TITLE_CHARS)) if done in _NOTES else "",
        is_reopenable=done in CLOSING and found.alert.status is not Status.OPEN,
        **{"problem": "", "drafts": (), "given": NOTHING_GIVEN, **decision},
    )


def _explain(parts: Parts, alert: Alert, record: Record) -> Explanation | None:
    """Explain the rule of an alert on its newest record. The counts of a correlation would need the records before it."""
    rules = parts.configuration.rules()
    rule = next((each for each in rules if each.name.id == alert.rule.id), None)
    return (
        explain(rule, record, parts.configuration.lists(), feeders=feeders_of(rule, rules))
        if rule is not None
        else None
    )
