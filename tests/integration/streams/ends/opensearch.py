"""A server that speaks the document API of OpenSearch: https://docs.opensearch.org/latest/api-reference/document-apis/bulk/."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.integration.notifiers.http_end import Reply, Request
from tests.integration.streams.end import Received
from tests.integration.streams.ends.api_server import ApiEnd

PASSWORD = "s3cret-opensearch-password"
API_KEY = "czNjcmV0LW9wZW5zZWFyY2gta2V5OnNlY3JldA=="
Error = tuple[int, str, str]
"""Status, type and reason of an item."""


class OpenSearchEnd(ApiEnd):
    """A server with one index, whose field `n` is a number."""

    type_name = "opensearch"
    secrets = (PASSWORD, API_KEY, "s3cret-wrong")
    too_large_bytes = 100_000

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.documents: dict[str, dict[str, Any]] = {}
        self.error: Callable[[dict[str, Any]], Error | None] = lambda document: None
        """What a test lets happen to a document."""
        self.faults |= {
            "wrong password": lambda: self.fault("check username and password", password="s3cret-wrong"),
            "wrong API key": lambda: self.fault("or api_key", username=None, password=None, api_key="s3cret-wrong"),
            "missing index": lambda: self.fault("create the index", index="elsewhere"),
            "forbidden index": lambda: self.fault("allow the user", index="forbidden"),
        }

    def options(self) -> Mapping[str, Any]:
        return {**super().options(), "index": "audit", "username": "actionwatch", "password": PASSWORD}

    def received(self) -> list[Received]:
        return [_received(dict(document)) for document in self.documents.values()]

    def reply(self, request: Request) -> Reply:
        basic = b64encode(f"actionwatch:{PASSWORD}".encode()).decode()
        index = urlsplit(request.path).path.split("/")[1]
        if request.headers.get("authorization") not in (f"Basic {basic}", f"ApiKey {API_KEY}"):
            return _error(401, "security_exception", f"unable to authenticate {request.headers.get('authorization')}")
        if index != "audit":
            return Reply(403 if index == "forbidden" else 404)
        if not urlsplit(request.path).path.endswith("/_bulk"):
            return Reply()
        if len(request.body) > self.too_large_bytes:
            return Reply(413)
        lines = request.body.split(b"\n")
        assert request.headers["content-type"] == "application/x-ndjson"
        assert lines.pop() == b""
        parsed = [json.loads(line) for line in lines]
        items = [{"create": self._create(*each)} for each in zip(parsed[::2], parsed[1::2], strict=True)]
        return Reply(body=json.dumps({"items": items}).encode())

    def _create(self, action: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        document_id = action["create"]["_id"]
        error = self.error(document)
        if document_id in self.documents:
            error = (
                409,
                "version_conflict_engine_exception",
                f"[{document_id}]: version conflict, document already exists",
            )
        elif not isinstance(document.get("n", 0), int):
            error = (400, "mapper_parsing_exception", "failed to parse field [n] of type [long]")
        if error is None:
            self.documents[document_id] = document
            return {"status": 201}
        status, kind, reason = error
        return {"status": status, "error": {"type": kind, "reason": reason}}


def _error(status: int, kind: str, reason: str) -> Reply:
    return Reply(status, json.dumps({"error": {"type": kind, "reason": reason}, "status": status}).encode())


def _received(document: dict[str, Any]) -> Received:
    ours = document.pop("actionwatch")
    del document["@timestamp"]
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Received(ours["id"], ours["kind"], ours["offset"], ours["key"], body)
