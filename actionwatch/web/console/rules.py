"""The rules in use: state, mode, alerts over time, tactics, history, and the YAML that runs."""

from __future__ import annotations

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.clock import Spans
from actionwatch.base.model import LEVELS
from actionwatch.queries import rules
from actionwatch.rules.tactics import TACTICS, tactics_of
from actionwatch.store import alerts, rule_history, rule_versions, self_alerts
from actionwatch.web.console.charts import draw_bars, level_counts
from actionwatch.web.console.page import render
from actionwatch.web.filters import RULE_ORDERS, RuleQuery, read_form
from actionwatch.web.parts import Parts
from actionwatch.web.query import UrlQuery

_SHOWN_DAYS = 30
_MAX_COUNTED = 1000  # alerts of a rule, in the list
_MAX_CHARTED = 20_000
_REMOVED_DAYS = 7


def show_list(request: Request, parts: Parts) -> Response:
    """Show every rule in use, by name, and the files that are not."""
    now = parts.clock()
    with parts.database.read() as connection:
        counts = alerts.count_by_rule(connection, now - timedelta(days=_SHOWN_DAYS), _MAX_COUNTED)
        broken = [each for each in self_alerts.read_all(connection) if each.trouble == "rule_broken"]
        removed = rules.removed_since(connection, now - timedelta(days=_REMOVED_DAYS))
    query = UrlQuery(request.query_params)
    asked = read_form(query, RuleQuery)
    in_use = rules.in_use(parts.configuration.rules())
    order = rules.RuleOrder(asked.sort)
    return render(
        request,
        "rules.html",
        now,
        query=query,
        wanted=asked,
        levels=list(reversed(LEVELS)),
        tactics={name: sum(name in tactics_of(rule) for rule in in_use) for name in TACTICS},
        orders=RULE_ORDERS,
        count_in_use=len(in_use),
        rules=rules.choose(in_use, asked.filter(), order, counts),
        removed=removed,
        removed_days=_REMOVED_DAYS,
        counts=counts,
        broken=broken,
        days=_SHOWN_DAYS,
        most=_MAX_COUNTED,
    )


def show(request: Request, parts: Parts) -> Response:
    """Show one rule, by its id or name."""
    now, rule = parts.clock(), rules.find(parts.configuration.rules(), request.path_params["name"])
    spans = Spans.until(now, timedelta(days=1), _SHOWN_DAYS)
    with parts.database.read() as connection:
        version = rule_versions.read(connection, rule.name.id)
        counts = alerts.count_by_time(connection, spans, _MAX_CHARTED, rule.name.name)
        history = rule_history.read_last(connection, rule.name.id, rules.MAX_CHANGES)
    return render(
        request,
        "rule.html",
        now,
        rule=rule,
        stored=version,
        original=version and parts.configuration.text_of(version.file, version.line, version.document),
        history=history,
        chart=draw_bars(spans, level_counts(counts), list(LEVELS)),
        alert_count=sum(sum(each.values()) for each in counts),
        days=_SHOWN_DAYS,
    )
