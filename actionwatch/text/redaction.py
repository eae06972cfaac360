"""Remove known secrets from texts that may contain them: logs, and the responses of servers that echo a request.

A secret is found as it is, and as the usual encoders of JSON, URLs, HTML, hexadecimal and base64 spell it; base64 also where
the secret is in the middle of other data, as a password in the credentials of a login. Redact first, then cut: a cut secret is
not found, and most of it would stay readable.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus

_LEAST_CHARS = 4  # shorter texts are no secrets, and redacting them would make texts unreadable
_LEAST_DERIVED_CHARS = 6  # of a part in base64: shorter ones are found in any text
_LEAST_BEGINNING_CHARS = 8  # of the beginning of a secret at the end of a text, which a server has cut


class Redaction:
    """Replaces secrets. Safe to share between threads."""

    def __init__(self, secrets: Iterable[str], mark: str = "[secret]") -> None:
        known = {spelling for secret in secrets if len(secret) >= _LEAST_CHARS for spelling in _spellings(secret)}
        # The longest first: replacing a part of a secret first would leave the rest visible.
        self._spellings = sorted(known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._spellings)))
        self._longest = max(map(len, known), default=0)
        self._mark = mark

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        if self._is_in(text):
            text = self._pattern.sub(lambda _: self._mark, text)
        return self._without_beginning(text)

    def excerpt(self, text: str, limit: int) -> str:
        """Return the beginning of the text without secrets, at most `limit` characters, without reading far beyond."""
        made, at = "", 0
        while len(made) < limit and self._is_in(text[at : at + limit + self._longest]):
            found = self._pattern.search(text, at)
            if found is None:
                break
            made += text[at : found.start()] + self._mark
            at = found.end()
        rest = text[at : at + limit]
        return (made + (rest if at + limit < len(text) else self._without_beginning(rest)))[:limit]

    def _is_in(self, text: str) -> bool:
        return any(spelling in text for spelling in self._spellings)  # a tenth of the cost of the pattern

    def _without_beginning(self, text: str) -> str:
        """Replace the beginning of a secret at the end of a text."""
        end = text[-self._longest :]
        for spelling in self._spellings:
            if spelling[:_LEAST_BEGINNING_CHARS] not in end:
                continue
            for length in range(len(spelling) - 1, _LEAST_BEGINNING_CHARS - 1, -1):
                if end.endswith(spelling[:length]):
                    return text[:-length] + self._mark
        return text


# What encoders of JSON write as a number although JSON does not require it, and whether in capitals: Python and Ruby, Java
# (Jackson), Go, Gson, .NET. With "€", they do so with everything that is not ASCII.
_JSON_NUMBERED = (("", False), ("€", False), ("€", True), ("<>&", False), ("<>&='", False), ("€<>&'+`\"", True))
_HTML_QUOTES: tuple[Mapping[str, str], ...] = (
    {},
    {'"': "&quot;", "'": "&#x27;"},
    {'"': "&quot;", "'": "&#39;"},
    {'"': "&quot;", "'": "&apos;"},
)
_HTML_OF_GO = {'"': "&#34;", "'": "&#39;", "+": "&#43;"}
_KEPT_IN_URLS = ("", "/", "-_.!~*'()", ";,/?:@&=+$-_.!~*'()#")  # a part, a path; encodeURIComponent and encodeURI


def _spellings(secret: str) -> Iterator[str]:
    for text in dict.fromkeys(_as_json(secret, *each) for each in _JSON_NUMBERED):
        yield from (text, text.replace("/", r"\/"), _as_json(text, "", False))
    yield from (_as_html(secret, quotes) for quotes in (*_HTML_QUOTES, _HTML_OF_GO))
    urls = [quote_plus(secret, errors="replace"), *(quote(secret, safe, errors="replace") for safe in _KEPT_IN_URLS)]
    for quoted in (secret, *urls, quote(urls[1], safe="")):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)
    data = secret.encode("utf-8", "replace")
    yield from (data.hex(), data.hex().upper())
    for core in filter(lambda core: len(core) >= _LEAST_DERIVED_CHARS, _base64_cores(data)):
        yield core
        yield core.translate(_URL_SAFE)
        yield quote(core, safe="")


_URL_SAFE = str.maketrans("+/", "-_")


def _as_json(text: str, numbered: str, is_upper: bool) -> str:
    def escape(char: str) -> str:
        if char not in numbered and (char.isascii() or "€" not in numbered):
            return json.dumps(char, ensure_ascii=False)[1:-1]
        units = char.encode("utf-16-be", "surrogatepass").hex(" ", 2)
        return "".join(f"\\u{unit.upper() if is_upper else unit}" for unit in units.split())

    return "".join(map(escape, text))


def _as_html(text: str, quotes: Mapping[str, str]) -> str:
    return "".join(quotes.get(char, char) for char in html.escape(text, quote=False))


def _base64_cores(data: bytes) -> Iterator[str]:
    """Return the characters of base64 that depend on the data alone, for its three positions in the encoded text."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode()
        first = (before * 8 + 5) // 6  # the characters that also depend on the text before
        last = (before + len(data)) * 8 // 6  # and on the text after
        yield text[first:last]
