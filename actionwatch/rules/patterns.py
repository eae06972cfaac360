"""Texts with wildcards and regular expressions, as checks that take linear time whatever text an attacker writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import re2
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RE2RegexEngine, RegexPattern
from sigma.types import SpecialChars

Check = Callable[[str], bool]

WITNESS = "actionwatch-witness-7f3a"  # no text needs to be free of it: it only ever makes a pattern more possible

quote: Callable[[str], str] = re2.escape
_compile: Callable[..., RegexPattern] = re2.compile


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

    def found(text: str) -> bool:
        try:
            return search(text) is not None
        except UnicodeEncodeError:  # half of a surrogate pair, as "\\ud800" in JSON gives it
            whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return search(whole) is not None

    return found


class PatternFilter:
    """Many patterns, and one pass over a text that tells which of them can be in it: those whose literal parts all are.

    Only literals are looked for together. One automaton for the patterns themselves (RE2's Set) grows with their gaps: with a
    hundred of `a.*b` it was slower than trying a quarter of them one by one.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Take patterns that `pattern_check` accepts."""
        options = re2.Options()
        options.log_errors = False
        self._filter = re2.Filter()
        for pattern in [*patterns, quote(WITNESS)]:
            self._filter.Add(pattern, options)
        self._witness = len(patterns)
        self._filter.Compile()

    def possible(self, text: str) -> Sequence[int] | None:
        """Give the places of the patterns that can be in a text, and one place more; None where that cannot be told.

        RE2 gives up where its automaton would outgrow its memory, and that looks like no match at all. A witness added to every
        text tells the two apart.
        """
        try:
            places: Sequence[int] = self._filter.Match(f"{text}\n{WITNESS}", potential=True) or ()
        except UnicodeEncodeError:
            return None
        return places if self._witness in places else None


def _compile_quietly(pattern: str) -> RegexPattern:
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
        return _compile_quietly(pattern)


POLICY = SigmaPolicy(regex_engine=_QuietEngine())
_WILDCARDS = {SpecialChars.WILDCARD_MULTI: ".*", SpecialChars.WILDCARD_SINGLE: "."}
