"""Walk a listing that is paged by offset, with as few assumptions as possible.

The paging rules of the upstream are not documented. Therefore the walk advances by the number of received records, because the
server may clamp the page size. A short page proves nothing. An empty page ends the walk. A total replaces that last request
only if it equals the number of received records.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future

from actionwatch.base.daemon_threads import DaemonThreads
from actionwatch.base.errors import BadRequest, BadResponse
from actionwatch.instaclustr.wire import Page

MAX_PAGES = 100_000  # a million records even if the server clamps pages to ten; bounds an endless listing
FAR = 2_000_000_000  # past the end of any listing; plus a page size it still fits into 31 bits


Fetch = Callable[[int, Callable[[], bool]], Page]
"""Fetches the page at an offset; the second argument says whether to continue retrying. Several threads call it."""


def walk(
    fetch: Fetch,
    *,
    in_flight: int,
    is_total_trusted: Callable[[], bool],
    max_pages: int = MAX_PAGES,
    threads: Callable[[str], Executor] = DaemonThreads,
) -> Iterator[Page]:
    """Yield every page in the order of its offset, including the empty page if no total ends the walk.

    `is_total_trusted`: whether totals are known to cover more than their page. Besides the last page, at most `in_flight` pages
    are in memory.

    Raises: BadResponse, if the upstream ignores `recordIndex` or the pages do not end; what `fetch` raises.
    """
    previous: Page | None = None
    is_index_proved = False
    pages = _Pages(fetch, in_flight, threads)
    try:
        for _ in range(max_pages):
            page = pages.next()
            if previous is not None and not is_index_proved and _are_equal(previous, page):
                _prove_index(fetch)
                is_index_proved = True
            is_last = not page.records or _is_complete(page, is_total_trusted())
            if not is_last:
                pages.advance(page)  # before yielding, so that the next pages are fetched in parallel
            yield page
            if is_last:
                return
            previous = page
    finally:
        pages.abandon()
    raise BadResponse(f"the listing did not end within {max_pages} pages", "query a shorter time range")


def _is_complete(page: Page, is_total_trusted: bool) -> bool:
    """Return whether the total is reached. If it is exceeded it is wrong, and only an empty page ends the walk."""
    return is_total_trusted and page.total == page.record_index + len(page.records)


def _are_equal(one: Page, other: Page) -> bool:
    if not other.records or len(one.records) != len(other.records):
        return False
    return all(a.raw == b.raw for a, b in zip(one.records, other.records, strict=True))


def _prove_index(fetch: Fetch) -> None:
    """Request a page far past the end. If it has records too, `recordIndex` is ignored; else the equal pages are real."""
    try:
        page = fetch(FAR, lambda: True)
    except BadRequest:
        return  # it evaluates recordIndex
    if page.records:
        what = "the upstream ignores recordIndex: every page is the first"
        raise BadResponse(what, "records after the first page cannot be read")


class _Pages:
    """Returns pages in order, and prefetches once the total and the length of the first page are known."""

    def __init__(self, fetch: Fetch, in_flight: int, threads: Callable[[str], Executor]) -> None:
        self._fetch = fetch
        self._in_flight = in_flight
        self._index = 0
        self._step = 0
        """The length of the first page; 0 after a page had another length, because offsets are then unpredictable."""
        self._ahead: deque[Future[Page]] = deque()
        self._ahead_index = 0
        self._drops = 0
        self._threads = threads("user-actions")

    def next(self) -> Page:
        """Return the page at the current offset."""
        if self._ahead:
            return self._ahead.popleft().result()
        return self._fetch(self._index, lambda: True)

    def advance(self, page: Page) -> None:
        """Advance past a page, and prefetch up to its total."""
        received = len(page.records)
        self._index = page.record_index + received
        if page.record_index == 0:
            self._step = received
        elif received != self._step:
            # The predicted offsets were wrong: continue one by one from the actual offset.
            self._drop()
            self._step = 0
        if self._in_flight > 1 and self._step:
            self._fill(page.total or 0)

    def abandon(self) -> None:
        """Discard prefetched pages; running requests end without retries."""
        self._drop()

    def _fill(self, total: int) -> None:
        if not self._ahead:
            self._ahead_index = self._index
            if self._index + self._step >= total:
                return  # at most one more page: nothing to prefetch
        drops = self._drops
        while len(self._ahead) < self._in_flight and self._ahead_index < total:
            future = self._threads.submit(self._fetch, self._ahead_index, lambda: self._drops == drops)
            self._ahead.append(future)
            self._ahead_index += self._step

    def _drop(self) -> None:
        self._drops += 1
        for future in self._ahead:
            future.cancel()
        self._ahead.clear()
