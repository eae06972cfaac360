"""Splunk: send events to an HTTP Event Collector (HEC), and wait until Splunk acknowledges that they are indexed.

At least once: events count as sent when the indexer acknowledgement of their request is true. Splunk does not drop a repeat: it
has the same indexed field `actionwatch_id`. Splunk sorts events by their time, not in the order of their arrival; the indexed
field `actionwatch_offset` has the order of the stream.

https://docs.splunk.com/Documentation/Splunk/latest/Data/AboutHECIDXAck
"""

from __future__ import annotations

import gzip
import json
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from pydantic import model_validator

from actionwatch.net.http_response import HttpResponse
from actionwatch.settings.validators import Flag, Word
from actionwatch.streams.driver import Refusal, StreamMessage, Traits
from actionwatch.streams.drivers._http import Api, ApiOptions
from actionwatch.streams.drivers._servers import failure
from actionwatch.text.options import PositiveDuration, Secret, SecretFile, require_one, secret

# An acknowledgement takes seconds, and one batch waits at a time.
TRAITS = Traits(max_batch=2000)
_MAX_REQUEST_BYTES = 1024 * 1024  # what Splunk recommends; the events of a batch go into several requests
_EVENTS, _ACKS = "/services/collector/event", "/services/collector/ack"
_FIRST_LOOK_SECONDS, _LOOK_SECONDS = 0.05, 2.0
_TOO_LARGE = 413
_CONTENT_CODES = frozenset({6, 12, 13, 15})  # invalid data, event missing, event blank, indexed fields
_ACKS_ARE_OFF = "switch on indexer acknowledgment for the token (useACK)"
_REMEDIES_BY_CODE = {
    1: "enable the token",
    2: "check token",
    3: "check token",
    4: "check token",
    7: "create the index, and allow it for the token, or correct index",
    14: _ACKS_ARE_OFF,
}
_REMEDIES_BY_STATUS = {401: "check token", 403: "check token", 404: "check that url is that of an HTTP Event Collector"}


class Options(ApiOptions):
    """The keys of a stream of the type `splunk`."""

    token: Secret | None = None
    """The token of the HTTP Event Collector, with indexer acknowledgment. One of the two is required."""
    token_file: SecretFile | None = None
    index: Word | None = None
    """The index of the events. Default: that of the token."""
    source: Word | None = None
    """The source of the events. Default: `actionwatch:` and the name of the stream."""
    sourcetype: Word = "_json"
    """The source type of the events."""
    host: Word | None = None
    """The host of the events. Default: that of the token."""
    gzip: Flag = False
    """`true`: compress requests."""
    ack_timeout: PositiveDuration = timedelta(minutes=2)
    """How long Splunk may take to acknowledge a batch. After that, it is sent again."""

    @model_validator(mode="after")
    def _check(self) -> Options:
        require_one(self, "token", "token_file")
        return self


def build(options: Options, *, stream: str) -> SplunkDriver:
    return SplunkDriver(options, stream)


