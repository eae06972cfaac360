"""Read the query of a URL: filters and the place at which a page of a list begins. Every mistake gets a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from starlette.datastructures import QueryParams

from actionwatch.base.clock import EPOCH, TIMES_END
from actionwatch.base.durations import parse_duration
from actionwatch.base.plurals import counted
from actionwatch.store.column_types import from_micros, to_micros
from actionwatch.text.escaping import shorten

MAX_CHARS = 500  # of one value: names and words are shorter
_SHOWN_CHARS = 60
_T = TypeVar("_T")


class Query:
    """The query of one request. `problems` are the sentences about its mistakes, by the name of the value."""

    def __init__(self, given: QueryParams, now: datetime) -> None:
        self._given = given
        self._now = now
        self.problems: dict[str, str] = {}

    def text(self, name: str) -> str | None:
        """Return a text without the spaces around it; None if it is empty or absent."""
        value = self._given.get(name, "").strip()
        if len(value) > MAX_CHARS:
            self.problems[name] = f"{name}: {counted(len(value), 'character')}: shorten it to {MAX_CHARS}"
            return None
        return value or None

    def raw(self, name: str) -> str:
        """Return a text as it was typed, to show it again."""
        return shorten(self._given.get(name, ""), MAX_CHARS)

    def choice(self, name: str, accepted: Mapping[str, _T], default: str) -> _T:
        """Return one of the accepted values."""
        return (self._chosen(name, accepted, [self._given.get(name, default)]) or [accepted[default]])[0]

    def choices(self, name: str, accepted: Mapping[str, _T]) -> list[_T]:
        """Return the accepted values that are given."""
        return self._chosen(name, accepted, [word for word in self._given.getlist(name) if word])

    def words(self, name: str) -> list[str]:
        """Return every text of a name that may be repeated."""
        return [word.strip()[:MAX_CHARS] for word in self._given.getlist(name) if word.strip()]

    def time(self, name: str) -> datetime | None:
        """Return a time: RFC 3339, in UTC without a zone, or a duration before now."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return self._now - parse_duration(text)
        except (ValueError, OverflowError):
            pass
        try:
            at = datetime.fromisoformat(
                text.replace(" ", "+") if "T" in text else text
            )  # a browser sends `+` as a space
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            if EPOCH <= at.astimezone(UTC) <= TIMES_END:
                return at.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        shown = shorten(text, _SHOWN_CHARS)
        self.problems[name] = f"{name}: {shown} is not a time: use 7d (before now) or 2026-11-25T09:00Z"
        return None

    def place(self, name: str, *kinds: type[datetime] | type[str]) -> tuple[Any, ...] | None:
        """Return the place after which a list continues, as `place` wrote it: one value of each kind. None: it begins."""
        given = self._given.get(name, "")
        if not given:
            return None
        texts = [unquote(text) for text in given.split(",")]
        try:
            if len(texts) == len(kinds):
                return tuple(
                    _instant(text) if kind is datetime else text for text, kind in zip(texts, kinds, strict=True)
                )
        except (ValueError, OverflowError):
            pass
        self.problems[name] = f"{name}: no place in this list: begin at its first page"
        return None

    def _chosen(self, name: str, accepted: Mapping[str, _T], words: list[str]) -> list[_T]:
        wrong = [word for word in words if word not in accepted]
        if wrong:
            shown = shorten(wrong[0], _SHOWN_CHARS)
            self.problems[name] = f"{name}: {shown} is unknown: use {', '.join(accepted)}"
        return [accepted[word] for word in words if word in accepted]


def place(*parts: datetime | str) -> str:
    """Write the place of an item in a list: the values by which the list is ordered."""
    return ",".join(quote(part if isinstance(part, str) else str(to_micros(part)), safe="") for part in parts)


def _instant(text: str) -> datetime:
    at = from_micros(int(text))
    if not EPOCH <= at <= TIMES_END:
        raise ValueError("no time of this list")
    return at
