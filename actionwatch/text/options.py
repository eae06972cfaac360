"""The types of configuration values: durations, secrets and their `…_file` variants, paths, URLs.

`settings/` and each `notifiers/<type>.py` declare their keys with these types. Paths are relative to the folder of the
configuration file, which the loader passes as the validation context `folder`.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationInfo

from actionwatch.base.durations import parse_duration
from actionwatch.base.files import MAX_PEM_BYTES, open_regular, read_regular

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # RFC 9110 §5.6.2, token
_SET_BY_CLIENT = frozenset(
    {
        "host",
        "content-type",
        "user-agent",
        "content-length",
        "transfer-encoding",
        "connection",
        "content-encoding",
        "expect",
    }
)
MAX_SECRET_BYTES = 65_536  # a private key has about 3,000


class Options(BaseModel):
    """The base class of all configuration sections: immutable, and without unknown keys.

    pydantic builds a section when it is first used: most are only used as parts of others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


def _positive(span: timedelta) -> timedelta:
    if span <= timedelta(0):
        raise ValueError("must be longer than 0s")
    return span


def _resolve(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    try:
        path = path.expanduser()
    except RuntimeError as exc:
        raise ValueError("this home folder does not exist: write the path without ~") from exc
    if "\0" in str(path):
        raise ValueError("a path must not contain a NUL character: remove it")
    return folder / path


def _read_secret(value: Any, info: ValidationInfo) -> SecretStr:
    """Read the first line of a secret file; an error names the file and the reason."""
    if not isinstance(value, str | Path):
        raise ValueError("must be the path of a file")
    path = _resolve(Path(value), info)
    try:
        first, *_ = read_regular(path, MAX_SECRET_BYTES).splitlines() or [b""]
        line = first.decode().strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
        raise ValueError(f"cannot read the secret file {path} ({reason}): mount it, or correct the path") from exc
    if not line:
        raise ValueError(f"the secret file {path} has an empty first line: put the secret there")
    return SecretStr(line)


def _printable_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("a secret must not be empty or contain control characters")
    return value


def _loadable(path: Path) -> Path:
    try:
        open_regular(path, MAX_PEM_BYTES).close()
        ssl.create_default_context(cafile=path)
    except OSError as exc:  # ssl.SSLError is one
        reason = "no certificate in PEM form" if isinstance(exc, ssl.SSLError) else exc.strerror
        raise ValueError(f"cannot use the certificates in {path} ({reason}): correct the path or the file") from exc
    return path


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_positive)]


def _usable_proxy(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        is_usable = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError("not a usable proxy: write http://host:port")
    return value


ConfigPath = Annotated[Path, AfterValidator(_resolve)]
CaFile = Annotated[Path, AfterValidator(_resolve), AfterValidator(_loadable)]
"""A file of certificates to trust instead of those of the system. It is checked when the configuration is loaded."""
Secret = Annotated[SecretStr, AfterValidator(_printable_secret)]
SecretFile = Annotated[SecretStr, BeforeValidator(_read_secret), AfterValidator(_printable_secret)]
"""The `…_file` variant of a secret: a path in the configuration, and here the secret in the first line of that file."""
Proxy = Annotated[Secret, AfterValidator(_usable_proxy)]
"""An HTTP proxy, which tunnels HTTPS. A secret, because it may contain a password."""


def secret(value: SecretStr | None, from_file: SecretStr | None) -> str | None:
    """Return the secret of the keys `x` and `x_file`; None if neither is set."""
    chosen = value if value is not None else from_file
    return chosen.get_secret_value() if chosen is not None else None


def require_one(options: BaseModel, *names: str) -> None:
    """Check that exactly one of these keys is set.

    Raises: ValueError, with the names of the keys.
    """
    refuse_both(options, *names)
    if all(getattr(options, name) is None for name in names):
        raise ValueError(f"one of {' or '.join(names)} is required")


def refuse_both(options: BaseModel, *names: str) -> None:
    """Check that at most one of these keys is set.

    Raises: ValueError, with the names of the keys.
    """
    given = [name for name in names if getattr(options, name) is not None]
    if len(given) > 1:
        raise ValueError(f"set only one of {' and '.join(given)}")


def check_headers(headers: Mapping[str, SecretStr]) -> None:
    """Check the names and values of headers that we send in addition to our own.

    Raises: ValueError, without a value.
    """
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"'{name}' is not a header name")
        if name.lower() in _SET_BY_CLIENT:
            raise ValueError(f"actionwatch sets the header {name} itself: remove it")
        text = value.get_secret_value()
        if not text.isascii() or not text.isprintable():
            raise ValueError(f"the header {name} must be printable ASCII")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("two headers have the same name: remove one")


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is always this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_url(url: str, *, is_plain_allowed: bool = False, secure: str = "https", plain: str = "http") -> str:
    """Check for https with a host and without user and password; http is only accepted for loopback or if allowed.

    `secure` and `plain` are the schemes of other protocols with and without TLS.

    Raises: ValueError, without the URL, which may be a secret.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as exc:
        raise ValueError("not a usable URL") from exc
    if parts.scheme not in (secure, plain) or not host or " " in url or not url.isprintable():
        raise ValueError(f"must be an {secure}:// URL with a host")
    if parts.username or parts.password:
        raise ValueError("must not contain a user name or password: use the keys for them")
    if parts.scheme == plain and not is_plain_allowed and not is_loopback(host):
        raise ValueError(f"must be {secure}://: {plain}:// is accepted only for loopback")
    return url
