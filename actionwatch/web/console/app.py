"""The console as an ASGI application: its paths, and its errors, which look like its other pages."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from actionwatch.base.errors import ActionwatchError, StoreError
from actionwatch.queries.source_health import MANY
from actionwatch.web.access import STORE_AWAY
from actionwatch.web.applications import application
from actionwatch.web.console import (
    alert_list,
    alerts,
    decisions,
    deliveries,
    overview,
    records,
    rules,
    sign_in,
    silences,
    sources,
)
from actionwatch.web.console.form_tokens import FormTokens
from actionwatch.web.console.forms import Fields
from actionwatch.web.console.page import STATIC, render, static_file
from actionwatch.web.headers import COMPRESSION, Headers
from actionwatch.web.parts import Parts
from actionwatch.web.paths import SIGN_IN_PATH
from actionwatch.web.problems import InvalidRequest
from actionwatch.web.query import check_parameters
from actionwatch.web.requests import MAX_BODY_BYTES, check, check_site, read_body

View = Callable[[Request, Parts], Response]
_FormView = Callable[[Request, Parts, Fields], Response]


_PAGES: Mapping[str, View] = {
    "/": overview.show,
    "/alerts": alert_list.show_list,
    "/alerts/{alert_id}": alerts.show,
    "/news": alert_list.count_new,
    "/records": records.show_list,
    "/records/export": records.export,
    "/records/{key}": records.show,
    "/deliveries": deliveries.show,
    "/silences": silences.show,
    sources.PATH: sources.show,
    "/rules": rules.show_list,
    "/rules/{name}": rules.show,
    SIGN_IN_PATH: sign_in.show,
}
_FORMS: Mapping[str, _FormView] = {
    SIGN_IN_PATH: sign_in.submit,
    "/sign-out": sign_in.leave,
    "/alerts": decisions.submit_several,
    "/alerts/{alert_id}/decision": decisions.submit_one,
    "/deliveries": deliveries.submit,
    "/silences": silences.submit,
}

_UNKNOWN = "there is no such page: the navigation names all pages"

log = structlog.get_logger()


def create_app(parts: Parts) -> ASGIApp:
    """Build the application."""
    pages: list[BaseRoute] = [Route(path, _page(view, parts), methods=["GET"]) for path, view in _PAGES.items()]
    forms = [Route(path, _form(view, parts), methods=["POST"]) for path, view in _FORMS.items()]
    static = Route("/static/{name}", _static, methods=["GET"])

    def refuse(request: Request, error: Exception) -> Response:
        status, what = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
        return _error_page(request, parts, status, _UNKNOWN if status == 404 else what)

    made = application([*pages, *forms, static], exception_handlers={HTTPException: refuse})
    made.state.form_tokens = FormTokens()
    made.state.has_many_sources = lambda: len(parts.configuration.sources()) > MANY
    made.state.stream_counts = Counter()
    made.state.exporting = asyncio.Semaphore(1)
    return Headers(GZipMiddleware(made, compresslevel=COMPRESSION))


def _page(view: View, parts: Parts) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        at_once = parts.at_once()
        return _answer(request, at_once, lambda: view(request, at_once))

    return endpoint


def _form(view: _FormView, parts: Parts) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        at_once = parts.at_once()
        check_site(request)
        body = await read_body(request)
        try:
            check_parameters(body, MAX_BODY_BYTES)
        except InvalidRequest as exc:
            raise HTTPException(400, f"the form {exc}") from exc
        fields = Fields(parse_qsl(body.decode("utf-8", "replace")))
        return await run_in_threadpool(_answer, request, at_once, lambda: view(request, at_once, fields))

    return endpoint


def _answer(request: Request, parts: Parts, view: Callable[[], Response]) -> Response:
    """Run a view; an error becomes a page that says what happened, and the log has its cause."""
    try:
        check(request)
        return view()
    except HTTPException as exc:
        return _error_page(request, parts, exc.status_code, exc.detail)
    except StoreError as exc:
        return _error_page(request, parts, 503, str(exc) if request.state.visitor else STORE_AWAY)
    except ActionwatchError as exc:  # of a decision: the alert is gone
        return _error_page(request, parts, 404, str(exc))
    except Exception:
        log.exception("page_failed", path=request.url.path)
        return _error_page(request, parts, 500, "this page failed: the log of the service has the cause (page_failed)")


def _error_page(request: Request, parts: Parts, status: int, what: str) -> Response:
    return render(request, "error.html", parts.clock(), status, status=status, what=what)


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        raise HTTPException(404, "there is no such file")
    # The URL changes with the content.
    kept = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(static_file(name), media_type=STATIC[name], headers=kept)
