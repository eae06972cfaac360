"""Errors of the API as documents (RFC 9457, `application/problem+json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response
from typing_extensions import TypedDict

API_PATH = "/api/"
MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "The request is not valid",
    401: "A token is required",
    403: "This is not allowed",
    404: "There is no such thing",
    405: "The path has no such method",
    409: "It contradicts what is stored",
    413: "The request is too long",
    415: "The body is not JSON",
    429: "Too many attempts failed",
    500: "actionwatch failed",
    503: "The store does not answer",
}


class InvalidRequest(ValueError):
    """A mistake in a request, for whoever sent it. Every other ValueError is a fault of ours."""


class ProblemDocument(TypedDict):
    """An error: the type is the same for all errors of one status; `detail` has the mistake, its place, and the remedy."""

    type: str
    title: str
    status: int
    detail: str


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as a response."""
    title = TITLES.get(status, "The request failed")
    document: ProblemDocument = {
        "type": f"urn:actionwatch:problem:{status}",
        "title": title,
        "status": status,
        "detail": detail or title,
    }
    return Response(json.dumps(document), status, headers, MEDIA_TYPE)
