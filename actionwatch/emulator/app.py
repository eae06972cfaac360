"""The API: the four documented operations of one organisation, or of several, each with a key.

A user-actions request passes through `Stages`. A fault or another response shape replaces stages for a request, and not the
handlers.
"""

import base64
import binascii
import hmac
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import format_datetime
from pathlib import Path
from typing import Annotated

import msgspec
import yaml
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actionwatch.emulator import wire
from actionwatch.emulator.catalogue import KINDS, OPERATIONS
from actionwatch.emulator.control import control_routes
from actionwatch.emulator.faults.fault import FaultSpec
from actionwatch.emulator.faults.playing import Faults
from actionwatch.emulator.faults.responses import unauthorised
from actionwatch.emulator.fleet import Member
from actionwatch.emulator.query import InvalidParameterError
from actionwatch.emulator.stages import Stages
from actionwatch.emulator.state import Clock, Organisation

_BASE = "/v1/organisations/{organisation_id}"
DEMO_USER = "demo"
DEMO_KEY = "demo-key"
_MAX_BODY_BYTES = 65_536  # far above any account name


class _NewAccount(msgspec.Struct, rename="camel"):
    """The body of a request to link an account."""

    account_name: Annotated[str, msgspec.Meta(max_length=255, pattern=r"\S")]
    validation_messages: dict[str, object] = {}


@dataclass
class Emulator:
    """The shared state of the handlers. `stages` and `faults` may change while the server runs.

    `traffic` counts requests by operation and status; status 0 is a response that a fault suppressed. Only the thread of the
    server's event loop changes it.
    """

    organisation: Organisation
    user_name: str
    api_key: str
    faults: Faults
    may_write: bool = True
    stages: Stages = field(default_factory=Stages)
    traffic: Counter[tuple[str, int]] = field(default_factory=Counter)


_Handler = Callable[[Emulator, Request, bytes], Response]


def create_app(
    organisation: Organisation,
    *,
    user_name: str = DEMO_USER,
    api_key: str = DEMO_KEY,
    may_write: bool = True,
    faults: Iterable[FaultSpec | str] = (),
    others: Iterable[Member] = (),
) -> Starlette:
    """Build the API of one organisation, and of others of the same fleet. The first `Emulator` is `app.state.emulator`.

    `may_write=False` is a key whose user may not create accounts. Faults are active from now on; those of records affect only
    new records.

    Raises: `FaultError`, if a fault is unknown or invalid.
    """
    others = list(others)
    organisations = [organisation, *(member.organisation for member in others)]
    playing = Faults(organisations, faults)
    emulator = Emulator(organisation, user_name, api_key, playing, may_write)
    emulators = {
        organisation.id: emulator,
        **{
            member.organisation.id: replace(
                emulator, organisation=member.organisation, user_name=member.user_name, api_key=member.api_key
            )
            for member in others
        },
    }
    operations: dict[str, dict[str, _Handler]] = {  # by path, so that a 405 lists all methods in Allow
        f"{_BASE}/user-actions": {"GET": _user_actions},
        f"{_BASE}/linked-accounts": {"GET": _linked_accounts, "POST": _link_account},
        f"{_BASE}/linked-accounts/{{account_id}}": {"DELETE": _unlink_account},
    }
    routes = [Route(path, _guarded(emulators, by), methods=sorted(by)) for path, by in operations.items()]
    routes.append(Route("/openapi.json", lambda _: JSONResponse(_openapi(list(emulators))), methods=["GET"]))
    routes.extend(control_routes(organisations, playing, emulator.traffic))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error})
    app.state.emulator = emulator
    app.add_middleware(_DateHeader, clock=organisation.clock)
    return app


