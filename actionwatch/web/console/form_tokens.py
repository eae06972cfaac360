"""Tokens in forms that change something, so that no other site can send them in the browser of a person (CSRF)."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.requests import Request

from actionwatch.web.access import visitor_of

FIELD = "form_token"


class FormTokens:
    """Makes and checks the tokens. The token of a session is derived from its cookie, so that every replica accepts it.

    Where a listener is open to actions, there is no session: the tokens end with the service. Behind an authenticating proxy
    there is none either, and replicas share no key: there browsers must state that our page sent the form (app.py).
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def make(self, request: Request) -> str:
        """Return the token for the forms of a page."""
        session = visitor_of(request).session
        return hmac.new(session.encode() if session else self._key, FIELD.encode(), hashlib.sha256).hexdigest()

    def is_valid(self, request: Request, given: str) -> bool:
        """Return whether a form has the token of its session."""
        return visitor_of(request).is_proxied or hmac.compare_digest(
            given.encode("utf-8", "replace"), self.make(request).encode()
        )
