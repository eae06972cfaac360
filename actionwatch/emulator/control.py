"""Steer a running emulator from another process, under `/_emulator/`: no part of the API that is emulated."""

import hmac
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Annotated, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actionwatch.emulator import wire
from actionwatch.emulator.log import Named, from_ms
from actionwatch.emulator.query import parse_iso
from actionwatch.emulator.state import Organisation

PREFIX = "/_emulator"
Counts = Mapping[tuple[str, int], int]
T = TypeVar("T")


class NewAction(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """An action to log, as a caller writes it."""

    action: str
    user_name: str = "alice@example.com"
    at: str | int | None = None  # ISO or milliseconds; absent: now
    description: str = ""
    account: str | None = None  # id or name of a linked account
    cluster: str | None = None  # id or name of a running cluster; its account follows
    times: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1


class Synthetic(msgspec.Struct, forbid_unknown_fields=True):
    """A bulk of made-up actions over [start, end)."""

    count: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
    start: str | int
    end: str | int


class RefusedError(ValueError):
    """A control request that cannot be done; the text says why."""


def control_routes(organisation: Organisation, counts: Callable[[], Counts], token: str | None) -> list[Route]:
    """Give the routes: with a token, for who sends it as `Authorization: Bearer`; without one, for loopback alone."""

    def append(body: bytes) -> Response:
        return _json({"appended": append_all(organisation, _decode(body, list[NewAction]))})

    def append_synthetic(body: bytes) -> Response:
        wanted = _decode(body, Synthetic)
        organisation.extend_synthetic(wanted.count, _time(wanted.start), _time(wanted.end))
        return _json({"appended": wanted.count})

    def truth(_: bytes) -> Response:
        return _lines(wire.record(action, organisation) for action in organisation.truth())

    def planted(_: bytes) -> Response:
        return _lines(organisation.planted)

    def traffic(_: bytes) -> Response:
        answer: dict[str, dict[str, int]] = {}
        for (operation, status), count in sorted(counts().items()):
            answer.setdefault(operation, {})[str(status)] = count
        return _json(answer)

    return [
        _route("/actions", "POST", append, token),
        _route("/synthetic", "POST", append_synthetic, token),
        _route("/truth", "GET", truth, token),
        _route("/planted", "GET", planted, token),
        _route("/traffic", "GET", traffic, token),
    ]


def append_all(organisation: Organisation, wanted: Iterable[NewAction]) -> int:
    """Log actions given by a caller, each `times` times over, and say how many that made.

    Raises: `RefusedError` for an account or cluster that is not there, or a time that is none; then nothing is logged.
    """
    made = [_arguments(organisation, one) for one in wanted]
    for one, at, account, cluster in made:
        organisation.append(
            one.action,
            user_name=one.user_name,
            at=at,
            description=one.description,
            account=account,
            cluster=cluster,
            times=one.times,
        )
    return sum(one.times for one, *_ in made)


def _arguments(
    organisation: Organisation, one: NewAction
) -> tuple[NewAction, datetime | None, Named | None, Named | None]:
    cluster = organisation.find_cluster(one.cluster) if one.cluster else None
    if one.cluster and cluster is None:
        raise RefusedError(f"cluster: no running cluster is called {one.cluster!r}")
    wanted = one.account or (cluster.account_id if cluster else None)
    account = organisation.find_account(wanted) if wanted else None
    if wanted and account is None:
        raise RefusedError(f"account: no linked account is called {wanted!r}")
    return one, None if one.at is None else _time(one.at), account, cluster.named if cluster else None


def _time(value: str | int) -> datetime:
    try:
        return from_ms(value if isinstance(value, int) else parse_iso(value))
    except (ValueError, OverflowError) as exc:
        raise RefusedError(f"not a time: {value!r}") from exc


def _decode(body: bytes, form: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RefusedError(str(exc)) from exc


def _route(path: str, method: str, handler: Callable[[bytes], Response], token: str | None) -> Route:
    async def endpoint(request: Request) -> Response:
        if not _is_admitted(request, token):
            return Response(status_code=403)
        body = await request.body()
        try:
            return await run_in_threadpool(handler, body)
        except RefusedError as exc:
            return _json({"message": str(exc)}, 400)

    return Route(PREFIX + path, endpoint, methods=[method])


def _is_admitted(request: Request, token: str | None) -> bool:
    if token is not None:
        return hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {token}".encode())
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _lines(items: Iterable[object]) -> Response:
    encoder = msgspec.json.Encoder()
    return Response(b"".join(encoder.encode(item) + b"\n" for item in items), media_type="application/x-ndjson")
