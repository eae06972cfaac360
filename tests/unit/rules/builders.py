"""Make valid records and rules. A test names only the values that matter to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from actionwatch.base.model import Entity, Match, Record
from actionwatch.rules.engine import Engine
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import Rules, build_rules
from actionwatch.text.yaml_document import Document, read_text

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KINDS = ("DELETE_CLUSTER", "REQUEST_CLUSTER_DELETE", "CREATE_CLUSTER", "ADMIN_SET_ACCESS_LEVEL", "BACKUP")
HEAD = "title: T\nlogsource: {product: instaclustr}\n"


def record(
    kind: str = "DELETE_CLUSTER",
    *,
    user: str | None = "eve",
    description: str | None = None,
    account: Entity | None = None,
    cluster: Entity | None = None,
    at: datetime = AT,
    raw: Mapping[str, Any] | str | None = None,
    key: str = "k",
) -> Record:
    """Make a record; `raw` is an object or JSON text."""
    return Record(
        key=key,
        source="acme",
        occurred_at=at,
        seen_at=at,
        action_kind=kind,
        raw=raw if isinstance(raw, str) else json.dumps(raw or {}),
        user_name=user,
        description=description,
        account=account or Entity(),
        cluster=cluster or Entity(),
        operation="DELETE",
        scope="account",
    )


def detection_rule(detection: Any, **more: Any) -> dict[str, Any]:
    """Make a rule document around a detection."""
    return {"title": "T", "logsource": {"product": "instaclustr"}, "detection": detection, **more}


def rules_of(*values: Any, lists: Mapping[str, tuple[str, ...]] | None = None) -> Rules:
    """Build rules from documents given as values."""
    documents = [Document("r.yml", value) for value in values]
    return build_rules(documents, lists=Lists(lists or {}), known_kinds=KINDS)


def rules_in(text: str, lists: Lists | None = None) -> Rules:
    """Build rules from a YAML text."""
    return build_rules(read_text(text, "r.yml"), lists=lists or Lists(), known_kinds=KINDS)


def is_met(item: Mapping[str, Any] | list[Any], by: Record, lists: Mapping[str, tuple[str, ...]] | None = None) -> bool:
    """Check whether a record meets one selection."""
    rules = rules_of(detection_rule({"s": item, "condition": "s"}), lists=lists)
    assert rules.faults == ()
    return bool(Engine(rules.rules).evaluate([by]))


def only_match(text: str, by: Record) -> Match:
    """Return the only match of a rule, given as YAML, with a record."""
    rules = rules_in(text)
    assert rules.faults == ()
    (match,) = Engine(rules.rules).evaluate([by])
    return match


GOOD_TEXT = (
    HEAD
    + """name: n
level: high
tags: [attack.impact]
detection:
  s: {actionKind: [BACKUP, CREATE_CLUSTER], userName|contains: e}
  t:
    - cluster.name|re: ^prod
    - description|contains|all: [a, b]
  condition: s and not 1 of t*
alert:
  title: "{{ userName }}: {{ actionKind }}"
  level: {critical: {userName: root}}
  group_by: [userName]
  realert: 15m
  labels: {team: dba}
"""
)
