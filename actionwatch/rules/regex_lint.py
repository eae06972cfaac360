"""Find regular expressions that never match or always match, for `lint.py`.

Python's parser reads them, because its syntax is similar to RE2's. Patterns that it cannot parse are not checked.
"""

from __future__ import annotations

import re
import re._constants as sre_constants  # type: ignore[import-not-found]  # what the deprecated sre_parse has become
import re._parser as sre_parser  # type: ignore[import-not-found]
import warnings
from typing import Any

_REPEATS = (sre_constants.MAX_REPEAT, sre_constants.MIN_REPEAT)


def never_matches(pattern: str) -> bool:
    """Check whether a pattern can match no text, because it requires a character before `^` or after `$`."""
    parsed = _parse(pattern)
    return parsed is not None and not parsed.state.flags & re.MULTILINE and _is_impossible(parsed, 0)


def always_matches(pattern: str) -> bool:
    """Check whether a pattern matches every text, because it has no anchor and can be empty."""
    parsed = _parse(pattern)
    if parsed is None or any(kind is sre_constants.AT for kind, _ in parsed):
        return False
    return parsed.getwidth()[0] == 0 and all(kind in _REPEATS for kind, _ in parsed)


def _parse(pattern: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return sre_parser.parse(pattern)
        except (re.error, RecursionError, OverflowError, ValueError):
            return None


def _is_impossible(parsed: Any, before: int) -> bool:
    """Check a sequence; `before` is the least number of characters before it."""
    ends = False
    for kind, value in parsed:
        width = _least_width(kind, value, parsed.state)
        if kind is sre_constants.AT and value in (sre_constants.AT_BEGINNING, sre_constants.AT_BEGINNING_STRING):
            if before > 0:
                return True
        elif kind is sre_constants.AT and value in (sre_constants.AT_END, sre_constants.AT_END_STRING):
            ends = True
        elif ends and width > 0:
            return True
        elif kind is sre_constants.BRANCH:
            if all(_is_impossible(branch, before) for branch in value[1]):
                return True
        elif kind is sre_constants.SUBPATTERN and _is_impossible(value[-1], before):
            return True
        before += width
    return False


def _least_width(kind: Any, value: Any, state: Any) -> int:
    """Return the least number of characters that one part matches."""
    least: int = sre_parser.SubPattern(state, [(kind, value)]).getwidth()[0]
    return least
