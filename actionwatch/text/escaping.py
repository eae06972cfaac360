"""Make untrusted text safe to display: escape or shorten it.

Control characters can move the cursor of a terminal and forge lines, bidirectional marks can reorder a text, and invisible
characters can hide in names. All of them become escapes. Right-to-left letters, accents and emoji are unchanged.
"""

from __future__ import annotations

import re

# Control characters, bidirectional marks, separators that some programs treat as line ends, invisible formatters and fillers,
# and lone surrogates, which no encoding accepts. The joiners U+200C and U+200D, the variation selectors, and the letters in the
# flag of a region stay: Persian, Japanese names and emoji need them.
_UNSAFE = re.compile(
    "\U0001f3f4[\U000e0061-\U000e007a]{1,6}\U000e007f|"
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff]"
)
_LINE_END = re.compile("\r\n?")
_LIST_MARK = re.compile(r"\s*(?:\d{1,3}[.)]|[-*•])\s+")
_SHORT_ESCAPES = {"\t": "\\t", "\n": "\\n"}

# What Slack would format in audit text (docs.slack.dev, formatting message text): bold, strikethrough, code;
# italics at the edge of a word; quotes at the start of a line; emoji such as `:name:`, except in times and IPv6 addresses.
_SLACK_FORMAT = re.compile(
    r"[*~`]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[ \t]*>[> \t]*"
    r"|(?<![0-9a-fA-F]):(?=[^\s:]+:)|:(?=[0-9a-fA-F]*[^\s:0-9a-fA-F][^\s:]*:)",
    re.MULTILINE,
)
_SLACK_LOOK_ALIKES = str.maketrans("*~`_:>", "∗∼ˋ＿꞉›")
_SLACK_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def visible(text: str) -> str:
    """Escape control characters and the like as `\\x1b` or `\\u202e`; line ends and tabs stay, as `\\n` and `\\t`.

    A lone surrogate, which is not a character, becomes U+FFFD.
    """
    return _UNSAFE.sub(_escape, _LINE_END.sub("\n", text))


def one_line(text: str) -> str:
    """Escape like `visible`, and also line ends and tabs, so that the text is one line."""
    return re.sub("[\t\n]", lambda found: _SHORT_ESCAPES[found[0]], visible(text))


def without_slack_markup(text: str) -> str:
    """Escape control characters, and what Slack would read as a mention, a link, an emoji, a quote or a format.

    Slack has no escapes for its formats, so each sign of one becomes a character that looks like it.
    """
    plain = _SLACK_FORMAT.sub(lambda found: found[0].translate(_SLACK_LOOK_ALIKES), visible(text))
    return plain.translate(_SLACK_ENTITIES)


def shorten(text: str, limit: int) -> str:
    """Cut a text to at most `limit` characters, and append how many were cut: `abc… (+997)`.

    If the limit is too small for that, return only the beginning.
    """
    if len(text) <= limit:
        return text
    kept = max(limit - len(f"… (+{len(text)})"), 0)
    return f"{text[:kept].rstrip()}… (+{len(text) - kept})" if kept else text[: max(limit, 0)]


def steps(runbook: str) -> list[str]:
    """Split a runbook into steps, without their numbers and bullets.

    Each line is a step. If there are numbers or bullets, a line without one continues the step above, unless a blank line
    separates them.
    """
    lines = runbook.splitlines()
    is_list = any(_LIST_MARK.match(line) for line in lines)
    found: list[list[str]] = []  # the lines of each step
    is_continued = False
    for line in lines:
        mark = _LIST_MARK.match(line)
        text = line[mark.end() if mark else 0 :].strip()
        if text and is_continued and not mark:
            found[-1].append(text)
        elif text:
            found.append([text])
        is_continued = is_list and bool(text)
    return [" ".join(texts) for texts in found]


def _escape(found: re.Match[str]) -> str:
    if len(found[0]) > 1:  # a flag
        return found[0]
    code = ord(found[0])
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
