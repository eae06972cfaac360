"""Validate `store.url`: a SQLite file, or a database in PostgreSQL whose password reaches that server alone.

libpq takes what a URL leaves out from the environment, or from a service file. Every place that it may connect to must be this
machine, or prove with its certificate that it is the server. Messages never contain the URL.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import ValidationInfo

from actionwatch.text.options import is_loopback

_SQLITE = "sqlite:///"
_POSTGRESQL = "postgresql+psycopg://"
# As SQLAlchemy reads it: the password ends at @, also after / or ?
_HAS_PASSWORD = re.compile(r"[^:/]*://[^:/]*:[^@]*@")
_PROVEN = frozenset({"verify-full", "verify-ca"})
_PORT = re.compile(r":\d*$")


def resolve_store(url: str, info: ValidationInfo) -> str:
    """Make the URL of a SQLite file absolute, relative to the folder of the configuration; check one of PostgreSQL."""
    if url.startswith(("postgresql", "postgres:")):
        return _check_postgresql(url, is_insecure=info.data.get("insecure", False))
    name = url.removeprefix(_SQLITE)
    if name == url or not name.strip("/ ") or name.startswith("file:") or set(name) & set("?#\0"):
        raise ValueError(
            "not the URL of a store: write sqlite:///actionwatch.db, sqlite:////srv/actionwatch.db, or "
            "postgresql+psycopg://user@host/actionwatch"
        )
    if name.startswith(":memory:"):
        raise ValueError("a store in memory is lost at a restart: use sqlite:///actionwatch.db")
    folder: Path = (info.context or {}).get("folder", Path())
    return _SQLITE + str((folder / name).absolute())


def _check_postgresql(url: str, *, is_insecure: bool) -> str:
    if not url.startswith(_POSTGRESQL):
        raise ValueError(f"the driver is psycopg: write {_POSTGRESQL}user@host/actionwatch")
    given = parse_qs(url.partition("?")[2], keep_blank_values=True)
    if _HAS_PASSWORD.match(url) or "password" in given:
        raise ValueError("remove the password: give it in PGPASSWORD, or in a file that PGPASSFILE names")
    if "sslpassword" in given:
        raise ValueError("remove sslpassword: use a key without one, in a file that only actionwatch can read")
    parts = urlsplit(url)
    if not parts.path.strip("/"):
        raise ValueError(f"names no database: write {_POSTGRESQL}user@host/actionwatch")
    if not (is_insecure or _modes(given) <= _PROVEN or all(map(_is_here, _hosts(parts.netloc, given)))):
        raise ValueError(
            "would send the password to whoever answers there: add ?sslmode=verify-full to it, with sslrootcert=system or "
            "the file of a certificate, or set store.insecure: true"
        )
    return url


def _modes(given: Mapping[str, list[str]]) -> set[str]:
    """Return the values of `sslmode`. That of the environment does not count if a service may have another."""
    return set(given.get("sslmode") or ["" if _services(given) else os.environ.get("PGSSLMODE", "")])


def _hosts(place: str, given: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield every host and address that libpq may connect to; a service counts as one, because its file names it."""
    named = [unquote(place.rpartition("@")[2]), *given.get("host", ())]
    hosts = named if any(named) else [os.environ.get("PGHOST", "")]
    addresses = given.get("hostaddr") or [os.environ.get("PGHOSTADDR", "")]
    for text in (*_services(given), *hosts, *addresses):
        yield from text.split(",")


def _services(given: Mapping[str, list[str]]) -> list[str]:
    return given.get("service") or [name for name in [os.environ.get("PGSERVICE")] if name]


def _is_here(host: str) -> bool:
    """Return whether a host is this machine: its loopback, or a socket in a folder. Nothing means a socket too."""
    return not host or host.startswith(("/", "@")) or is_loopback(host) or is_loopback(_PORT.sub("", host))
