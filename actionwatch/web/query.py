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
from actionwatch.base.plurals import counted
from actionwatch.text.escaping import shorten
from actionwatch.web.problems import InvalidRequest

MAX_QUERY_BYTES = 8192  # a filter with every field has a few hundred
MAX_PARAMETERS = 100  # of a query or a form, which may select 50 rows
MAX_CHARS = 500  # of one value: names and words are shorter
_SHOWN_CHARS = 60
_T = TypeVar("_T")


class UrlQuery:
    """The query of one request. `problems` are the sentences about its mistakes, by the name of the value."""

    def __init__(self, given: QueryParams, now: datetime) -> None:
        self._given = given
        self._values = grouped(given)
        self._now = now
        self.problems: dict[str, str] = {}

    def text(self, name: str) -> str | None:
        """Return a text without the spaces around it; None if it is empty or absent."""
        value = self._given.get(name, "").strip()
        return value if value and self._is_short(name, value) else None

    def _is_short(self, name: str, value: str) -> bool:
        if len(value) > MAX_CHARS:
            self.problems[name] = f"{name}: {counted(len(value), 'character')}: shorten it to {MAX_CHARS}"
        return len(value) <= MAX_CHARS

    def raw(self, name: str) -> str:
        """Return a text as it was typed, to show it again."""
        return shorten(self._given.get(name, ""), MAX_CHARS)

    def choice(self, name: str, accepted: Mapping[str, _T], default: str) -> _T:
        """Return one of the accepted values."""
        return (self._chosen(name, accepted, [self._given.get(name, default)]) or [accepted[default]])[0]

    def choices(self, name: str, accepted: Mapping[str, _T]) -> list[_T]:
        """Return the accepted values that are given."""
        return self._chosen(name, accepted, [word for word in self._values.get(name, ()) if word])

    def words(self, name: str) -> list[str]:
        """Return every text of a name that may be repeated."""
        found = [word.strip() for word in self._values.get(name, ()) if word.strip()]
        return [word for word in found if self._is_short(name, word)]

    def time(self, name: str) -> datetime | None:
        """Return a time: RFC 3339, in UTC without a zone, or a duration before now."""
        return self._read(name, lambda: read_time(name, self.text(name), self._now))

    def place(self, name: str, *kinds: type[datetime] | type[str]) -> tuple[Any, ...] | None:
        """Return the place after which a list continues, as `place` wrote it: one value of each kind. None: it begins."""
        return self._read(name, lambda: _read_place(name, self._given.get(name, ""), kinds))

    def _read(self, name: str, read: Callable[[], _T | None]) -> _T | None:
        try:
            return read()
        except InvalidRequest as exc:
            self.problems[name] = str(exc)
            return None

    def _chosen(self, name: str, accepted: Mapping[str, _T], words: list[str]) -> list[_T]:
        wrong = [word for word in words if word not in accepted]
        if wrong:
            shown = shorten(wrong[0], _SHOWN_CHARS)
            self.problems[name] = f"{name}: {shown} is unknown: use {', '.join(accepted)}"
        return [accepted[word] for word in words if word in accepted]


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


def read_time(name: str, text: str | None, now: datetime) -> datetime | None:
    """Return a time: RFC 3339, in UTC without a zone, or a duration before now. Raises: InvalidRequest."""
    if text is None:
        return None
    try:
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        pass
    at = parse_instant(text.replace(" ", "+") if "T" in text else text)  # a browser sends `+` as a space
    if at is not None:
        return at
    shown = shorten(text, _SHOWN_CHARS)
    raise InvalidRequest(f"{name}: {shown} is not a time: use 7d (before now) or 2026-11-25T09:00Z")


def read_cursor(name: str, given: str | None, *kinds: type[datetime] | type[str]) -> tuple[Any, ...] | None:
    """Return the place after which a list continues, as `cursor` wrote it. None: it begins. Raises: InvalidRequest."""
    try:
        text = base64.b64decode((given or "").encode(), altchars=b"-_", validate=True).decode()
    except ValueError:
        text = ","
    return _read_place(name, text, kinds)


def _read_place(name: str, given: str, kinds: Sequence[type[datetime] | type[str]]) -> tuple[Any, ...] | None:
    if not given:
        return None
    texts = [unquote(text) for text in given.split(",")]
    try:
        if len(texts) == len(kinds) and "\0" not in "".join(texts):  # no text in PostgreSQL can have it
            return tuple(_instant(text) if kind is datetime else text for text, kind in zip(texts, kinds, strict=True))
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


def place(*parts: datetime | str) -> str:
    """Write the place of an item in a list: the values by which the list is ordered."""
    return ",".join(quote(part if isinstance(part, str) else str(to_micros(part)), safe="") for part in parts)


def cursor(found: Sequence[datetime | str] | None) -> str | None:
    """Write a place so that a program does not take it apart; None at the end of a list."""
    return base64.urlsafe_b64encode(place(*found).encode()).decode() if found is not None else None


def _instant(text: str) -> datetime:
    at = from_micros(int(text))
    if not EPOCH <= at <= TIMES_END:
        raise ValueError("no time of this list")
    return at