def _guarded(emulators: Mapping[str, Emulator], handlers: dict[str, _Handler]) -> Callable[[Request], object]:
    """Wrap the handlers of a path with the gate, the check of the key, and the count.

    Asynchronous only to read the body; a thread runs the handlers of a log that may be long. Those of many organisations are
    short, and changing threads would take longer than most of their requests.
    """
    first = next(iter(emulators.values()))
    are_many = len(emulators) > 1

    async def endpoint(request: Request) -> Response:
        handler = handlers["GET" if request.method == "HEAD" else request.method]
        body = await _body(request)
        emulator = emulators.get(request.path_params["organisation_id"], first)
        if are_many:
            response = _answer(emulator, handler, request, body)
        else:
            response = await run_in_threadpool(_answer, emulator, handler, request, body)
        emulator.traffic[_operation(handler), response.status_code] += 1
        return response

    return endpoint


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise HTTPException(413)
    return body


def _answer(emulator: Emulator, handler: _Handler, request: Request, body: bytes) -> Response:
    stages = emulator.faults.compose(_operation(handler), emulator.stages)
    return stages.carry(_uncarried(replace(emulator, stages=stages), handler, request, body))


def _operation(handler: _Handler) -> str:
    return handler.__name__.lstrip("_")


def _uncarried(emulator: Emulator, handler: _Handler, request: Request, body: bytes) -> Response:
    if (early := emulator.stages.gate(request)) is not None:
        return early
    if not _is_authorised(request.headers.get("authorization", ""), emulator.user_name, emulator.api_key):
        return unauthorised()
    if request.path_params["organisation_id"] != emulator.organisation.id:
        is_listing = handler is _user_actions  # the documentation has no 404 there
        return _error(403, "Access denied") if is_listing else _error(404, "Invalid organization id")
    try:
        return handler(emulator, request, body)
    except InvalidParameterError as exc:
        return _error(400, str(exc))


def _is_authorised(header: str, user_name: str, api_key: str) -> bool:
    scheme, _, encoded = header.partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(given, f"{user_name}:{api_key}".encode())


def _user_actions(emulator: Emulator, request: Request, _: bytes) -> Response:
    organisation, stages = emulator.organisation, emulator.stages
    query = stages.parse(request.query_params)
    page = stages.select(organisation, query)
    return stages.respond(stages.encode(stages.envelop(page, query.offset, organisation)))


def _linked_accounts(emulator: Emulator, _request: Request, _body: bytes) -> Response:
    return JSONResponse([wire.account(one) for one in emulator.organisation.inventory.accounts])


def _link_account(emulator: Emulator, _: Request, body: bytes) -> Response:
    if not emulator.may_write:
        return _error(400, "User is not permitted to create accounts in this organization")
    try:
        name = msgspec.json.decode(body, type=_NewAccount).account_name
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidParameterError(f"body: {exc}") from exc
    account = emulator.organisation.link_account(name, emulator.user_name)
    if account is None:
        return _error(400, f"accountName: {name} is taken")
    return JSONResponse({"accountId": account.id})


def _unlink_account(emulator: Emulator, request: Request, _: bytes) -> Response:
    account = emulator.organisation.unlink_account(request.path_params["account_id"], emulator.user_name)
    if account is None:
        return _error(404, "Account is not linked to the organization")
    return JSONResponse(wire.unlinked(account))


def _openapi(organisation_ids: list[str]) -> object:
    """Return the OpenAPI document of the four operations, for people and for property-based tests of the emulator."""
    text = Path(__file__).with_name("openapi.yaml").read_text(encoding="utf-8")
    for word, known in (("organisation", organisation_ids), ("kinds", KINDS), ("operations", sorted(OPERATIONS))):
        text = text.replace(f"<{word}>", ", ".join(known))
    return yaml.safe_load(text)


def _http_error(_: Request, exc: Exception) -> Response:
    """Return the errors of the framework (unknown path, wrong method) with the body of the API."""
    if not isinstance(exc, HTTPException):
        raise exc
    response = _error(exc.status_code, exc.detail)
    response.headers.update(exc.headers or {})
    return response


def _error(status: int, message: str) -> Response:
    return JSONResponse(wire.error(status, message), status)


class _DateHeader:
    """Send the clock of the organisation as `Date`; the server must not send its own."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self.app, self.clock = app, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if not headers.setdefault("date", format_datetime(self.clock(), usegmt=True)):
                    del headers["date"]  # a fault sets an empty Date to remove the header
            await send(message)

        await self.app(scope, receive, send_dated)
