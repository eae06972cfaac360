"""Find a rule as people wrote it, with comments: the store keeps only what runs."""

from __future__ import annotations

from pathlib import Path

from actionwatch.base.errors import ConfigError
from actionwatch.text.yaml_document import read_bounded, read_text

_BETWEEN = "---"


def text_in_file(file: str, line: int, running: str) -> str | None:
    """Return the document around a line of a file. None: the file cannot be read, or has another version than `running`."""
    try:
        lines = read_bounded(Path(file)).splitlines(keepends=True)
        ends = [number for number, text in enumerate(lines) if text.rstrip() == _BETWEEN]
        begin = max((end + 1 for end in ends if end < line), default=0)
        text = "".join(lines[begin : min((end for end in ends if end >= line), default=len(lines))])
        return text.lstrip("\n") if _value(text) == _value(running) else None
    except ConfigError:
        return None


def _value(text: str) -> str:
    # As text, because Python finds `true`, 1 and 1.0 equal.
    return repr([document.value for document in read_text(text, "rule")])
