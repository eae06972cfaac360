"""Access to the console and the API: the two roles, and the tokens of people."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from actionwatch.base.unicode import folded

SECRET_BEGINNING = "actionwatch_"  # noqa: S105  # nosec  # no secret: so that scanners for leaked ones recognise it
_SECRET_BYTES = 32
MAX_AUTHOR_CHARS = 100  # of the name of a person
MAX_COMMENT_CHARS = 1000  # of what people write about a decision


OWN_NAME = "actionwatch"  # the author of what no person decides


class AccessRole(StrEnum):
    """A reader can read; an operator can also make decisions."""

    READER = "reader"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Person:
    """A person whom a proxy names."""

    name: str
    role: AccessRole


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token of a person, without its secret. `name` is the author of the decisions that are made with it."""

    id: str
    name: str
    role: AccessRole
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """At most an hour before the last use, so that reading seldom writes."""
    revoked_at: datetime | None = None
    revoked_by: str | None = None

    def status(self, now: datetime) -> str:
        """Return `valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


def is_person(name: str) -> bool:
    """Return whether a text that somebody else says can be the name of a person. A comma would join two."""
    is_clean = name.isprintable() and "," not in name and name == name.strip()
    return is_clean and 0 < len(name) <= MAX_AUTHOR_CHARS


def is_own_name(name: str) -> bool:
    """Return whether a name reads as that of actionwatch itself, under which no person decides.

    Invisible characters and punctuation make no difference.
    """
    return "".join(filter(str.isalnum, folded(name))) == OWN_NAME


def new_secret() -> str:
    """Make the secret of a token."""
    return SECRET_BEGINNING + secrets.token_urlsafe(_SECRET_BYTES)


def digest_of(secret: str) -> str:
    """Return the hash by which the store knows a secret.

    Slow hashes with salts protect what people choose, because it can be guessed. Nobody guesses 256 random bits.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
