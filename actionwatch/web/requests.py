"""The checks of each request to the console and the API before they answer it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from actionwatch.base.access import MAX_AUTHOR_CHARS, is_own_name
from actionwatch.base.errors import ActionwatchError, StoreError
from actionwatch.base.plurals import counted
from actionwatch.text.escaping import one_line, shorten
from actionwatch.web.access import Access, is_direct, visitor_of
from actionwatch.web.parts import Parts
from actionwatch.web.paths import SIGN_IN_PATH
from actionwatch.web.problems import InvalidRequest

_MAX_NAME_CHARS = 60  # of a wrong name, in a message
MAX_BODY_BYTES = 64 * 1024  # a comment has a few lines
_T = TypeVar("_T")


def check(request: Request) -> None:
    """Check that a request may be answered. Raises: HTTPException."""
    if visitor_of(request).is_open and request.scope["path"] != SIGN_IN_PATH and not is_direct(request):
        raise HTTPException(
            403,
            "the console is open only on this machine: sign in, or set web.token, to use it by another name or a proxy",
        )
    if any("\0" in value for value in request.query_params.values()):  # no text in PostgreSQL can have it
        raise HTTPException(400, "the query contains a NUL character: remove it")


def check_site(request: Request) -> None:
    """Check that no other site sends a change in the browser of a person (CSRF). Raises: HTTPException.

    Behind an authenticating proxy, the browser must say so. Else it is enough that it does not deny it: a form has a token.
    """
    site = request.headers.get("sec-fetch-site")  # browsers send it over https, and to this machine
    if site is None and visitor_of(request).is_proxied:
        raise HTTPException(403, "the browser does not state which site sent this form: use a current one, over https")
    if site not in (None, "same-origin"):
        raise HTTPException(403, "another site sent this form: open the page here, and send it again")


def check_may_decide(request: Request) -> None:
    """Check that a visitor may change something. Raises: HTTPException, with what helps."""
    visitor = visitor_of(request)
    if visitor.may_decide:
        return
    if visitor.name is not None:
        what = f"{visitor.name} has the role {visitor.role}: it can read and change nothing. Ask an operator."
        raise HTTPException(403, what)
    raise HTTPException(
        403,
        "without a token nothing can be changed here: use the terminal, or sign in with a token "
        "('actionwatch tokens create NAME --role operator' makes one)",
    )


def author_of(request: Request, typed: str) -> str:
    """Return who decides: the name that a token or a proxy proves, else the typed one.

    Raises: InvalidRequest, with a sentence about the typed name.
    """
    visitor = visitor_of(request)
    if visitor.name is not None:
        return visitor.name
    if not typed:
        raise InvalidRequest("Your name is missing: write it, because the history keeps who decided.")
    if len(typed) > MAX_AUTHOR_CHARS:
        raise InvalidRequest(f"author: {counted(len(typed), 'character')}: shorten it to {MAX_AUTHOR_CHARS:,}.")
    if is_own_name(typed):
        raise InvalidRequest(f"{typed} is the name of this service: write another name.")
    access: Access = request.state.access
    if access.is_name_taken(typed):
        raise InvalidRequest(f"{typed} has a token: sign in with it to decide under this name, or write another name.")
    return one_line(typed)


def decide_each(ids: Iterable[str], act: Callable[[str], _T]) -> tuple[list[tuple[str, _T]], list[tuple[str, str]]]:
    """Do something for each id. Return the results, and the ids of what no longer exists, each with the reason."""
    done: list[tuple[str, _T]] = []
    missed: list[tuple[str, str]] = []
    for alert_id in ids:
        try:
            done.append((alert_id, act(alert_id)))
        except StoreError:
            raise
        except ActionwatchError as exc:
            missed.append((alert_id, str(exc)))
    return done, missed


def check_receiver(parts: Parts, name: str) -> None:
    """Check that the configuration has a receiver. Raises: InvalidRequest, with a sentence."""
    known = [each.name for each in parts.configuration.receivers]
    if name not in known:
        shown = shorten(name, _MAX_NAME_CHARS)
        raise InvalidRequest(
            f"to: no receiver has the name {shown}: use {', '.join(known) or 'none, because none is configured'}"
        )


async def read_body(request: Request) -> bytes:
    """Read the body of a request. Raises: HTTPException, if it is too long, or the client leaves before its end."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise HTTPException(413, f"this is too long: at most {MAX_BODY_BYTES:,} bytes are accepted")
    except ClientDisconnect as exc:  # else each is a traceback in the log, also those of strangers who sign in
        raise HTTPException(400, "the body ended before its length: send it again") from exc
    return bytes(body)
