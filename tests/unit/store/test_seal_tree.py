"""The tree of a seal: one root for the same leaves, however many of them are folded."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.store.seal_tree import Leaf, fold, keys_of, leaf_hash, pack, unpack
from tests.cases import in_one_test


def leaves_of(count: int) -> list[Leaf]:
    """Make leaves with the keys 0, 1, 2…"""
    return [(str(number), leaf_hash(str(number).encode())) for number in range(count)]


def root_of(hashes: list[bytes]) -> bytes:
    """Return the root as RFC 6962 defines it."""
    if len(hashes) == 1:
        return hashes[0]
    left = 1
    while left * 2 < len(hashes):
        left *= 2
    return hashlib.sha256(b"\1" + root_of(hashes[:left]) + root_of(hashes[left:])).digest()


# The first leaves of the tests of RFC 6962: "" and a zero byte.
EMPTY, ZERO = leaf_hash(b""), leaf_hash(b"\0")


def test_published_values() -> None:
    """Hashes are those that implementations of RFC 6962 publish as test vectors."""
    assert EMPTY.hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    root, _ = fold([("a", EMPTY), ("b", ZERO)], 2)
    assert root.hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"


@given(st.integers(1, 40), st.lists(st.sets(st.integers(0, 39)), max_size=4))
def test_root_stays_when_leaves_are_folded(count: int, steps: list[set[int]]) -> None:
    """Whatever is folded, in however many steps, the root is the same, and the other leaves stay."""
    leaves, gone = leaves_of(count), set[int]()
    root = root_of([digest for _, digest in leaves])
    for step in [set[int](), *steps]:
        found, leaves = fold(leaves, count, {str(number) for number in step})
        gone |= step
        assert found == root
        assert keys_of(leaves).keys() == {str(number) for number in range(count)} - {str(number) for number in gone}
        assert unpack(pack(leaves)) == (leaves if keys_of(leaves) else [])
    _, folded = fold(leaves, count, {str(number) for number in range(count)})
    assert folded == [(count, root)]
    assert pack(folded) is None


def test_folded_leaves_take_little_room() -> None:
    """Of a thousand leaves of which one stays, eleven hashes stay."""
    _, kept = fold(leaves_of(1000), 1000, {str(number) for number in range(1000) if number != 500})
    assert len(kept) == 11


@in_one_test(
    ("leaves", "count"),
    [
        ([], 1),
        (leaves_of(2), 3),
        (leaves_of(3), 2),
        ([(3, b"x"), *leaves_of(1)], 4),
        ([(0, b"x")], 1),
        ([(2, b"x")], 1),
        ([(-1, b"x")], 1),
        (leaves_of(1), 0),
        (leaves_of(1), -5),
        (leaves_of(1), 10**18),
    ],
)
def test_other_shapes_are_refused(leaves: list[Leaf], count: int) -> None:
    """Leaves that are not those of a tree of that size are refused."""
    with pytest.raises(ValueError, match="a tree has"):
        fold(leaves, count)


@in_one_test("packed", [b"", b"\xc1", b"\x90\x90", b"\x91\x92\xa1a\xa1b", b"\x91\x92\xc0\xc4\x01a", b"\x81\xa1a\x01"])
def test_damaged_leaves_are_refused(packed: bytes) -> None:
    """What is no list of leaves is refused."""
    with pytest.raises(ValueError, match="a seal cannot be read"):
        unpack(packed)
