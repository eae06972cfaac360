"""Decide who may read and change things: programs send a token with each request, browsers sign in with it once.

A token is a person's own, from the store, or the one of the configuration, which several people share. A browser that signs in
gets a cookie with a random id. Its session is in the store, because a load balancer may lead the next request to another
replica, and because a signed cookie could not be ended. Probes need no token.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from actionwatch.base.access import SECRET_BEGINNING, AccessRole, AccessToken, digest_of, is_own_name
from actionwatch.base.clock import EPOCH, machine_now
from actionwatch.base.errors import StoreError
from actionwatch.base.unicode import folded
from actionwatch.store import sessions, tokens
from actionwatch.store.database import Database
from actionwatch.text.escaping import one_line
from actionwatch.text.options import is_loopback
from actionwatch.web.attempts import MAX_ALL_ATTEMPTS, MAX_HOURLY_ATTEMPTS, Attempts, TooManyAttempts
from actionwatch.web.hosts import host_of
from actionwatch.web.paths import SIGN_IN_PATH, STATIC_PATH, goal_of
from actionwatch.web.problems import API_PATH, InvalidRequest, problem
from actionwatch.web.proxy import Refused, TrustedProxy, peer_of
from actionwatch.web.query import MAX_QUERY_BYTES, check_parameters

_OPEN_PATHS = frozenset({"/healthz", "/readyz"})  # probes send no token, and these paths show nothing of the records
COOKIE = "__Host-actionwatch"  # the prefix makes browsers insist on Secure, Path=/ and no Domain
SESSION = timedelta(hours=12)  # the length of a shift
USE_NOTED_EVERY = timedelta(hours=1)
STORE_AWAY = "the store does not answer, and it has the tokens and sessions: try again; /readyz has the reason"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # routes do not match a line break, and texts in PostgreSQL have no NUL
log = structlog.get_logger()
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


@dataclass(frozen=True, slots=True)
class Visitor:
    """The sender of a request. Without a verified `name`, people type one when they decide.

    `is_open`: without a token, because the listener is open. `is_proxied`: a proxy says who it is. `session` is the cookie of a
    browser that signed in.
    """

    role: AccessRole
    name: str | None = None
    is_open: bool = False
    is_proxied: bool = False
    session: str | None = None

    @property
    def may_decide(self) -> bool:
        """Whether this visitor may change something."""
        return self.role is AccessRole.OPERATOR


class Access:
    """Decides who a visitor is. Safe to share between threads."""

    def __init__(
        self,
        shared: str | None = None,
        database: Database | None = None,
        clock: Callable[[], datetime] = machine_now,
        *,
        open_to: AccessRole | None = None,
        proxy: TrustedProxy | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`shared` is the token of the configuration. `database` has those of people; None while it does not answer.

        `open_to` is the role of clients that send no token; None: everybody must send one, or come through the `proxy`.
        """
        self._shared = (shared or "").encode()
        self._database = database
        self._clock = clock
        self._open_to = open_to
        self._proxy = proxy
        self._sign_ins = Attempts(elapsed, MAX_HOURLY_ATTEMPTS, MAX_ALL_ATTEMPTS)
        # A program with an old token tries for hours, and must work once it has the new one, whatever strangers elsewhere do.
        self._bearers = Attempts(elapsed)
        self._noted: dict[str, datetime] = {}

    def identify(self, request: Request) -> Visitor | None:
        """Return who sends a request; None if a token is missing or wrong. Raises: Refused, TooManyAttempts, StoreError."""
        found = self._identify(request)
        if found is not None and found.name is not None:
            _check_name(found.name)
        return found

    def _identify(self, request: Request) -> Visitor | None:
        if self._proxy is not None and (person := self._proxy.identify(request)):
            return Visitor(person.role, person.name, is_proxied=True)
        given = request.headers.get("authorization", "").encode("latin-1")  # the bytes as received
        scheme, _, secret = given.partition(b" ")
        if scheme.lower() == b"bearer":
            return self._of_bearer(secret, self.address_of(request))
        if (cookie := cookie_of(request, COOKIE)) and (found := self._of_session(cookie)):
            return found
        return Visitor(self._open_to, is_open=True) if self._open_to is not None else None

    def address_of(self, request: Request) -> str:
        """Return the address of the client, by which attempts are limited."""
        return self._proxy.client_of(request) if self._proxy is not None else peer_of(request)

    def sign_in(self, given: str, address: str) -> str | None:
        """Begin a session if the token is right. Return its cookie, None if the token is wrong.

        Raises: TooManyAttempts, StoreError.
        """
        secret = given.strip().encode("utf-8", "surrogateescape")
        token = self._own(secret)
        is_known = token is not None or self._sign_ins.attempt(address, lambda: self._is_shared(secret))
        if not is_known or self._database is None:
            return None
        cookie = secrets.token_urlsafe(32)
        with self._database.write(is_durable=True) as connection:
            sessions.insert(connection, self._digest(cookie), token.id if token else None, self._clock() + SESSION)
        return cookie

    def sign_out(self, visitor: Visitor | None) -> None:
        """End the session of a visitor on every replica."""
        if self._database is not None and visitor is not None and visitor.session is not None:
            with self._database.write(is_durable=True) as connection:
                sessions.delete(connection, self._digest(visitor.session))

    def is_name_taken(self, name: str) -> bool:
        """Return whether a typed name is that of a person with a token, who signs in with it, or of an operator."""
        if self._proxy is not None and folded(name) in map(folded, self._proxy.operators):
            return True
        if self._database is None:
            return False
        with self._database.read() as connection:
            return tokens.has_name(connection, name)

    def _of_bearer(self, secret: bytes, address: str) -> Visitor | None:
        """Return whose secret this is. That of a person is not limited: nobody can guess it."""
        if token := self._own(secret):
            self._note_use(token)
            return Visitor(token.role, token.name)
        is_shared = self._bearers.attempt(address, lambda: self._is_shared(secret))
        return Visitor(AccessRole.OPERATOR) if is_shared else None

    def _is_shared(self, secret: bytes) -> bool:
        """Return whether this is the shared token, in a time that does not depend on how much of it is right."""
        return bool(self._shared) and hmac.compare_digest(secret, self._shared)

    def _own(self, secret: bytes) -> AccessToken | None:
        """Return the valid token of a person with this secret. Raises: StoreError."""
        if not secret.startswith(SECRET_BEGINNING.encode()):
            return None
        if self._database is None:
            raise StoreError(STORE_AWAY)
        with self._database.read() as connection:
            return tokens.read_valid(connection, digest_of(secret.decode("utf-8", "surrogateescape")), self._clock())

    def _of_session(self, cookie: str) -> Visitor | None:
        if self._database is None:
            raise StoreError(STORE_AWAY)
        with self._database.read() as connection:
            found = sessions.read(connection, self._digest(cookie), self._clock())
        if found is None:
            return None
        if found.token is None:
            return Visitor(AccessRole.OPERATOR, session=cookie)
        self._note_use(found.token)
        return Visitor(found.token.role, found.token.name, session=cookie)

    def _digest(self, cookie: str) -> str:
        """Return the digest of a cookie, which the store contains.

        It depends on the shared token, so that a new one ends all sessions.
        """
        return hmac.new(self._shared, cookie.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    def _note_use(self, token: AccessToken) -> None:
        """Note the use of a token, at most once an hour, even if the store cannot be written."""
        now = self._clock()
        if now - max(token.last_used_at or EPOCH, self._noted.get(token.id, EPOCH)) < USE_NOTED_EVERY:
            return
        self._noted[token.id] = now
        if self._database is not None:
            with contextlib.suppress(StoreError), self._database.write() as connection:
                tokens.note_use(connection, token.id, now)


def _check_name(name: str) -> None:
    """Check that a proved name is not ours, under which the service itself decides. Raises: Refused."""
    if is_own_name(name):
        raise Refused(403, f"{one_line(name)} is the name of this service: use a token or an account with another name")


def visitor_of(request: Request) -> Visitor:
    """Return who sends a request that the guard let through. Before the sign-in, a visitor may not decide."""
    found: Visitor | None = request.state.visitor
    return found or Visitor(AccessRole.READER, is_open=True)


def is_direct(request: Request) -> bool:
    """Return whether a request comes from this machine, by a name of this machine, and not through a proxy."""
    return not any(name in request.headers for name in _FORWARDED) and is_loopback(
        host_of(request.headers.get("host", ""))
    )


def cookie_of(request: Request, wanted: str) -> str | None:
    """Return a cookie. http.cookies fails at those of others, and unquotes in quadratic time."""
    for each in request.headers.get("cookie", "").split(";"):
        name, _, value = each.strip().partition("=")
        if name == wanted:
            return value
    return None


class Guard:
    """Find out who sends a request, and refuse strangers, except at the probes and the sign-in pages with their style.

    What it protects finds `request.state.visitor`, if it is known, and `request.state.access`.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            visitor, refusal = await self._admit(Request(scope))
            if refusal is not None:
                await refusal(scope, receive, send)
                return
            scope.setdefault("state", {}).update(access=self._access, visitor=visitor)
        await self._app(scope, receive, send)

    async def _admit(self, request: Request) -> tuple[Visitor | None, Response | None]:
        """Return who sends a request, if that is known, and the response if it is refused."""
        # As routes see it: in older starlettes, request.url.path begins in the Host header.
        path = request.scope["path"]
        if _CONTROL.search(path):
            return None, _refusal(request, "the path contains a control character: remove it", 400)
        try:
            check_parameters(request.scope["query_string"], MAX_QUERY_BYTES)
        except InvalidRequest as exc:
            return None, _refusal(request, f"the query {exc}", 400)
        if path in _OPEN_PATHS or path.startswith(STATIC_PATH):
            return None, None
        try:
            visitor = await run_in_threadpool(self._access.identify, request)
        except Refused as exc:
            return None, _refusal(request, str(exc), exc.status)
        except TooManyAttempts as exc:
            return None, _refusal(request, str(exc), 429)
        except StoreError:  # its text may name the server and the user of the database
            return None, _refusal(request, STORE_AWAY, 503)
        is_refused = visitor is None and path != SIGN_IN_PATH
        return visitor, _ask_for_token(request) if is_refused else None


def _refusal(request: Request, what: str, status: int, **headers: str) -> Response:
    if request.scope["path"].startswith(API_PATH):
        return problem(status, what, headers)
    return PlainTextResponse(f"{what}\n", status, headers)


def _ask_for_token(request: Request) -> Response:
    """Lead a person to the sign-in page, and refuse a program."""
    is_page = request.method == "GET" and not request.scope["path"].startswith(API_PATH)
    is_person = is_page and "authorization" not in request.headers
    if is_person and "text/html" in request.headers.get("accept", ""):
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        goal = quote(goal_of(asked), safe="")
        return RedirectResponse(f"{SIGN_IN_PATH}?next={goal}", 303, {"cache-control": "no-store"})
    what = "a token is required: send 'Authorization: Bearer TOKEN'; 'actionwatch tokens create' makes one"
    if "authorization" in request.headers:
        what = "this is not a valid token: it may be misspelt, revoked or expired"
    return _refusal(request, what, 401, **{"www-authenticate": "Bearer"})
