"""The API as an ASGI application: the routes of its operations, its OpenAPI document, and its errors."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from actionwatch.base.errors import ActionwatchError, StoreError
from actionwatch.web.api.call import Call, Created, Operation
from actionwatch.web.api.openapi import describe
from actionwatch.web.api.operations import OPERATIONS
from actionwatch.web.applications import application
from actionwatch.web.headers import Headers
from actionwatch.web.parts import Parts
from actionwatch.web.problems import InvalidRequest, problem
from actionwatch.web.query import UrlQuery
from actionwatch.web.requests import check, check_site, read_body

_OF_ROUTES = {
    404: "there is no such path: /api/v1/openapi.json names all",
    405: "the path has no such method: the header Allow names those that it has",
}

_Endpoint = Callable[[Request], Awaitable[Response]]

log = structlog.get_logger()


def create_app(parts: Parts) -> ASGIApp:
    """Build the application."""
    document = json.dumps(describe(OPERATIONS))

    async def show_document(_: Request) -> Response:
        return Response(document, media_type="application/json")

    by_path: dict[str, dict[str, _Endpoint]] = {"/openapi.json": {"GET": show_document}}
    for one in OPERATIONS:
        by_path.setdefault(one.path, {})[one.method] = _endpoint(one, parts)
    routes = [Route(path, _choose(endpoints), methods=list(endpoints)) for path, endpoints in by_path.items()]
    made = application(routes, exception_handlers={HTTPException: _refuse})
    return Headers(made)


def _choose(endpoints: Mapping[str, _Endpoint]) -> _Endpoint:
    """Return the endpoint of a path: one route for all methods, so that a response 405 names all of them."""

    async def endpoint(request: Request) -> Response:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return endpoint


def _endpoint(one: Operation, parts: Parts) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        at_once = parts.for_request()
        body = None
        if one.body is not None:
            check_site(request)
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise HTTPException(415, "send the body as JSON, with content-type: application/json")
            body = _decode(await read_body(request), one.body)
        return await run_in_threadpool(_answer, one, at_once, request, body)

    return endpoint


def _decode(body: bytes, type_: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise HTTPException(400, f"the body is not valid: {exc}") from exc


def _answer(one: Operation, parts: Parts, request: Request, body: Any) -> Response:
    """Run a view; an error becomes a problem that says what happened, and the log has its cause."""
    try:
        check(request)
        accepted = {each.name: each.is_repeatable for each in one.parameters}
        query = UrlQuery(request.query_params, parts.clock(), accepted)
        query.check()
        found = one.view(Call(request, parts, query, body))
        status, document = (201, found.document) if isinstance(found, Created) else (200, found)
        content = json.dumps(document)  # in ASCII, as a damaged text needs
    except HTTPException as exc:
        return problem(exc.status_code, exc.detail)
    except InvalidRequest as exc:
        return problem(400, str(exc))
    except StoreError as exc:
        return problem(503, str(exc))
    except ActionwatchError as exc:  # of a decision: the alert is gone
        return problem(404, str(exc))
    except Exception:
        log.exception("request_failed", path=request.url.path)
        return problem(500, "this request failed: the log of the service has the cause (request_failed)")
    return Response(content, status, media_type="application/json")


def _refuse(_: Request, error: Exception) -> Response:
    """Return an error that no view raised."""
    if not isinstance(error, HTTPException):
        return problem(500, "")
    return problem(error.status_code, _OF_ROUTES.get(error.status_code, error.detail), error.headers)
