"""The one origin a client talks to: what it may ask there, and what an answer that is no 200 means.

Every request of this room goes through `Origin.exchange`, which refuses what is not on its list before a socket opens, follows
no redirect and tries once; credentials go to no other origin.
"""

from __future__ import annotations

import base64
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
    RateLimited,
    SourceError,
    SourceUnavailable,
    TransportError,
)
from actionwatch.net.http import HttpClient
from actionwatch.net.http_response import HttpResponse, retry_after
from actionwatch.text.options import check_url

MAX_WORDS = 500  # characters of the upstream's own words in an error
MAX_ERROR_BYTES = 64 * 1024  # nobody explains at greater length
_TITLE = re.compile(r"<(?:title|h1)[^>]*>(.*?)</", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(?:script|style).*?</(?:script|style)>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_PASSING = frozenset({408, 425})  # request timeout, too early: as good as 5xx


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Where an organisation's log is, and who asks. The secrets in it are never shown."""

    base_url: str
    organisation_id: str
    username: str
    api_key: str = field(repr=False)
    timeout: timedelta = timedelta(seconds=30)
    ca_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Insist on an origin that credentials may be sent to.

        Raises: ValueError, saying what is accepted.
        """
        parts = urlsplit(check_url(self.base_url))
        if parts.query or parts.fragment:
            raise ValueError("base_url must not hold a query or a fragment")
        segment(self.organisation_id)

    def path(self, *segments: str) -> str:
        """Return the path of something of the organisation, below the base URL."""
        return "/".join(("/v1/organisations", *map(segment, (self.organisation_id, *segments))))


def segment(text: str) -> str:
    """Percent-encode one segment of a path.

    Raises: ValueError, for one that would name another path.
    """
    if text.strip() in ("", ".", ".."):
        raise ValueError(f"{text!r} is not an id")
    return quote(text, safe="")


class Origin:
    """An HTTP client that can do nothing but the listed things, at one origin. Safe to share between threads."""

    def __init__(self, connection: ConnectionOptions, *, allowed: Iterable[tuple[str, str]]) -> None:
        """Prepare; `allowed` lists methods and paths below the base URL, where one ending in `/` takes one more segment."""
        self._connection = connection
        self._base = connection.base_url.rstrip("/")
        self._allowed = frozenset(allowed)
        self._secrets = _secrets_of(connection)
        self._http = HttpClient(
            timeout=connection.timeout,
            headers={"accept": "application/json"},
            auth=(connection.username, connection.api_key),
            ca_file=connection.ca_file,
            proxy=connection.proxy,
        )

    def exchange(
        self, method: str, path: str, *, params: Sequence[tuple[str, str]] = (), body: object = None
    ) -> HttpResponse:
        """Make one attempt at one of the allowed requests; gives the answer to a 2xx.

        Raises: BadRequest, before a socket opens, for anything that is not allowed; else what `refusal` says;
        SourceUnavailable, where no whole answer came.
        """
        if not self._is_allowed(method, path):
            raise BadRequest(f"{method} {path} is not among the requests this client may make")
        content = None if body is None else json.dumps(body).encode()
        headers = None if body is None else {"content-type": "application/json"}
        try:
            response = self._http.request(method, self._base + path, params=params, headers=headers, content=content)
        except TransportError as exc:
            raise SourceUnavailable(
                f"no answer from {self._base}: {self.redact(str(exc))}",
                "if it stays, check base_url, timeout, proxy, ca_file and the network",
            ) from exc
        if not 200 <= response.status < 300:
            told = self.redact(words(response))[:MAX_WORDS]
            raise refusal(response, told, utc_now(), is_write=method != "GET")
        return response

    def redact(self, text: str) -> str:
        """Take our secrets out of a text that came from elsewhere: an upstream may echo what it was sent."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def _is_allowed(self, method: str, path: str) -> bool:
        parent, _, last = path.rpartition("/")
        return bool(last) and not self._allowed.isdisjoint([(method, path), (method, f"{parent}/")])


def _secrets_of(connection: ConnectionOptions) -> tuple[str, ...]:
    pair = f"{connection.username}:{connection.api_key}".encode()
    texts = (base64.b64encode(pair).decode(), connection.api_key, quote(connection.api_key, safe=""))
    return tuple(text for text in texts if text)


def refusal(response: HttpResponse, told: str, now: datetime, *, is_write: bool = False) -> SourceError:
    """Say what an answer that is no 2xx means, and what to do about it; `told` are the upstream's own words."""
    status = response.status
    what = f"HTTP {status}" + (f" ({told})" if told else "")
    if status == 401:
        return AccessDenied(
            f"the upstream refused the key: {what}",
            "check username and api_key: was the key revoked, is its user deactivated, "
            "does the key's CIDR range include this machine?",
        )
    if status == 403:
        return AccessDenied(
            f"the upstream forbids this: {what}",
            "the key must be an organisation management key of this organisation, its user an organisation administrator",
        )
    if status == 404 and is_write:
        return BadRequest(
            f"the upstream does not know this organisation or account: {what}", "see `actionwatch accounts list`"
        )
    if status == 404:
        return AccessDenied(
            f"the upstream does not know the organisation: {what}", "check organisation_id and base_url"
        )
    if status == 429:
        return RateLimited(
            f"the upstream limits our rate: {what}",
            "nothing to do if it passes; else poll less often, and see what else uses this user's key",
            retry_after(response.headers, now),
        )
    if status >= 500 or status in _PASSING:
        return SourceUnavailable(
            f"the upstream has a fault: {what}",
            "it passes by itself; if it stays, see the vendor's status page",
            retry_after(response.headers, now),
        )
    if 300 <= status < 400:
        return BadResponse(
            f"the upstream redirects to {_target(response)} (HTTP {status})",
            "redirects are not followed, for they would take the key along: check base_url and proxy",
        )
    return BadRequest(f"the upstream refused the request: {what}")


def words(response: HttpResponse) -> str:
    """Return the upstream's own words from the body of an error, on one line; "" where it has none."""
    text = response.body[:MAX_ERROR_BYTES].decode("utf-8", "replace").strip()
    try:
        said = "; ".join(dict.fromkeys(_said(json.loads(text)))) or text
    except (ValueError, RecursionError):
        title = _TITLE.search(text)
        said = f"a page titled {_TAG.sub('', title[1]).strip()!r}" if title else _TAG.sub(" ", text)
    printable = "".join(char if char.isprintable() else " " for char in said)
    return " ".join(printable.split())


def _said(value: Any) -> list[str]:
    """Find the sentences in any of the forms errors were seen in.

    These are `{message, errorDetails, code, …}`, `{error}`, `{errors: [{name, message}]}` and `{errors: {field: sentence}}`.
    """
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, list):
        return [sentence for item in value for sentence in _said(item)]
    if not isinstance(value, dict):
        return []
    by_name = {name.lower(): held for name, held in value.items()}
    if isinstance(errors := by_name.get("errors"), dict):
        by_name["errors"] = [f"{name}: {sentence}" for name, held in errors.items() for sentence in _said(held)]
    if by_name.get("name") and isinstance(by_name.get("message"), str):
        return [f"{by_name['name']}: {by_name['message']}"]
    told = ("message", "error", "error_description", "errordetails", "detail", "title", "errors")
    return [sentence for name in told for sentence in _said(by_name.get(name))]


def _target(response: HttpResponse) -> str:
    """Name the host of a redirect, not its whole URL, which may hold what was sent."""
    try:
        return urlsplit(response.headers.get("location", "")).hostname or "the same host"
    except ValueError:
        return "an unreadable place"
