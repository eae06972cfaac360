"""The rules in use."""

from __future__ import annotations

from actionwatch.web.api.documents import RuleItem, RulePage
from actionwatch.web.api.routing import WHOLE, AtOnce, open_router
from actionwatch.web.reading import rules_in_use

router = open_router()


@router.get("/rules", **WHOLE)
def list_rules(parts: AtOnce) -> RulePage:
    """List the rules in use, by name."""
    items: list[RuleItem] = [
        {
            "id": rule.name.id,
            "name": rule.name.name,
            "title": rule.name.title,
            "level": rule.level.word,
            "mode": rule.mode.value,
            "tags": list(rule.name.tags),
            "correlation": rule.correlation.type.value if rule.correlation else None,
            "file": rule.file,
            "line": rule.line,
        }
        for rule in rules_in_use(parts)
    ]
    return {"items": items, "next": None}
