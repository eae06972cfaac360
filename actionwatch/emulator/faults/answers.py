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
ELSEWHERE = "http://elsewhere.invalid"  # RFC 2606: a reserved name

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

    origin: str = ELSEWHERE
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
    response = _failure(429, "Rate Limit Exceeded", limited.body)
    if limited.retry_after is not None and limited.form == "date":
        at = play.clock() + limited.retry_after
        response.headers["retry-after"] = format_datetime(at, usegmt=True)
    elif limited.retry_after is not None:
        response.headers["retry-after"] = _seconds(limited.retry_after)
    return response


def fail(_: Request, play: Play) -> Response:
    """Respond with an error."""
    failure: ErrorResponse = play.arg
    response = _failure(failure.status, _phrase(failure.status), failure.body)
    if failure.retry_after is not None:
        response.headers["retry-after"] = _seconds(failure.retry_after)
    return response


def gateway_page(_: Request, play: Play) -> Response:
    """Respond with the page of a gateway."""
    return _failure(play.arg, _phrase(play.arg), "html")


def unauthorised(_request: Request, _play: Play) -> Response:
    """Respond with an empty 401."""
    return Response(status_code=401, headers={"WWW-Authenticate": 'Basic realm="Instaclustr"'})


def forbidden(_: Request, play: Play) -> Response:
    """Respond with 403."""
    return _failure(403, "Access denied", play.arg)


def redirect(request: Request, play: Play) -> Response:
    """Redirect to another host."""
    elsewhere: Elsewhere = play.arg
    query = f"?{request.url.query}" if request.url.query else ""
    return Response(status_code=elsewhere.status, headers={"location": f"{elsewhere.origin}{request.url.path}{query}"})


def wrong_answer(_: Request, play: Play) -> Response:
    """Respond with 200 and a body that is not a page."""
    media_type, body = WRONG_ANSWERS[play.arg]
    return Response(body.encode(errors="surrogateescape"), media_type=media_type)


def _failure(status: int, text: str, form: str) -> Response:
    media_type, write = BODIES[form]
    return Response(write(status, text), status, media_type=media_type or None)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _seconds(span: timedelta) -> str:
    return str(-(-span // timedelta(seconds=1)))  # rounded up
