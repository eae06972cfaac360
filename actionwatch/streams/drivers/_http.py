"""The keys of destinations with an HTTP API, and exchanges whose failures name the place."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import TransientDeliveryError, TransportError
from actionwatch.net.deadline import Deadline
from actionwatch.net.http_response import HttpResponse, retry_after
from actionwatch.notifiers.base import BaseUrl, HttpOptions, Redactor
from actionwatch.streams.drivers._servers import IdentityOptions, failure
from actionwatch.text.options import PositiveDuration

if TYPE_CHECKING:
    from actionwatch.net.http import HttpClient


class ApiOptions(HttpOptions, IdentityOptions):
    """The keys of a destination with an HTTP API."""

    url: BaseUrl
    """Where the API begins: `https://host:port`. http is accepted only for loopback."""
    timeout: PositiveDuration = timedelta(seconds=30)
    """For connecting, and for a whole batch until the server has answered its last request."""


class Api:
    """Exchanges with one server. A deadline bounds those of a batch together."""

    def __init__(self, options: ApiOptions, authorization: str, *secrets: str | None) -> None:
        """Open no connection yet. `secrets` appear in no text of an error."""
        self.place = options.url
        self._options = options
        self._headers = {"authorization": authorization} if authorization else {}
        self._redact = Redactor(*secrets, authorization, proxy=options.proxy)
        self._deadline = Deadline()
        self._client: HttpClient | None = None

    def start(self) -> None:
        """Start the time of a batch."""
        self._deadline.start(self._options.timeout.total_seconds())

    def exchange(self, method: str, path: str, content: bytes | None = None, **headers: str) -> HttpResponse:
        """Exchange a request for a response, whatever its status. The names of headers have `_` for `-`.

        Raises: TransientDeliveryError.
        """
        try:
            if self._client is None:
                self._client = self._options.http_client(self._options.identity)
            return self._client.request(
                method,
                self.place + path,
                headers={**self._headers, **{name.replace("_", "-"): value for name, value in headers.items()}},
                content=content,
                timeout=timedelta(seconds=self._deadline.left()),
            )
        except TimeoutError as exc:
            raise failure(self.place, f"no answer within {self._options.timeout.total_seconds():g} s") from exc
        except (TransportError, OSError, ValueError) as exc:
            raise failure(self.place, self.excerpt(str(exc))) from exc

    def excerpt(self, text: str) -> str:
        """Return the beginning of a text of the server, without secrets."""
        return self._redact.excerpt(text)

    def refusal(self, response: HttpResponse, remedy: str = "", what: str = "") -> TransientDeliveryError:
        """Return the error for a response. `what` is its reason; default: its body."""
        made = failure(self.place, f"{response.status} {self.excerpt(what or response.text)}".rstrip(), remedy)
        made.retry_after = retry_after(response.headers, utc_now()) or timedelta(0)
        return made

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
        self._client = None
