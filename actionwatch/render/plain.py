"""What is said when every template failed: the most needful, in any channel's form."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape as escape_html

from actionwatch.base.model import Message
from actionwatch.render.channels import channel_of, dump, inert, mrkdwn
from actionwatch.text.escaping import one_line, shorten, visible
from actionwatch.text.payloads import instant

PLAIN_LIMIT_CHARS = 2_000
PLAIN_ALERTS = 50


def plain(name: str, message: Message) -> str:
    """Say the most needful without any template, in the form that `name` asks for."""
    channel = channel_of(name)
    head = one_line(f"[{message.level or 'alert'}] {message.headline}")
    if channel == "json":
        document = {"type": message.type, "timestamp": instant(message.timestamp), "data": message.data}
        return dump(document)
    if channel == "slack.json":
        return dump({"text": mrkdwn(shorten(head, PLAIN_LIMIT_CHARS))})
    if channel == "subject":
        return shorten(head, 250)
    if channel == "apprise.subject":
        return inert(shorten(head, 250))
    text = "\n".join([head, "", *_lines(message)]) + "\n"
    if channel == "apprise.txt":
        return inert(text)
    return f"<pre style='white-space:pre-wrap'>{escape_html(text)}</pre>" if channel == "html" else text


def _lines(message: Message) -> Iterator[str]:
    for label in ("body", "first_at", "last_at", "count", "source", "runbook", "id"):
        if value := message.data.get(label):
            yield f"{label}: {shorten(visible(str(value)), PLAIN_LIMIT_CHARS)}"
    for cause in message.causes:
        yield one_line(shorten(cause, 300))
    for alert in message.data.get("alerts", ())[:PLAIN_ALERTS]:
        yield one_line(shorten(f"[{alert.get('level')}] {alert.get('title')} ({alert.get('id')})", 300))
    if omitted := message.data.get("omitted"):
        yield f"and {omitted} more"
