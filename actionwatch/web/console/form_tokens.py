"""Tokens in forms that change something, so that no other site can send them in the browser of a person (CSRF)."""

from __future__ import annotations

import hmac
import secrets

from starlette.requests import Request

from actionwatch.web.access import visitor_of

FIELD = "form_token"
_BYTES = 32


class FormTokens:
    """Makes and checks the tokens. The token of a session is derived from its cookie, so that every replica accepts it.

    Each page has it in another form, because its pages are compressed: the length of pages with a text that another site chose
    would reveal it character by character (BREACH).

    Where a listener is open to actions, there is no session: the tokens end with the service. Behind an authenticating proxy
    there is none either, and replicas share no key: there browsers must state that our page sent the form (app.py).
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def make(self, request: Request) -> str:
        """Return the token for the forms of a page: a random mask, and the token of the session under it."""
        mask = secrets.token_bytes(_BYTES)
        return (mask + _under(mask, self._of_session(request))).hex()

    def is_valid(self, request: Request, given: str) -> bool:
        """Return whether a form has the token of its session."""
        if visitor_of(request).is_proxied:
            return True
        try:
            masked = bytes.fromhex(given)
        except ValueError:
            return False
        found = _under(masked[:_BYTES], masked[_BYTES:])
        return hmac.compare_digest(found, self._of_session(request))

    def _of_session(self, request: Request) -> bytes:
        session = visitor_of(request).session
        return hmac.digest(session.encode() if session else self._key, FIELD.encode(), "sha256")


def _under(mask: bytes, token: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(mask, token, strict=False))
