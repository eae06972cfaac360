"""The list of sources: filters, orders and pages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from actionwatch.base.source_labels import use_labels
from actionwatch.queries.source_health import SourceHealth
from actionwatch.queries.sources import SourceFilter, SourceOrder, choose, page, place_of
from actionwatch.queries.status import SourceState
from actionwatch.store.polls import Poll
from actionwatch.text.matchers import parse_matcher
from tests.builders import NOON, make_marks
from tests.cases import in_one_test

HOUR = timedelta(hours=1)
SOURCES = [
    SourceState("never"),
    SourceState("new", 3, make_marks(name="new")),
    SourceState("old", 20, make_marks(name="old", proved_through=NOON - HOUR)),
    # Its clock is ahead: by ours, it is proved up to three hours ago.
    SourceState("Ahead", 3, make_marks(name="Ahead", proved_through=NOON), Poll(NOON, 0, None, 3 * HOUR)),
]
HEALTHS = {
    "never": SourceHealth.SILENT,
    "new": SourceHealth.CURRENT,
    "old": SourceHealth.REFUSED,
    "Ahead": SourceHealth.CURRENT,
}


@pytest.fixture(autouse=True)
def labelled() -> Iterator[None]:
    """Two sources have labels."""
    use_labels({"new": {"customer": "acme"}, "old": {"customer": "acme", "tier": "gold"}})
    yield
    use_labels({})


@in_one_test(
    "text, labels, health, expected",
    [
        (None, [], None, ["never", "new", "old", "Ahead"]),
        ("NE", [], None, ["never", "new"]),
        ("a d", [], None, ["Ahead"]),
        (None, ["customer=acme"], None, ["new", "old"]),
        (None, ["customer=acme", "tier!=gold"], None, ["new"]),
        (None, ["source=~n.*"], None, ["never", "new"]),
        ("new", ["tier=gold"], None, []),
        (None, [], SourceHealth.CURRENT, ["new", "Ahead"]),
        ("n", ["customer=acme"], SourceHealth.CURRENT, ["new"]),
    ],
)
def test_all_filters_must_match(
    text: str | None, labels: list[str], health: SourceHealth | None, expected: list[str]
) -> None:
    """A source is listed if its name has all words, its labels match all matchers, and its state is the one asked for."""
    wanted = SourceFilter(text, [parse_matcher(label) for label in labels], health)
    assert [each.name for each in choose(SOURCES, HEALTHS, wanted)] == expected


ORDERED = [
    (SourceOrder.WORST, ["old", "never", "Ahead", "new"]),
    (SourceOrder.NAME, ["Ahead", "never", "new", "old"]),
    (SourceOrder.LAG, ["never", "Ahead", "old", "new"]),
    (SourceOrder.RECORDS, ["old", "Ahead", "new", "never"]),
]


@in_one_test("order, expected", ORDERED)
def test_pages_in_each_order_have_every_source_once(order: SourceOrder, expected: list[str]) -> None:
    """However long a page is, the pages together are the list in its order, and a place has the kinds of its cursor."""
    for limit in (1, 2, 3, 4, 5):
        after, found = None, list[str]()
        for _ in expected:
            part = page(SOURCES, HEALTHS, order, limit, after)
            found += [each.name for each in part.items]
            after = part.next
            if after is None:
                break
            assert [type(each) for each in after] == list(place_of(order))
        assert found == expected


def test_each_order_is_checked() -> None:
    """No order is missing above."""
    assert [order for order, _ in ORDERED] == list(SourceOrder)
