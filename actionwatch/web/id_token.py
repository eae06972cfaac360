"""Verify an ID token of OpenID Connect: its signature, its client, its sign-in and its times.

https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation. Keys, time and nonce are arguments. Requires the extra
`oidc`.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

# With a symmetric algorithm, whoever knows the public key of a provider could sign.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
_KEY_TYPES: Mapping[str, type[RSAKey] | type[ECKey]] = {"RSA": RSAKey, "EC": ECKey}
_TYPE_OF = {"RS": "RSA", "PS": "RSA", "ES": "EC"}  # by the beginning of an algorithm
MAX_KEYS = 50  # of a provider, which has two or three
_RSA_BITS = range(2048, 16_385)  # a shorter key can be broken, and a longer one takes long
_LEEWAY_SECONDS = 60  # the difference between clocks that is accepted
_MAX_AGE_SECONDS = 600  # of a token that a provider has just made


class InvalidToken(Exception):
    """The token is not valid. The text is for people, and contains no part of the token."""


class UnknownKey(InvalidToken):
    """No known key signed the token: the provider may have new keys."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The values that a token must have: its issuer, its client, and the nonce of its sign-in."""

    issuer: str
    client_id: str
    nonce: str


def verify(token: str, keys: Sequence[Any], expected: Expected, now: datetime) -> Mapping[str, Any]:
    """Return the claims of a token that one of these keys (JWK) signed. Raises: InvalidToken, UnknownKey."""
    claims = _signed_claims(token, keys)
    for what in _errors_in(claims, expected, now.timestamp()):
        raise InvalidToken(what)
    return claims


def _signed_claims(token: str, keys: Sequence[Any]) -> Mapping[str, Any]:
    try:
        header: object = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError) as exc:
        raise InvalidToken("it is not a signed token") from exc
    if not isinstance(header, Mapping):
        raise InvalidToken("its head is not an object")
    if not {"crit", "zip"}.isdisjoint(header):
        raise InvalidToken("its head asks for an extension (crit, zip), and none is supported")
    algorithm = header.get("alg")
    if algorithm not in _ALGORITHMS:
        raise InvalidToken(f"its algorithm is not one of {', '.join(_ALGORITHMS)}")
    candidates = list(_candidates(keys, algorithm, header.get("kid")))
    if not candidates:
        raise UnknownKey("the provider has no key for it")
    for candidate in candidates:
        try:
            return jwt.decode(token, candidate, algorithms=[algorithm]).claims
        except (JoseError, ValueError, RecursionError):
            continue
    raise UnknownKey("its signature is wrong")


def _candidates(keys: Sequence[Any], algorithm: str, name: object) -> Iterator[RSAKey | ECKey]:
    """Yield the keys that may have signed a token: those of its name, for its algorithm."""
    wanted = _TYPE_OF[algorithm[:2]]
    for each in keys[:MAX_KEYS]:
        if not isinstance(each, Mapping) or each.get("kty") != wanted or each.get("use", "sig") != "sig":
            continue
        if each.get("alg", algorithm) != algorithm or (name is not None and each.get("kid") != name):
            continue
        if wanted == "RSA" and _bits_of(each.get("n")) not in _RSA_BITS:
            continue
        # A key with an unsupported type or curve is skipped.
        with contextlib.suppress(JoseError, ValueError, TypeError, KeyError):
            yield _KEY_TYPES[wanted].import_key(dict(each))


def _bits_of(modulus: object) -> int:
    """Return the length in bits of the number in a JWK; 0 if it is not a number."""
    try:
        return int.from_bytes(base64.urlsafe_b64decode(f"{modulus}==")).bit_length()
    except ValueError:
        return 0


def _errors_in(claims: Mapping[str, Any], expected: Expected, now: float) -> Iterator[str]:
    """Yield what is wrong with signed claims."""
    if claims.get("iss") != expected.issuer:
        yield "its issuer is not web.openid.issuer"
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.client_id not in audiences:
        yield "it is for another client than web.openid.client_id"
    party = claims.get("azp")
    if party != expected.client_id and (party is not None or len(audiences) > 1):
        yield "it is for several clients, and was given to another one"
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode("utf-8", "replace"), expected.nonce.encode()):
        yield "it is from another sign-in"
    if not isinstance(claims.get("sub"), str):
        yield "it names no person"
    expires, issued, begins = (_seconds(claims.get(name)) for name in ("exp", "iat", "nbf"))
    if expires is None or issued is None:
        yield "its times are missing"
    elif claims.get("nbf") is not None and begins is None:
        yield "the time from which it is valid (nbf) is not a number"
    elif expires + _LEEWAY_SECONDS <= now or issued + _MAX_AGE_SECONDS <= now:
        yield "it has expired: compare the clocks of this machine and the provider"
    elif max(issued, begins or issued) - _LEEWAY_SECONDS > now:
        yield "it is from the future: compare the clocks of this machine and the provider"


def _seconds(value: Any) -> float | None:
    """Return the time in a claim; None if it is not a finite number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e12 else None  # NaN is not below it
