"""Sample messages of all types, with all possible values and with as few as possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from actionwatch.base.model import MESSAGE_TYPES, Alert, Cause, Entity, Event, Level, Message, Record, RuleName, Status
from actionwatch.text.links import NO_LINKS, Links
from actionwatch.text.payloads import alert_document, summary_document

_AT = datetime(2026, 11, 25, 9, 0, 43, 770_000, tzinfo=UTC)
_CAUSES = {
    "mute": (Cause("nights", {"cluster_deleted": 2, "bare": 1}),),
    "silence": (Cause("silence-1", {f"rule_{number}": 1 for number in range(12)}, "sam", "load test, ask sam"),),
}
_LINKS = Links("https://watch.example.com")
_FULL = Alert(
    id="alert-1",
    rule=RuleName("0001", "cluster_deleted", "Cluster deleted", ("attack.impact",)),
    level=Level.CRITICAL,
    title="Cluster payments-prod deleted by eve@example.com",
    body="eve@example.com deleted the cluster payments-prod.",
    source="acme",
    first_at=_AT - timedelta(minutes=59),
    last_at=_AT,
    opened_at=_AT,
    runbook="1. Ask eve whether this was planned.\n2. Restore from the newest backup.",
    labels={"team": "payments"},
    group={"userName": "eve@example.com"},
    count=60,
    late_by=timedelta(hours=2),
)
_BARE = Alert(
    id="alert-2",
    rule=RuleName("0002", "bare", "Bare"),
    level=Level.LOW,
    title="Bare",
    body="",
    source="acme",
    first_at=_AT,
    last_at=_AT,
    opened_at=_AT,
    status=Status.RESOLVED,
    resolved_by="sam",
)
_RECORDS = [
    Record(
        key=f"sample-{number}",
        source="acme",
        occurred_at=_AT - timedelta(minutes=number),
        seen_at=_AT,
        action_kind="DELETE_CLUSTER",
        raw='{"action": "DELETE_CLUSTER"}',
        user_name="eve@example.com",
        description="Deleted the cluster payments-prod",
        account=Entity("a-1", "payments"),
        cluster=Entity("c-1", "payments-prod"),
        operation="DELETE",
        scope="account",
    )
    for number in reversed(range(50))
]


def sample_messages() -> Iterator[Message]:
    """Yield messages that together have, and lack, each optional value."""
    document = {**alert_document(_FULL, _RECORDS), **_LINKS.of_alert(_FULL.id)}
    nameless = Record(key="sample", source="acme", occurred_at=_AT, seen_at=_AT, action_kind="LOGIN", raw="{}")
    fields = (("User", "eve@example.com"), ("Cluster", "payments-prod"))
    yield Message("message-1", "alert.opened", _AT, document, fields)
    yield Message("message-2", "alert.updated", _AT, {**document, "status": "acked", "acked_by": "sam"})
    yield Message("message-3", "alert.resolved", _AT, alert_document(_BARE, [nameless]))
    yield Message("message-4", "receiver.test", _AT, alert_document(_FULL, []))
    for number, (reason, count) in enumerate((("digest", 60), ("storm", 1), ("mute", 3), ("silence", 0)), 5):
        yield Message(f"message-{number}", MESSAGE_TYPES[Event.SUMMARY], _AT, _summary(reason, count))


def _summary(reason: str, count: int) -> dict[str, Any]:
    """Make a summary of this many alerts of all levels, over half a day."""
    alerts = [_summed_up(number) for number in range(count)]
    return summary_document(
        reason,
        "soc-mail",
        Counter(alert.level for alert in alerts),
        alerts,
        _CAUSES.get(reason, ()),
        _LINKS if count > 1 else NO_LINKS,
    )


def _summed_up(number: int) -> Alert:
    at = _AT - timedelta(minutes=number * number % 700)
    return replace(
        _BARE if number % 5 == 0 else _FULL,
        id=f"alert-{number}",
        level=Level(number % len(Level)),
        title=f"Firewall rules of staging-{number % 7} opened by eve@example.com",
        first_at=at,
        last_at=at,
        count=number % 4 + 1,
    )
