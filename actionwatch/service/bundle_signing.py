"""Sign an evidence bundle, and verify signatures: Ed25519, with keys in PEM files as `openssl` makes them.

Requires the extra `sign`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from actionwatch.base.errors import BundleError
from actionwatch.base.files import read_regular

_MISSING = "needs the package cryptography: install the project's requirements/sign.txt"
_MAX_KEY_BYTES = 64 * 1024  # as for the secret files of the configuration
_MAKING = "make one with 'openssl genpkey -algorithm ed25519 -out key.pem'"
_PUBLISHING = "create it from the key with 'openssl pkey -in key.pem -pubout -out public.pem'"


def signer(path: Path) -> Callable[[bytes], bytes]:
    """Return what signs with the private key in a file. Raises: BundleError."""
    key = _read(path, "load_pem_private_key", _MAKING, None)
    return lambda data: bytes(key.sign(data))


def public_key(path: Path) -> Any:
    """Read the public key in a file. Raises: BundleError."""
    return _read(path, "load_pem_public_key", _PUBLISHING)


def is_signed(key: Any, data: bytes, signature: bytes) -> bool:
    """Return whether the owner of a public key signed the data."""
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _read(path: Path, loader: str, remedy: str, *more: None) -> Any:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as exc:
        raise BundleError(f"a signature {_MISSING}") from exc
    try:
        data = read_regular(path, _MAX_KEY_BYTES)
    except OSError as exc:
        raise BundleError(f"cannot read the key {path}: {exc.strerror}") from exc
    try:
        key = getattr(serialization, loader)(data, *more)
    except (TypeError, ValueError, UnsupportedAlgorithm) as exc:
        raise BundleError(f"{path} is not such a key in PEM, without a password: {remedy}") from exc
    if not isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        raise BundleError(f"the key in {path} is not an Ed25519 key: {remedy}")
    return key
