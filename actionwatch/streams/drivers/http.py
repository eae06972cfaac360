"""HTTP: post each batch to an endpoint, as lines of JSON (NDJSON) or as events of Splunk's HTTP Event Collector (HEC).

At least once; a repeat comes under the same id. A batch counts when the endpoint answers with a status of 200 to 299; with HEC,
when Splunk acknowledges that it is indexed: https://docs.splunk.com/Documentation/Splunk/latest/Data/AboutHECIDXAck
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from pydantic import AfterValidator, model_validator

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import TransientDeliveryError, TransportError
from actionwatch.net.deadline import Deadline
from actionwatch.net.http_response import HttpResponse, retry_after
from actionwatch.notifiers.base import HttpOptions, Redactor
from actionwatch.streams.driver import Refusal, StreamMessage, Traits
from actionwatch.streams.drivers._servers import IdentityOptions, LoginOptions, failure
from actionwatch.text.options import PositiveDuration, Secret, SecretFile, check_url, refuse_both, secret

if TYPE_CHECKING:
    from actionwatch.net.http import HttpClient

TRAITS = Traits()
_EVENTS, _ACKS = "/services/collector/event", "/services/collector/ack"
_LOOK_SECONDS = 0.2  # between two questions for acknowledgements, which take Splunk seconds
_REFUSED = frozenset({413, 422})
_REFUSED_BY_SPLUNK = frozenset({6, 12, 13, 15})  # codes: invalid data, event missing, event blank, indexed fields
_REMEDIES = {401: "check the credentials", 403: "check the credentials", 404: "check url"}
_REMEDIES_OF_SPLUNK = {
    1: "enable the token",
    7: "create the index of the token, and allow it for the token",
    14: "switch on indexer acknowledgment for the token (useACK)",
}


class Options(HttpOptions, IdentityOptions, LoginOptions):
    """The keys of a stream of the type `http`."""

    url: Annotated[str, AfterValidator(check_url)]
    """Where batches are posted; for `hec`, where the collector is: `https://host:8088`. `http://` only for loopback."""
    protocol: Literal["ndjson", "hec"] = "ndjson"
    """`ndjson`: one JSON object in each line, with the message in `body`. `hec`: events of Splunk, with acknowledgements."""
    token: Secret | None = None
    """A token: `Authorization: Bearer …`, or the token of the collector."""
    token_file: SecretFile | None = None
    timeout: PositiveDuration = timedelta(minutes=1)
    """For connecting, and for a whole batch until the endpoint has confirmed it."""

    @model_validator(mode="after")
    def _check(self) -> Options:
        refuse_both(self, "token", "token_file", "username")
        if self.protocol == "hec" and not secret(self.token, self.token_file):
            raise ValueError("hec needs the token of the collector: add token or token_file")
        return self


def build(options: Options, *, stream: str) -> HttpDriver:
    return HttpDriver(options, stream)


class HttpDriver:
    """Posts to one endpoint."""

    def __init__(self, options: Options, stream: str) -> None:
        from actionwatch.net.http import basic

        self._options = options
        self._url = options.url.rstrip("/") if options.protocol == "hec" else options.url
        self._place = options.url.partition("?")[0]  # a query may hold a secret
        self._is_splunk = options.protocol == "hec"
        self._client: HttpClient | None = None
        self._deadline = Deadline()
        self._source = f"actionwatch:{stream}"
        token, password = secret(options.token, options.token_file), options.login_password
        self._headers = {"content-type": "application/x-ndjson"}
        if self._is_splunk:
            channel = {"x-splunk-request-channel": str(uuid.uuid4())}
            self._headers = {"content-type": "application/json", "authorization": f"Splunk {token}", **channel}
        elif token:
            self._headers["authorization"] = f"Bearer {token}"
        elif options.username:
            self._headers["authorization"] = basic(options.username, password or "")
        self._redact = Redactor(token, password, self._headers.get("authorization"), proxy=options.proxy)

    def open(self) -> None:
        """See that the endpoint answers, and accepts the credentials."""
        self.close()
        self._deadline.start(self._options.timeout.total_seconds())
        if self._is_splunk:
            self._acknowledged([0])
        elif (response := self._exchange("HEAD")).status == 401:  # an endpoint for POST need not answer HEAD well
            raise self._error(response)

    def send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        """Post the batch, and wait until the endpoint has confirmed it."""
        self._deadline.start(self._options.timeout.total_seconds())
        acks: set[int] = set()
        refused = self._post(batch, acks)
        while acks := acks - self._acknowledged(sorted(acks)):
            time.sleep(_LOOK_SECONDS)
        return refused

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def _post(self, batch: Sequence[StreamMessage], acks: set[int]) -> list[Refusal]:
        """Post messages in one request, or in halves if the endpoint refuses some. Return those that it never accepts.

        The acknowledgements to wait for are added to `acks`.
        """
        lines = map(self._event, batch) if self._is_splunk else (message.line() for message in batch)
        response = self._exchange("POST", _EVENTS if self._is_splunk else "", b"".join(lines))
        answer = response.json_object()
        if response.status in _REFUSED or (self._is_splunk and answer.get("code") in _REFUSED_BY_SPLUNK):
            if len(batch) == 1:
                return [Refusal(batch[0].id, self._redact.excerpt(f"{response.status} {response.text}"))]
            # Splunk may have indexed what is before an invalid event: it comes again, under its id.
            middle = len(batch) // 2
            return self._post(batch[:middle], acks) + self._post(batch[middle:], acks)
        if not 200 <= response.status < 300:
            raise self._error(response)
        if self._is_splunk and not isinstance(answer.get("ackId"), int):
            raise failure(self._place, "Splunk acknowledges no events of this token", _REMEDIES_OF_SPLUNK[14])
        if self._is_splunk:
            acks.add(answer["ackId"])
        return []

    def _acknowledged(self, acks: list[int]) -> set[int]:
        """Return the acknowledgements that are true. Splunk forgets each when it has reported it."""
        if not acks:
            return set()
        response = self._exchange("POST", _ACKS, json.dumps({"acks": acks}).encode())
        found = response.json_object().get("acks")
        if response.status != 200 or not isinstance(found, dict):
            raise self._error(response)
        return {number for number in acks if found.get(str(number)) is True}

    def _exchange(self, method: str, path: str = "", content: bytes | None = None) -> HttpResponse:
        try:
            if self._client is None:
                self._client = self._options.http_client(self._options.identity)
            url, left = self._url + path, timedelta(seconds=self._deadline.left())
            return self._client.request(method, url, headers=self._headers, content=content, timeout=left)
        except TimeoutError as exc:
            what = f"the batch is not confirmed within {self._options.timeout.total_seconds():g} s"
            raise failure(self._place, what) from exc
        except (TransportError, OSError, ValueError) as exc:
            raise failure(self._place, self._redact.excerpt(str(exc))) from exc

    def _error(self, response: HttpResponse) -> TransientDeliveryError:
        code = response.json_object().get("code") if self._is_splunk else None
        remedy = _REMEDIES_OF_SPLUNK.get(code or 0) or _REMEDIES.get(response.status, "")
        what = f"{response.status} {self._redact.excerpt(response.text)}".rstrip()
        made = failure(self._place, what, remedy)
        made.retry_after = retry_after(response.headers, utc_now()) or timedelta(0)
        return made

    def _event(self, message: StreamMessage) -> bytes:
        """Return an event in the format of the collector."""
        fields = {"id": message.id, "offset": message.offset, "kind": message.kind, "key": message.key}
        event = {
            "time": msgspec.Raw(b"%.3f" % message.at.timestamp()),
            "source": self._source,
            "sourcetype": "_json",
            "event": message.json_or_text(),
            "fields": {f"actionwatch_{name}": value for name, value in fields.items() if value != ""},
        }
        return msgspec.json.encode(event) + b"\n"
