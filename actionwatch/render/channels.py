"""Escape printed values for each channel, so that they cannot act as markup, links or commands.

The end of the name of a template determines its channel: `email.html`, `slack.json`, `own.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, tzinfo
from typing import Any

from jinja2 import FunctionLoader, Undefined
from markupsafe import Markup

from actionwatch.render.filters import GLANCING, JsonText, Link, SlackMarkup, filters_for, shown
from actionwatch.text.escaping import one_line, visible, without_slack_markup
from actionwatch.text.sandbox import SandboxedEnvironment

# The first that matches the end of a template's name.
CHANNELS = ("slack.json", "json", "html", "apprise.subject", "subject", "apprise.txt", "txt")

_MENTION = re.compile(r"(?<![\w.+-])@(?=\w)")
_SURROGATE = re.compile("[\ud800-\udfff]")


FindTemplate = Callable[[str], tuple[str, str, Callable[[], bool]] | None]
"""Finds a template by file name. Returns its text, its path, and a function that returns whether both are current."""


def environment(channel: str, find: FindTemplate, zone: tzinfo = UTC) -> SandboxedEnvironment:
    """Make the environment of a channel, which takes its templates from `find`. Its readers live in `zone`."""
    is_html = channel == "html"
    filters = filters_for(zone)
    if not is_html:
        safe = _inert_in_slack if channel == "slack.json" else _unchanged
        filters["tojson"] = lambda value: JsonText(dump(safe(value)))
    return SandboxedEnvironment(
        loader=FunctionLoader(find),
        autoescape=is_html,
        finalize=_PRINT[channel],
        filters=filters,
        glancing=GLANCING,
    )


def channel_of(name: str) -> str | None:
    """Return the channel of a template; None if its name has no known end."""
    return next((channel for channel in CHANNELS if name == channel or name.endswith(f".{channel}")), None)


def inert(text: str) -> str:
    """Defuse mentions, tags and links for the many services of Apprise; the text stays readable."""
    defused = _MENTION.sub("＠", text.replace("<", "‹").replace(">", "›"))
    return defused.replace("://", "[:]//").replace("www.", "www[.]").replace("](", "] (")


def dump(value: Any) -> str:
    """Encode JSON; replace lone surrogates, which UTF-8 cannot represent, with U+FFFD."""
    return _SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False, default=str))


def _escaped(escape: Callable[[str], str]) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, Undefined | Link) else escape(shown(value))


def _as_json(safe: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Print a text as the inside of a JSON string, and other values as JSON; `safe` escapes the texts in them."""

    def print_(value: Any) -> Any:
        if isinstance(value, Undefined | JsonText):
            return value
        return dump(safe(value))[1:-1] if isinstance(value, str) else dump(safe(value))

    return print_


def _unchanged(value: Any) -> Any:
    return value


def _inert_in_slack(value: Any) -> Any:
    """Escape mentions, links and formats in every text of a value."""
    if isinstance(value, str):
        return value if isinstance(value, SlackMarkup | Link) else without_slack_markup(value)
    if isinstance(value, Mapping):
        return {_inert_in_slack(key): _inert_in_slack(item) for key, item in value.items()}
    return [_inert_in_slack(item) for item in value] if isinstance(value, list | tuple) else value


# For each channel, what receives every value that a template prints.
_PRINT: dict[str, Callable[[Any], Any]] = {
    "html": lambda value: value if isinstance(value, Undefined | Markup) else visible(shown(value)),
    "txt": _escaped(visible),
    "subject": _escaped(one_line),
    "apprise.txt": _escaped(lambda text: inert(visible(text))),
    "apprise.subject": _escaped(lambda text: inert(one_line(text))),
    "json": _as_json(_unchanged),
    "slack.json": _as_json(_inert_in_slack),
}
