"""Requests to one origin, limited to an allow list, and the meaning of error responses.

All requests of this package go through `Origin.exchange`. It refuses other requests before it opens a socket, follows no
redirect and does not retry. Credentials are never sent to another origin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import (
    AccessDenied,
    BadRequest,
    BadResponse,
    OversizedPage,
    RateLimited,
    SourceError,
    SourceUnavailable,
    TooLarge,
    TransportError,
)
from actionwatch.instaclustr.upstream import Pace, Upstream
from actionwatch.net.http import basic
from actionwatch.net.http_response import HttpResponse, retry_after
from actionwatch.text.options import check_url
from actionwatch.text.redaction import Excerpt, Redaction, in_proxy

_MAX_EXPLANATION_CHARS = 500
_MAX_ERROR_CHARS = 64 * 1024  # of JSON: some servers append a stack trace to their explanation
_MAX_PAGE_CHARS = 4 * 1024  # of any other body: the title of a page is at its beginning
_TAG_OR_TEXT = re.compile(r"<(/?[A-Za-z0-9]*)[^<>]*>?|[^<]+")
_TRANSIENT_STATUSES = frozenset({408, 425})  # request timeout, too early
_DENIALS = {
    401: (
        "the upstream rejected the API key",
        "check username and api_key, whether the key was revoked or its user deactivated, "
        "and whether the CIDR range of the key includes this machine",
    ),
    403: (
        "the upstream denied access",
        "use an organisation management key of this organisation, whose user is an organisation administrator",
    ),
    404: ("the upstream does not know the organisation", "check organisation_id and base_url"),
}
_REDUCE = "if this persists, check what answers at base_url, and ask the vendor why records are this large"
_POLL_LESS = "actionwatch retries; if this persists, poll less often, and find out what else uses the key of this user"


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """The address of an organisation's log, and the credentials. `repr` hides the secrets."""

    base_url: str
    organisation_id: str
    username: str
    api_key: str = field(repr=False)
    timeout: timedelta = timedelta(seconds=30)
    ca_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check that credentials may be sent to this address.

        Raises: ValueError, with what is accepted.
        """
        parts = urlsplit(check_url(self.base_url))
        if parts.query or parts.fragment:
            raise ValueError("base_url must not contain a query or a fragment")
        _segment(self.organisation_id)

    def path(self, *segments: str) -> str:
        """Return a path of the organisation, relative to the base URL."""
        return "/".join(("/v1/organisations", *map(_segment, (self.organisation_id, *segments))))


def _segment(text: str) -> str:
    """Percent-encode one segment of a path.

    Raises: ValueError, if it would change the path.
    """
    if text.strip() in ("", ".", ".."):
        raise ValueError(f"{text!r} is not an id")
    return quote(text, safe="")


class Origin:
    """An HTTP client that can only make allowed requests to one origin. Safe to share between threads."""

    def __init__(
        self, connection: ConnectionOptions, *, allowed: Iterable[tuple[str, str]], upstream: Upstream | None = None
    ) -> None:
        """`allowed` lists methods and paths relative to the base URL. A path that ends in `/` allows one more segment.

        `upstream` has the connections that it shares with other organisations; without it, it has its own.
        """
        self._connection = connection
        self._base = connection.base_url.rstrip("/")
        self._allowed = frozenset(allowed)
        self._headers = {
            "accept": "application/json",
            "authorization": basic(connection.username, connection.api_key),
        }
        options = connection.timeout, connection.ca_file, connection.proxy
        self._is_shared = upstream is not None
        self._http = (upstream or Upstream(self._base, Pace())).connections(*options)

    def exchange(
        self, method: str, path: str, *, params: Sequence[tuple[str, str]] = (), body: object = None
    ) -> HttpResponse:
        """Send an allowed request once, and return its 2xx response.

        Raises: BadRequest, before a socket opens, if the request is not allowed; SourceUnavailable, if no whole response
        arrived; OversizedPage; the errors of `error_for`.
        """
        if not self._is_allowed(method, path):
            raise BadRequest(f"this client must not send {method} {path}")
        content = None if body is None else json.dumps(body).encode()
        headers = self._headers if body is None else {**self._headers, "content-type": "application/json"}
        try:
            response = self._http.request(
                method, self._base, path=path, params=params, headers=headers, content=content
            )
        except TooLarge as exc:
            raise OversizedPage(f"from {self._base}: {exc}", _REDUCE) from exc
        except TransportError as exc:
            remedy = "if this persists, check base_url, timeout, proxy, ca_file and the network"
            what = self.excerpt(str(exc), _MAX_EXPLANATION_CHARS)
            raise SourceUnavailable(f"no response from {self._base}: {what}", remedy) from exc
        if not 200 <= response.status < 300:
            raise error_for(response, utc_now(), self.excerpt, is_write=method != "GET")
        return response

    def excerpt(self, text: str, limit: int) -> str:
        """Make an excerpt of what answers at the base URL, because that may echo the request: see `Redaction.excerpt`."""
        # Only errors need it: the spellings of the secrets of each source would take as much memory as all else that it holds.
        known = self._connection
        logins = [(known.username, known.api_key), *in_proxy(known.proxy)]
        return Redaction((), logins=logins).excerpt(text, limit)

    def close(self) -> None:
        """Close the connections that no other organisation uses."""
        if not self._is_shared:
            self._http.close()

    def _is_allowed(self, method: str, path: str) -> bool:
        parent, _, last = path.rpartition("/")
        return bool(last) and not self._allowed.isdisjoint([(method, path), (method, f"{parent}/")])


def error_for(response: HttpResponse, now: datetime, excerpt: Excerpt, *, is_write: bool = False) -> SourceError:
    """Translate a response other than 2xx into an error with a remedy."""
    # Before and after: the text may be cut, and its JSON may spell a secret differently.
    text = excerpt(explanation(excerpt(response.text, _MAX_ERROR_CHARS)), _MAX_EXPLANATION_CHARS)
    status = response.status
    what = f"HTTP {status}" + (f" ({text})" if text else "")
    if status in _DENIALS and not (status == 404 and is_write):
        meaning, remedy = _DENIALS[status]
        return AccessDenied(f"{meaning}: {what}", remedy)
    if status == 404:
        what = f"the upstream does not know this organisation or account: {what}"
        return BadRequest(what, "see `actionwatch accounts list`")
    if status == 429:
        what, remedy = f"the upstream limits the request rate: {what}", _POLL_LESS
        return RateLimited(what, remedy, retry_after(response.headers, now))
    if status >= 500 or status in _TRANSIENT_STATUSES:
        remedy = "actionwatch retries; if this persists, see the status page of the vendor"
        return SourceUnavailable(f"the upstream failed: {what}", remedy, retry_after(response.headers, now))
    if 300 <= status < 400:
        remedy = "actionwatch follows no redirects, because they would receive the key: check base_url and proxy"
        target = _target(excerpt(response.headers.get("location", ""), _MAX_PAGE_CHARS))[:_MAX_EXPLANATION_CHARS]
        return BadResponse(f"the upstream redirects to {target} (HTTP {status})", remedy)
    return BadRequest(f"the upstream refused the request: {what}")


def explanation(text: str) -> str:
    """Return the explanation in the body of an error response, on one line; empty if there is none."""
    try:
        found = "; ".join(dict.fromkeys(_sentences(json.loads(text)))) or text
    except (ValueError, RecursionError):
        title, words = _read_page(text[:_MAX_PAGE_CHARS])
        found = f"a page titled {title!r}" if title else words
    printable = "".join(char if char.isprintable() else " " for char in found)
    return " ".join(printable.split())


def _read_page(text: str) -> tuple[str, str]:
    """Return the first title or heading of an HTML page, empty if there is none, and all its text. Linear."""
    title: list[str] = []
    words: list[str] = []
    inside = ""
    for piece in _TAG_OR_TEXT.finditer(text):
        tag = piece[1]
        if tag is None and inside not in ("script", "style"):
            words.append(piece[0])
            if inside in ("title", "h1"):
                title.append(piece[0])
        elif tag is not None and tag.lower() == f"/{inside}":
            if title:
                break
            inside = ""
        elif tag is not None and not inside and tag.lower() in ("title", "h1", "script", "style"):
            inside = tag.lower()
    return "".join(title).strip(), " ".join(words)


def _sentences(value: Any) -> list[str]:
    """Find the sentences in any known form of an error:

    `{message, errorDetails, code, …}`, `{error}`, `{errors: [{name, message}]}` and `{errors: {field: sentence}}`.
    """
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, list):
        return [sentence for item in value for sentence in _sentences(item)]
    if not isinstance(value, dict):
        return []
    by_name = {name.lower(): held for name, held in value.items()}
    if isinstance(errors := by_name.get("errors"), dict):
        by_name["errors"] = [f"{name}: {sentence}" for name, held in errors.items() for sentence in _sentences(held)]
    if by_name.get("name") and isinstance(by_name.get("message"), str):
        return [f"{by_name['name']}: {by_name['message']}"]
    names = ("message", "error", "error_description", "errordetails", "detail", "title", "errors")
    return [sentence for name in names for sentence in _sentences(by_name.get(name))]


def _target(location: str) -> str:
    """Return only the host of a redirect, because its URL may contain parts of the request."""
    try:
        return urlsplit(location).hostname or "the same host"
    except ValueError:
        return "an invalid address"
