"""A server that speaks the protocol of Splunk's HTTP Event Collector.

https://docs.splunk.com/Documentation/Splunk/latest/Data/TroubleshootHTTPEventCollector lists its answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.integration.notifiers.http_end import Reply, Request
from tests.integration.streams.end import Received
from tests.integration.streams.ends.api_server import ApiEnd

TOKEN = "5ec2e7a0-aaaa-4bbb-8ccc-0123456789ab"
DISABLED, WITHOUT_ACKS = "5ec2e7a0-0000-4000-8000-000000000001", "5ec2e7a0-0000-4000-8000-000000000002"
_OTHER = "5ec2e7a0-0000-4000-8000-000000000003"


class SplunkEnd(ApiEnd):
    """A collector that indexes the events of a request when their acknowledgement is asked for."""

    type_name = "http"
    secrets = (TOKEN, DISABLED, WITHOUT_ACKS, _OTHER)
    too_large_bytes = 100_000

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.events: list[dict[str, Any]] = []
        self.waiting: dict[tuple[str, str], list[dict[str, Any]]] = {}
        """Accepted and not indexed, by channel and acknowledgement."""
        self.looks_until_indexed = 1
        self._count = 0
        self.faults |= {
            "wrong token": lambda: self.fault("check the credentials", token=_OTHER),
            "disabled token": lambda: self.fault("enable the token", token=DISABLED),
            "no acknowledgements": lambda: self.fault("useACK", token=WITHOUT_ACKS),
        }

    def options(self) -> Mapping[str, Any]:
        return {**super().options(), "protocol": "hec", "token": TOKEN}

    def received(self) -> list[Received]:
        return [_received(event) for event in self.events]

    def stop(self) -> None:
        super().stop()
        self.waiting.clear()

    def reply(self, request: Request) -> Reply:
        token = request.headers.get("authorization", "").removeprefix("Splunk ")
        if token == DISABLED:
            return _answer(403, "Token disabled", 1)
        if token not in (TOKEN, WITHOUT_ACKS):
            return _answer(403, "Invalid token", 4)
        channel = request.headers.get("x-splunk-request-channel")
        if channel is None:
            return _answer(400, "Data channel is missing", 10)
        if len(request.body) > self.too_large_bytes:
            return _answer(413, "Request entity too large", 27)
        body = request.body.decode()
        if request.path == "/services/collector/ack":
            return self._acknowledge(token, channel, body)
        assert request.path == "/services/collector/event"
        return self._accept(token, channel, body)

    def _acknowledge(self, token: str, channel: str, body: str) -> Reply:
        if token == WITHOUT_ACKS:
            return _answer(400, "ACK is disabled", 14)
        self.looks_until_indexed -= 1
        acks = {}
        for number in json.loads(body)["acks"]:
            found = self.waiting.pop((channel, str(number)), None) if self.looks_until_indexed <= 0 else None
            self.events += found or []
            acks[str(number)] = found is not None
        return Reply(body=json.dumps({"acks": acks}).encode())

    def _accept(self, token: str, channel: str, body: str) -> Reply:
        events: list[dict[str, Any]] = []
        decoder, at = json.JSONDecoder(), 0
        while at < len(body):
            event, at = decoder.raw_decode(body, at)
            at += len(body) - at - len(body[at:].lstrip())
            if event.get("index", "main") != "main":
                return _answer(400, "Incorrect index", 7, len(events))
            if event["event"] == "":
                return _answer(400, "Event field cannot be blank", 13, len(events))
            events.append(event)
        if token == WITHOUT_ACKS:
            self.events += events
            return _answer(200, "Success", 0)
        self._count += 1
        self.waiting[channel, str(self._count)] = events
        return Reply(body=json.dumps({"text": "Success", "code": 0, "ackId": self._count}).encode())


def _answer(status: int, text: str, code: int, number: int | None = None) -> Reply:
    which = {} if number is None else {"invalid-event-number": number}
    return Reply(status, json.dumps({"text": text, "code": code, **which}).encode())


def _received(event: Mapping[str, Any]) -> Received:
    fields, body = event["fields"], event["event"]
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Received(
        fields["actionwatch_id"],
        fields["actionwatch_kind"],
        fields["actionwatch_offset"],
        fields.get("actionwatch_key", ""),
        text.encode(),
    )
