"""How each channel escapes: what a template prints becomes text that cannot act where it is shown.

The end of a template's name says which channel it is for: `email.html`, `slack.json`, `own.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader, FunctionLoader, Undefined
from markupsafe import Markup

from actionwatch.render.filters import FILTERS, JsonText, SlackMarkup, shown
from actionwatch.text.escaping import one_line, visible
from actionwatch.text.sandbox import SandboxedEnvironment, sandbox

# By the end of a template's name; the first that fits.
CHANNELS = ("slack.json", "json", "html", "apprise.subject", "subject", "apprise.txt", "txt")

_MENTION = re.compile(r"(?<![\w.+-])@(?=\w)")
_SURROGATE = re.compile("[\ud800-\udfff]")


FindTemplate = Callable[[str], tuple[str, str, Callable[[], bool]] | None]
"""Finds a template by file name: its text, its file, and whether it is still so."""


def environment(folders: Sequence[Path], channel: str, look: FindTemplate) -> SandboxedEnvironment:
    """Make a channel's environment over what `look` finds, then these folders, the first that has a name winning."""
    kind = _ESCAPING[channel]
    loader = ChoiceLoader([FunctionLoader(look), FileSystemLoader(folders)])
    made = sandbox(loader=loader, autoescape=kind.is_html, finalize=kind.print_value)
    made.filters.update(FILTERS)
    if not kind.is_html:
        made.filters["tojson"] = lambda value: JsonText(dump(value))
    return made


def channel_of(name: str) -> str | None:
    """Say which channel a template of this name is for; None where the name does not tell."""
    for channel in CHANNELS:
        if name == channel or name.endswith(f".{channel}"):
            return channel
    return None


def mrkdwn(text: str) -> str:
    """Escape what Slack would read as a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def inert(text: str) -> str:
    """Take from a text what any of a hundred services might read as a mention, a tag or a link; it stays readable."""
    defused = _MENTION.sub("＠", text.replace("<", "‹").replace(">", "›"))
    return defused.replace("://", "[:]//").replace("www.", "www[.]").replace("](", "] (")


def dump(value: Any) -> str:
    """Write JSON; a lone surrogate, which UTF-8 cannot hold and receivers choke on, becomes U+FFFD."""
    return _SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False, default=str))


@dataclass(frozen=True, slots=True)
class _Channel:
    """How a channel escapes: `print_value` sees every value that a template prints."""

    print_value: Callable[[Any], Any]
    is_html: bool = False


def _print_text(value: Any) -> Any:
    return value if isinstance(value, Undefined) else visible(shown(value))


def _print_line(value: Any) -> Any:
    return value if isinstance(value, Undefined) else one_line(shown(value))


def _print_inert_text(value: Any) -> Any:
    return value if isinstance(value, Undefined) else inert(visible(shown(value)))


def _print_inert_line(value: Any) -> Any:
    return value if isinstance(value, Undefined) else inert(one_line(shown(value)))


def _print_html(value: Any) -> Any:
    return value if isinstance(value, Undefined | Markup) else visible(shown(value))


def _print_json(value: Any) -> Any:
    """Print a text as the inside of a JSON string, anything else as JSON itself."""
    if isinstance(value, Undefined | JsonText):
        return value
    return dump(value)[1:-1] if isinstance(value, str) else dump(value)


def _print_slack(value: Any) -> Any:
    """Print a text as the inside of a JSON string that Slack shows literally: no mention, no link."""
    if isinstance(value, SlackMarkup):
        return dump(str(value))[1:-1]
    if isinstance(value, Undefined | JsonText):
        return value
    return dump(mrkdwn(visible(value)))[1:-1] if isinstance(value, str) else dump(value)


_ESCAPING = {
    "html": _Channel(_print_html, is_html=True),
    "txt": _Channel(_print_text),
    "subject": _Channel(_print_line),
    "apprise.txt": _Channel(_print_inert_text),
    "apprise.subject": _Channel(_print_inert_line),
    "json": _Channel(_print_json),
    "slack.json": _Channel(_print_slack),
}
