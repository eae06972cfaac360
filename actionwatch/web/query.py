"""Read the query of a URL: filters and the place at which a page of a list begins. Every mistake gets a sentence."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from starlette.datastructures import QueryParams

from actionwatch.base.clock import EPOCH, TIMES_END, from_micros, to_micros
from actionwatch.base.durations import parse_duration
from actionwatch.base.model import Level
from actionwatch.store.statements import PageKind
from actionwatch.text.escaping import shorten
from actionwatch.web.problems import InvalidRequest

MAX_QUERY_BYTES = 8192  # a filter with every field has a few hundred
MAX_PARAMETERS = 100  # of a query or a form, which may select 50 rows
MAX_CHARS = 500  # of one value: names and words are shorter
_SHOWN_CHARS = 60
_T = TypeVar("_T")


class UrlQuery:
    """The query of one request. `problems` are the sentences about its mistakes, by the name of the value."""

    def __init__(self, given: QueryParams) -> None:
        self.given = given
        self.problems: dict[str, str] = {}

    def raw(self, name: str) -> str:
        """Return a text as it was typed, to show it again."""
        return shorten(self.given.get(name, ""), MAX_CHARS)

    def choice(self, name: str, accepted: Mapping[str, _T], default: str) -> _T:
        """Return one of the accepted values."""
        word = self.given.get(name, default)
        if word not in accepted:
            self.problems[name] = f"{name}: {shorten(word, _SHOWN_CHARS)} is unknown: use {', '.join(accepted)}"
        return accepted.get(word, accepted[default])

    def after(self, *kinds: PageKind) -> tuple[Any, ...] | None:
        """Return the place `after` which a list continues, as `cursor` wrote it: one value of each kind. None: it begins."""
        try:
            return read_cursor("after", self.given.get("after"), *kinds)
        except InvalidRequest as exc:
            self.problems["after"] = str(exc)
            return None


def grouped(given: QueryParams) -> dict[str, list[str]]:
    """Return the values of each name, in one pass: `getlist` for each name takes seconds for a long query."""
    found: dict[str, list[str]] = {}
    for name, value in given.multi_items():
        found.setdefault(name, []).append(value)
    return found


def check_parameters(given: bytes, most_bytes: int) -> None:
    """Check the size of an encoded query or form before it is parsed. Raises: InvalidRequest, with what follows its name."""
    if len(given) > most_bytes:
        raise InvalidRequest(f"has {len(given):,} bytes: at most {most_bytes:,} are accepted")
    if (count := given.count(b"&") + 1) > MAX_PARAMETERS:
        raise InvalidRequest(f"has {count:,} parameters: at most {MAX_PARAMETERS} are accepted")


def read_time(text: str, now: datetime) -> datetime:
    """Return a time: RFC 3339, in UTC without a zone, or a duration before now. Raises: ValueError, with what helps."""
    try:
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        pass
    at = parse_instant(text.replace(" ", "+") if "T" in text else text)  # a browser sends `+` as a space
    if at is None:
        raise ValueError(f"{shorten(text, _SHOWN_CHARS)} is not a time: use 7d (before now) or 2026-11-25T09:00Z")
    return at


def read_cursor(name: str, given: str | None, *kinds: PageKind) -> tuple[Any, ...] | None:
    """Return the place after which a list continues, as `cursor` wrote it. None: it begins. Raises: InvalidRequest."""
    if not given:
        return None
    try:
        written = base64.b64decode(given.encode(), altchars=b"-_", validate=True).decode()
        texts = [unquote(text) for text in written.split(",")]
        if len(texts) == len(kinds) and "\0" not in "".join(texts):  # no text in PostgreSQL can have it
            return tuple(_READERS[kind](text) for text, kind in zip(texts, kinds, strict=True))
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest(f"{name}: not a position in this list: begin at its first page")


def parse_instant(text: str) -> datetime | None:
    """Return an RFC 3339 time, in UTC without a zone; None if it is none, or centuries away."""
    try:
        at = datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if EPOCH <= at <= TIMES_END else None


def cursor(found: Sequence[datetime | str | Level] | None) -> str | None:
    """Write a place, the values by which a list is ordered, so that nobody takes it apart; None at the end of a list."""
    if found is None:
        return None
    texts = (str(to_micros(each) if isinstance(each, datetime) else each) for each in found)
    text = ",".join(quote(each, safe="") for each in texts)
    return base64.urlsafe_b64encode(text.encode()).decode()


def _instant(text: str) -> datetime:
    at = from_micros(int(text))
    if not EPOCH <= at <= TIMES_END:
        raise ValueError("no time of this list")
    return at


_READERS: Mapping[PageKind, Callable[[str], Any]] = {
    datetime: _instant,
    str: str,
    Level: lambda text: Level(int(text)),
}
