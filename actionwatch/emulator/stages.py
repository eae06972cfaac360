"""What a user-actions request passes through: one function a stage, so that a fault replaces stages and no handler."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.emulator import wire
from actionwatch.emulator.log import Slice
from actionwatch.emulator.query import Parameters, Query, parse_query
from actionwatch.emulator.state import Organisation


@dataclass(frozen=True)
class Stages:
    """The stages in order; each may be replaced alone."""

    gate: Callable[[Request], Response | None] = lambda _: (
        None
    )  # an answer here ends any request before it is looked at
    parse: Callable[[Parameters], Query] = parse_query
    select: Callable[[Organisation, Query], Slice] = lambda organisation, query: organisation.page(
        query.wanted, query.start, query.end, query.offset, query.limit, with_counts=query.with_counts
    )
    envelop: Callable[[Slice, int, Organisation], object] = wire.envelope
    encode: Callable[[object], bytes] = msgspec.json.encode
    respond: Callable[[bytes], Response] = lambda body: Response(body, media_type="application/json")
    carry: Callable[[Response], Response] = lambda response: response  # of any operation, refusals too
