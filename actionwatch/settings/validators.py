"""Validate the types that only the configuration file uses: addresses, rates, levels, start times, names and pairs of keys.

Every function is a pydantic validator: it returns the value, or raises ValueError with `what: remedy`. Messages never contain
the value, which may be a secret in the wrong key.
"""

from __future__ import annotations

import importlib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo

from actionwatch.base.access import MAX_AUTHOR_CHARS, is_person
from actionwatch.base.durations import parse_duration
from actionwatch.base.model import LEVELS, Level
from actionwatch.text.options import ConfigPath, Options, check_url
from actionwatch.text.suggestions import did_you_mean

_T = TypeVar("_T")
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*/\s*(s|m|h)", re.ASCII)
_RATE_SECONDS = {"s": 1, "m": 60, "h": 3600}
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+)):(\d{1,5})", re.ASCII)
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.ASCII)
_LABEL_NAME = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*")  # names that begin with __ are Prometheus's own
_IPV6 = re.compile(r"[0-9a-f:.]+")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*", re.ASCII)
# They mean something else, and clients choose them.
_OTHER_HEADERS = frozenset({"authorization", "cookie", "forwarded", "host", "via", "x-forwarded-for", "x-real-ip"})
_MAPPED_IPV4 = ipaddress.IPv6Network("::ffff:0:0/96")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)  # datetime arithmetic overflows near the ends of the calendar
_LATEST = datetime(2900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Address:
    """The address at which the web server listens. Port 0 lets the system choose."""

    host: str
    port: int


def parse_address(value: object) -> Address:
    """Read `host:port`, with an IPv6 address in brackets."""
    if isinstance(value, Address):
        return value
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if not found or int(found[3]) > 65_535:
        raise ValueError("not an address: write host:port, such as 127.0.0.1:8080 or [::1]:8080")
    return Address(found[1] or found[2], int(found[3]))


def parse_network(value: object) -> Network:
    """Read a network, such as 10.0.0.0/24; a single address is one too. All addresses together are none."""
    if isinstance(value, Network):
        return value
    try:
        found = ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError as exc:
        raise ValueError("not a network: write an address, or its first address and a length: 10.0.0.0/24") from exc
    found = _ipv4_of(found)
    if not found.prefixlen:
        raise ValueError("this is every address: write those of the proxy")
    return found


def _ipv4_of(network: Network) -> Network:
    """Return the IPv4 addresses that `::ffff:10.0.0.0/120` means, as which requests from there are compared."""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED_IPV4):
        address = network.network_address.packed[-4:]
        return ipaddress.IPv4Network((address, network.prefixlen - _MAPPED_IPV4.prefixlen))
    return network


def parse_rate(value: object) -> float | None:
    """Read `1/s`, `10/m` or `100/h` as a rate per second."""
    if value is None:
        return None
    found = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found or float(found[1]) == 0:
        raise ValueError("not a rate: write a number above 0 and a unit, such as 1/s, 10/m or 100/h")
    return float(found[1]) / _RATE_SECONDS[found[2]]


def parse_level(value: object) -> Level:
    """Read one of Sigma's five levels."""
    if isinstance(value, Level):
        return value
    if not isinstance(value, str) or value not in LEVELS:
        near = did_you_mean(value, list(LEVELS)) if isinstance(value, str) else ""
        raise ValueError(f"must be one of {', '.join(LEVELS)}" + (f": {near}" if near else ""))
    return LEVELS[value]


def parse_start(value: object) -> object:
    """Read `now`, a duration before now, or an RFC 3339 time. Return times in UTC."""
    if value == "now" or isinstance(value, timedelta):
        return value
    at = _time(value)
    if at is not None:
        if at.tzinfo is None:
            raise ValueError("a time needs its zone: write 2026-11-25T09:00:00Z")
        if not _EARLIEST < at < _LATEST:
            raise ValueError("this time is centuries away: correct the year")
        return at.astimezone(UTC)
    try:
        span = parse_duration(value)
    except ValueError as exc:
        raise ValueError(
            "not a start: write now, a duration before now such as 7d, or a time: 2026-11-25T09:00:00Z"
        ) from exc
    if not span:
        raise ValueError("must be longer than 0s: write now")
    return span


def _time(value: object) -> datetime | None:
    if isinstance(value, datetime) or not isinstance(value, str):
        return value if isinstance(value, datetime) else None
    try:
        return datetime.fromisoformat(value.strip().upper()) if ":" in value else None
    except ValueError:
        return None


def parse_instant(value: object) -> datetime:
    """Read an RFC 3339 time with its zone. Return it in UTC."""
    if isinstance(value, datetime):
        return value
    try:
        at = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or not _EARLIEST < at.replace(tzinfo=UTC) < _LATEST:
        raise ValueError("not a time with its zone: write 2026-11-25T09:00:00Z")
    return at.astimezone(UTC)


def parse_origin(url: str) -> str:
    """Read the upstream's base URL, without a slash at its end."""
    check_url(url)
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ValueError("must end with the path: remove what follows ? or #")
    return url.rstrip("/")


def require_package(name: str, extra: str) -> None:
    """Check that an optional package is installed.

    Raises: ValueError, with what installs it.
    """
    try:
        importlib.import_module(name)
    except ImportError as exc:
        raise ValueError(f"needs the package {name}: install the project's requirements/{extra}.txt") from exc


