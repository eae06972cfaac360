"""Sign in with an OpenID Connect provider: authorization code flow with PKCE, state and nonce.

https://openid.net/specs/openid-connect-core-1_0.html, https://www.rfc-editor.org/rfc/rfc9700. When a sign-in
begins, the browser gets a random secret in a cookie. State, nonce and verifier are derived from it. So nothing is stored before
somebody has signed in, and a response is accepted only in the browser that began. Requires the extra `oidc`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from actionwatch.base.access import MAX_AUTHOR_CHARS, AccessRole, Person, is_person
from actionwatch.settings.web_keys import OpenId
from actionwatch.web.openid_provider import AGAIN, Provider, shown_error, texts_in
from actionwatch.web.paths import BEGIN_PATH, CALLBACK_PATH
from actionwatch.web.proxy import Refused

MAX_REMEMBERED = 10_000  # sign-ins that have ended: the code of an older one has expired at the provider


class RelyingParty:
    """actionwatch as the client that the configuration describes. Safe to share between threads."""

    def __init__(
        self,
        options: OpenId,
        console: str,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`console` is the public address of the console, to which the provider sends people back."""
        self.begin_url = f"{console}{BEGIN_PATH}"
        self.operators: Collection[str] = options.operators
        self._options = options
        self._redirect_uri = f"{console}{CALLBACK_PATH}"
        self._provider = Provider(options, clock, elapsed)
        self.provider_name = self._provider.name
        self._lock = threading.Lock()
        self._used: dict[str, None] = {}

    @property
    def fingerprint(self) -> bytes:
        """A value that changes with the permissions in the configuration. Sessions depend on it, so people sign in again."""
        options = self._options
        people = (options.operators, options.operator_groups, options.readers, options.reader_groups)
        return repr((options.issuer, options.client_id, options.name_claim, options.groups_claim, people)).encode()

    def new_secret(self) -> str:
        """Make the secret of a browser that begins to sign in."""
        return secrets.token_urlsafe(32)

    def authorization_url(self, secret: str) -> str:
        """Return where the browser goes to sign in. Raises: Refused."""
        endpoint = self._provider.metadata().authorization_endpoint
        challenge = hashlib.sha256(_derived(secret, "verifier").encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._options.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(("openid", *self._options.scopes)),
            "state": _derived(secret, "state"),
            "nonce": _derived(secret, "nonce"),
            "code_challenge": _base64(challenge),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def has_begun(self, secret: str, answer: Mapping[str, str]) -> bool:
        """Return whether this is the response to the sign-in that a browser with this secret began.

        `answer` is the query with which the provider sent the browser back.
        """
        state = answer.get("state", "").encode("utf-8", "replace")
        return bool(secret) and hmac.compare_digest(state, _derived(secret, "state").encode())

    def code_in(self, secret: str, answer: Mapping[str, str]) -> str:
        """Return the code in a response. Only the provider can check it. Raises: Refused."""
        if not self.has_begun(secret, answer):
            raise Refused(403, f"this browser did not begin this sign-in, or it took longer than 10 minutes: {AGAIN}")
        expected = self._options.issuer
        if answer.get("iss", None if self._provider.metadata().has_issuer_in_responses else expected) != expected:
            raise Refused(403, f"the response is from another provider: {AGAIN}")
        if "error" in answer or not answer.get("code"):
            reason = shown_error(answer.get("error", ""), "no reason given")
            raise Refused(403, f"the provider refused ({reason}): {AGAIN}")
        return answer["code"]

    def identify(self, secret: str, code: str) -> Person:
        """Redeem the code at the provider. Return who signed in. Raises: Refused, also the second time."""
        state = _derived(secret, "state")
        self._note_used(state)
        try:
            claims = self._provider.redeem(
                code, _derived(secret, "verifier"), self._redirect_uri, _derived(secret, "nonce")
            )
        except Refused as exc:
            if exc.status != 403:  # the provider is away: the browser may try again
                with self._lock:
                    self._used.pop(state, None)
            raise
        name = _name_in(claims, self._options.name_claim)
        groups = texts_in(claims.get(self._options.groups_claim))
        return Person(name, _role_of(name, groups, self._options))

    def _note_used(self, state: str) -> None:
        """Note that a sign-in ends now. Raises: Refused, if it has ended before."""
        with self._lock:
            if state in self._used:
                raise Refused(403, f"this sign-in has ended: {AGAIN}")
            self._used[state] = None
            if len(self._used) > MAX_REMEMBERED:
                del self._used[next(iter(self._used))]


def _name_in(claims: Mapping[str, Any], claim: str) -> str:
    name = claims.get(claim)
    if not isinstance(name, str) or not name:
        raise Refused(
            403, f"the provider gave no usable '{claim}': choose another web.openid.name_claim, or add a scope"
        )
    if not is_person(name):
        what = f"is not 1 to {MAX_AUTHOR_CHARS} printable characters without a comma"
        raise Refused(403, f"the provider gave a '{claim}' that {what}: choose another web.openid.name_claim")
    if claim == "email" and claims.get("email_verified") not in (True, "true"):  # some providers send a text
        raise Refused(403, "the provider has not verified this email address: verify it there, then sign in again")
    return name


def _role_of(name: str, groups: set[str], options: OpenId) -> AccessRole:
    if name in options.operators or not groups.isdisjoint(options.operator_groups):
        return AccessRole.OPERATOR
    _, at, domain = name.rpartition("@")
    names = {"*", name, f"*@{domain}" if at else name}
    if names.isdisjoint(options.readers) and groups.isdisjoint(options.reader_groups):
        raise Refused(
            403, f"this console is not open to {name}: whoever runs it can add the name to web.openid.readers"
        )
    return AccessRole.READER


def _derived(secret: str, purpose: str) -> str:
    """Return a value that only the holder of the secret can compute. It reveals neither the secret nor the other values."""
    return _base64(hmac.new(secret.encode("utf-8", "replace"), purpose.encode(), hashlib.sha256).digest())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
