"""Sign in with a token, and out again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from actionwatch.web.access import COOKIE, SESSION, Access, Visitor
from actionwatch.web.attempts import TooManyAttempts
from actionwatch.web.console.forms import Fields
from actionwatch.web.console.page import link, render
from actionwatch.web.parts import Parts
from actionwatch.web.paths import SIGN_IN_PATH

_NO_COOKIE = (
    "The browser did not keep the cookie of the session: it does so only over https, or at localhost. "
    "Put a proxy with TLS in front of actionwatch, or use an SSH tunnel."
)


def show(request: Request, parts: Parts) -> Response:
    """Show the form. A browser that comes back after a sign-in did not keep the session: the form shows this."""
    goal = _goal(request.query_params.get("next", "/"))
    visitor: Visitor | None = request.state.visitor
    if visitor is not None and not visitor.is_open:
        return RedirectResponse(goal, 303)
    return _form(request, parts, goal, _NO_COOKIE if "done" in request.query_params else "")


def submit(request: Request, parts: Parts, fields: Fields) -> Response:
    """Begin a session if the token is right."""
    goal = _goal(fields.get("next", "/"))
    try:
        access: Access = request.state.access
        cookie = access.sign_in(fields.get("token", ""), access.address_of(request))
    except TooManyAttempts as exc:
        return _form(request, parts, goal, f"{_sentence(exc)}.", 429)
    if cookie is None:
        what = "This is not a valid token: it may be misspelt, revoked or expired."
        return _form(request, parts, goal, what, 403)
    return _signed_in(request, goal, cookie)


def _signed_in(request: Request, goal: str, cookie: str) -> Response:
    """Give the browser its session. Its former one ends, because nobody could sign out of it."""
    request.state.access.sign_out(request.state.visitor)
    answer = RedirectResponse(link(SIGN_IN_PATH, next=goal, done=1), 303)
    _set(answer, COOKIE, cookie, int(SESSION.total_seconds()))
    return answer


def leave(request: Request, parts: Parts, fields: Fields) -> Response:  # noqa: ARG001
    """End the session. Another site cannot cause this: browsers do not send the cookie with its forms."""
    request.state.access.sign_out(request.state.visitor)
    answer = RedirectResponse(SIGN_IN_PATH, 303)
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer


def _set(answer: Response, name: str, value: str, seconds: int) -> None:
    """Let the browser keep a cookie. It sends it when a person follows a link in a message (lax), but with no form of another
    site.
    """
    answer.set_cookie(name, value, seconds, path="/", secure=True, httponly=True, samesite="lax")


def _sentence(exc: Exception) -> str:
    text = str(exc)
    return text[:1].upper() + text[1:]


def _form(request: Request, parts: Parts, goal: str, problem: str, status: int = 200) -> Response:
    return render(
        request,
        "sign_in.html",
        parts.clock(),
        status,
        goal=goal,
        problem=problem,
    )


def _goal(given: str) -> str:
    """Return the page to go to: a path on this origin, or the overview."""
    is_ours = given.startswith("/") and not given.startswith(("//", "/\\")) and given.isprintable()
    return given if is_ours else "/"
