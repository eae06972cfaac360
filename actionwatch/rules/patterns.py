"""Texts with wildcards and regular expressions, as checks that take linear time whatever text an attacker writes."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import re2
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RE2RegexEngine, RegexPattern
from sigma.types import SpecialChars

from actionwatch.base.unicode import canonical

Check = Callable[[str], bool]
Search = Callable[[bytes, int], Any]
"""Finds the first match at or after a byte: an object with its `start()`, or None."""

quote: Callable[[str], str] = re2.escape
_compile: Callable[..., Any] = re2.compile  # typed for texts alone, though it takes bytes as well


def wildcard_check(parts: Sequence[str | SpecialChars]) -> Check:
    """Make the check of a text with wildcards: the usual shapes by Python's own string methods, the rest by RE2.

    A `?` stands for one character; in a case-folded text 'ß' is two.
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
    """Make the check that looks for a pattern anywhere in a text.

    Raises: ValueError where RE2 refuses the pattern.
    """
    search = _compile_quietly(pattern).search
    return lambda text: search(encode(text)) is not None


def encode(text: str) -> bytes:
    """Encode a text as RE2 reads it, in the normal form that patterns have.

    Half of a surrogate pair, as "\\ud800" in JSON gives it, becomes U+FFFD.
    """
    text = text if text.isascii() else canonical(text)  # asked here too: a call for each pattern and text would add up
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


class Joined:
    """Texts as one, each in lines of its own: a pass over them all costs little more than one over a single text."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Take one text at least."""
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
        """Give the places of the texts in which a search finds something that begins there, in order."""
        place = 0
        while place < len(self) and (found := search(self.whole, self._starts[place])) is not None:
            place = bisect_right(self._starts, found.start(), place) - 1
            yield place
            place += 1


def pattern_search(pattern: str) -> Search | None:
    """Make the search for a pattern in joined texts; it may find more than is in each by itself, and never less.

    `^` and `$` hold at every line, and a line's end is no part of a word, as a text's end is none. None where a pattern
    speaks of the ends of the whole, or takes that meaning from `^` and `$`.
    """
    if _OF_THE_WHOLE.search(pattern):
        return None
    try:
        search: Search = _compile_quietly(f"(?m){pattern}").search
    except ValueError:  # at the very limit of size
        return None
    return search


class PatternFilter:
    """Many patterns, and one pass over texts that tells which of them can be in any: those whose literal parts all are.

    Only literals are looked for together. One automaton for the patterns themselves (RE2's Set) grows with their gaps: with a
    hundred of `a.*b` it was slower than trying a quarter of them one by one. Literals too many for RE2's memory, such as a list
    of ten thousand words in a pattern, are refused when they are compiled, never later: all patterns then count as possible.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Take patterns that `pattern_check` accepts."""
        options = re2.Options()
        options.log_errors = False
        found = re2.Filter()
        for pattern in patterns:
            found.Add(pattern, options)
        self._all = range(len(patterns))
        self._filter: Any = found
        try:
            found.Compile()
        except re2.error:
            self._filter = None

    def possible(self, text: bytes) -> Sequence[int]:
        """Give the places of the patterns that can be in a text; all where that cannot be told."""
        if self._filter is None:
            return self._all
        places: Sequence[int] = self._filter.Match(text, potential=True) or ()
        return places


def _compile_quietly(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # RE2 would print to standard error
    try:
        return _compile(pattern, options)
    except re2.error as exc:
        reason = exc.args[0] if exc.args else "no reason given"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"RE2 refuses the pattern '{pattern}': {text}") from exc


class _QuietEngine(RE2RegexEngine):
    """RE2 as pySigma uses it to check patterns; it does so before it knows their flags."""

    def compile(self, pattern: str, flags: int = 0) -> RegexPattern:
        del flags
        compiled: RegexPattern = _compile_quietly(pattern)
        return compiled


POLICY = SigmaPolicy(regex_engine=_QuietEngine())
_OF_THE_WHOLE = re.compile(r"\\[Az]|\(\?[a-zA-Z]*-")
_WILDCARDS = {SpecialChars.WILDCARD_MULTI: ".*", SpecialChars.WILDCARD_SINGLE: "."}
