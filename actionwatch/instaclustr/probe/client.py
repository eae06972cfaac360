"""Send a bounded number of requests, and keep what the checks need of the responses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import AccessDenied, BadRequest, BadResponse, RateLimited, SourceError, SourceUnavailable
from actionwatch.base.model import Record
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.lenient import LenientJsonParts
from actionwatch.instaclustr.probe.shapes import shape
from actionwatch.instaclustr.records import RecordReader
from actionwatch.instaclustr.wire import Page, parse_page
from actionwatch.net.http_response import HttpResponse

MAX_REQUESTS = 80  # twice what a normal probe sends
ATTEMPTS = 3
_WAIT = timedelta(seconds=1)
MAX_SKEW = timedelta(seconds=5)
_MAX_WAIT = timedelta(seconds=20)  # of a Retry-After

_REFUSALS = (
    (RateLimited, "the upstream limits the request rate (429)"),
    (AccessDenied, "the upstream denies access (401, 403 or 404)"),
    (BadRequest, "the upstream refuses the request (4xx)"),
    (SourceUnavailable, "no whole response arrived (5xx, or a broken connection)"),
)

Parameters = Sequence[tuple[str, str]]


@dataclass
class ProbedPage:
    """One response of the listing, parsed."""

    response: HttpResponse
    page: Page

    @property
    def records(self) -> Sequence[Record]:
        return self.page.records

    @cached_property
    def keys(self) -> list[str]:
        return [record.key for record in self.page.records]

    @cached_property
    def document(self) -> Any:
        return decode(self.response.body)

    @cached_property
    def objects(self) -> list[Mapping[str, Any]]:
        return [json.loads(record.raw) for record in self.page.records]

    @cached_property
    def envelopes(self) -> list[Mapping[str, Any]]:
        """The envelopes without their records; none if the response is a list of records."""
        items = self.document if isinstance(self.document, list) else [self.document]
        is_bare = len(self.records) == len(items) and not any("resources" in _lower(item) for item in items)
        found = [] if is_bare and self.records else items
        return [{key: held for key, held in item.items() if key.lower() != "resources"} for item in found]

    @property
    def first(self) -> Any:
        """The first item of a list, or else the whole document."""
        return self.document[0] if isinstance(self.document, list) else self.document

    @property
    def given_total(self) -> Any:
        """`totalResults` of the first envelope, of any type; None if it is missing."""
        members = self.envelopes[0] if self.envelopes else {}
        return next((held for key, held in members.items() if key.lower() == "totalresults"), None)

    @property
    def total(self) -> int | None:
        """The total, even if it is wrong; None if it is missing or not a number."""
        value = self.given_total
        text = value.strip() if isinstance(value, str) else value
        if isinstance(text, bool) or not str(text).removesuffix(".0").isdigit():
            return None
        return int(float(text))


class _UnreadableResponse(BadResponse):
    """A response that is not a page, described by its shape."""


class _RequestBudgetExceeded(SourceError):
    """The probe has sent as many requests as it may."""


class ProbeClient:
    """Sends requests, counts them and measures. `sleep` takes seconds."""

    def __init__(self, client: Client, sleep: Callable[[float], None] = time.sleep) -> None:
        """The client must not retry, so that this class counts all requests."""
        self._client = client
        self._sleep = sleep
        self.request_count = 0
        self.limited_count = 0
        self.has_retry_after = False
        """Whether a 429 had a Retry-After."""
        self.headers: set[str] = set()
        self.took: list[timedelta] = []
        self.dates: list[tuple[datetime | None, datetime]] = []
        """The `Date` of each response, and the local time of its arrival."""

    @property
    def reader(self) -> RecordReader:
        return self._client.reader

    def server_now(self) -> datetime:
        """Return the time of the upstream in whole milliseconds: the local time, unless its last `Date` differs much."""
        date, at = self.dates[-1]
        skew = date + timedelta(milliseconds=500) - at if date else timedelta(0)
        now = utc_now() + (skew if abs(skew) > MAX_SKEW else timedelta(0))
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def page(self, parameters: Parameters = (), *, size: int, index: int = 0, is_counted: bool = True) -> ProbedPage:
        """Request a page.

        Raises: SourceError; UnreadableResponse, if the response is not a page.
        """
        asked = [*parameters, ("getActionCounts", "true" if is_counted else "false")]
        asked += [("pageSize", str(size)), ("recordIndex", str(index))]
        response = self._ask(lambda: self._client.raw_actions(asked))
        try:
            return ProbedPage(response, parse_page(response.body, self.reader, utc_now()))
        except BadResponse:
            what = f"a response that is not a page of user actions: {shape_of_body(response.body)}"
            raise _UnreadableResponse(what) from None

    def accounts(self) -> HttpResponse:
        """Request the linked accounts.

        Raises: SourceError.
        """
        return self._ask(self._client.raw_accounts)

    def _ask(self, request: Callable[[], HttpResponse]) -> HttpResponse:
        for attempt in range(1, ATTEMPTS + 1):
            if self.request_count >= MAX_REQUESTS:
                raise _RequestBudgetExceeded(f"not checked: a probe sends at most {MAX_REQUESTS} requests")
            self.request_count += 1
            try:
                response = request()
            except (RateLimited, SourceUnavailable) as exc:
                if isinstance(exc, RateLimited):
                    self.limited_count += 1
                    self.has_retry_after = self.has_retry_after or exc.retry_after is not None
                wait = exc.retry_after or _WAIT
                if attempt == ATTEMPTS or wait > _MAX_WAIT:
                    raise
            else:
                self.headers |= response.headers.keys()
                self.took.append(response.took)
                self.dates.append((response.date, utc_now()))
                return response
            self._sleep(wait.total_seconds())
        raise AssertionError("an attempt either returns or raises")


def refusal(error: SourceError) -> str:
    """Describe an error without texts of the upstream, which may contain names."""
    if isinstance(error, _UnreadableResponse | _RequestBudgetExceeded):
        return error.what
    return next((text for kind, text in _REFUSALS if isinstance(error, kind)), "the response cannot be read")


def decode(body: bytes) -> Any:
    """Decode JSON as leniently as the tail does.

    Raises: ValueError.
    """
    return LenientJsonParts().value(body.decode("utf-8-sig", "replace").strip(" \t\r\n"))


def shape_of_body(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace").strip()
    if not text:
        return "an empty body"
    if text.startswith("<"):
        return "markup, for example from a gateway or a sign-in page"
    try:
        return shape(decode(body))
    except (ValueError, RecursionError):
        return "not JSON"


def _lower(item: Any) -> set[str]:
    return {key.lower() for key in item} if isinstance(item, dict) else set()
