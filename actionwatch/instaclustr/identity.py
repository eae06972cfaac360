"""The identity of a record across polls: an action always has the same key, independent of page, order and formatting.

A key starts with the time, so that inserts append to the index of the store. Then follows a hash of the organisation and of the
stable content; the caller leaves out what the upstream may rewrite later, such as the name of an account. Equal keys within one
source are twins: identical actions at the same instant are real, and only their ordinal distinguishes them. Equal keys in two
sources are one action: both sources read the same organisation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from actionwatch.base.ids import UUID

_UNTIMED = "untimed"  # replaces an unreadable time; the time of the poll would change the key
_HASH_BYTES = 10  # 80 bits: the odds of a collision among 1,000 records of one microsecond are 1 in 10**18


_encode = msgspec.json.Encoder(order="deterministic").encode


def content(values: Sequence[object]) -> bytes:
    """Encode decoded JSON values canonically: keys of nested objects sorted, strings quoted.

    Different sequences have different encodings, except for NaN and infinities, which JSON lacks.
    """
    try:
        return _encode(values)
    except (UnicodeEncodeError, OverflowError, RecursionError, msgspec.MsgspecError):
        # Only the standard library can encode lone surrogates.
        return json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def canonical_organisation(organisation_id: str) -> str:
    """Return the canonical form of an organisation id: a UUID in lower case."""
    return organisation_id.lower() if UUID.fullmatch(organisation_id) else organisation_id


def organisation_hash(organisation: str) -> blake2b:
    """Return the hash of no content for `record_key`, which depends on the organisation id."""
    person = blake2b(organisation.encode("utf-8", "surrogatepass"), digest_size=blake2b.PERSON_SIZE).digest()
    # As `person` the organisation costs nothing; as part of the content it would cost another block.
    return blake2b(digest_size=_HASH_BYTES, person=person)


def record_key(microseconds: int | None, stable: bytes, organisation: blake2b) -> str:
    """Make the key of a record: 16 hex digits of its time (or `untimed`), `-`, 20 hex digits of a hash of the stable content.

    `organisation` is from `organisation_hash`, so that records of two organisations never have the same key.
    """
    digest = organisation.copy()  # takes a third less than a new one
    digest.update(stable)
    # `to_bytes().hex()` equals format `016x` and takes a third of the time.
    return f"{_UNTIMED if microseconds is None else microseconds.to_bytes(8).hex()}-{digest.hexdigest()}"


def without_time(key: str) -> str:
    """Return the key that a record has if its time counts as unreadable."""
    return f"{_UNTIMED}-{key.partition('-')[2]}"


def twin_key(key: str, ordinal: int) -> str:
    """Return the key of the `ordinal`th of equal records, counted from 0: the key itself for the first, else `key~n`."""
    return f"{key}~{ordinal}" if ordinal else key
