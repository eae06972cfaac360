"""The common part of all operations: access, the length of a request, and problem documents for errors."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from actionwatch.base.errors import ActionwatchError, StoreError
from actionwatch.web.access import visitor_of
from actionwatch.web.filters import NoParameters, check_repeats
from actionwatch.web.mistakes import sentences
from actionwatch.web.parts import Parts
from actionwatch.web.problems import MEDIA_TYPE, TITLES, InvalidRequest, problem
from actionwatch.web.requests import author_of, check, check_may_decide, check_site, read_body

SCHEMAS = "#/components/schemas/{model}"
_ALWAYS = (401, 403, 429, 500, 503)  # what the guard and the store answer
_FAILED = "this request failed: the log of the service has the cause (request_failed)"

log = structlog.get_logger()


class _BoundedRequest(Request):
    """A request whose body has at most 64 KiB."""

    async def body(self) -> bytes:
        """Read the body. Raises: HTTPException."""
        if not hasattr(self, "_whole"):
            self._whole = await read_body(self)
        return self._whole


class _Operation(APIRoute):
    """A route whose handler runs in a thread until its document is JSON, because the event loop answers the probes."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _writing(endpoint), **{**options, "summary": endpoint.__doc__})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route. An error becomes a problem that says what happened; the log has its cause."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                _check_sender(request)
                return await handle(_BoundedRequest(request.scope, request.receive))
            except Exception as exc:
                return _refusal(request, exc)

        return answer


def _writing(endpoint: Callable[..., Any]) -> Callable[..., Response]:
    """Return a handler that writes what another one returns, in ASCII, as a damaged text needs."""

    @functools.wraps(endpoint)
    def write(**given: Any) -> Response:
        found = endpoint(**given)
        return found if isinstance(found, Response) else written(found)

    write.__doc__ = None  # FastAPI would repeat the summary as the description
    return write


def written(document: Any, status: int = 200) -> Response:
    """Return a document as a response."""
    return Response(json.dumps(document), status, media_type="application/json")


def _check_sender(request: Request) -> None:
    """Check that no other site sends a change. Its forms cannot have this content type."""
    if request.method == "GET":
        return
    check_site(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send the body as JSON, with content-type: application/json")


def _refusal(request: Request, error: Exception) -> Response:
    match error:
        case RequestValidationError():
            return problem(400, "; ".join(dict.fromkeys(sentences(error.errors()))))  # each once
        case HTTPException():
            return problem(error.status_code, error.detail)
        case InvalidRequest():
            return problem(400, str(error))
        case StoreError():
            return problem(503, str(error))
        case ActionwatchError():  # of a decision: the alert is gone
            return problem(404, str(error))
    log.error("request_failed", path=request.url.path, exc_info=error)
    return problem(500, _FAILED)


async def reader(request: Request) -> None:
    """Let everybody read whom the guard let through, and check the query. Raises: HTTPException, InvalidRequest."""
    check(request)
    check_repeats(request.query_params)


async def at_once(request: Request) -> Parts:
    """Return the parts for one request, whose clock does not move."""
    parts: Parts = request.app.state.parts
    return parts.at_once()


@dataclass(frozen=True, slots=True)
class Decider:
    """Whoever sends a change, and may."""

    request: Request

    def author(self, typed: str | None) -> str:
        """Return who decides. `typed` is the name in the body. Raises: HTTPException, InvalidRequest."""
        name = visitor_of(self.request).name
        if name is not None and typed not in (None, name):
            raise HTTPException(400, f"author: the token is that of {name}: leave it out")
        return author_of(self.request, (typed or "").strip())


async def decider(request: Request) -> Decider:
    """Let only operators change something. Raises: HTTPException."""
    check_may_decide(request)
    return Decider(request)


async def no_parameters(_: Annotated[NoParameters, Query()]) -> None:
    """Refuse each parameter: a program would not see that it has no effect."""


AtOnce = Annotated[Parts, Depends(at_once)]
Operator = Annotated[Decider, Depends(decider)]
Id = Annotated[str, Path(min_length=1, pattern=r"^[^/\x00-\x1f\x7f]+$")]
TOKEN = HTTPBearer(scheme_name="token", auto_error=False, description="A token of 'actionwatch tokens create'.")


def open_router() -> APIRouter:
    """Return a router for operations."""
    return APIRouter(route_class=_Operation, dependencies=[Depends(TOKEN), Depends(reader)])


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of an operation, for the OpenAPI document."""
    return {status: _describe(status) for status in sorted({*statuses, *_ALWAYS})}


def _describe(status: int) -> dict[str, Any]:
    schema = {"$ref": SCHEMAS.format(model="ProblemDocument")}
    return {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": schema}}}


WHOLE: Mapping[str, Any] = {"responses": errors(400), "dependencies": [Depends(no_parameters)]}
ONE: Mapping[str, Any] = {**WHOLE, "responses": errors(400, 404)}
CHANGE: Mapping[str, Any] = {**WHOLE, "responses": errors(400, 404, 413, 415)}
CONTESTED: Mapping[str, Any] = {**WHOLE, "responses": errors(400, 404, 409, 413, 415)}
"""The options of each sort of operation: of all of something, one thing, a change, and one that may contradict the store."""
