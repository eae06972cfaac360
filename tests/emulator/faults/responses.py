"""Responses instead of the API's: redirects and wrong 200 responses."""

import json
from typing import Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.emulator import wire
from actionwatch.emulator.faults.kinds import Play
from actionwatch.emulator.faults.responses import HTML, JSON

_ELSEWHERE = "http://elsewhere.invalid"  # RFC 2606: a reserved name


class Elsewhere(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The origin to which a redirect leads; the path stays."""

    origin: str = _ELSEWHERE
    status: Literal[301, 302, 303, 307, 308] = 302


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


def redirect(request: Request, play: Play) -> Response:
    elsewhere: Elsewhere = play.arg
    query = f"?{request.url.query}" if request.url.query else ""
    return Response(status_code=elsewhere.status, headers={"location": f"{elsewhere.origin}{request.url.path}{query}"})


def wrong_answer(_: Request, play: Play) -> Response:
    """Respond with 200 and a body that is not a page."""
    media_type, body = WRONG_ANSWERS[play.arg]
    return Response(body.encode(errors="surrogateescape"), media_type=media_type)
