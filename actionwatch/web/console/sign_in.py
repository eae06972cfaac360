"""Sign in with the token of the configuration, and out again."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from actionwatch.web.access import ATTEMPT_SECONDS, COOKIE, SESSION_SECONDS, SIGN_IN_PATH, TooManyAttempts, session_of
from actionwatch.web.console.page import link, render
from actionwatch.web.console.parts import Parts

_NO_COOKIE = (
    "The browser did not keep the cookie of the session: it does so only over https, or at localhost. "
    "Put a proxy with TLS in front of actionwatch, or use an SSH tunnel."
)


def show(request: Request, parts: Parts) -> Response:
    """Show the form. After a sign-in, report that the browser did not keep the session; it is only back here then."""
    sessions = getattr(request.state, "sessions", None)
    goal = _goal(request.query_params.get("next", "/"))
    if sessions is None or sessions.is_valid(session_of(request)):
        return RedirectResponse(goal, 303)
    return _form(request, parts, goal, _NO_COOKIE if "done" in request.query_params else "")


def submit(request: Request, parts: Parts, fields: Mapping[str, str]) -> Response:
    """Begin a session if the token is right."""
    sessions = getattr(request.state, "sessions", None)
    goal = _goal(fields.get("next", "/"))
    if sessions is None:
        return RedirectResponse(goal, 303)
    address = request.client.host if request.client else ""
    try:
        session = sessions.sign_in(fields.get("token", ""), address)
    except TooManyAttempts:
        what = f"Too many attempts failed: wait {ATTEMPT_SECONDS:.0f} seconds, then try again."
        return _form(request, parts, goal, what, 429)
    if session is None:
        return _form(request, parts, goal, "This is not the token: web.token or web.token_file has it.", 403)
    answer = RedirectResponse(link(SIGN_IN_PATH, next=goal, done=1), 303)
    answer.set_cookie(COOKIE, session, int(SESSION_SECONDS), path="/", secure=True, httponly=True, samesite="strict")
    return answer


def leave(request: Request, parts: Parts, fields: Mapping[str, str]) -> Response:  # noqa: ARG001
    """End the session. Another site cannot ask for this: browsers send the cookie only from our own pages."""
    sessions = getattr(request.state, "sessions", None)
    if sessions is not None:
        sessions.end(session_of(request))
    answer = RedirectResponse(SIGN_IN_PATH if sessions is not None else "/", 303)
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return answer


def _form(request: Request, parts: Parts, goal: str, problem: str, status: int = 200) -> Response:
    return render(request, "sign_in.html", parts.clock(), status, goal=goal, problem=problem)


def _goal(given: str) -> str:
    """Return the page to go to: a path on this origin, or the overview."""
    is_ours = given.startswith("/") and not given.startswith(("//", "/\\")) and given.isprintable()
    return given if is_ours else "/"
