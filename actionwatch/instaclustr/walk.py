"""Walk a listing that is paged by offset, trusting as little of what it says as can be.

The upstream's rules of paging are not written down. So: advance by the records received, for the server may clamp the page
size; a short page proves nothing; an empty page ends the walk, and a total may save that last request only if as many came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from actionwatch.base.errors import BadRequest, BadResponse
from actionwatch.instaclustr.wire import Page

MAX_PAGES = 100_000  # a million records even where the server clamps pages to ten; an endless listing ends here
FAR = 2_000_000_000  # past the end of any listing, and with a page's length still within 31 bits


class Fetch(Protocol):
    """Fetches the page at an offset; `is_wanted` says whether trying on still makes sense. Called from several threads."""

    def __call__(self, record_index: int, is_wanted: Callable[[], bool]) -> Page: ...


def walk(
    fetch: Fetch, *, in_flight: int, is_total_trusted: Callable[[], bool], max_pages: int = MAX_PAGES
) -> Iterator[Page]:
    """Yield every page in the order of its offset, also the empty one that ends the walk where no total did.

    `is_total_trusted`: whether a total has ever covered more than what came with it, so that it says anything. At most
    `in_flight` pages are held beside the one that was yielded last.

    Raises: BadResponse, where `recordIndex` is ignored or the pages do not end; what `fetch` raises.
    """
    previous: Page | None = None
    is_index_proved = False
    pages = _Pages(fetch, in_flight)
    try:
        for _ in range(max_pages):
            page = pages.next()
            if previous is not None and not is_index_proved and _are_equal(previous, page):
                _prove_index(fetch)
                is_index_proved = True
            is_last = not page.records or _is_complete(page, is_total_trusted())
            if not is_last:
                pages.advance(page)  # before it is dealt with: what follows comes meanwhile
            yield page
            if is_last:
                return
            previous = page
    finally:
        pages.abandon()
    raise BadResponse(f"the listing did not end within {max_pages} pages", "ask for a shorter time")


def _is_complete(page: Page, is_total_trusted: bool) -> bool:
    """Return whether as many came as there are. More than that, and the total is wrong: only an empty page ends the walk then."""
    return is_total_trusted and page.total == page.record_index + len(page.records)


def _are_equal(one: Page, other: Page) -> bool:
    if not other.records or len(one.records) != len(other.records):
        return False
    return all(a.raw == b.raw for a, b in zip(one.records, other.records, strict=True))


def _prove_index(fetch: Fetch) -> None:
    """Ask far past the end: equal pages are twins under a clamp, unless that brings records too."""
    try:
        page = fetch(FAR, lambda: True)
    except BadRequest:
        return  # so it did look at recordIndex
    if page.records:
        raise BadResponse(
            "the upstream ignores recordIndex: every page is the first", "records beyond the first page cannot be read"
        )


class _Pages:
    """Hands out pages in order, fetching ahead once a total tells how many there are and page one how long they are."""

    def __init__(self, fetch: Fetch, in_flight: int) -> None:
        self._fetch = fetch
        self._in_flight = in_flight
        self._index = 0
        self._step = 0
        """The length of page one; 0 once a page's length differed from it, for then offsets cannot be predicted."""
        self._ahead: deque[Future[Page]] = deque()
        self._ahead_index = 0
        self._drops = 0
        self._executor: ThreadPoolExecutor | None = None

    def next(self) -> Page:
        """Return the page at the offset reached."""
        if self._ahead:
            return self._ahead.popleft().result()
        return self._fetch(self._index, lambda: True)

    def advance(self, page: Page) -> None:
        """Move past a page, and fetch ahead as far as its total says there is more."""
        received = len(page.records)
        self._index = page.record_index + received
        if page.record_index == 0:
            self._step = received
        elif received != self._step:
            # The offsets fetched ahead were predicted wrong: go on one by one from where we really are.
            self._drop()
            self._step = 0
        if self._in_flight > 1 and self._step:
            self._fill(page.total or 0)

    def abandon(self) -> None:
        """Drop what is fetched ahead; what is under way ends by itself, without further attempts."""
        self._drop()
        if self._executor:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _fill(self, total: int) -> None:
        if not self._ahead:
            self._ahead_index = self._index
            if self._index + self._step >= total:
                return  # one more page at most: nothing to fetch beside it
        if not self._executor:
            self._executor = ThreadPoolExecutor(self._in_flight, thread_name_prefix="user-actions")
        drops = self._drops
        while len(self._ahead) < self._in_flight and self._ahead_index < total:
            future = self._executor.submit(self._fetch, self._ahead_index, lambda: self._drops == drops)
            self._ahead.append(future)
            self._ahead_index += self._step

    def _drop(self) -> None:
        self._drops += 1
        for future in self._ahead:
            future.cancel()
        self._ahead.clear()
