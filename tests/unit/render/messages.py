"""Messages to render and to send. `HOSTILE` contains what audit text must never do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from actionwatch.base.model import Alert, Cause, Entity, Level, Message, Record, RuleName, Status
from actionwatch.text.payloads import alert_document, summary_document

CONSOLE = "https://watch.example.com:8443"
PAGE, LIST = f"{CONSOLE}/alerts/alert-1", f"{CONSOLE}/alerts"
AT = datetime(2026, 11, 25, 9, 0, 43, 770_000, tzinfo=UTC)

HOSTILE: dict[str, str] = {
    "mention": "<!channel> <!here> <@U012AB3CD> <#C012AB3CD> @here @channel",
    "link": "<https://evil.example|click me> https://evil.example/login www.evil.example",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)><a href='https://evil.example'>x</a>",
    "attribute": '" onmouseover="alert(1)" x=\'',
    "entity": "&lt;!channel&gt; &amp;lt; &#60;b&#62;",
    "template": "{{ 7 * 7 }}{% for x in range(9) %}x{% endfor %}{# gone #}${7*7}",
    "encoded word": "=?utf-8?q?eve=0D=0ABcc=3A_everyone@example.com=0D=0A=0D=0Aforged?=",
    "crlf": "eve\r\nBcc: everyone@example.com\r\n\r\nforged",
    "line separators": "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg",
    "right to left": "\u202egnp.exe \u2066hidden\u2069 \u061c\u200f",
    "letters of the right": "שלום مرحبا",
    "terminal": "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "rich markup": "[bold red]x[/] [link=https://evil.example]y[/link] :skull:",
    "nul": "a\x00b",
    "lone surrogate": "a\ud800b\udfff",
    "emoji": "🔥👩\u200d👩\u200d👧\u200d👦 🏴\U000e0067\U000e0062\U000e007f e\u0301",
    "json": '", "text": "<!channel>", "x": "\\',
    "dots": "\n.\nQUIT\n..\n",
    "long line": "x" * 5_000,
    "megabyte": "A<b>&\u202e" * 200_000,
}


def record(number: int = 0, **changes: Any) -> Record:
    """Make a record; `number` counts minutes back from `AT`."""
    values: dict[str, Any] = {
        "key": f"key-{number}",
        "source": "acme",
        "occurred_at": AT - timedelta(minutes=number),
        "seen_at": AT,
        "action_kind": "DELETE_CLUSTER",
        "raw": '{"action": "DELETE_CLUSTER", "nested": {"n": [1, 2.5, null, true]}}',
        "user_name": "eve@example.com",
        "description": "Deleted a cluster",
        "account": Entity("a-1", "payments"),
        "cluster": Entity("c-1", "payments-prod"),
        "operation": "DELETE",
        "scope": "account",
    }
    return Record(**{**values, **changes})


def alert(**changes: Any) -> Alert:
    """Make an open alert of one match."""
    values: dict[str, Any] = {
        "id": "alert-1",
        "rule": RuleName("rule-1", "cluster_deleted", "Cluster deleted", ("attack.impact",)),
        "level": Level.CRITICAL,
        "title": "Cluster payments-prod deleted",
        "body": "eve@example.com deleted the cluster payments-prod.",
        "source": "acme",
        "first_at": AT,
        "last_at": AT,
        "opened_at": AT,
        "runbook": "1. Ask eve.\n2. Restore the newest backup.",
        "labels": {"team": "payments"},
        "group": {"userName": "eve@example.com"},
    }
    return Alert(**{**values, **changes})


def message(
    event: str = "alert.opened",
    *,
    id: str = "message-1",  # noqa: A002
    records: Sequence[Record] | None = None,
    fields: tuple[tuple[str, str], ...] = (("User", "eve@example.com"),),
    **changes: Any,
) -> Message:
    """Make a message of an alert; `changes` go to the alert."""
    if event == "alerts.summary":
        return summary(id=id, **changes)
    if event == "alert.resolved":
        changes.setdefault("status", Status.RESOLVED)
    document = alert_document(alert(**changes), [record()] if records is None else records)
    return Message(id, event, AT, document, fields)


def summary(
    reason: str = "silence",
    *,
    id: str = "message-1",  # noqa: A002
    alerts: Sequence[Alert] | None = None,
    receiver: str = "soc",
    causes: Sequence[Cause] = (),
    **changes: Any,
) -> Message:
    """Make a summary of these alerts, or of one; `changes` go to that one."""
    shown = [alert(**changes)] if alerts is None else list(alerts)
    data = summary_document(reason, receiver, Counter(each.level for each in shown), shown, causes)
    return Message(id, "alerts.summary", AT, data)


def linked(sent: Message) -> Message:
    """Return a message with the links that it gets where the console has an address."""
    if sent.type != "alerts.summary":
        return replace(sent, data={**sent.data, "url": PAGE})
    alerts = [{**each, "url": PAGE} for each in sent.data["alerts"]]
    return replace(sent, data={**sent.data, "alerts": alerts, "url": LIST})


def hostile_message(text: str, event: str = "alert.opened") -> Message:
    """Put a text into every value that can contain audit text."""
    if event == "alerts.summary":
        causes = [Cause(text, {text: 1}, text, text), Cause(text, {text: 1})]
        labels, group = {"label": text}, {"userName": text}
        return summary(receiver=text, causes=causes, title=text, labels=labels, group=group, acked_by=text)
    return message(
        event,
        title=text,
        body=text,
        runbook=text,
        labels={"label": text},
        group={"userName": text},
        acked_by=text,
        resolved_by=text,
        fields=((text, text), ("Field", text)),
        records=[
            record(user_name=text, description=text, account=Entity(text, text), cluster=Entity(None, text), scope=text)
        ],
    )
