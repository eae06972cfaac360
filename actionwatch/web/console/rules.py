"""The rules in use: state, mode, alerts over time, and the YAML that runs."""

from __future__ import annotations

from datetime import timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.clock import Spans
from actionwatch.base.model import LEVELS
from actionwatch.store import alerts, rule_versions, self_alerts
from actionwatch.web.console.charts import draw_bars, level_counts
from actionwatch.web.console.page import render
from actionwatch.web.parts import Parts
from actionwatch.web.reading import rules_in_use

SHOWN_DAYS = 30
MAX_COUNTED = 1000  # alerts of a rule, in the list
MAX_CHARTED = 20_000


def show_list(request: Request, parts: Parts) -> Response:
    """Show every rule in use, by name, and the files that are not."""
    now = parts.clock()
    with parts.database.read() as connection:
        counts = alerts.count_by_rule(connection, now - timedelta(days=SHOWN_DAYS), MAX_COUNTED)
        broken = [each for each in self_alerts.read_all(connection) if each.trouble == "rule_broken"]
    return render(
        request,
        "rules.html",
        now,
        rules=rules_in_use(parts),
        counts=counts,
        broken=broken,
        days=SHOWN_DAYS,
        most=MAX_COUNTED,
    )


def show(request: Request, parts: Parts) -> Response:
    """Show one rule, by its id or name."""
    now, name = parts.clock(), request.path_params["name"]
    rule = next((each for each in parts.rules() if name in (each.name.id, each.name.name)), None)
    if rule is None:
        raise HTTPException(404, f"no rule in use has the id or name {name}: it may have been removed")
    spans = Spans.until(now, timedelta(days=1), SHOWN_DAYS)
    with parts.database.read() as connection:
        version = rule_versions.read(connection, rule.name.id)
        counts = alerts.count_by_time(connection, spans, MAX_CHARTED, rule.name.name)
    return render(
        request,
        "rule.html",
        now,
        rule=rule,
        version=version,
        chart=draw_bars(spans, level_counts(counts), list(LEVELS)),
        alert_count=sum(sum(each.values()) for each in counts),
        days=SHOWN_DAYS,
    )
