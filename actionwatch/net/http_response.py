"""A whole HTTP response, with the server's clock and Retry-After.

Not in http.py, so that modules that need only these types do not import httpx.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from actionwatch import __version__
from actionwatch.base.clock import TIMES_END

USER_AGENT = f"actionwatch/{__version__}"
MAX_RETRY_AFTER = timedelta(days=1)  # a date in the far future must not block a delivery forever


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One whole HTTP response. `headers` has lower-case names; `took` is the time from the request to the last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took: timedelta

    @property
    def text(self) -> str:
        """The body as text, for error messages. Redact it before cutting it."""
        return self.body.decode("utf-8", "replace").strip()

    def json_object(self) -> Mapping[str, Any]:
        """Return the JSON object in the body; empty if there is none, as in the maintenance page of a proxy."""
        try:
            data = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    @property
    def date(self) -> datetime | None:
        """The clock of the server (resolution one second); None without a valid `Date`."""
        return _http_date(self.headers.get("date", ""))


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Parse `Retry-After`, seconds or a date (RFC 9110 §10.2.3), as a duration; None if absent or invalid.

    A date is relative to the `Date` of the response, or to `now` if there is none, because the local clock may be wrong.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 20:  # "²" is a digit for str.isdigit(), but not for int()
        return min(timedelta(seconds=min(int(value), 10**6)), MAX_RETRY_AFTER)
    at = _http_date(value)
    since = _http_date(headers.get("date", "")) or now
    return min(max(at - since, timedelta(0)), MAX_RETRY_AFTER) if at else None


def _http_date(value: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(value)
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return at if at < TIMES_END else None