class SplunkDriver:
    """Sends to one collector."""

    def __init__(self, options: Options, stream: str) -> None:
        token = secret(options.token, options.token_file) or ""
        self._options = options
        self._api = Api(options, f"Splunk {token}", token)
        self._channel = ""
        meta = {
            "host": options.host,
            "source": options.source or f"actionwatch:{stream}",
            "sourcetype": options.sourcetype,
            "index": options.index,
        }
        self._meta = {name: value for name, value in meta.items() if value is not None}

    def open(self) -> None:
        """Choose a channel, and ask for an acknowledgement there, so that Splunk checks the token."""
        self.close()
        self._api.start()
        self._channel = str(uuid.uuid4())
        self._acknowledged([0])

    def send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        """Send the events, and wait until all are indexed."""
        self._api.start()
        refused: list[Refusal] = []
        acks: set[int] = set()
        part: list[tuple[str, bytes]] = []
        size = 0
        for message in batch:
            event = self._event(message)
            if part and size + len(event) > _MAX_REQUEST_BYTES:
                refused += self._post(part, acks)
                part, size = [], 0
            part.append((message.id, event))
            size += len(event)
        if part:
            refused += self._post(part, acks)
        self._wait_for(acks)
        return refused

    def close(self) -> None:
        """Close the connection."""
        self._api.close()

    def _post(self, events: list[tuple[str, bytes]], acks: set[int]) -> list[Refusal]:
        """Send events in one request, or in more if they are too large. Return those that Splunk never accepts.

        The numbers of the acknowledgements to wait for are added to `acks`.
        """
        refused: list[Refusal] = []
        while events:
            response = self._exchange(_EVENTS, b"\n".join(event for _, event in events))
            answer = response.json_object()
            number = answer.get("invalid-event-number")
            if response.status == 200:
                if not isinstance(answer.get("ackId"), int):
                    raise failure(self._api.place, "Splunk acknowledges no events of this token", _ACKS_ARE_OFF)
                acks.add(answer["ackId"])
                break
            if response.status == _TOO_LARGE and len(events) > 1:
                middle = len(events) // 2
                return refused + self._post(events[:middle], acks) + self._post(events[middle:], acks)
            if response.status == _TOO_LARGE:
                refused.append(Refusal(events[0][0], "larger than the collector accepts: raise max_content_length"))
                break
            if answer.get("code") not in _CONTENT_CODES or not isinstance(number, int) or number >= len(events):
                raise self._error(response)
            # Whether Splunk has indexed those before it is unknown: they are sent again.
            refused.append(Refusal(events[number][0], self._api.excerpt(response.text)))
            events = events[:number] + events[number + 1 :]
        return refused

    def _wait_for(self, acks: set[int]) -> None:
        ends_at = time.monotonic() + self._options.ack_timeout.total_seconds()
        pause = _FIRST_LOOK_SECONDS
        while acks:
            self._api.start()
            acks -= self._acknowledged(sorted(acks))
            if acks and time.monotonic() > ends_at:
                seconds = self._options.ack_timeout.total_seconds()
                raise failure(
                    self._api.place, f"Splunk accepted the events, and did not index them within {seconds:g} s"
                )
            if acks:
                time.sleep(pause)
                pause = min(pause * 1.5, _LOOK_SECONDS)

    def _acknowledged(self, acks: list[int]) -> set[int]:
        """Return the acknowledgements that are true. Splunk forgets each when it has reported it."""
        response = self._exchange(_ACKS, json.dumps({"acks": acks}).encode())
        found = response.json_object().get("acks")
        if response.status != 200 or not isinstance(found, dict):
            raise self._error(response)
        return {number for number in acks if found.get(str(number)) is True}

    def _exchange(self, path: str, content: bytes) -> HttpResponse:
        headers = {"content_type": "application/json", "x_splunk_request_channel": self._channel}
        if self._options.gzip:
            content = gzip.compress(content, 1)
            headers["content_encoding"] = "gzip"
        return self._api.exchange("POST", path, content, **headers)

    def _error(self, response: HttpResponse) -> Exception:
        code = response.json_object().get("code")
        remedy = _REMEDIES_BY_CODE.get(code) if isinstance(code, int) else None
        return self._api.refusal(response, remedy or _REMEDIES_BY_STATUS.get(response.status, ""))

    def _event(self, message: StreamMessage) -> bytes:
        """Return an event in the format of the collector: the body as it is if it is JSON, else as text."""
        event: Any
        try:
            event = msgspec.json.decode(message.body, type=msgspec.Raw)
        except msgspec.DecodeError:
            event = message.body.decode("utf-8", "replace")
        fields = {"id": message.id, "offset": message.offset, "kind": message.kind, "key": message.key}
        return msgspec.json.encode(
            {
                "time": msgspec.Raw(b"%.3f" % message.at.timestamp()),
                **self._meta,
                "event": event,
                "fields": {f"actionwatch_{name}": value for name, value in fields.items() if value != ""},
            }
        )
