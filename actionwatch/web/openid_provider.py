"""The OpenID Connect provider over HTTP: its metadata, its token endpoint and its keys. `openid.py` calls it.

https://openid.net/specs/openid-connect-discovery-1_0.html, https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3. It keeps
metadata and keys for a while. After a failure it sends no request for a few seconds, because anyone can cause one. Requires the
extra `oidc`.
"""

from __future__ import annotations

import base64
import contextlib
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import structlog

from actionwatch.base.errors import TransportError
from actionwatch.net.http import HttpClient
from actionwatch.net.http_response import HttpResponse
from actionwatch.settings.web_keys import OpenId
from actionwatch.text.options import check_url
from actionwatch.text.redaction import Redaction, in_proxy
from actionwatch.web.proxy import Refused

MAX_RESPONSE_BYTES = 1024 * 1024  # of the provider; the documents have a few KB
MAX_EXCHANGES = 2  # at the same time, so that a provider that hangs holds half of the threads that answer pages
_KEPT_SECONDS = 3600.0  # of the metadata of the provider
AWAY_SECONDS = 5.0  # until a provider that failed is contacted again, or its failure is logged again
KEYS_AGAIN_SECONDS = 60.0  # until keys are read again because no known key signed a token
_EXCERPT_CHARS = 300
_ERROR = re.compile(r"[a-z_]{1,50}")
AGAIN = "sign in again"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of the provider, and when it was read."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    is_secret_posted: bool
    has_issuer_in_responses: bool
    read_at: float


@dataclass(frozen=True, slots=True)
class _Keys:
    keys: Sequence[Any]
    read_at: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """The reason why the metadata of the provider could not be read."""

    reason: str
    at: float


class Provider:
    """The provider that the configuration names. Safe to share between threads."""

    def __init__(
        self, options: OpenId, clock: Callable[[], datetime], elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = urlsplit(options.issuer).hostname or ""
        self._options = options
        self._clock = clock
        self._elapsed = elapsed
        proxy = options.proxy.get_secret_value() if options.proxy else None
        logins = [(quote_plus(options.client_id), quote_plus(options.secret)), *in_proxy(proxy)]
        self._redact = Redaction([options.secret], logins=logins)
        self._room = threading.Semaphore(MAX_EXCHANGES)
        self._metadata: Metadata | None = None
        self._keys: _Keys | None = None
        self._failure: _Failure | None = None
        self._logged_at = -math.inf

    def metadata(self) -> Metadata:
        """Return the metadata, read at most `_KEPT_SECONDS` ago. Raises: Refused."""
        known = self._metadata
        if known is not None and self._elapsed() - known.read_at < _KEPT_SECONDS:
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

    def redeem(self, code: str, verifier: str, redirect_uri: str, nonce: str) -> Mapping[str, Any]:
        """Redeem the code of a sign-in. Return the claims of its verified ID token. Raises: Refused."""
        metadata = self.metadata()
        with self._exchanging() as http:
            token = self._id_token(http, metadata, code, verifier, redirect_uri)
            return self._verify(http, metadata, token, nonce)

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

    def _discover(self, http: HttpClient) -> Metadata:
        found = self._get(http, f"{self._options.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self._options.issuer:
            raise self._unusable("it has another issuer than web.openid.issuer: copy its issuer exactly")
        methods = texts_in(found.get("token_endpoint_auth_methods_supported")) or {"client_secret_basic"}
        return Metadata(
            authorization_endpoint=self._endpoint(found, "authorization_endpoint"),
            token_endpoint=self._endpoint(found, "token_endpoint"),
            jwks_uri=self._endpoint(found, "jwks_uri"),
            is_secret_posted="client_secret_basic" not in methods,
            has_issuer_in_responses=found.get("authorization_response_iss_parameter_supported") is True,
            read_at=self._elapsed(),
        )

    def _endpoint(self, found: Mapping[str, Any], name: str) -> str:
        url = found.get(name)
        try:
            return check_url(url if isinstance(url, str) else "")
        except ValueError as exc:
            raise self._unusable(f"its {name} {exc}") from exc

    def _id_token(self, http: HttpClient, metadata: Metadata, code: str, verifier: str, redirect_uri: str) -> str:
        """Exchange the code for an ID token."""
        options, secret = self._options, self._options.secret
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
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
            error = self._redact.excerpt(str(found.get("error", "")), _EXCERPT_CHARS)
            reason = shown_error(error, str(answer.status))
            remedy = "check web.openid.client_id and client_secret" if error == "invalid_client" else AGAIN
            raise Refused(403, f"the provider refused the code ({reason}): {remedy}")
        token = found.get("id_token")
        if answer.status != 200 or not isinstance(token, str):
            raise self._away(f"its token endpoint answered {answer.status} without an ID token")
        return token

    def _verify(self, http: HttpClient, metadata: Metadata, token: str, nonce: str) -> Mapping[str, Any]:
        """Return the claims of an ID token; read the keys of the provider again if none of them signed it."""
        from actionwatch.web.id_token import Expected, InvalidToken, UnknownKey, verify

        expected = Expected(self._options.issuer, self._options.client_id, nonce)
        try:
            try:
                return verify(token, self._read_keys(http, metadata, _KEPT_SECONDS), expected, self._clock())
            except UnknownKey:
                return verify(token, self._read_keys(http, metadata, KEYS_AGAIN_SECONDS), expected, self._clock())
        except InvalidToken as exc:
            raise Refused(403, f"the ID token of the provider is not accepted: {exc}") from exc

    def _read_keys(self, http: HttpClient, metadata: Metadata, kept_seconds: float) -> Sequence[Any]:
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
            raise self._away(self._redact.excerpt(str(exc), _EXCERPT_CHARS)) from exc

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


def texts_in(value: Any) -> set[str]:
    """Return the texts in a claim, which is a list or a single one."""
    return {each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)}


def shown_error(error: str, otherwise: str) -> str:
    """Return an error code of OAuth as people may see it; another text is replaced, because anybody could have written it."""
    return error if _ERROR.fullmatch(error) else otherwise


def _described(answer: HttpResponse) -> str:
    return f"it answered {answer.status}" + ("" if answer.status != 200 else " without JSON")
