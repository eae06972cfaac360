"""The tree of hashes of a seal (RFC 6962, section 2.1). Pure.

A leaf that is no longer needed is folded: only its hash stays, and of a subtree of such leaves only the hash of the subtree.
The root stays the same, so that the other leaves can still be verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import msgspec

Leaf = tuple[str | int, bytes]
"""The key of a row, and the hash of its leaf; or how many leaves are folded, and the hash of their subtree."""

_DECODER = msgspec.msgpack.Decoder(list[Leaf])


def leaf_hash(content: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\0" + content).digest()


def fold(leaves: Sequence[Leaf], count: int, gone: Collection[str] = ()) -> tuple[bytes, list[Leaf]]:
    """Return the root of the tree of `count` leaves, at least one, and what stays of it without the keys that are gone.

    Raises: ValueError, if these are not the leaves of such a tree.
    """
    rest = list(reversed(leaves))
    root, kept = _fold(rest, count, gone)
    if rest:
        raise ValueError("a tree has more leaves than its seal states")
    return root, kept


def pack(leaves: Sequence[Leaf]) -> bytes | None:
    """Return leaves as the store keeps them; None if all are folded."""
    return msgspec.msgpack.encode(leaves) if any(isinstance(name, str) for name, _ in leaves) else None


def unpack(packed: bytes | None) -> list[Leaf]:
    """Return the leaves that the store keeps. Raises: ValueError."""
    try:
        return [] if packed is None else _DECODER.decode(packed)
    except (ValueError, TypeError) as exc:  # another program can store a text
        raise ValueError(f"the leaves of a seal cannot be read: {exc}") from exc


def keys_of(leaves: Sequence[Leaf]) -> dict[str, bytes]:
    """Return the hash of each leaf that is not folded, by its key."""
    return {name: digest for name, digest in leaves if isinstance(name, str)}


def _fold(rest: list[Leaf], count: int, gone: Collection[str]) -> tuple[bytes, list[Leaf]]:
    if not rest:
        raise ValueError("a tree has fewer leaves than its seal states")
    name, digest = rest[-1]
    if name == count or (count == 1 and isinstance(name, str)):
        rest.pop()
        return digest, [(1 if name in gone else name, digest)]
    if count <= 1:
        raise ValueError("a tree has another shape than its seal states")
    left_count = 1 << ((count - 1).bit_length() - 1)  # the largest power of two below `count`
    left, left_kept = _fold(rest, left_count, gone)
    right, right_kept = _fold(rest, count - left_count, gone)
    root = hashlib.sha256(b"\1" + left + right).digest()
    is_folded = left_kept[0][0] == left_count and right_kept[0][0] == count - left_count
    return root, [(count, root)] if is_folded else [*left_kept, *right_kept]
