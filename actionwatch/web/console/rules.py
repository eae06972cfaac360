"""The rules in use: state, mode, alerts over time, when they could not fire, what they cover, and the YAML that runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.clock import Spans
from actionwatch.base.model import LEVELS
from actionwatch.queries import rules
from actionwatch.rules.blindness import Blindness
from actionwatch.rules.coverage import TACTICS, by_tactic, cover_techniques
from actionwatch.rules.model import Rule
from actionwatch.store import alerts, rule_versions, self_alerts
from actionwatch.web.console.charts import draw_bars, level_counts
from actionwatch.web.console.page import render
from actionwatch.web.filters import RULE_ORDERS, RuleQuery, read_form
from actionwatch.web.parts import Parts
from actionwatch.web.query import UrlQuery

_SHOWN_DAYS = 30
_MAX_COUNTED = 1000  # alerts of a rule, in the list
_MAX_CHARTED = 20_000
_BLIND_DAYS = 7
MAX_SPANS = 50  # of a rule, or of all: `rules coverage --blind` lists all


@dataclass(frozen=True, slots=True)
class _Cell:
    """A technique of ATT&CK in the matrix: how many rules watch it, and how many of these could not fire for some time."""

    technique: str
    name: str
    rules: tuple[str, ...]
    blind: tuple[str, ...]

    @property
    def state(self) -> str:
        """Whether no rule watches it, all or some that do were blind, or none was."""
        if not self.rules:
            return "none"
        if not self.blind:
            return "watched"
        return "blinded" if len(self.blind) == len(self.rules) else "partly"


def show_list(request: Request, parts: Parts) -> Response:
    """Show every rule in use, by name, the files that are not, and what they cover."""
    now = parts.clock()
    with parts.database.read() as connection:
        counts = alerts.count_by_rule(connection, now - timedelta(days=_SHOWN_DAYS), _MAX_COUNTED)
        broken = [each for each in self_alerts.read_all(connection) if each.trouble == "rule_broken"]
        blindness = parts.service.blindness(connection, now - timedelta(days=_BLIND_DAYS), now)
        removed = rules.removed_since(connection, now - timedelta(days=_BLIND_DAYS))
    query = UrlQuery(request.query_params)
    asked = read_form(query, RuleQuery)
    in_use = rules.in_use(parts.configuration.rules())
    own = {each.id: each for each in blindness.rules}
    blind = {each.id for each in blindness.rules if each.own_time}
    order = rules.RuleOrder(asked.sort)
    return render(
        request,
        "rules.html",
        now,
        query=query,
        wanted=asked,
        levels=list(reversed(LEVELS)),
        tactics=TACTICS,
        orders=RULE_ORDERS,
        count_in_use=len(in_use),
        rules=rules.choose(in_use, asked.filter(), order, blind, counts),
        removed=removed,
        blindness=blindness,
        own=own,
        gone=[each for each in blindness.rules if each.id not in {rule.name.id for rule in in_use}],
        blind_days=_BLIND_DAYS,
        most_spans=MAX_SPANS,
        matrix=_matrix(parts.configuration.rules(), blindness),
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
        blindness = parts.service.blindness(connection, now - timedelta(days=_BLIND_DAYS), now)
    return render(
        request,
        "rule.html",
        now,
        rule=rule,
        stored=version,
        original=version and parts.configuration.text_of(version.file, version.line, version.document),
        blindness=blindness,
        own=next((each for each in blindness.rules if each.id == rule.name.id), None),
        blind_days=_BLIND_DAYS,
        most_spans=MAX_SPANS,
        chart=draw_bars(spans, level_counts(counts), list(LEVELS)),
        alert_count=sum(sum(each.values()) for each in counts),
        days=_SHOWN_DAYS,
    )


def _matrix(evaluated: Sequence[Rule], blindness: Blindness) -> dict[str, list[_Cell]]:
    """Return the cells of each tactic. Only what blinds single rules is marked: the page shows separately what blinds all."""
    blind = {each.name for each in blindness.rules if each.own_time}
    return {
        tactic: [
            _Cell(row.technique, row.name, row.rules, tuple(name for name in row.rules if name in blind))
            for row in rows
        ]
        for tactic, rows in by_tactic(cover_techniques(evaluated)).items()
    }
