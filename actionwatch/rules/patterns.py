"""Checks for wildcards and regular expressions that take linear time for every text, even from an attacker."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import re2
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RE2RegexEngine, RegexPattern
from sigma.types import SpecialChars

from actionwatch.base.unicode import canonical

Check = Callable[[str], bool]
Search = Callable[[bytes, int], Any]
"""Returns the first match at or after a byte: an object with `start()`, or None."""

quote: Callable[[str], str] = re2.escape
_compile: Callable[..., Any] = re2.compile  # typed for text only, but also accepts bytes
_MAX_KEPT = 4096  # compiled patterns: reading a rule compiles each of its patterns about eight times
_QUIET = re2.Options()
_QUIET.log_errors = False  # RE2 would print to standard error


def wildcard_check(parts: Sequence[str | SpecialChars]) -> Check:
    """Make the check for a text with wildcards: with Python's string methods in the usual cases, otherwise with RE2.

    A `?` matches one character; in a case-folded text 'ß' has two.
    """
    many = SpecialChars.WILDCARD_MULTI
    is_open_left, is_open_right = parts[:1] == [many], parts[-1:] == [many]
    inner = parts[is_open_left : len(parts) - (is_open_right and len(parts) > 1)]
    if any(isinstance(part, SpecialChars) for part in inner):
        pattern = "".join(_WILDCARDS[part] if isinstance(part, SpecialChars) else quote(part) for part in parts)
        return pattern_check(rf"(?s)\A{pattern}\z")
    text = "".join(map(str, inner))
    if is_open_left and is_open_right:
        return lambda found: text in found
    if is_open_left:
        return lambda found: found.endswith(text)
    if is_open_right:
        return lambda found: found.startswith(text)
    return lambda found: found == text


def pattern_check(pattern: str) -> Check:
    """Make the check that searches for a pattern anywhere in a text.

    Raises: ValueError if RE2 refuses the pattern.
    """
    search = _compile_quietly(pattern).search
    required = _required_texts(pattern)
    if not required:
        return lambda text: search(encode(text)) is not None
    is_all = required == (_ESCAPE.sub(r"\1", pattern),)

    def check(text: str) -> bool:
        text = text if text.isascii() else canonical(text)
        for part in required:  # a call of RE2 costs ten times as much
            if part not in text:
                return False
        return is_all or search(encode(text)) is not None

    return check


def _required_texts(pattern: str) -> tuple[str, ...]:
    """Return texts that each match contains, if the pattern is only ASCII texts with `.`, `.*` or `.+` between them."""
    texts = _TEXT.findall(pattern) if _TEXTS_AND_GAPS.fullmatch(pattern) else ()
    return tuple(_ESCAPE.sub(r"\1", text) for text in texts)


def encode(text: str) -> bytes:
    """Encode a text for RE2, in the normal form of the patterns.

    Half of a surrogate pair, such as "\\ud800" in JSON, becomes U+FFFD.
    """
    text = text if text.isascii() else canonical(text)  # checked here too, because a call per pattern and text is slow
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


class JoinedTexts:
    """Several texts as one, each on separate lines. A pass over all of them costs little more than over a single text."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Join the texts; at least one is required."""
        joined = "\n".join(texts)
        sized: Sequence[str] | Sequence[bytes] = texts
        if joined.isascii():
            self.whole = joined.encode()
        else:
            sized = list(map(encode, texts))
            self.whole = b"\n".join(sized)
        self._starts = list(accumulate(map((1).__add__, map(len, sized)), initial=0))

    def __len__(self) -> int:
        """Count the texts."""
        return len(self._starts) - 1

    def places(self, search: Search) -> Iterator[int]:
        """Yield the indexes of the texts in which a match of the search begins, in order."""
        place = 0
        while place < len(self) and (found := search(self.whole, self._starts[place])) is not None:
            place = bisect_right(self._starts, found.start(), place) - 1
            yield place
            place += 1


def pattern_search(pattern: str) -> Search | None:
    """Make the search for a pattern in joined texts. It finds at least the matches in the separate texts, perhaps more.

    `^` and `$` match at every line. The end of a line is a word boundary, like the end of a text. Return None if the pattern
    refers to the ends of the whole text, or turns this meaning of `^` and `$` off.
    """
    if _OF_THE_WHOLE.search(pattern):
        return None
    try:
        search: Search = _compile_quietly(f"(?m){pattern}").search
    except ValueError:  # with the prefix, the pattern can exceed the maximum size
        return None
    return search


class PatternFilter:
    """Finds in one pass which of many patterns can occur in a text: those whose literal parts all occur.

    It searches only for literals. One automaton for the whole patterns (RE2's Set) grows with their gaps: for a hundred of
    `a.*b` it was slower than trying a quarter of them one by one. If there are too many literals for RE2's memory, such as a
    list of ten thousand words in a pattern, RE2 refuses them when they are compiled. All patterns then count as possible.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Take patterns that `pattern_check` accepts."""
        found = re2.Filter()
        for pattern in patterns:
            found.Add(pattern, _QUIET)
        self._all = range(len(patterns))
        self._filter: Any = found
        try:
            found.Compile()
        except re2.error:
            self._filter = None

    def possible(self, text: bytes) -> Sequence[int]:
        """Return the indexes of the patterns that can occur in a text; all of them if that is unknown."""
        if self._filter is None:
            return self._all
        places: Sequence[int] = self._filter.Match(text, potential=True) or ()
        return places


def _compile_quietly(pattern: str) -> Any:
    try:
        return _compile_once(pattern)
    except re2.error as exc:
        reason = exc.args[0] if exc.args else "no reason given"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"RE2 refuses the pattern '{pattern}': {text}") from exc


@lru_cache(_MAX_KEPT)
def _compile_once(pattern: str) -> Any:
    return _compile(pattern, _QUIET)


class _QuietEngine(RE2RegexEngine):
    """RE2 for pySigma, which checks patterns before it knows their flags."""

    def compile(self, pattern: str, flags: int = 0) -> RegexPattern:
        del flags
        compiled: RegexPattern = _compile_quietly(pattern)
        return compiled


POLICY = SigmaPolicy(regex_engine=_QuietEngine())
_OF_THE_WHOLE = re.compile(r"\\[Az]|\(\?[a-zA-Z]*-")
_CHARACTER = r"""(?:[\w @/:,;=!%&'"<>~`-]|\\[!-/:-@\[-`{-~])"""
_TEXT = re.compile(f"{_CHARACTER}+", re.ASCII)
_TEXTS_AND_GAPS = re.compile(rf"(?:{_CHARACTER}|\.[*+]?\??)*", re.ASCII)
_ESCAPE = re.compile(r"\\(.)")
_WILDCARDS = {SpecialChars.WILDCARD_MULTI: ".*", SpecialChars.WILDCARD_SINGLE: "."}
