"""The alerts: a list with filters, and one alert with its records, why its rule matched, and each attempt to deliver it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.model import LEVELS, Alert, Record
from actionwatch.rules.explain import Explanation, explain, feeders_of
from actionwatch.store import alert_history, alerts, outbox, records
from actionwatch.text.escaping import steps
from actionwatch.text.payloads import RECORDS_SHOWN, explain_command
from actionwatch.web.console.page import render, render_search
from actionwatch.web.console.silencing import SPANS
from actionwatch.web.parts import Parts
from actionwatch.web.query import UrlQuery
from actionwatch.web.reading import SEARCHED_ALERTS, STATUSES, alert_filter, only_alert

PER_PAGE = 50
_NOTHING_GIVEN = {"author": "", "comment": "", "span": SPANS[0]}
_NOTES = {
    "ack": "The alert is acknowledged.",
    "resolve": "The alert is resolved: the next match opens a new one.",
    "silence": "The silence is active. Its summary will report what it hid.",
    "known": "Nothing changed, because somebody has already decided this. A comment is kept in the history.",
}


def show_list(request: Request, parts: Parts) -> Response:
    """Show the alerts that match the filters of the query, newest first."""
    return show_list_with(request, parts)


def show_list_with(request: Request, parts: Parts, code: int = 200, **decision: Any) -> Response:
    """Show the list with the state of a decision about several: `note`, `problem`, `missed`, `drafts`, `given`, `chosen`."""
    now = parts.clock()
    query = UrlQuery(request.query_params, now)
    wanted = alert_filter(query)
    after = query.place("after", datetime, str)
    found: list[Alert] = []
    older = None
    if not query.problems:
        with parts.database.read() as connection:
            found, older = alerts.search(connection, wanted, PER_PAGE, after, SEARCHED_ALERTS)
    return render_search(
        request,
        "alerts.html",
        now,
        query,
        after,
        older,
        found=found,
        wanted=wanted,
        levels=list(reversed(LEVELS)),
        statuses=list(STATUSES),
        rules=sorted(rule.name.name for rule in parts.rules()),
        spans=SPANS,
        code=code,
        **{"note": "", "problem": "", "missed": (), "drafts": (), "given": _NOTHING_GIVEN, "chosen": (), **decision},
    )


def show(request: Request, parts: Parts) -> Response:
    """Show one alert. A unique prefix of its id is enough."""
    return show_with(request, parts, note=_NOTES.get(request.query_params.get("done", ""), ""))


def show_with(request: Request, parts: Parts, code: int = 200, **decision: Any) -> Response:
    """Show one alert with the state of a decision about it: `note`, `problem`, `drafts`, the `given` values of the form."""
    beginning = request.path_params["alert_id"]
    with parts.database.read() as connection:
        alert = only_alert(connection, beginning)
        held = records.read_of_alerts(connection, [alert.id], RECORDS_SHOWN)[alert.id]
        values: dict[str, Any] = {
            "records": list(reversed(held)),
            "deliveries": outbox.read_of_alert(connection, alert.id),
            "history": alert_history.read(connection, alert.id),
            "stops": outbox.without_digests(outbox.read_stopped(connection, [alert.id])[alert.id]),
        }
    return render(
        request,
        "alert.html",
        parts.clock(),
        code,
        alert=alert,
        explanation=_explain(parts, alert, held[-1]) if held else None,
        runbook=steps(alert.runbook or ""),
        command=explain_command(alert.id),
        spans=SPANS,
        **{"note": "", "problem": "", "drafts": (), "given": _NOTHING_GIVEN, **values, **decision},
    )


def _explain(parts: Parts, alert: Alert, record: Record) -> Explanation | None:
    """Explain the rule of an alert on its newest record. The counts of a correlation would need the records before it."""
    rules = parts.rules()
    rule = next((each for each in rules if each.name.id == alert.rule.id), None)
    return explain(rule, record, parts.lists(), feeders=feeders_of(rule, rules)) if rule is not None else None
