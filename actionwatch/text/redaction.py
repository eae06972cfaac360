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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote, quote_plus, unquote, urlsplit

_LEAST_CHARS = 4  # shorter texts are no secrets, and redacting them would make texts unreadable
_LEAST_DERIVED_CHARS = 6  # of a part in base64: shorter ones are found in any text
_LEAST_BEGINNING_CHARS = 8  # of the beginning of a secret, which a server has cut
_HEAD_CHARS = 8  # of a secret, by which it is looked up: a text that is none rarely has those of one
_FEW = 100  # texts that are searched one by one, which is quicker then
_LEAST_URL_PART_CHARS = 8  # shorter parts of a secret URL are words such as `hooks` or `v1`
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*://")
_READ_PER_CHAR = 16  # characters of a text that are read for each one of its excerpt: marks are shorter than secrets


Excerpt = Callable[[str, int], str]
"""Returns the beginning of a text that others wrote, at most so many characters, without secrets: `Redaction.excerpt`."""


class Redaction:
    """Replaces secrets. Safe to share between threads."""

    def __init__(
        self, secrets: Iterable[str], mark: str = "[secret]", *, logins: Iterable[tuple[str, str]] = ()
    ) -> None:
        """`logins` are names with their passwords, as HTTP Basic joins and encodes them. A name alone is no secret."""
        logins = list(logins)
        texts = [*secrets, *(password for _, password in logins)]
        known = {spelling for text in texts if len(text) >= _LEAST_CHARS for spelling in _spellings(text)}
        known |= {spelling for login in logins for spelling in _as_base64(":".join(login))}
        # The longest first: replacing a part of a secret first would leave the rest visible.
        self._spellings = sorted(known, key=len, reverse=True)
        self._wholes = _Wanted(self._spellings)
        # `https://` is no secret, although secrets begin with it.
        schemes = {each for text in texts if (found := _SCHEME.match(text)) for each in _spellings(found[0])}
        public = {
            each: max((len(scheme) for scheme in schemes if each.startswith(scheme)), default=0) for each in known
        }
        leasts = {each: count + _LEAST_BEGINNING_CHARS for each, count in public.items()}
        self._beginnings = _Wanted(sorted({each[:least] for each, least in leasts.items() if len(each) > least}))
        self._longest = max(map(len, known), default=0)
        self._mark = mark

    def __call__(self, text: str) -> str:
        """Return the text without secrets, and without the beginning of one at its end."""
        text = self._without_whole(text)
        start = max(len(text) - self._longest, 0)
        return text[:start] + self._without_beginnings(text[start:], is_end=True)

    def excerpt(self, text: str, limit: int) -> str:
        """Return the beginning of a text that others wrote, at most `limit` characters, without secrets and beginnings of them.

        Every such text in a message, an error or a log goes through here, uncut. Does not read far beyond the limit.
        """
        text = self._without_whole(text[: limit * _READ_PER_CHAR + self._longest])
        return self._without_beginnings(text, is_end=False)[:limit]

    def _without_whole(self, text: str) -> str:
        pattern = self._wholes.pattern_for(text)
        return text if pattern is None else pattern.sub(lambda _: self._mark, text)

    def _without_beginnings(self, text: str, *, is_end: bool) -> str:
        """Replace beginnings of secrets, which a server has cut: all of them, or one with which the text ends."""
        pattern = self._beginnings.pattern_for(text)
        if pattern is None:
            return text
        made, at = "", 0
        while (found := pattern.search(text, at)) is not None:
            end = found.start() + self._common(text[found.start() : found.start() + self._longest])
            if is_end and end < len(text):
                made, at = made + text[at : found.start() + 1], found.start() + 1
            else:
                made, at = made + text[at : found.start()] + self._mark, end
        return made + text[at:]

    def _common(self, text: str) -> int:
        """Return how many characters at the beginning of a text are those of a secret."""
        return max(_common_length(text, spelling) for spelling in self._spellings if spelling[:1] == text[:1])


class _Wanted:
    """Texts that are searched in others, in a time that does not depend on how many they are.

    A fleet has a key for each of a thousand sources, and each key has several spellings: a pattern of all takes a second to
    compile, and megabytes.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """The first ones are preferred to later ones that are found at the same place."""
        self._texts = texts
        heads = {text[:_HEAD_CHARS] for text in texts}
        self._heads = {length: {each for each in heads if len(each) == length} for length in set(map(len, heads))}

    def pattern_for(self, text: str) -> re.Pattern[str] | None:
        """Return a pattern of those that may be in a text; None if none is, as in nearly every text."""
        if len(self._texts) <= _FEW:
            found = [each for each in self._texts if each in text]
        else:
            heads = set[str]()
            for length, known in self._heads.items():
                heads |= known.intersection([text[at : at + length] for at in range(len(text) - length + 1)])
            found = [each for each in self._texts if each[:_HEAD_CHARS] in heads] if heads else []
        return re.compile("|".join(map(re.escape, found))) if found else None


def _common_length(one: str, other: str) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def in_header(value: str) -> list[str]:
    """Return what is secret in the value of a header: the whole, and what follows a scheme such as `Bearer`."""
    return [value, *value.split()[1:]]


def in_url(url: str) -> list[str]:
    """Return what is secret in a URL whose path and query are: all of it after the host, and its longer parts."""
    tail = url.split(urlsplit(url).netloc, 1)[-1]
    return [part for part in (tail, *re.split(r"[/?&=#;]", tail)) if len(part) >= _LEAST_URL_PART_CHARS]


def in_proxy(proxy: str | None) -> list[tuple[str, str]]:
    """Return the login in the URL of a proxy, if there is one."""
    parts = urlsplit(proxy or "")
    return [(unquote(parts.username or ""), unquote(parts.password))] if parts.password else []


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
    yield secret
    if not (secret.isascii() and secret.isalnum()):  # such a key is spelled one way by all of these
        yield from _quoted(secret)
    data = secret.encode("utf-8", "replace")
    yield from (data.hex(), data.hex().upper())
    yield from _as_base64(secret)


def _quoted(secret: str) -> Iterator[str]:
    for text in dict.fromkeys(_as_json(secret, *each) for each in _JSON_NUMBERED):
        yield from (text, text.replace("/", r"\/"), _as_json(text, "", False))
    yield from (_as_html(secret, quotes) for quotes in (*_HTML_QUOTES, _HTML_OF_GO))
    urls = [quote_plus(secret, errors="replace"), *(quote(secret, safe, errors="replace") for safe in _KEPT_IN_URLS)]
    for quoted in (secret, *urls, quote(urls[1], safe="")):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)


def _as_base64(text: str) -> Iterator[str]:
    for core in filter(lambda core: len(core) >= _LEAST_DERIVED_CHARS, _base64_cores(text.encode("utf-8", "replace"))):
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


NO_SECRETS = Redaction(())
"""Makes excerpts where nothing secret can be in a text: files of the operator."""
