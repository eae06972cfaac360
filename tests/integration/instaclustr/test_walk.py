"""Reading a listing from servers that divide pages in every way."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from actionwatch.base.errors import BadResponse, SourceUnavailable
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.walk import FAR
from actionwatch.instaclustr.walk import walk as walk_pages
from actionwatch.instaclustr.wire import Page
from tests.cases import in_one_test
from tests.integration.instaclustr.upstream import (
    ReceivedRequest,
    Responder,
    Response,
    Upstream,
    actions,
    listing,
    respond,
)
from tests.waiting import pause, wait_for_event, wait_until


def walk(
    responder: Responder, page_size: int = 10, in_flight: int = 4, walks: int = 1
) -> tuple[list[Page], list[ReceivedRequest]]:
    """Walk `walks` times, and return the pages and the requests of the last walk."""
    pages: list[Page] = []
    with Upstream(responder) as upstream, upstream.client() as client:
        for _ in range(walks):
            upstream.asked.clear()
            pages = list(client.user_actions(Query(), page_size=page_size, in_flight=in_flight))
        return pages, list(upstream.asked)


def ids(pages: list[Page]) -> list[str | None]:
    return [record.upstream_id for page in pages for record in page.records]


def expected(count: int) -> list[str]:
    return [f"r-{n}" for n in range(count)]


@in_one_test("in_flight", [1, 2, 4])
@in_one_test("has_total", [True, False])
@in_one_test("clamp", [1000, 7, 1])
@in_one_test("count", [0, 1, 9, 10, 11, 20, 43])
def test_every_record_is_returned_once_in_order(count: int, clamp: int, has_total: bool, in_flight: int) -> None:
    """With any page limit and total, a walk returns each record once, in the order of the listing."""
    pages, _ = walk(listing(actions(count), clamp=clamp, has_total=has_total), in_flight=in_flight)
    assert ids(pages) == expected(count)
    assert [page.record_index for page in pages] == [
        sum(len(before.records) for before in pages[:n]) for n in range(len(pages))
    ]


def test_trusted_total_saves_the_last_request() -> None:
    """A total that covers only its own page proves nothing until one has covered more."""
    _, asked = walk(listing(actions(5)))
    assert [each.index for each in asked] == [0, 5]
    _, asked = walk(listing(actions(25)))
    assert sorted(each.index for each in asked) == [0, 10, 20]
    with Upstream(listing(actions(5))) as upstream, upstream.client() as client:
        assert client.counts(Query()).total == 5
        assert client.has_seen_total_beyond_page
        pages = list(client.user_actions(Query()))
        assert [len(page.records) for page in pages] == [5]
        assert len(upstream.asked) == 2


@in_one_test("total", [0, 3, 10, 15, 1000])
@in_one_test("in_flight", [1, 4])
def test_a_wrong_total_loses_nothing(total: int, in_flight: int) -> None:
    """If the total is too low or too high, only an empty page ends the walk."""
    pages, _ = walk(listing(actions(25), total=total), in_flight=in_flight)
    assert ids(pages) == expected(25)
    assert pages[-1].records == []


def test_total_of_the_records_so_far_loses_nothing() -> None:
    """A total that counts the records up to the end of the page does not end the walk."""
    records = actions(25)

    def responder(asked: ReceivedRequest) -> Response:
        page = records[asked.index : asked.index + asked.size]
        return respond([{"totalResults": asked.index + len(page), "resources": page}])

    assert ids(walk(responder)[0]) == expected(25)


def test_short_page_in_the_middle_loses_nothing() -> None:
    """After a page that is shorter than predicted, the walk returns the records that it left out."""
    records = actions(60)

    def responder(asked: ReceivedRequest) -> Response:
        size = 4 if asked.index == 20 else asked.size
        return respond([{"totalResults": 60, "resources": records[asked.index : asked.index + size]}])

    pages, _ = walk(responder)
    assert ids(pages) == expected(60)
    assert [page.record_index for page in pages] == [0, 10, 20, 24, 34, 44, 54]


def test_long_page_in_the_middle_repeats_nothing() -> None:
    """After a page that is longer than the first, the walk continues after its last record."""
    records = actions(60)

    def responder(asked: ReceivedRequest) -> Response:
        size = 15 if asked.index == 20 else asked.size
        return respond([{"totalResults": 60, "resources": records[asked.index : asked.index + size]}])

    assert ids(walk(responder)[0]) == expected(60)


@pytest.mark.parametrize("in_flight", [1, 4])
def test_growing_window_is_read_to_its_end(in_flight: int) -> None:
    """Records that appear during the walk are returned too, and the totals show the change."""
    records = actions(35)
    visible = [25]
    lock = threading.Lock()

    def responder(asked: ReceivedRequest) -> Response:
        with lock:
            if asked.index >= 10:
                visible[0] = 35
            count = visible[0]
        return respond([{"totalResults": count, "resources": records[:count][asked.index : asked.index + asked.size]}])

    pages, _ = walk(responder, in_flight=in_flight)
    assert ids(pages) == expected(35)
    assert (pages[0].total, pages[-1].total) == (25, 35)


def same_page(asked: ReceivedRequest) -> Response:
    return respond([{"resources": actions(10)}])


def same_page_with_total(asked: ReceivedRequest) -> Response:
    return respond([{"totalResults": 40, "resources": actions(10)}])


@pytest.mark.parametrize("responder", [same_page, same_page_with_total])
@pytest.mark.parametrize("in_flight", [1, 4])
def test_an_ignored_record_index_is_an_error(responder: Responder, in_flight: int) -> None:
    """A server that responds to every offset with its first page is detected before the page counts as twins."""
    with pytest.raises(BadResponse, match="ignores recordIndex"):
        walk(responder, in_flight=in_flight)


@pytest.mark.parametrize("has_total", [True, False])
def test_equal_pages_may_be_true_twins(has_total: bool) -> None:
    """Identical records can form equal pages: one request far beyond the end settles this for the walk."""
    twins: list[dict[str, Any]] = [{"action": "BACKUP", "timestamp": 1699190130}] * 6
    pages, asked = walk(listing(twins, clamp=2, has_total=has_total))
    assert sum(len(page.records) for page in pages) == 6
    assert [each.index for each in asked].count(FAR) == 1


def test_server_that_refuses_high_offsets_does_not_ignore_them() -> None:
    """A server that refuses offsets far beyond the end does not ignore them."""
    twins: list[dict[str, Any]] = [{"action": "BACKUP"}] * 4
    honest = listing(twins, clamp=2)

    def responder(asked: ReceivedRequest) -> Response:
        return respond({"message": "too far"}, 400) if asked.index > 10**6 else honest(asked)

    assert sum(len(page.records) for page in walk(responder)[0]) == 4


def test_a_listing_without_end_is_an_error() -> None:
    """The number of pages is limited."""

    def fetch(record_index: int, is_wanted: Callable[[], bool]) -> Page:
        with_time = client.reader.read_all([{"id": record_index}], ["{}" + " " * record_index], now)
        return Page(with_time, None, None, now, record_index)

    with Upstream(same_page) as upstream, upstream.client() as client:
        now = datetime.now(UTC)
        pages = walk_pages(fetch, in_flight=1, is_total_trusted=lambda: True, max_pages=50)
        with pytest.raises(BadResponse, match="did not end within 50 pages"):
            list(pages)


def test_pages_are_fetched_concurrently_within_limits() -> None:
    """Several pages are fetched concurrently, never more than allowed, and none far ahead of the consumer."""
    honest = listing(actions(100))
    lock = threading.Lock()
    under_way, most, are_several = [0], [0], threading.Event()

    def responder(asked: ReceivedRequest) -> Response:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
            if most[0] > 1:
                are_several.set()
        if asked.index:  # the first page is fetched alone
            wait_for_event(are_several, "a second page under way")
        with lock:
            under_way[0] -= 1
        return honest(asked)

    with Upstream(responder) as upstream, upstream.client() as client:
        pages = client.user_actions(Query(), page_size=10, in_flight=3)
        got = [next(pages), next(pages)]
        pause(0.15)
        assert len(upstream.asked) <= 2 + 3
        got += list(pages)
    assert ids(got) == expected(100)
    assert 2 <= most[0] <= 3


def test_failing_page_fails_the_walk_at_its_position() -> None:
    """The earlier pages are returned, and those that were fetched ahead are dropped."""
    honest = listing(actions(100))

    def responder(asked: ReceivedRequest) -> Response:
        return Response(503) if asked.index == 30 else honest(asked)

    with Upstream(responder) as upstream, upstream.client() as client:
        pages = client.user_actions(Query(), page_size=10)
        got = [next(pages), next(pages), next(pages)]
        with pytest.raises(SourceUnavailable):
            next(pages)
    assert ids(got) == expected(30)


def test_an_abandoned_walk_leaves_no_thread() -> None:
    """If the consumer stops early, fetching stops."""
    with Upstream(listing(actions(100))) as upstream, upstream.client() as client:
        pages = client.user_actions(Query(), page_size=10)
        next(pages), next(pages)
        del pages
        wait_until(lambda: not _walkers(), "the end of the fetching", _walkers)


def _walkers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("user-actions")]


def test_page_has_total_counts_time_and_duration() -> None:
    """Every page has the total, the counts, the server's clock and the duration."""
    document = [{"totalResults": 1, "resources": actions(1), "actionCounts": {"CREATE_CLUSTER": 1}}]
    date = "Sun, 05 Nov 2023 13:15:30 GMT"

    def wire(handler: Any) -> None:
        body = json.dumps(document).encode()
        handler.wfile.write(
            b"HTTP/1.0 200 OK\r\nDate: %s\r\nContent-Length: %d\r\n\r\n%s" % (date.encode(), len(body), body)
        )

    with Upstream(lambda asked: Response(wire=wire)) as upstream, upstream.client() as client:
        page = client.counts(Query())
        assert page.counts == {"CREATE_CLUSTER": 1}
        assert page.server_date is not None
        assert page.server_date.isoformat() == "2023-11-05T13:15:30+00:00"
        assert page.took.total_seconds() > 0
        assert page.records[0].source == "acme"
        params = upstream.asked[0].params
        assert (params["pageSize"], params["getActionCounts"]) == (["1"], ["true"])
