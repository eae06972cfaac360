"""Who may read what the listener serves: programs send the token with each request, browsers sign in with it once.

Probes need no token. A browser that signs in gets a cookie with a random id; the sessions are in memory, so that a restart ends
them. Without a token, only a loopback listener exists, and it is open.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

SIGN_IN_PATH = "/sign-in"
STATIC_PATH = "/static/"
_OPEN_PATHS = frozenset({"/healthz", "/readyz"})  # probes send no token, and these paths show nothing of the records
COOKIE = "__Host-actionwatch"  # the prefix makes browsers insist on Secure, Path=/ and no Domain
SESSION_SECONDS = 12 * 3600.0  # a shift
MAX_SESSIONS = 1000  # then the oldest one ends
ATTEMPT_SECONDS = 60.0
MAX_ATTEMPTS = 10  # failed ones of one address within that time: people who mistype need fewer
MAX_ALL_ATTEMPTS = 100  # of all addresses together


class TooManyAttempts(Exception):
    """Too many attempts to sign in failed within a minute."""


class Sessions:
    """The signed-in browsers. Safe to share between threads."""

    def __init__(self, token: str, elapsed: Callable[[], float] = time.monotonic) -> None:
        """`elapsed` reads a monotonic clock in seconds."""
        self._token = token.encode()
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._ends: OrderedDict[str, float] = OrderedDict()
        self._failures: deque[tuple[float, str]] = deque()

    def sign_in(self, given: str, address: str) -> str | None:
        """Begin a session if the token is right. Return its id, None if the token is wrong.

        Raises: TooManyAttempts.
        """
        with self._lock:
            now = self._elapsed()
            while self._failures and now - self._failures[0][0] >= ATTEMPT_SECONDS:
                self._failures.popleft()
            of_address = sum(each == address for _, each in self._failures)
            if of_address >= MAX_ATTEMPTS or len(self._failures) >= MAX_ALL_ATTEMPTS:
                raise TooManyAttempts
            if not self.is_token(given.encode("utf-8", "surrogateescape")):
                self._failures.append((now, address))
                return None
            session = secrets.token_urlsafe(32)
            self._ends[session] = now + SESSION_SECONDS
            while len(self._ends) > MAX_SESSIONS:
                self._ends.popitem(last=False)
            return session

    def is_token(self, given: bytes) -> bool:
        """Return whether this is the token, in a time that does not depend on how much of it is right."""
        return hmac.compare_digest(given, self._token)

    def is_valid(self, session: str | None) -> bool:
        """Return whether a session lasts."""
        with self._lock:
            ends = self._ends.get(session or "")
            return ends is not None and self._elapsed() < ends

    def end(self, session: str | None) -> None:
        """End a session."""
        with self._lock:
            self._ends.pop(session or "", None)


def session_of(request: Request) -> str | None:
    """Return the id of the session that a browser sent, valid or not."""
    try:
        cookie = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie is not None else None


class Guard:
    """Require the token or a session on every path, except the probes and the sign-in page with its style.

    What it protects finds the sessions in `request.state.sessions`.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["sessions"] = self._sessions
            request = Request(scope)
            if not self._is_open(scope["path"]) and not self._is_allowed(request):
                await _refusal(request)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in _OPEN_PATHS or path == SIGN_IN_PATH or path.startswith(STATIC_PATH)

    def _is_allowed(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").encode("latin-1")  # the bytes as received
        scheme, _, token = given.partition(b" ")
        if scheme == b"Bearer" and self._sessions.is_token(token):
            return True
        return self._sessions.is_valid(session_of(request))


def _refusal(request: Request) -> Response:
    """Lead a person to the sign-in page, and refuse a program."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{SIGN_IN_PATH}?next={quote(asked, safe='')}", 303, {"cache-control": "no-store"})
    return PlainTextResponse("a bearer token is required\n", 401, {"www-authenticate": "Bearer"})
