"""Slack's Block Kit, bounded: whatever a template gives becomes a message whose every length Slack takes.

Slack refuses a message whole that is one character too long; here it is shortened instead, with a count of what was cut.
Limits: https://docs.slack.dev/reference/block-kit/blocks and chat.postMessage. Only `slack.py` calls this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from actionwatch.text.escaping import shorten

MAX_TEXT_CHARS = 4_000  # 40,000 are taken, 4,000 recommended
MAX_BLOCKS = 50
MAX_ATTACHMENTS = 20
MAX_FIELDS = 10
MAX_ELEMENTS = 10
MAX_HEADER_CHARS = 150
MAX_FIELD_CHARS = 2_000
MAX_SECTION_CHARS = 3_000
MAX_FALLBACK_CHARS = 1_000
MAX_PAYLOAD_CHARS = 12_000  # all texts together: past about 13,000 Slack answers msg_blocks_too_long

_DATE = re.compile(r"<!date\^\d+\^[^|]*\|([^>]*)>")


def bounded(payload: Mapping[str, Any], *, fallback: str) -> dict[str, Any]:
    """Return `text`, `blocks` and `attachments` of a payload within Slack's limits; `fallback` is the text where it has none."""
    text = payload.get("text")
    message: dict[str, Any] = {
        "text": _cut(text, MAX_TEXT_CHARS) if isinstance(text, str) and text.strip() else fallback
    }
    room = _Room(MAX_PAYLOAD_CHARS)
    if isinstance(blocks := payload.get("blocks"), list):
        message["blocks"] = [_block(block, room) for block in blocks[:MAX_BLOCKS]]
    if isinstance(attachments := payload.get("attachments"), list):
        message["attachments"] = [_attachment(item, room) for item in attachments[:MAX_ATTACHMENTS]]
    return message


class _Room:
    """How many characters one message may still hold."""

    def __init__(self, chars: int) -> None:
        self._left = chars

    def take(self, text: str, limit: int) -> str:
        """Cut a text to its own limit and to what is left; never to nothing, which Slack would refuse."""
        cut = _cut(text, max(min(limit, self._left), 40)) or "–"
        self._left -= len(cut)
        return cut


def _block(block: Any, room: _Room) -> Any:
    if not isinstance(block, dict):
        return block
    limit = MAX_HEADER_CHARS if block.get("type") == "header" else MAX_SECTION_CHARS
    bounded = dict(block)
    if "text" in block:
        bounded["text"] = _text_object(block["text"], limit, room)
    if isinstance(block.get("fields"), list):
        bounded["fields"] = [_text_object(item, MAX_FIELD_CHARS, room) for item in block["fields"][:MAX_FIELDS]]
    if isinstance(block.get("elements"), list) and block.get("type") == "context":
        elements = block["elements"][:MAX_ELEMENTS]
        bounded["elements"] = [_text_object(item, MAX_FIELD_CHARS, room) for item in elements]
    return bounded


def _text_object(item: Any, limit: int, room: _Room) -> Any:
    """Bound a text and keep Slack from making links of bare addresses and names in it."""
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return item
    bounded = {**item, "text": room.take(item["text"], limit)}
    return {**bounded, "verbatim": True} if item.get("type") == "mrkdwn" else bounded


def _attachment(item: Any, room: _Room) -> Any:
    if not isinstance(item, dict):
        return item
    bounded = dict(item)
    if isinstance(item.get("blocks"), list):
        bounded["blocks"] = [_block(block, room) for block in item["blocks"][:MAX_BLOCKS]]
    for name, limit in (("fallback", MAX_FALLBACK_CHARS), ("text", MAX_SECTION_CHARS), ("title", MAX_HEADER_CHARS)):
        if isinstance(item.get(name), str):
            bounded[name] = _cut(item[name], limit)
    return bounded


def _cut(text: str, limit: int) -> str:
    """Shorten a text that is already in Slack's markup, not inside an entity or a `<…>`."""
    cut = shorten(text, limit)
    if cut == text:
        return text
    kept, mark, count = cut.rpartition("… (+")
    for opening, closing, longest in (("&", ";", len("&amp;")), ("<", ">", limit)):
        at = kept.rfind(opening)
        if at >= 0 and closing not in kept[at:] and len(kept) - at <= longest:
            kept = kept[:at]
    return f"{kept}{mark}{count}"


def readable(payload: Mapping[str, Any]) -> str:
    """Write a bounded payload as the text a person sees in Slack, dates in UTC; attachments behind their bar."""
    lines = [line for block in payload.get("blocks") or [] for line in _seen(block)]
    for attachment in payload.get("attachments") or []:
        shown = [line for block in attachment.get("blocks") or [] for line in _seen(block)]
        lines += [f"▌ {line}" for line in shown or [str(attachment.get("text") or attachment.get("fallback") or "")]]
    return "\n".join(lines or [_unescaped(str(payload.get("text") or ""))]) + "\n"


def _seen(block: Any) -> list[str]:
    if not isinstance(block, dict):
        return []
    elements = [element for element in block.get("elements") or [] if isinstance(element, dict)]
    if block.get("type") == "actions":
        return ["  ".join(f"[{(element.get('text') or {}).get('text')}]" for element in elements)]
    parts = [block.get("text"), *(block.get("fields") or []), *elements]
    texts = [str(part["text"]) for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return [line for text in texts for line in _unescaped(text).split("\n")]


def _unescaped(text: str) -> str:
    return _DATE.sub(r"\1", text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
