"""The email and the Slack message that the shipped rule `cluster_deleted` makes of its first test."""

from __future__ import annotations

import functools
import html
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actionwatch.service.configuration import read_settings
from actionwatch.service.preview import preview_files
from tests.pictures.svg import COLOURS, SANS, document

RULE = "cluster_deleted"
RULES = Path(__file__).parents[2] / "rules"
CONFIG = f"""\
sources: [{{name: acme, organisation_id: x, username: x, api_key: x}}]
rules: ["{RULES}"]
time_intervals:
  - name: business-hours
    time_intervals: [{{weekdays: ["monday:friday"], times: [{{start_time: "08:00", end_time: "18:00"}}]}}]
receivers:
  - name: mail
    email: {{host: smtp.example.com, from: actionwatch@example.com, to: [soc@example.com]}}
  - name: chat
    slack: {{token: xoxb-1-2-x, app_token: xapp-1-x, channel: C0123456789}}
"""
WIDTH = 720
VOID = re.compile(r"<(br|meta|img|hr)\b([^>]*?)/?>")
BODY = re.compile(r"<body[^>]*>(.*)</body>", re.DOTALL)
DATE = re.compile(r"<!date\^\d+\^[^|]*\|([^>]*)>")
FAINT = "rgba(128,134,139,0.5)"
CSS = f"""\
.message {{ color: {COLOURS["ink"][0]}; font: 15px/22px {SANS}; padding: 12px 16px; }}
.head {{ color: {COLOURS["quiet"][0]}; font-size: 13px; line-height: 20px; padding: 4px 8px 10px; }}
.head {{ border-bottom: 1px solid {FAINT}; }}
.bar {{ border-left: 4px solid; padding-left: 12px; margin-top: 8px; }}
.fields {{ display: grid; grid-template-columns: 1fr 1fr; }}
.block {{ margin: 0 0 8px; white-space: pre-wrap; }}
.context {{ font-size: 12px; line-height: 18px; opacity: 0.75; }}
.button {{ display: inline-block; border: 1px solid {FAINT}; border-radius: 4px; padding: 3px 12px; }}
.button {{ margin-right: 8px; font-weight: 700; font-size: 13px; }}
code {{ border: 1px solid {FAINT}; border-radius: 3px; padding: 0 3px; font-size: 12px; color: #c7254e; }}
@media (prefers-color-scheme: dark) {{
.message {{ color: {COLOURS["ink"][1]}; }} .head {{ color: {COLOURS["quiet"][1]}; }} code {{ color: #ff9492; }}
}}
"""


@functools.cache
def _previews(receiver: str) -> Mapping[str, str]:
    """Return the files of `actionwatch receivers preview`."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "actionwatch.yaml"
        config.write_text(CONFIG)
        settings = read_settings(config)
    (found,) = [each for each in settings.receivers if each.name == receiver]
    return preview_files(settings, None, RULE, found)


def draw_email() -> str:
    """Return the picture of the email: its HTML as it is sent."""
    files = _previews("mail")
    headers = [line for line in files["email.eml"].splitlines()[:4] if line.startswith(("From:", "To:", "Subject:"))]
    body = BODY.search(files["email.html"])
    assert body
    inner = VOID.sub(r"<\1\2/>", body[1]).replace("&nbsp;", "&#160;").replace("\r\n", "\n")
    head = "".join(f"<div>{html.escape(line)}</div>" for line in headers)
    description = "The level as a coloured badge, one sentence that says who did what, the fields, and what to do."
    return _page("The email about an alert", description, 640, f'<div class="head">{head}</div>{inner}')


def draw_slack() -> str:
    """Return the picture of the Slack message: its blocks as they are sent."""
    payload = json.loads(_previews("chat")["slack.json"])
    parts = [_block(block) for block in payload["blocks"]]
    for attachment in payload["attachments"]:
        inner = "".join(_block(block) for block in attachment["blocks"])
        parts.append(f'<div class="bar" style="border-color: {attachment["color"]}">{inner}</div>')
    head = '<div class="block"><b>actionwatch</b> <span class="context">APP</span></div>'
    description = (
        "The level and one sentence, the fields, what to do, and three buttons: acknowledge, silence, resolve."
    )
    return _page("The Slack message about an alert", description, 480, head + "".join(parts))


def _page(title: str, description: str, height: int, inner: str) -> str:
    page = (
        f'<foreignObject width="{WIDTH}" height="{height}"><div xmlns="http://www.w3.org/1999/xhtml" class="message">'
        f"<style>\n{CSS}</style>{inner}</div></foreignObject>"
    )
    return document(title, description, WIDTH, height, [page])


def _block(block: Mapping[str, Any]) -> str:
    """Return a block of Block Kit as Slack shows it."""
    if block["type"] == "actions":
        return "".join(f'<span class="button">{html.escape(each["text"]["text"])}</span>' for each in block["elements"])
    if block["type"] == "context":
        return "".join(f'<div class="block context">{_mrkdwn(each["text"])}</div>' for each in block["elements"])
    assert block["type"] == "section", block
    texts = "".join(f'<div class="block">{_mrkdwn(text)}</div>' for text in _texts(block))
    return f'<div class="fields">{texts}</div>' if "fields" in block else texts


def _texts(block: Mapping[str, Any]) -> Iterator[str]:
    for each in block.get("fields", [block["text"]] if "text" in block else []):
        yield each["text"]


def _mrkdwn(text: str) -> str:
    """Return Slack's markup as HTML: bold, code, and times, which are shown here as for a client without dates."""
    plain = html.escape(html.unescape(DATE.sub(r"\1", text)), quote=False)
    plain = re.sub(r"`([^`]+)`", r"<code>\1</code>", plain)
    return re.sub(r"(?<!\w)\*([^*\n]+)\*(?!\w)", r"<b>\1</b>", plain)
