"""Bring a Slack payload within the limits of Block Kit.

Slack refuses a whole message if one text is a character too long. This module shortens the text and appends how much it cut.
Limits: https://docs.slack.dev/reference/block-kit/blocks and chat.postMessage. `slack.py` and its buttons call this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from actionwatch.text.escaping import shorten

_MAX_TEXT_CHARS = 4_000  # Slack accepts 40,000 and recommends 4,000
MAX_BLOCKS = 50
MAX_ATTACHMENTS = 20
_MAX_FIELDS = 10
_MAX_ELEMENTS = 10
_MAX_HEADER_CHARS = 150
_MAX_FIELD_CHARS = 2_000
_MAX_SECTION_CHARS = 3_000
_MAX_FALLBACK_CHARS = 1_000
_MIN_CUT_CHARS = 40  # a text that is cut to less tells nothing
MAX_PAYLOAD_CHARS = 12_000  # all texts together: above about 13,000 Slack answers msg_blocks_too_long

_LINK = re.compile(r"<(https?://[^|<>]+)\|([^<>]+)>")
_DATE = re.compile(r"<!date\^\d+\^[^|]*\|([^>]*)>")


def bounded(payload: Mapping[str, Any], *, fallback: str) -> dict[str, Any]:
    """Return `text`, `blocks` and `attachments` within Slack's limits. `fallback` replaces a missing text."""
    message: dict[str, Any] = {"text": _cut(text_of(payload, fallback), _MAX_TEXT_CHARS)}
    budget = _CharBudget(MAX_PAYLOAD_CHARS)
    if isinstance(blocks := payload.get("blocks"), list):
        message["blocks"] = [_block(block, budget) for block in blocks[:MAX_BLOCKS]]
    if isinstance(attachments := payload.get("attachments"), list):
        message["attachments"] = [_attachment(item, budget) for item in attachments[:MAX_ATTACHMENTS]]
    return message


def text_of(payload: Mapping[str, Any], fallback: str) -> str:
    """Return the text of a payload; the fallback if it has none."""
    text = payload.get("text")
    return text if isinstance(text, str) and text.strip() else fallback


def section(text: str) -> dict[str, Any]:
    """Return a block with a text in Slack's markup, not empty, in which URLs stay plain text."""
    shown = {"type": "mrkdwn", "verbatim": True, "text": _cut(text, _MAX_SECTION_CHARS)}
    return {"type": "section", "text": shown}


class _CharBudget:
    """The number of characters that one message may still contain."""

    def __init__(self, chars: int) -> None:
        self._left = chars

    def cut(self, text: str, limit: int) -> str:
        """Cut a text to its limit and to what is left, but never to an empty text, which Slack would refuse."""
        limit = min(limit, self._left)
        cut = _cut(text, limit) if len(text) <= limit or limit >= _MIN_CUT_CHARS else ""
        self._left -= len(cut)
        return cut or "–"


def _block(block: Any, budget: _CharBudget) -> Any:
    if not isinstance(block, dict):
        return block
    limit = _MAX_HEADER_CHARS if block.get("type") == "header" else _MAX_SECTION_CHARS
    bounded = dict(block)
    if "text" in block:
        bounded["text"] = _text_object(block["text"], limit, budget)
    if isinstance(block.get("fields"), list):
        bounded["fields"] = [_text_object(item, _MAX_FIELD_CHARS, budget) for item in block["fields"][:_MAX_FIELDS]]
    if isinstance(block.get("elements"), list) and block.get("type") == "context":
        bounded["elements"] = [
            _text_object(item, _MAX_FIELD_CHARS, budget) for item in block["elements"][:_MAX_ELEMENTS]
        ]
    return bounded


def _text_object(item: Any, limit: int, budget: _CharBudget) -> Any:
    """Bound a text, and prevent Slack from turning URLs and names in it into links."""
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return item
    bounded = {**item, "text": budget.cut(item["text"], limit)}
    return {**bounded, "verbatim": True} if item.get("type") == "mrkdwn" else bounded


def _attachment(item: Any, budget: _CharBudget) -> Any:
    if not isinstance(item, dict):
        return item
    bounded = dict(item)
    if isinstance(item.get("blocks"), list):
        bounded["blocks"] = [_block(block, budget) for block in item["blocks"][:MAX_BLOCKS]]
    for name, limit in (("title", _MAX_HEADER_CHARS), ("text", _MAX_SECTION_CHARS), ("fallback", _MAX_FALLBACK_CHARS)):
        if isinstance(item.get(name), str) and item[name]:
            bounded[name] = budget.cut(item[name], limit)
    return bounded


def _cut(text: str, limit: int) -> str:
    """Shorten a text in Slack's markup, but do not cut inside an entity or a `<…>`."""
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
    """Convert a bounded payload into what a person sees in Slack: dates in UTC, links in brackets, a bar at attachments."""
    lines = [line for block in payload.get("blocks") or [] for line in _visible_lines(block)]
    for attachment in payload.get("attachments") or []:
        shown = [line for block in attachment.get("blocks") or [] for line in _visible_lines(block)]
        lines += [f"▌ {line}" for line in shown or [str(attachment.get("text") or attachment.get("fallback") or "")]]
    return "\n".join(lines or [_unescaped(str(payload.get("text") or ""))]) + "\n"


def _visible_lines(block: Any) -> list[str]:
    if not isinstance(block, dict):
        return []
    elements = [element for element in block.get("elements") or [] if isinstance(element, dict)]
    if block.get("type") == "actions":
        return ["  ".join(f"[{(element.get('text') or {}).get('text')}]" for element in elements)]
    parts = [block.get("text"), *(block.get("fields") or []), *elements]
    texts = [str(part["text"]) for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return [line for text in texts for line in _unescaped(text).split("\n")]


def _unescaped(text: str) -> str:
    return _LINK.sub(r"\2 (\1)", _DATE.sub(r"\1", text)).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
