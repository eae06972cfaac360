"""The identity of a record across polls: the same action gives the same key, whatever page, order or spelling brings it.

A key begins with the time, so that inserts land at the end of the store's index, and goes on with a hash of the organisation
and of the content that stays: what may be rewritten later, the name of an account say, is left out by the caller. Equal keys
within one source are twins: two identical actions in one instant are real, and are told apart by their ordinal alone. Equal
keys in two sources are one action: both sources read the same organisation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

UNTIMED = "untimed"  # instead of the time where none can be read; the fetch time would change with every poll
HASH_BYTES = 10  # 80 bits: among a thousand records of one microsecond a clash has odds of 1 in 10**18

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)

_encode = msgspec.json.Encoder(order="deterministic").encode


def content(values: Sequence[object]) -> bytes:
    """Spell values (as decoded from JSON) without ambiguity: the keys of nested objects sorted, strings quoted.

    No two different sequences share a spelling, but for NaN and infinities, which JSON does not know.
    """
    try:
        return _encode(values)
    except (UnicodeEncodeError, OverflowError, RecursionError, msgspec.MsgspecError):
        # Lone surrogates, which only the standard library spells.
        return json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def canonical_organisation(organisation_id: str) -> str:
    """Return the form of an organisation's id in which equal ids are equal texts: a UUID may be written in either case."""
    return organisation_id.lower() if _UUID.fullmatch(organisation_id) else organisation_id


def organisation_hash(organisation: str) -> bytes:
    """Hash an organisation, once for all of its records, into what `record_key` takes."""
    return blake2b(organisation.encode("utf-8", "surrogatepass"), digest_size=blake2b.PERSON_SIZE).digest()


def record_key(microseconds: int | None, stable: bytes, organisation: bytes) -> str:
    """Make the key of a record: 16 hex digits of its time (or `untimed`), `-`, 20 hex digits of a hash of what is stable.

    `organisation` comes from `organisation_hash`: records of two organisations never share a key.
    """
    # As `person` it costs nothing; as part of what is hashed it would take another block.
    digest = blake2b(stable, digest_size=HASH_BYTES, person=organisation).hexdigest()
    # `to_bytes().hex()` is `016x`, in a third of the time.
    return f"{UNTIMED if microseconds is None else microseconds.to_bytes(8).hex()}-{digest}"


def twin_key(key: str, ordinal: int) -> str:
    """Return the key of the `ordinal`th of equal records: 0 is the key itself, n is `key~n`.

    Raises: ValueError, for a negative ordinal.
    """
    if ordinal < 0:
        raise ValueError("the ordinal of a twin counts from 0")
    return f"{key}~{ordinal}" if ordinal else key
