"""Sign in with an OpenID Connect provider: authorization code flow with PKCE, state and nonce.

https://openid.net/specs/openid-connect-core-1_0.html, https://www.rfc-editor.org/rfc/rfc9700. When a sign-in
begins, the browser gets a random secret in a cookie. State, nonce and verifier are derived from it. So nothing is stored before
somebody has signed in, and a response is accepted only in the browser that began. Requires the extra `oidc`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import structlog

from actionwatch.base.access import AccessRole, is_person
from actionwatch.base.errors import TransportError
from actionwatch.net.http import HttpClient
from actionwatch.net.http_response import HttpResponse
from actionwatch.settings.keys import OpenId
from actionwatch.text.options import check_url
from actionwatch.web.paths import BEGIN_PATH, CALLBACK_PATH
from actionwatch.web.proxy import Refused

MAX_RESPONSE_BYTES = 1024 * 1024  # of the provider; the documents have a few KB
MAX_EXCHANGES = 4  # at the same time, so that a provider that hangs holds few of the threads that answer pages
KEPT_SECONDS = 3600.0  # of the metadata of the provider
AWAY_SECONDS = 5.0  # until a provider that failed is contacted again, or its failure is logged again
KEYS_AGAIN_SECONDS = 60.0  # until keys are read again because no known key signed a token
_ERROR = re.compile(r"[a-z_]{1,50}")
_AGAIN = "sign in again"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Metadata:
    """The metadata of the provider, and when it was read."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    is_secret_posted: bool
    has_issuer_in_answers: bool
    read_at: float


