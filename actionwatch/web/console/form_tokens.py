"""Tokens in forms that change something, so that no other site can send them in the browser of a person (CSRF)."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.requests import Request

from actionwatch.web.access import session_of

FIELD = "form_token"


class FormTokens:
    """Makes and checks the tokens. They belong to a session, and end with the service."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def make(self, request: Request) -> str:
        """Return the token for the forms of a page."""
        return hmac.new(self._key, (session_of(request) or "").encode(), hashlib.sha256).hexdigest()

    def is_valid(self, request: Request, given: str) -> bool:
        """Return whether a form has the token of its session."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.make(request).encode())
