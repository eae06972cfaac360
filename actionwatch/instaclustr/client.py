"""The read-only client: it lists the user actions and the linked accounts of an organisation.

The service uses only this client; `admin.py` writes upstream. Retries are bounded, and only for temporary errors.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import msgspec
import stamina

from actionwatch.base.clock import utc_now
from actionwatch.base.daemon_threads import DaemonThreads
from actionwatch.base.errors import BadResponse, OversizedPage, RateLimited, SourceError, SourceUnavailable
from actionwatch.base.model import LinkedAccount
from actionwatch.instaclustr.origin import ConnectionOptions, Origin
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.records import RecordReader
from actionwatch.instaclustr.upstream import Pace, Upstream
from actionwatch.instaclustr.walk import walk
from actionwatch.instaclustr.wire import MAX_PAGE_RECORDS, Page, check_size, describe, parse_page
from actionwatch.net.http_response import HttpResponse
from actionwatch.text.redaction import Excerpt

# stamina would log each retry; the error and our own log contain what matters.
stamina.instrumentation.set_on_retry_hooks(())

PAGE_SIZE = 1000  # the documented maximum
_MOST_AHEAD = timedelta(days=1)  # a record further in the future, by our clock and the upstream's, has no readable time
_SHRINK_BY = 8  # a page that is too large is read again in pages of an eighth
_GROW_BY = 2
_EXCERPT_CHARS = 120


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """The time for which a request is retried. A Retry-After is respected if it ends within `at_most`."""

    attempts: int = 4
    at_most: timedelta = timedelta(seconds=30)
    first_wait: timedelta = timedelta(milliseconds=300)
    longest_wait: timedelta = timedelta(seconds=5)
    jitter: timedelta = timedelta(milliseconds=500)


class Client(AbstractContextManager["Client"]):
    """Reads one organisation. Safe to share between threads.

    `source` is the source name of its records. `field_aliases` come from the configuration. Raises: ValueError, for an alias of
    an unknown field.
    """

    def __init__(
        self,
        connection: ConnectionOptions,
        *,
        source: str,
        field_aliases: Mapping[str, Sequence[str]] | None = None,
        retry: RetryOptions = RetryOptions(),
        clock: Callable[[], datetime] = utc_now,
        elapsed: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        threads: Callable[[str], Executor] = DaemonThreads,
        upstream: Upstream | None = None,
    ) -> None:
        """`threads` makes the threads that fetch pages ahead. `upstream` is what it shares with other sources."""
        self._threads = threads
        self.reader = RecordReader(source, organisation_id=connection.organisation_id, aliases=field_aliases)
        self._actions = connection.path("user-actions")
        self._accounts = connection.path("linked-accounts")
        self.base_url = connection.base_url
        self._is_alone = upstream is None
        self._upstream = upstream or Upstream(connection.base_url, Pace(elapsed, sleep), elapsed)
        allowed = [("GET", self._actions), ("GET", self._accounts)]
        self._origin = Origin(connection, allowed=allowed, upstream=self._upstream)
        self._retry = retry
        self._clock = clock
        self._elapsed = elapsed
        self._source = source
        self._is_closed = False
        self._largest_page = PAGE_SIZE
        self.has_seen_total_beyond_page = False
        """Whether a total has ever exceeded the records read so far. Only then can a total prove anything."""

    def user_actions(
        self,
        query: Query,
        *,
        page_size: int = PAGE_SIZE,
        in_flight: int = 4,
        trusts_total: bool | None = None,
        first: HttpResponse | None = None,
    ) -> Iterator[Page]:
        """Walk the listing and yield every page in the order of its offset, including an empty page at the end.

        If totals differ between pages or from the number of records, the window changed during the walk. `trusts_total` says
        whether the walk may end when the total is reached, without an empty page; None: after a total exceeded its page.
        `first` is the response to `first_page` of the same query and size.

        Raises: SourceUnavailable, RateLimited, AccessDenied, BadRequest; BadResponse, which includes an
        upstream that ignores `recordIndex`, and a listing that does not end.
        """

        def is_total_trusted() -> bool:
            return self.has_seen_total_beyond_page if trusts_total is None else trusts_total

        fetch = partial(self._page, query, page_size, received=[] if first is None else [first])
        return walk(fetch, in_flight=in_flight, is_total_trusted=is_total_trusted, threads=self._threads)

    def first_page(self, query: Query, page_size: int) -> HttpResponse:
        """Request the first page of `user_actions`, and return the response as it came. `digest_of` its body compares it.

        Raises: as `user_actions`.
        """
        return self._get(self._actions, _parameters(query, min(page_size, self._largest_page), 0), lambda: True)

    def counts(self, query: Query) -> Page:
        """Request the counts of a window: a page of one record, with `counts` and `total`.

        Raises: as `user_actions`.
        """
        return self.page(replace(query, with_counts=True), 1)

    def page(self, query: Query, size: int, *, index: int = 0) -> Page:
        """Request one page of `size` records, from the record at `index`.

        Raises: as `user_actions`.
        """
        return self._page(query, size, index, lambda: True)

    def linked_accounts(self) -> list[LinkedAccount]:
        """List the accounts of the organisation, and use them to resolve accounts in records from now on.

        Raises: as `user_actions`.
        """
        accounts = _read_accounts(self._get(self._accounts, [], lambda: True).body, self._origin.excerpt)
        self.reader.know_accounts({account.id: account.name for account in accounts})
        return accounts

    def close(self) -> None:
        """Stop retries, and close the connections that it does not share."""
        self._is_closed = True
        if self._is_alone:
            self._upstream.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def without_secrets(self, text: str) -> str:
        """Return a text of the upstream without the key of the source, which a response may echo."""
        return self._origin.excerpt(text, len(text))

    def _page(
        self,
        query: Query,
        page_size: int,
        record_index: int,
        is_wanted: Callable[[], bool],
        received: list[HttpResponse] | None = None,
    ) -> Page:
        """Request a page. If it is too large, request fewer records, so that large ones do not hide those behind them.

        The first response in `received` is taken instead of a request.
        """
        size = min(page_size, self._largest_page)
        while True:
            try:
                response = received.pop() if received else None
                if response is None:
                    response = self._get(self._actions, _parameters(query, size, record_index), is_wanted)
                page = self._read(response, record_index)
            except OversizedPage:
                if size == 1:
                    raise
                size = self._largest_page = max(size // _SHRINK_BY, 1)
            else:
                self._largest_page = min(self._largest_page * _GROW_BY, PAGE_SIZE)
                return page

    def _read(self, response: HttpResponse, record_index: int) -> Page:
        now = self._clock()
        check_size(response.body)
        latest = max(now, response.date or now) + _MOST_AHEAD
        excerpt = self._origin.excerpt
        page = parse_page(response.body, self.reader, now, latest=latest, most=MAX_PAGE_RECORDS, excerpt=excerpt)
        if page.records and page.total is not None and page.total > record_index + len(page.records):
            self.has_seen_total_beyond_page = True
        digest = b"" if record_index else digest_of(response.body)
        return replace(page, record_index=record_index, server_date=response.date, took=response.took, digest=digest)

    def _get(self, path: str, params: list[tuple[str, str]], is_wanted: Callable[[], bool]) -> HttpResponse:
        try:
            response = self._repeat(path, params, is_wanted)
        except SourceError as exc:
            if not self._is_closed:
                self._upstream.note(self._source, exc)
            raise
        self._upstream.note(self._source, None)
        return response

    def _repeat(self, path: str, params: list[tuple[str, str]], is_wanted: Callable[[], bool]) -> HttpResponse:
        """Send a request until it gets a response, within the limits of `RetryOptions`."""
        retry = self._retry
        deadline = self._elapsed() + retry.at_most.total_seconds()

        def should_retry(error: Exception) -> bool | timedelta:
            if not isinstance(error, SourceUnavailable | RateLimited) or self._is_closed or not is_wanted():
                return False
            if isinstance(error, RateLimited):
                self._upstream.pace.slow_down(error.retry_after)
            if error.retry_after is None:
                return True
            # Jitter spreads the requests of several clients.
            wait = error.retry_after + random.random() * retry.jitter  # noqa: S311  # nosec B311
            return wait if self._elapsed() + wait.total_seconds() < deadline else False

        for attempt in stamina.retry_context(
            on=should_retry,
            attempts=retry.attempts,
            timeout=retry.at_most,
            wait_initial=retry.first_wait,
            wait_max=retry.longest_wait,
            wait_jitter=retry.jitter,
        ):
            with attempt:
                self._upstream.pace.wait()
                if self._is_closed:
                    raise SourceUnavailable("the client is closed")
                return self._origin.exchange("GET", path, params=params)
        raise AssertionError("an attempt either returns or raises")


def digest_of(body: bytes) -> bytes:
    """Return a digest of a response: two that are equal byte for byte have the same."""
    return hashlib.blake2b(body, digest_size=32).digest()


def _parameters(query: Query, page_size: int, record_index: int) -> list[tuple[str, str]]:
    return [*query.parameters(), ("pageSize", str(page_size)), ("recordIndex", str(record_index))]


def _read_accounts(body: bytes, excerpt: Excerpt) -> list[LinkedAccount]:
    """Parse the listing of linked accounts. `excerpt` makes every part of the body in an error.

    Raises: BadResponse, if it is not a list of accounts with ids.
    """
    check_size(body)
    try:
        listed = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        why = excerpt(str(exc), _EXCERPT_CHARS)
        raise BadResponse(f"the list of linked accounts is {describe(body, excerpt)}: {why}") from exc
    if not isinstance(listed, list):
        raise BadResponse(f"the list of linked accounts is {describe(body, excerpt)}")
    return [_read_account(item, excerpt) for item in listed]


def _read_account(item: object, excerpt: Excerpt) -> LinkedAccount:
    by_name = {key.lower(): value for key, value in item.items()} if isinstance(item, dict) else {}
    account_id = by_name.get("accountid") or by_name.get("id")
    name = by_name.get("accountname") or by_name.get("name")
    if not isinstance(item, dict) or not isinstance(account_id, str):
        raise BadResponse(f"a linked account has no id: {excerpt(str(item), _EXCERPT_CHARS)}")
    return LinkedAccount(account_id, name if isinstance(name, str) else "", item)
