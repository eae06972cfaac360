"""Build an application of the listener."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute


def application(
    routes: Sequence[BaseRoute],
    exception_handlers: Mapping[Any, Callable[[Request, Exception], Response]] | None = None,
) -> Starlette:
    """Return an application. It leads no path with a slash too many to another one, whose host would be what a client names."""
    made = Starlette(routes=routes, exception_handlers=exception_handlers)
    made.router.redirect_slashes = False
    return made
