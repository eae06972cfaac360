"""Text that came from elsewhere, made safe to look at: shown in full or shortened with a count, never able to act.

Control characters move a terminal's cursor and forge lines, bidirectional marks make a text read as another one, invisible
ones hide in names; all of them are shown as escapes. Right-to-left letters, accents and emoji are left alone.
"""

from __future__ import annotations

import re

# Cc, the bidirectional marks, the separators that some readers take for a line's end, the invisible formatters, and the
# halves of surrogate pairs, which no encoding takes. The joiners U+200C and U+200D stay: Persian and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_LINE_END = re.compile("\r\n?")
_LIST_MARK = re.compile(r"\s*(?:\d{1,3}[.)]|[-*•])\s+")
_SHORT_ESCAPES = {"\t": "\\t", "\n": "\\n"}


def visible(text: str) -> str:
    """Show what would act unseen as an escape such as `\\x1b` or `\\u202e`; line ends and tabs stay, as `\\n` and `\\t`.

    A lone surrogate, which is no character, becomes U+FFFD.
    """
    return _UNSAFE.sub(_escape, _LINE_END.sub("\n", text))


def one_line(text: str) -> str:
    """Do as `visible` does and show line ends and tabs as escapes too, so that one text stays one line."""
    return re.sub("[\t\n]", lambda found: _SHORT_ESCAPES[found[0]], visible(text))


def shorten(text: str, limit: int) -> str:
    """Cut a text to at most `limit` characters, saying how many were cut: `abc… (+997)`.

    A limit too small for the count gives the bare beginning.
    """
    if len(text) <= limit:
        return text
    kept = max(limit - len(f"… (+{len(text)})"), 0)
    return f"{text[:kept].rstrip()}… (+{len(text) - kept})" if kept else text[: max(limit, 0)]


def steps(runbook: str) -> list[str]:
    """Split a runbook into its steps, without their own numbers and bullets.

    Each line is one; where there are such marks, one without goes on with the step above it, unless a blank line parts them.
    """
    lines = runbook.splitlines()
    is_list = any(_LIST_MARK.match(line) for line in lines)
    found: list[str] = []
    is_going_on = False
    for line in lines:
        text = _LIST_MARK.sub("", line, count=1).strip()
        if text and is_going_on and not _LIST_MARK.match(line):
            found[-1] += f" {text}"
        elif text:
            found.append(text)
        is_going_on = is_list and bool(text)
    return found


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
