"""The list of the sources: a filter and an order over their states. Pure: the state of all sources is read at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from actionwatch.base.search_words import caseless, words_of
from actionwatch.queries.pages import Page
from actionwatch.queries.source_health import SourceHealth
from actionwatch.queries.status import SourceState, has_labels
from actionwatch.store.statements import PageKey, PageKind
from actionwatch.text.matchers import Matcher

_MOST_RECORDS = 10**15  # of a source


class SourceOrder(StrEnum):
    """The orders of the list. Sources that are equal in it are in the order of their names."""

    WORST = "worst"
    NAME = "name"
    LAG = "lag"
    RECORDS = "records"


@dataclass(frozen=True, slots=True)
class SourceFilter:
    """Which sources a list has: those with all words in their names, labels that all matchers match, and this state."""

    text: str | None = None
    matchers: Sequence[Matcher] = ()
    health: SourceHealth | None = None

    def fits(self, source: SourceState, health: SourceHealth) -> bool:
        """Return whether a list has a source in a state."""
        if self.health not in (None, health) or not has_labels(source.name, self.matchers):
            return False
        name = caseless(source.name)
        return all(caseless(word) in name for word in words_of(self.text))


_Key = Callable[[SourceState, SourceHealth], PageKey]
_ORDERS: Mapping[SourceOrder, tuple[tuple[PageKind, ...], _Key]] = {
    SourceOrder.WORST: ((str, str), lambda source, health: (str(health.severity), source.name)),
    SourceOrder.NAME: ((str,), lambda source, _: (source.name,)),
    SourceOrder.LAG: ((datetime, str), lambda source, _: (source.proved_at, source.name)),
    SourceOrder.RECORDS: ((str, str), lambda source, _: (f"{_MOST_RECORDS - source.record_count:016}", source.name)),
}
"""Of what the places of a list in an order are made, and the place of a source, which does not depend on the present time."""


def place_of(order: SourceOrder) -> tuple[PageKind, ...]:
    """Return of what the places of a list in this order are made, for its cursor."""
    return _ORDERS[order][0]


def choose(
    sources: Iterable[SourceState], healths: Mapping[str, SourceHealth], wanted: SourceFilter
) -> list[SourceState]:
    """Return the sources that match a filter."""
    return [each for each in sources if wanted.fits(each, healths[each.name])]


def page(
    sources: Iterable[SourceState],
    healths: Mapping[str, SourceHealth],
    order: SourceOrder,
    limit: int,
    after: PageKey | None = None,
) -> Page[SourceState]:
    """Return the next sources in an order, after a place."""
    key = _ORDERS[order][1]
    placed = [(key(each, healths[each.name]), each) for each in sources]
    found = sorted((item for item in placed if after is None or item[0] > after), key=lambda item: item[0])
    shown = found[:limit]
    return Page([each for _, each in shown], shown[-1][0] if len(found) > limit else None)
