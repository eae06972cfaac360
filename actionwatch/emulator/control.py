"""Control a running emulator from another process, under `/_emulator/`, which is not part of the emulated API."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actionwatch.emulator import wire
from actionwatch.emulator.durations import read_duration
from actionwatch.emulator.faults.fault import FaultError, FaultSpec, plain
from actionwatch.emulator.faults.playing import Faults
from actionwatch.emulator.log import Action, from_ms
from actionwatch.emulator.query import parse_time
from actionwatch.emulator.state import Organisation

_PREFIX = "/_emulator"
_Handler = Callable[[Request, bytes], Response]
T = TypeVar("T")


class _NewAction(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    action: str
    user_name: str = "alice@example.com"
    at: str | int | None = None  # ISO or milliseconds; absent: now
    description: str = ""
    account: str | None = None  # id or name; one that is unknown is taken as a name, and gets an id
    cluster: str | None = None  # the same; the account of a running cluster follows
    times: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1


class _Synthetic(msgspec.Struct, forbid_unknown_fields=True):
    """Many synthetic actions over [start, end)."""

    count: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
    start: str | int
    end: str | int


class _RefusedError(ValueError):
    """A control request that is not possible; the text says why."""


def control_routes(
    organisations: Sequence[Organisation], faults: Faults, counts: Mapping[tuple[str, int], int]
) -> list[Route]:
    """Build the routes. They are as open as the server, which listens on loopback only.

    Of several organisations, `?organisation=ID` names one. Otherwise the first gets new actions, and all are read.
    """

    def chosen(request: Request) -> Sequence[Organisation]:
        wanted = request.query_params.get("organisation")
        found = [one for one in organisations if wanted in (None, one.id)]
        if not found:
            raise _RefusedError(f"no organisation {wanted!r}")
        return found

    def append(request: Request, body: bytes) -> Response:
        organisation = chosen(request)[0]
        made = [
            _arguments(organisation, one) for one in _decode(body, list[_NewAction])
        ]  # refused before any is logged
        for arguments in made:
            organisation.append(**arguments)
        return JSONResponse({"appended": sum(arguments["times"] for arguments in made)})

    def append_synthetic(request: Request, body: bytes) -> Response:
        organisation = chosen(request)[0]
        wanted = _decode(body, _Synthetic)
        organisation.extend_synthetic(wanted.count, _time(wanted.start), _time(wanted.end))
        return JSONResponse({"appended": wanted.count})

    def visible(request: Request, _: bytes) -> Response:
        given = {name: _moment(request, name) for name in ("at", "start", "end")}
        return _lines(
            _true(action, one)
            for one in chosen(request)
            for action in one.visible(given["at"] or one.clock(), given["start"], given["end"])
        )

    def truth(request: Request, _: bytes) -> Response:
        return _lines(_true(action, one) for one in chosen(request) for action in one.truth())

    def planted(request: Request, _: bytes) -> Response:
        return _lines(each for one in chosen(request) for each in list(one.planted))

    def traffic(*_: object) -> Response:
        answer: dict[str, dict[str, int]] = {}
        for (operation, status), count in sorted(counts.items()):
            answer.setdefault(operation, {})[str(status)] = count
        return JSONResponse(answer)

    def list_faults(request: Request, body: bytes) -> Response:
        _change_faults(faults, request, body)
        now = organisations[0].clock()
        return JSONResponse(
            [{**plain(one.fault), "played": one.played, "isOver": one.is_over(now)} for one in faults.running]
        )

    return [
        _route("/actions", append, "POST"),
        _route("/synthetic", append_synthetic, "POST"),
        _route("/truth", truth, "GET"),
        _route("/visible", visible, "GET"),
        _route("/planted", planted, "GET"),
        _route("/traffic", traffic, "GET"),
        _route("/faults", list_faults, "GET", "PUT", "POST", "DELETE"),
    ]


def _change_faults(faults: Faults, request: Request, body: bytes) -> None:
    """Set, add or clear the faults; a GET changes nothing."""
    match request.method:
        case "PUT":
            faults.set(*_decode(body, list[FaultSpec | str]))
        case "POST":
            faults.add(*_decode(body, list[FaultSpec | str]))
        case "DELETE":
            faults.clear(request.query_params.get("fault"))


def _true(action: Action, organisation: Organisation) -> wire.Json:
    """Return a record as the API sends it, with `goneAt` if it disappeared."""
    record = wire.record(action, organisation)
    return record if action.gone_at is None else {**record, "goneAt": wire.time(action.gone_at)}


def _moment(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    return None if text is None else _time(text)


def _arguments(organisation: Organisation, one: _NewAction) -> dict[str, Any]:
    inventory = organisation.inventory
    running = inventory.find_cluster(one.cluster) if one.cluster else None
    account = one.account or (running.account_id if running else None)
    return {
        "kind": one.action,
        "user_name": one.user_name,
        "at": None if one.at is None else _time(one.at),
        "description": one.description,
        "account": inventory.name_account(account) if account else None,
        "cluster": inventory.name_cluster(one.cluster) if one.cluster else None,
        "times": one.times,
    }


def _time(value: str | int) -> datetime:
    try:
        return from_ms(value if isinstance(value, int) else parse_time(value))
    except (ValueError, OverflowError) as exc:
        raise _RefusedError(f"not a time: {value!r}") from exc


def _decode(body: bytes, form: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=form, dec_hook=read_duration)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise _RefusedError(str(exc)) from exc


def _route(path: str, handler: _Handler, *methods: str) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            return await run_in_threadpool(handler, request, await request.body())
        except (_RefusedError, FaultError) as exc:
            return JSONResponse({"message": str(exc)}, 400)

    return Route(_PREFIX + path, endpoint, methods=methods)


def _lines(items: Iterable[object]) -> Response:
    return Response(msgspec.json.Encoder().encode_lines(items), media_type="application/x-ndjson")
