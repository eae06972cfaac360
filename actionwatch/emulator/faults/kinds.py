"""The kinds of faults: what they change, their arguments, and what their limits count."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from actionwatch.emulator.log import Arrival, LogFilter, LogPage, LogQuery
from actionwatch.emulator.stages import Stages
from actionwatch.emulator.state import Clock, Organisation
from actionwatch.emulator.wire import Json

_USER_ACTIONS: Final = "user_actions"
_OPERATIONS: Final = (_USER_ACTIONS, "linked_accounts", "link_account", "unlink_account")
REQUIRED: Final = object()


class Layer(IntEnum):
    """The place of a fault: the lowest is nearest to the log, the highest nearest to the client."""

    ACTION = 0
    ENTRY = 1
    QUERY = 2
    PAGE = 3
    RECORD = 4
    ENVELOPE = 5
    SHAPE = 6
    RESPONSE = 7
    HEADERS = 8
    BODY = 9
    CONNECTION = 10
    TIMING = 11


Names = Sequence[str] | Mapping[str, object]
Select = Callable[[Organisation, LogQuery], LogPage]


@dataclass(frozen=True)
class Play:
    """One application of a fault, to a request or a record."""

    arg: Any  # as in `FaultKind.argument`
    seed: int
    chance: random.Random  # the n-th application draws the same numbers in every run
    memory: dict[object, int]  # kept between applications
    clock: Clock
    draw: Callable[[], bool]  # for faults that do not count requests


Carrier = Callable[[Play, Response, Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class OnRequest:
    """Replaces stages of a request."""

    change: Callable[[Stages, Play], Stages]
    layer: Layer
    operations: tuple[str, ...] = (_USER_ACTIONS,)
    counts: str = "requests"


@dataclass(frozen=True)
class OnArrival:
    """Changes new records; the result is the truth."""

    change: Callable[[Arrival, Play], list[Arrival]]
    layer: Layer = Layer.ENTRY
    operations: tuple[str, ...] = ()
    counts: str = "records"


@dataclass(frozen=True)
class OnEntries:
    """Removes entries of the log that match a filter and have a minimum age (ms)."""

    chooses: Callable[[Any], tuple[LogFilter, int]]
    layer: Layer = Layer.ENTRY
    operations: tuple[str, ...] = ()
    counts: str = "records"


@dataclass(frozen=True)
class FaultKind:
    """One line of the table."""

    effect: OnRequest | OnArrival | OnEntries
    does: str
    argument: Names | type | object = None  # possible names, or a type; None: no argument
    default: object = REQUIRED  # of the argument; structures have their own defaults


def on_select(change: Callable[[Select, Organisation, LogQuery, Play], LogPage], counts: str = "requests") -> OnRequest:
    """Change the selection; `change` can call the original one."""

    def lift(stages: Stages, play: Play) -> Stages:
        return replace(stages, select=lambda organisation, query: change(stages.select, organisation, query, play))

    return OnRequest(lift, Layer.PAGE, counts=counts)


def on_shape(change: Callable[[Json, LogPage, Any], object], layer: Layer = Layer.SHAPE) -> OnRequest:
    """Change the JSON of a page, of which `change` gets the envelope."""

    def lift(stages: Stages, play: Play) -> Stages:
        def envelop(page: LogPage, offset: int, organisation: Organisation) -> object:
            match stages.envelop(page, offset, organisation):
                case [dict() as envelope]:
                    return change(envelope, page, play.arg)
                case other:  # another fault has changed the form
                    return other

        return replace(stages, envelop=envelop)

    return OnRequest(lift, layer)


def instead(respond: Callable[[Request, Play], Response]) -> OnRequest:
    """Respond instead of the API; of several such faults, the first in the table wins."""

    def lift(stages: Stages, play: Play) -> Stages:
        def gate(request: Request) -> Response | None:
            before = stages.gate(request)
            return respond(request, play) if before is None else before

        return replace(stages, gate=gate)

    return OnRequest(lift, Layer.RESPONSE, _OPERATIONS)


def on_the_way(carry: Carrier, layer: Layer, *, is_answered: Callable[[Any], bool] = lambda _: True) -> OnRequest:
    """Change the transmission of a response; one that never arrives counts as status 0."""

    def lift(stages: Stages, play: Play) -> Stages:
        def carried(response: Response) -> Response:
            before = stages.carry(response)
            return _FaultyResponse(partial(carry, play, before), before.status_code if is_answered(play.arg) else 0)

        return replace(stages, carry=carried)

    return OnRequest(lift, layer, _OPERATIONS)


class _FaultyResponse(Response):
    """A response that a fault transmits; several faults are nested responses."""

    def __init__(self, transmit: ASGIApp, status_code: int) -> None:
        super().__init__(status_code=status_code)
        self._transmit = transmit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._transmit(scope, receive, send)
