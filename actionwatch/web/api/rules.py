"""The rules in use."""

from __future__ import annotations

from actionwatch.queries import rules
from actionwatch.web.api.documents import RulePage
from actionwatch.web.api.routing import WHOLE, AtOnce, open_router

router = open_router()


@router.get("/rules", **WHOLE)
def list_rules(parts: AtOnce) -> RulePage:
    """List the rules in use, by name."""
    return {"items": [rules.item(each) for each in rules.in_use(parts.configuration.rules())], "next": None}
