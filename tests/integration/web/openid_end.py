"""A real OpenID Connect provider on loopback, with its own keys: the far end of signing in."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tests.integration.notifiers.http_end import HttpEnd, Reply, Request

CLIENT_ID, CLIENT_SECRET = "actionwatch:1", "s3cret/+ of the client"
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"})
NEXT = ECKey.generate_key("P-256", {"kid": "ec-2", "use": "sig"})


def public(*keys: RSAKey | ECKey) -> list[Any]:
    """Return the public halves, as a provider publishes them."""
    return [key.as_dict(private=False) for key in keys]


@dataclass(frozen=True)
class _Granted:
    """What a code grants."""

    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str
    claims: Mapping[str, Any]


@dataclass
class OpenIdEnd:
    """Serves discovery, keys and tokens as a provider does. Tests replace what it says."""

    context: ssl.SSLContext | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    """Replaces values of the discovery document."""
    keys: list[Any] = field(default_factory=lambda: public(RSA))
    claims: dict[str, Any] = field(default_factory=dict)
    """Replaces claims of the tokens; None removes one."""
    sign: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode({"alg": "RS256", "kid": "rsa-1"}, claims, RSA)
    now: Callable[[], float] = time.time
    fail: Callable[[Request], Reply | None] = lambda request: None
    """Replaces a response."""
    console: str = ""
    """Where it sends browsers, in place of the redirect URI: the port of a test is known late."""
    form: dict[str, str] = field(default_factory=dict)
    """The last request for a token."""
    _codes: dict[str, _Granted] = field(default_factory=dict)

    def __enter__(self) -> OpenIdEnd:
        self.end = HttpEnd(self._reply, self.context)
        return self

    def __exit__(self, *_: object) -> None:
        self.end.close()

    @property
    def issuer(self) -> str:
        """How it names itself."""
        return f"{self.end.url}/realm"

    def paths(self) -> list[str]:
        """Return what was asked of it, in order."""
        return [request.path.removeprefix("/realm/") for request in self.end.requests]

    def authorize(self, url: str, **claims: Any) -> dict[str, str]:
        """Let a person sign in at the URL to which their browser was led. Return the query that they come back with."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query, strict_parsing=True).items()}
        assert url.startswith(f"{self.issuer}/authorize?")
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = _Granted(
            asked["client_id"], asked["redirect_uri"], asked["code_challenge"], asked["nonce"], claims
        )
        return {"code": code, "state": asked["state"]}

    def _reply(self, request: Request) -> Reply:
        if replaced := self.fail(request):
            return replaced
        match request.path:
            case "/realm/.well-known/openid-configuration":
                endpoints = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
                addresses = {name: f"{self.issuer}/{path}" for name, path in endpoints.items()}
                return _json({"issuer": self.issuer, **addresses, **self.metadata})
            case "/realm/keys":
                return _json({"keys": self.keys})
            case "/realm/token":
                return self._token(request)
            case path if path.startswith("/realm/authorize?"):  # a person whom it knows already
                answer = urlencode(self.authorize(f"{self.end.url}{path}"))
                return Reply(302, headers={"location": f"{self.console}/sign-in/callback?{answer}"})
        return Reply(404)

    def _token(self, request: Request) -> Reply:
        self.form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if _client_of(request, self.form) != (CLIENT_ID, CLIENT_SECRET):
            return _json({"error": "invalid_client"}, 401)
        granted = self._codes.pop(self.form["code"], None)  # once
        verifier = hashlib.sha256(self.form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        if granted is None or granted.redirect_uri != self.form["redirect_uri"] or granted.challenge != challenge:
            return _json({"error": "invalid_grant"}, 400)
        now = int(self.now())
        claims = {
            "iss": self.issuer,
            "sub": "248289761001",
            "aud": granted.client_id,
            "exp": now + 300,
            "iat": now,
            "nonce": granted.nonce,
            "email": "sam@example.com",
            "email_verified": True,
            **granted.claims,
            **self.claims,
        }
        token = self.sign({name: value for name, value in claims.items() if value is not None})
        return _json({"access_token": "x", "token_type": "Bearer", "id_token": token})


def _client_of(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme == "Basic":
        name, _, secret = base64.b64decode(given).decode().partition(":")
        return unquote_plus(name), unquote_plus(secret)
    return form.get("client_id", ""), form.get("client_secret", "")


def _json(document: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode(), {"content-type": "application/json"})
