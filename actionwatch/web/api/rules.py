"""The rules in use, and one of them with the YAML that runs and its history."""

from __future__ import annotations

from actionwatch.queries import rules
from actionwatch.web.api.documents import RulePage
from actionwatch.web.api.routing import ONE, WHOLE, AtOnce, Id, open_router

router = open_router()


@router.get("/rules", **WHOLE)
def list_rules(parts: AtOnce) -> RulePage:
    """List the rules in use, by name."""
    return {"items": [rules.item(each) for each in rules.in_use(parts.configuration.rules())], "next": None}


@router.get("/rules/{id}", **ONE)
def get_rule(id: Id, parts: AtOnce) -> rules.RuleDetail:
    """Show one rule in use, by its id or name: the YAML that runs, and its last changes."""
    rule = rules.find(parts.configuration.rules(), id)
    with parts.database.read() as connection:
        return rules.detail(connection, rule)
