"""The rules in use, with what they cover and when they could not fire."""

from __future__ import annotations

from actionwatch.queries import rules
from actionwatch.text.payloads import instant
from actionwatch.web.api.documents import RulePage
from actionwatch.web.api.routing import ONE, WHOLE, AtOnce, Id, open_router

router = open_router()


@router.get("/rules", **WHOLE)
def list_rules(parts: AtOnce) -> RulePage:
    """List the rules in use, by name, the techniques that they watch, and when they could not fire in the last 7 days."""
    now, every = parts.clock(), parts.configuration.rules()
    with parts.database.read() as connection:
        blindness = parts.service.blindness(connection, now - rules.BLIND_SPAN, now)
    return {
        "items": [rules.state(each, blindness) for each in rules.in_use(every)],
        "next": None,
        "coverage": rules.coverage(every),
        "blind_since": instant(blindness.start),
        "blind": rules.blind_documents(blindness.every),
    }


@router.get("/rules/{id}", **ONE)
def get_rule(id: Id, parts: AtOnce) -> rules.RuleDetail:
    """Show one rule in use, by its id or name: the YAML that runs, and when it could not fire in the last 7 days."""
    now, rule = parts.clock(), rules.find(parts.configuration.rules(), id)
    with parts.database.read() as connection:
        return rules.detail(connection, rule, parts.service.blindness(connection, now - rules.BLIND_SPAN, now))
