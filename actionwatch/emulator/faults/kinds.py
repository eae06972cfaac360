"""What a kind of fault is: where it takes hold, what it may be told, and when it counts as having played."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from actionwatch.emulator.faults.transport import Carrier, FaultyResponse
from actionwatch.emulator.log import Action, LogFilter, LogPage
from actionwatch.emulator.query import LogQuery
from actionwatch.emulator.stages import Stages
from actionwatch.emulator.state import Clock, Organisation
from actionwatch.emulator.visibility import Arrival
from actionwatch.emulator.wire import Json

USER_ACTIONS: Final = "user_actions"
OPERATIONS: Final = (USER_ACTIONS, "linked_accounts", "link_account", "unlink_account")
REQUIRED: Final = object()

Names = Sequence[str] | Mapping[str, object]
Select = Callable[[Organisation, LogQuery], LogPage]


@dataclass(frozen=True)
class Play:
    """A fault on one request or one record."""

    arg: Any  # what the kind's `argument` says
    seed: int
    chance: random.Random  # the n-th play of a fault draws the same in every run
    memory: dict[object, int]  # kept from play to play
    clock: Clock
    draw: Callable[[], bool]  # for faults that count something else than requests


@dataclass(frozen=True)
class OnRequest:
    """Replaces stages of a request."""

    change: Callable[[Stages, Play], Stages]
    operations: tuple[str, ...] = (USER_ACTIONS,)
    counts: str = "requests"


@dataclass(frozen=True)
class OnArrival:
    """Changes records on their way into the log: what comes out is the truth."""

    change: Callable[[Arrival, Play], list[Arrival]]
    operations: tuple[str, ...] = ()
    counts: str = "records"


@dataclass(frozen=True)
class OnEntries:
    """Lets entries of the log disappear: those of a filter, that are at least so old (ms)."""

    chooses: Callable[[Any], tuple[LogFilter, int]]
    operations: tuple[str, ...] = ()
    counts: str = "records"


@dataclass(frozen=True)
class FaultKind:
    """One line of the table."""

    effect: OnRequest | OnArrival | OnEntries
    does: str
    argument: Names | type | object = None  # names to choose from, or a type; None: takes none
    default: object = REQUIRED  # of the argument; a structure has defaults of its own


def on_query(change: Callable[[LogQuery, Play], LogQuery]) -> OnRequest:
    """Change what is asked for."""
    return OnRequest(
        lambda stages, play: replace(stages, parse=lambda parameters: change(stages.parse(parameters), play))
    )


def on_select(change: Callable[[Select, Organisation, LogQuery, Play], LogPage], counts: str = "requests") -> OnRequest:
    """Change what is found; `change` may call the selection that it stands in for."""

    def lift(stages: Stages, play: Play) -> Stages:
        return replace(stages, select=lambda organisation, query: change(stages.select, organisation, query, play))

    return OnRequest(lift, counts=counts)


def on_record(change: Callable[[Json, Action, int, Play], Json]) -> OnRequest:
    """Change each record of a page; it is given with its action and its arrival number."""

    def change_all(envelope: Json, page: LogPage, play: Play) -> Json:
        records = envelope.get("resources")
        if not isinstance(records, list):
            return envelope
        entries = zip(records, page.actions, page.rows, strict=True)
        return {**envelope, "resources": [change(record, action, row, play) for record, action, row in entries]}

    return on_envelope(change_all)


def on_envelope(change: Callable[[Json, LogPage, Play], Json]) -> OnRequest:
    """Change the envelope of a page."""

    def lift(stages: Stages, play: Play) -> Stages:
        def envelop(page: LogPage, offset: int, organisation: Organisation) -> object:
            match stages.envelop(page, offset, organisation):
                case [dict() as envelope]:
                    return [change(envelope, page, play)]
                case other:  # another fault took the documented form away
                    return other

        return replace(stages, envelop=envelop)

    return OnRequest(lift)


def on_shape(change: Callable[[Json, Play], object]) -> OnRequest:
    """Change what the envelope is wrapped in."""

    def lift(stages: Stages, play: Play) -> Stages:
        def envelop(page: LogPage, offset: int, organisation: Organisation) -> object:
            match stages.envelop(page, offset, organisation):
                case [dict() as envelope]:
                    return change(envelope, play)
                case other:
                    return other

        return replace(stages, envelop=envelop)

    return OnRequest(lift)


def instead(answer: Callable[[Request, Play], Response], operations: tuple[str, ...] = OPERATIONS) -> OnRequest:
    """Answer in place of the API; of several such faults the first of the table wins."""

    def lift(stages: Stages, play: Play) -> Stages:
        def gate(request: Request) -> Response | None:
            before = stages.gate(request)
            return answer(request, play) if before is None else before

        return replace(stages, gate=gate)

    return OnRequest(lift, operations)


def on_the_way(carry: Callable[[Play], Carrier], *, is_answered: Callable[[Any], bool] = lambda _: True) -> OnRequest:
    """Change how an answer travels; one that never arrives counts as status 0."""

    def lift(stages: Stages, play: Play) -> Stages:
        def carried(response: Response) -> Response:
            before = stages.carry(response)
            return FaultyResponse(before, carry(play), before.status_code if is_answered(play.arg) else 0)

        return replace(stages, carry=carried)

    return OnRequest(lift, OPERATIONS)
