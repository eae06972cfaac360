"""Responses instead of the API's: errors, rate limits and a wrong key."""

import json
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.emulator import wire
from actionwatch.emulator.durations import Duration
from actionwatch.emulator.faults.kinds import Play

BodyForm = Literal["status", "error", "errors_list", "errors_map", "empty", "html", "text"]

JSON, HTML, TEXT = "application/json", "text/html", "text/plain"


class Limited(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Retry-After and the body of a 429."""

    retry_after: Duration | None = None
    form: Literal["seconds", "date"] = "seconds"
    body: BodyForm = "status"


class ErrorResponse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The status of an error and the form of its body."""

    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503
    body: BodyForm = "status"
    retry_after: Duration | None = None


def _page(status: int, text: str) -> str:
    return f"<html><head><title>{status} {text}</title></head><body><center><h1>{status} {text}</h1></center></body></html>\r\n"


BODIES: Final[dict[str, tuple[str, Callable[[int, str], str]]]] = {
    "status": (JSON, lambda status, text: json.dumps(wire.error(status, text))),
    "error": (JSON, lambda _, text: json.dumps({"error": text})),
    "errors_list": (JSON, lambda _, text: json.dumps({"errors": [{"name": "request", "message": text}]})),
    "errors_map": (JSON, lambda _, text: json.dumps({"errors": {"request": text}})),
    "empty": ("", lambda _status, _text: ""),
    "html": (HTML, _page),
    "text": (TEXT, lambda _, text: text),
}


def rate_limited(_: Request, play: Play) -> Response:
    """Respond with 429."""
    limited: Limited = play.arg
    response = failure(429, limited.body, "Rate Limit Exceeded", limited.retry_after)
    if limited.retry_after is not None and limited.form == "date":
        response.headers["retry-after"] = format_datetime(play.clock() + limited.retry_after, usegmt=True)
    return response


def failure(status: int, form: str, text: str = "", retry_after: timedelta | None = None) -> Response:
    """Respond with an error; its text is by default the phrase of the status."""
    media_type, write = BODIES[form]
    phrase = next((known.phrase for known in HTTPStatus if known == status), "Unknown")
    response = Response(write(status, text or phrase), status, media_type=media_type or None)
    if retry_after is not None:
        response.headers["retry-after"] = str(-(-retry_after // timedelta(seconds=1)))  # rounded up
    return response


def unauthorised() -> Response:
    """Respond as the API does to a wrong key: 401 with an empty body."""
    return Response(status_code=401, headers={"WWW-Authenticate": 'Basic realm="Instaclustr"'})
