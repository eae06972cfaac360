"""The buttons of Slack messages. `_slack_actions.py` listens for them, and imports the SDK, which only the service needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actionwatch.base.model import Message
from actionwatch.notifiers._blocks import MAX_ATTACHMENTS, MAX_BLOCKS, section, text_of

BUTTONS = {"ack": "Acknowledge", "silence": "Silence 1 h", "resolve": "Resolve", "reopen": "Reopen"}
_SHOWN = {"acked": ("silence", "resolve", "reopen"), "resolved": ("reopen",)}
_SHOWN_OPEN = ("ack", "silence", "resolve")
PREFIX = "actionwatch_"
BLOCK_ID = "actionwatch"
MAX_VALUE_CHARS = 2_000  # of a button
_MAX_OTHER_BLOCKS = MAX_BLOCKS - 3  # leaves room for the buttons, and for the notes of two presses: ack and silence


def with_buttons(payload: Mapping[str, Any], message: Message, *, fallback: str) -> dict[str, Any]:
    """Add buttons to what a template gave for an alert, before `bounded`, so that a text shown above them counts.

    `fallback` replaces a missing text.
    """
    alert_id = str(message.data.get("id") or "")
    if not message.type.startswith("alert.") or not 0 < len(alert_id) <= MAX_VALUE_CHARS:
        return dict(payload)
    names = _SHOWN.get(str(message.data.get("status")), _SHOWN_OPEN)
    block = {"type": "actions", "block_id": BLOCK_ID, "elements": [_button(name, alert_id) for name in names]}
    blocks, attachments = _listed(payload, "blocks"), _listed(payload, "attachments")[:MAX_ATTACHMENTS]
    if attachments and isinstance(attachments[-1], dict) and isinstance(attachments[-1].get("blocks"), list):
        attachments[-1] = {**attachments[-1], "blocks": [*attachments[-1]["blocks"][:_MAX_OTHER_BLOCKS], block]}
        return {**payload, "attachments": attachments}
    others = blocks or [section(text_of(payload, fallback))]  # without blocks, Slack shows the text
    return {**payload, "blocks": [*others[:_MAX_OTHER_BLOCKS], block]}


def _listed(payload: Mapping[str, Any], name: str) -> list[Any]:
    return list(value) if isinstance(value := payload.get(name), list) else []


def _button(name: str, alert_id: str) -> dict[str, Any]:
    text = {"type": "plain_text", "text": BUTTONS[name]}
    return {"type": "button", "action_id": f"{PREFIX}{name}", "text": text, "value": alert_id}
