"""An endpoint that takes lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.integration.notifiers.http_end import Reply, Request
from tests.integration.streams.end import Received
from tests.integration.streams.ends.api_server import ApiEnd

PASSWORD = "s3cret-http-password"
BASIC = "Basic YWN0aW9ud2F0Y2g6czNjcmV0LWh0dHAtcGFzc3dvcmQ="  # actionwatch and the password


class LinesEnd(ApiEnd):
    """An endpoint with a user, or a token, at one path."""

    type_name = "http"
    secrets = (PASSWORD, "s3cret-token", "s3cret-wrong")
    too_large_bytes = 100_000

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lines: list[dict[str, Any]] = []
        self.faults |= {
            "wrong password": lambda: self.fault("check the credentials", password="s3cret-wrong"),
            "missing path": lambda: self.fault("check url", url=f"{self.url}/elsewhere"),
        }

    def options(self) -> Mapping[str, Any]:
        return {**super().options(), "url": f"{self.url}/audit", "username": "actionwatch", "password": PASSWORD}

    def received(self) -> list[Received]:
        return [
            Received(each["id"], each["kind"], each["offset"], each["key"], _body(each["body"])) for each in self.lines
        ]

    def reply(self, request: Request) -> Reply:
        if request.headers.get("authorization") not in (BASIC, "Bearer s3cret-token"):
            return Reply(401, f"not known: {request.headers.get('authorization')}".encode())
        if request.path != "/audit":
            return Reply(404)
        if len(request.body) > self.too_large_bytes:
            return Reply(413)
        assert request.headers.get("content-type") == "application/x-ndjson"
        found = [json.loads(line) for line in request.body.splitlines()]
        if any(each["body"] == "unwanted" for each in found):
            return Reply(422, b"a line that is not wanted")
        self.lines += found
        return Reply(202)


def _body(body: object) -> bytes:
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return text.encode()
