"""The stages of a user-actions request: one function each, so that a fault can replace a stage instead of a handler."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.emulator import wire
from actionwatch.emulator.log import LogPage, LogQuery
from actionwatch.emulator.query import parse_query
from actionwatch.emulator.state import Organisation


@dataclass(frozen=True)
class Stages:
    """The stages in order; each can be replaced separately."""

    gate: Callable[[Request], Response | None] = lambda _: None
    """A response here ends a request of any operation before the API evaluates it."""
    parse: Callable[[QueryParams], LogQuery] = parse_query
    select: Callable[[Organisation, LogQuery], LogPage] = Organisation.page
    envelop: Callable[[LogPage, int, Organisation], object] = wire.envelope
    encode: Callable[[object], bytes] = msgspec.json.encode
    respond: Callable[[bytes], Response] = lambda body: Response(body, media_type="application/json")
    carry: Callable[[Response], Response] = lambda response: response
    """For responses of all operations, errors included."""