@dataclass(frozen=True, slots=True)
class _Keys:
    keys: Sequence[Any]
    read_at: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why the metadata of the provider could not be read."""

    reason: str
    at: float


class Provider:
    """The provider, and the client that the configuration describes. Safe to share between threads."""

    def __init__(
        self,
        options: OpenId,
        console: str,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`console` is the public address of the console, to which the provider sends people back."""
        self.begin_url = f"{console}{BEGIN_PATH}"
        self.name = urlsplit(options.issuer).hostname or ""
        self.operators: Collection[str] = options.operators
        self._options = options
        self._redirect_uri = f"{console}{CALLBACK_PATH}"
        self._clock = clock
        self._elapsed = elapsed
        self._room = threading.Semaphore(MAX_EXCHANGES)
        self._metadata: _Metadata | None = None
        self._keys: _Keys | None = None
        self._failure: _Failure | None = None
        self._logged_at = -math.inf

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
        endpoint = self._read_metadata().authorization_endpoint
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
            raise Refused(403, f"this browser did not begin this sign-in, or it took longer than 10 minutes: {_AGAIN}")
        expected = self._options.issuer
        if answer.get("iss", None if self._read_metadata().has_issuer_in_answers else expected) != expected:
            raise Refused(403, f"the response is from another provider: {_AGAIN}")
        if "error" in answer or not answer.get("code"):
            error = answer.get("error", "")
            reason = error if _ERROR.fullmatch(error) else "no reason given"
            raise Refused(403, f"the provider refused ({reason}): {_AGAIN}")
        return answer["code"]

    def identify(self, secret: str, code: str) -> tuple[str, AccessRole]:
        """Redeem the code at the provider. Return who signed in, and their role. Raises: Refused."""
        metadata = self._read_metadata()
        with self._exchanging() as http:
            token = self._redeem(http, metadata, code, _derived(secret, "verifier"))
            claims = self._verify(http, metadata, token, _derived(secret, "nonce"))
        name = self._name_in(claims)
        return name, self._role_of(name, _texts(claims.get(self._options.groups_claim)))

    # -- requests to the provider ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _exchanging(self) -> Iterator[HttpClient]:
        """Yield a client, unless `MAX_EXCHANGES` others are in use. Raises: Refused."""
        options = self._options
        if not self._room.acquire(blocking=False):
            raise Refused(503, "many people are signing in, or the provider is slow: try again in a few seconds")
        try:
            client = HttpClient(
                timeout=options.timeout,
                headers={"accept": "application/json"},
                ca_file=options.ca_file,
                proxy=options.proxy.get_secret_value() if options.proxy else None,
                max_body_bytes=MAX_RESPONSE_BYTES,
            )
            with contextlib.closing(client):
                yield client
        finally:
            self._room.release()

    def _read_metadata(self) -> _Metadata:
        known = self._metadata
        if known is not None and self._elapsed() - known.read_at < KEPT_SECONDS:
            return known
        failure = self._failure
        if failure is not None and self._elapsed() - failure.at < AWAY_SECONDS:  # anyone can cause this request
            raise Refused(503, failure.reason)
        with self._exchanging() as http:
            try:
                self._metadata = made = self._discover(http)
            except Refused as exc:
                self._failure = _Failure(str(exc), self._elapsed())
                raise
        return made

    def _discover(self, http: HttpClient) -> _Metadata:
        found = self._get(http, f"{self._options.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self._options.issuer:
            raise self._unusable("it has another issuer than web.openid.issuer: copy its issuer exactly")
        methods = _texts(found.get("token_endpoint_auth_methods_supported")) or {"client_secret_basic"}
        return _Metadata(
            authorization_endpoint=self._endpoint(found, "authorization_endpoint"),
            token_endpoint=self._endpoint(found, "token_endpoint"),
            jwks_uri=self._endpoint(found, "jwks_uri"),
            is_secret_posted="client_secret_basic" not in methods,
            has_issuer_in_answers=found.get("authorization_response_iss_parameter_supported") is True,
            read_at=self._elapsed(),
        )

    def _endpoint(self, found: Mapping[str, Any], name: str) -> str:
        url = found.get(name)
        try:
            return check_url(url if isinstance(url, str) else "")
        except ValueError as exc:
            raise self._unusable(f"its {name} {exc}") from exc

    def _redeem(self, http: HttpClient, metadata: _Metadata, code: str, verifier: str) -> str:
        """Exchange the code for an ID token."""
        options, secret = self._options, self._options.secret
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if metadata.is_secret_posted:
            form |= {"client_id": options.client_id, "client_secret": secret}
        else:  # RFC 6749 §2.3.1 encodes both before it joins them
            both = f"{quote_plus(options.client_id)}:{quote_plus(secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(both.encode()).decode()}"
        answer = self._request(http, "POST", metadata.token_endpoint, headers, urlencode(form).encode())
        found = answer.json_object()
        if 400 <= answer.status < 500 and answer.status != 429:
            error = str(found.get("error", ""))
            reason = error if _ERROR.fullmatch(error) else str(answer.status)
            remedy = "check web.openid.client_id and client_secret" if error == "invalid_client" else _AGAIN
            raise Refused(403, f"the provider refused the code ({reason}): {remedy}")
        token = found.get("id_token")
        if answer.status != 200 or not isinstance(token, str):
            raise self._away(f"its token endpoint answered {answer.status} without an ID token")
        return token

    def _verify(self, http: HttpClient, metadata: _Metadata, token: str, nonce: str) -> Mapping[str, Any]:
        """Return the claims of an ID token; read the keys of the provider again if none of them signed it."""
        from actionwatch.web.id_token import Expected, InvalidToken, UnknownKey, verify

        expected = Expected(self._options.issuer, self._options.client_id, nonce)
        try:
            try:
                return verify(token, self._read_keys(http, metadata, KEPT_SECONDS), expected, self._clock())
            except UnknownKey:
                return verify(token, self._read_keys(http, metadata, KEYS_AGAIN_SECONDS), expected, self._clock())
        except InvalidToken as exc:
            raise Refused(403, f"the ID token of the provider is not accepted: {exc}") from exc

    def _read_keys(self, http: HttpClient, metadata: _Metadata, kept_seconds: float) -> Sequence[Any]:
        known = self._keys
        if known is None or self._elapsed() - known.read_at >= kept_seconds:
            found = self._get(http, metadata.jwks_uri).get("keys")
            if not isinstance(found, list):
                raise self._unusable("its document of keys has no list 'keys'")
            self._keys = known = _Keys(found, self._elapsed())
        return known.keys

    def _get(self, http: HttpClient, url: str) -> Mapping[str, Any]:
        answer = self._request(http, "GET", url)
        found = answer.json_object()
        if answer.status != 200 or not found:
            raise self._away(_described(answer))
        return found

    def _request(
        self,
        http: HttpClient,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> HttpResponse:
        try:
            return http.request(method, url, headers=headers, content=content)
        except TransportError as exc:
            raise self._away(str(exc)) from exc

    def _away(self, what: str) -> Refused:
        if self._may_log():
            log.warning("openid_provider_failed", provider=self.name, error=what)
        return Refused(503, f"{self.name} cannot sign people in now ({what}): try again, or sign in with a token")

    def _unusable(self, what: str) -> Refused:
        if self._may_log():
            log.error("openid_provider_unusable", provider=self.name, error=what)
        return Refused(503, f"{self.name} cannot be used: {what}. Sign in with a token")

    def _may_log(self) -> bool:
        """Return whether a failure may be logged now. Anyone can cause it again, with an invented code."""
        now = self._elapsed()
        is_due = now - self._logged_at >= AWAY_SECONDS
        if is_due:
            self._logged_at = now
        return is_due

    # -- the person ------------------------------------------------------------------------------------------------------

    def _name_in(self, claims: Mapping[str, Any]) -> str:
        claim = self._options.name_claim
        name = claims.get(claim)
        if not isinstance(name, str) or not is_person(name):
            raise Refused(
                403, f"the provider gave no usable '{claim}': choose another web.openid.name_claim, or add a scope"
            )
        if claim == "email" and claims.get("email_verified") not in (True, "true"):  # some providers send a text
            raise Refused(403, "the provider has not verified this email address: verify it there, then sign in again")
        return name

    def _role_of(self, name: str, groups: set[str]) -> AccessRole:
        options = self._options
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


def _texts(value: Any) -> set[str]:
    """Return the texts in a claim, which is a list or a single one."""
    return {each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)}


def _described(answer: HttpResponse) -> str:
    return f"it answered {answer.status}" + ("" if answer.status != 200 else " without JSON")
