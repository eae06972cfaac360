"""Responses instead of the API's: errors, outages, and wrong 200 responses."""

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
_ELSEWHERE = "http://elsewhere.invalid"  # RFC 2606: a reserved name

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


class Elsewhere(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The origin to which a redirect leads; the path stays."""

    origin: str = _ELSEWHERE
    status: Literal[301, 302, 303, 307, 308] = 302


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
WRONG_ANSWERS: Final[dict[str, tuple[str, str]]] = {
    "error": (JSON, json.dumps(wire.error(500, "Internal Server Error"))),
    "html": (HTML, "<!doctype html><html><body><form>Sign in</form></body></html>"),
    "empty": (JSON, ""),
    "null": (JSON, "null"),
    "number": (JSON, "0"),
    "string": (JSON, '"OK"'),
    "strings": (JSON, '["BACKUP"]'),
    "object": (JSON, "{}"),
    "half": (JSON, '[{"totalResults": 3, "resources": [{"action"'),
    "not_utf8": (JSON, '[{"action": "\udcff"}]'),
}


def rate_limited(_: Request, play: Play) -> Response:
    """Respond with 429."""
    limited: Limited = play.arg
    response = failure(429, limited.body, "Rate Limit Exceeded", limited.retry_after)
    if limited.retry_after is not None and limited.form == "date":
        response.headers["retry-after"] = format_datetime(play.clock() + limited.retry_after, usegmt=True)
    return response


def redirect(request: Request, play: Play) -> Response:
    elsewhere: Elsewhere = play.arg
    query = f"?{request.url.query}" if request.url.query else ""
    return Response(status_code=elsewhere.status, headers={"location": f"{elsewhere.origin}{request.url.path}{query}"})


def wrong_answer(_: Request, play: Play) -> Response:
    """Respond with 200 and a body that is not a page."""
    media_type, body = WRONG_ANSWERS[play.arg]
    return Response(body.encode(errors="surrogateescape"), media_type=media_type)


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
