"""The API as an ASGI application: FastAPI with our operations, and with our documents for errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.telemetry import TelemetryConfig
from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from actionwatch import __version__
from actionwatch.web.api import alerts, deliveries, records, rules, silences, status
from actionwatch.web.api.routing import SCHEMAS, open_router
from actionwatch.web.headers import COMPRESSION, Headers
from actionwatch.web.parts import Parts
from actionwatch.web.problems import ProblemDocument, problem

_UNKNOWN = "there is no such path: /api/v1/openapi.json names all"
_NO_METHOD = "the path has no such method: the header Allow names those that it has"
_ABOUT = (
    "The same alerts, records, deliveries, silences and rules as the console. Send `Authorization: Bearer TOKEN`; "
    "`actionwatch tokens create` makes a token. A list has `items` and `next`, the cursor of its next page."
)
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


class Api(FastAPI):
    """The operations of the API. FastAPI's own pages, which load scripts from the internet, are off."""

    def __init__(self) -> None:
        super().__init__(
            title="actionwatch",
            version=__version__,
            description=_ABOUT,
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            generate_unique_id_function=lambda route: to_camel(route.name),
            exception_handlers={HTTPException: self._refuse},
            telemetry=_NO_TELEMETRY,  # a URL may contain what a person searches for
        )
        own = open_router()
        own.add_api_route("/openapi.json", self._show_document, include_in_schema=False)
        for each in (own, *(module.router for module in (alerts, records, deliveries, silences, rules, status))):
            self.include_router(each)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document. An invalid request gets 400, and never FastAPI's 422."""
        if self.openapi_schema is None:
            made = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
                servers=[{"url": "/api/v1"}],
            )
            for methods in made["paths"].values():
                for operation in methods.values():
                    operation["responses"].pop("422", None)
            schemas = made["components"]["schemas"]
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            schemas["ProblemDocument"] = TypeAdapter(ProblemDocument).json_schema(ref_template=SCHEMAS)
            self.openapi_schema = made
        return self.openapi_schema

    def _show_document(self) -> dict[str, Any]:
        return self.openapi()

    async def _refuse(self, request: Request, error: Exception) -> Response:
        """Answer a path or a method that is unknown. The first route of a path names only its own methods."""
        if not isinstance(error, HTTPException) or error.status_code != 405:
            return problem(404, _UNKNOWN)
        route = request.scope.get("route")
        methods = sorted(each.upper() for each in self.openapi()["paths"].get(getattr(route, "path", ""), ["get"]))
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
        return problem(405, _NO_METHOD, {"allow": allowed})


def create_app(parts: Parts) -> ASGIApp:
    """Build the application."""
    api = Api()
    api.state.parts = parts

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # FastAPI's routes do not answer HEAD. The server leaves out the body.
        await api({**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope, receive, send)

    return Headers(GZipMiddleware(answer, compresslevel=COMPRESSION))