def parse_public_url(url: str | None) -> str | None:
    """Read the public address of the console, without a slash at its end."""
    if url is None:
        return None
    check_url(url, is_plain_allowed=True)
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not _HOST_NAME.fullmatch(host) and not _IPV6.fullmatch(host):
        raise ValueError("not a host name that browsers send: write its domain in the xn-- form")
    if parts.path.strip("/") or "?" in url or "#" in url:
        raise ValueError("must have no path: the console needs its own host name or port, https://watch.example.com")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def one_of(first: str, *, is_required: bool = False) -> Callable[[_T | None, ValidationInfo], _T | None]:
    """Check, at the second key of a pair, that not both are given and, if `is_required`, that one is."""

    def check(value: _T | None, info: ValidationInfo) -> _T | None:
        if value is not None and info.data.get(first) is not None:
            raise ValueError(f"{first} is set too: keep one of the two")
        # An invalid first key is missing from `data` and already reported.
        if is_required and value is None and info.data.get(first, "unusable") is None:
            raise ValueError(f"one of {first} and {info.field_name} is required: add {info.field_name}")
        return value

    return check


def _word(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be text on one line, not empty")
    return text.strip()


def _person(text: str) -> str:
    if "*" in text:
        raise ValueError("'*' is not accepted here: write the name of each person, or use operator_groups")
    return _name(text)


def _name(text: str) -> str:
    name = _word(text)
    if not is_person(name):
        raise ValueError(
            f"nobody can have this name: a name has at most {MAX_AUTHOR_CHARS} characters and no comma: let people sign in "
            "with another one, such as their email address"
        )
    return name


def _host_name(text: str) -> str:
    if not _HOST_NAME.fullmatch(text):
        raise ValueError("not a host name: write it without scheme and port, such as metrics.example.com")
    return text.lower()


def _header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text) or text.lower() in _OTHER_HEADERS:
        raise ValueError("not a header for this: write its name, such as X-Forwarded-User")
    return text


def no_flag(noun: str) -> BeforeValidator:
    """Refuse true and false, which pydantic accepts as 1 and 0; `noun` is what must be written instead."""

    def check(value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"must be {noun}, not true or false")
        return value

    return BeforeValidator(check)


def _basic_user(name: str) -> str:
    # RFC 7617 §2: the first colon ends the name.
    if ":" in name:
        raise ValueError("a user name cannot contain ':': write only the name, and the key as api_key")
    return name


def _flag(value: Any) -> Any:
    # Text comes from the environment. pydantic also accepts `y`, `t` and 1, which YAML 1.2 does not.
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise ValueError("must be true or false: write it without quotes")
    return value


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ValueError(f"there is no {path}: create it, or correct the path")
    return path


def _among(key: str, what: str, remedy: str = "") -> AfterValidator:
    """Accept only the names that the loader passes as `key` of the context; `what` is the error for other names."""

    def check(name: str, info: ValidationInfo) -> str:
        names: list[str] | None = (info.context or {}).get(key)
        if names is None or name in names:
            return name
        known = f"there are: {', '.join(names)}" if names else remedy
        raise ValueError(f"{what.format(name)}: {did_you_mean(name, names) or known}")

    return AfterValidator(check)


def parse_storm(value: object) -> object:
    """Accept `off` or a mapping. Anything else is one fault, where a union would report one per member."""
    if value is None or value == "off" or isinstance(value, dict | Options):
        return value
    raise ValueError("not a storm: write {above: 30, per: 1m}, or off")


def _label_name(name: str, info: ValidationInfo) -> str:
    if not _LABEL_NAME.fullmatch(name):
        raise ValueError("not the name of a label: use letters, digits and _, as in Prometheus")
    if name in (info.context or {}).get("alert_labels", ()):
        raise ValueError("all alerts have a label with this name: choose another one")
    return name


def _matcher(text: str, info: ValidationInfo) -> str:
    check: Callable[[str], object] | None = (info.context or {}).get("check_matcher")
    if check is not None:
        check(text)
    return text


Word = Annotated[str, AfterValidator(_word)]
Person = Annotated[str, AfterValidator(_person)]
HostName = Annotated[str, AfterValidator(_host_name)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
Flag = Annotated[bool, BeforeValidator(_flag)]
UserName = Annotated[Word, AfterValidator(_basic_user)]
WholeNumber = Annotated[int, no_flag("a whole number")]
Existing = Annotated[ConfigPath, AfterValidator(_existing)]
"""A file or folder that must exist when the configuration is loaded."""
RecordField = Annotated[str, _among("record_fields", "a record has no field '{}'")]
KnownReceiver = Annotated[Word, _among("receiver_names", "no receiver has the name '{}'", "add it under receivers")]
KnownInterval = Annotated[
    Word, _among("interval_names", "no time interval has the name '{}'", "add it under time_intervals")
]
LabelName = Annotated[str, AfterValidator(_label_name)]
MatcherText = Annotated[str, AfterValidator(_matcher)]


def parse_heartbeat(url: SecretStr) -> SecretStr:
    """Check the URL; http is accepted, as for a webhook."""
    check_url(url.get_secret_value(), is_plain_allowed=True)
    return url
