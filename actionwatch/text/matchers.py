"""Alertmanager's matchers: tests of labels, which people write in routes, silences, rules, streams and commands.

Source: Alertmanager's `pkg/labels/parse.go` (matchers as before UTF-8 names).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import re2

from actionwatch.base.unicode import canonical

Labels = Mapping[str, str | tuple[str, ...]]
"""What matchers look at. A tuple holds the values that identify one thing, such as a cluster's id and name."""

_MATCHER = re.compile(r"\s*([A-Za-z_:][A-Za-z0-9_:.-]*)\s*(=~|=|!=|!~)\s*(.*?)\s*", re.DOTALL)
_NEEDS_QUOTES = frozenset(',{}"')  # Alertmanager would split at the comma and trim the braces
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}
_RE2 = re2.Options()
_RE2.log_errors = False  # RE2 prints to stderr otherwise


def is_matcher(text: str) -> bool:
    """Return whether a text has the form of a matcher, and not only that of a name."""
    return _MATCHER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Matcher:
    """A test of a label: `operator` is `=`, `!=`, `=~` or `!~`. Regular expressions match the whole value.

    Case is significant, the Unicode normal form is not.

    """

    label: str
    operator: str
    value: str
    _regex: Any = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """Return the matcher as people write it, which `parse_matcher` reads again."""
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{escaped}"'

    def is_met(self, labels: Labels) -> bool:
        """Return whether these labels match. Any of several values can match; for a negative matcher, all must."""
        found = labels.get(self.label, "")
        values = (found,) if isinstance(found, str) else found or ("",)
        is_any_equal = any(self._equals(value) for value in values)
        return is_any_equal != self.operator.startswith("!")

    def _equals(self, value: str) -> bool:
        if self._regex is None:
            return canonical(value) == canonical(self.value)
        # RE2 works on UTF-8, which cannot represent a lone surrogate from a JSON escape.
        return self._regex.fullmatch(canonical(value).encode("utf-8", "replace").decode()) is not None


def parse_matcher(text: str) -> Matcher:
    r"""Parse `name="value"`, with `=`, `!=`, `=~` or `!~`. Quotes are optional; `\"`, `\\` and `\n` are escapes.

    Raises: ValueError with `what: remedy`.
    """
    found = _MATCHER.fullmatch(text)
    if not found:
        raise ValueError('not a matcher: write label="value", with =, !=, =~ or !~')
    label, operator, written = found.groups()
    if written.startswith(("=", "~")):  # Alertmanager parses `a==b` as the value `=b`, which is never intended
        meant = written.lstrip("=~").strip('"') or "value"
        raise ValueError(f'the operator is one of =, !=, =~ and !~: did you mean {label}{operator}"{meant}"?')
    value = _unquote(written)
    if not operator.endswith("~"):
        return Matcher(label, operator, value)
    try:
        return Matcher(label, operator, value, re2.compile(canonical(value), _RE2))
    except (re2.error, UnicodeEncodeError) as exc:
        reason = exc.args[0].decode("utf-8", "replace") if exc.args and isinstance(exc.args[0], bytes) else "not UTF-8"
        raise ValueError(
            f"not a regular expression ({reason}): RE2 takes no lookaround and no back references"
        ) from exc


def _unquote(written: str) -> str:
    """Remove quotes and escapes from a value. As in Alertmanager, a backslash before any other letter is a backslash."""
    is_quoted = written.startswith('"')
    inner = written[1:-1] if is_quoted and len(written) > 1 and written.endswith('"') else written
    if is_quoted and inner is written:
        raise ValueError('a quote is not closed: write label="value"')
    if not is_quoted and _NEEDS_QUOTES & set(written):
        raise ValueError('a value with , { } or " needs quotes: write label="value", and one matcher per item')
    value: list[str] = []
    letters: Iterator[str] = iter(inner)
    for letter in letters:
        if letter == '"':
            raise ValueError(r"a quote within the value: write \"")
        if letter != "\\":
            value.append(letter)
            continue
        following = next(letters, "")
        if not following and is_quoted:
            raise ValueError(r"the last quote is escaped: write \\ for a backslash at the end")
        value.append(_ESCAPED.get(following, "\\" + following))
    return "".join(value)
