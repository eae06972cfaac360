"""The text that is sent if all templates fail."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape as escape_html

from actionwatch.base.model import Message
from actionwatch.render.channels import channel_of, dump, inert, mrkdwn
from actionwatch.text.escaping import one_line, shorten, visible
from actionwatch.text.payloads import instant

_MAX_TEXT_CHARS = 2_000
_MAX_ALERTS = 50


def plain(name: str, message: Message) -> str:
    """Describe the message without a template, in the format of the channel of `name`."""
    channel = channel_of(name)
    head = one_line(f"[{message.level or 'alert'}] {message.headline}")
    if channel == "json":
        document = {"type": message.type, "timestamp": instant(message.timestamp), "data": message.data}
        return dump(document)
    if channel == "slack.json":
        return dump({"text": mrkdwn(shorten(head, _MAX_TEXT_CHARS))})
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
            yield f"{label}: {shorten(visible(str(value)), _MAX_TEXT_CHARS)}"
    for cause in message.causes:
        yield one_line(shorten(cause, 300))
    for alert in message.data.get("alerts", ())[:_MAX_ALERTS]:
        yield one_line(shorten(f"[{alert.get('level')}] {alert.get('title')} ({alert.get('id')})", 300))
    if omitted := message.data.get("omitted"):
        yield f"and {omitted} more"
