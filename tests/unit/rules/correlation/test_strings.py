"""String conditions become patterns: which steps must occur and which must not, up to limits that no honest author meets."""

from __future__ import annotations

import pytest

from actionwatch.rules.correlations.reading.strings import any_of_steps, read_patterns
from actionwatch.rules.model import Pattern

NAMES = [f"rule{number}" for number in range(40)]


def test_steps_are_in_the_order_of_the_names() -> None:
    """However a condition is written, its steps are in ascending order: `temporal_ordered` requires it."""
    wanted, unwanted = " and ".join(reversed(NAMES[:20])), " and ".join(f"not {name}" for name in reversed(NAMES[20:]))
    assert read_patterns(f"{unwanted} and {wanted}", NAMES) == (Pattern(tuple(range(20)), tuple(range(20, 40))),)


@pytest.mark.parametrize(("depth", "is_fine"), [(15, True), (16, False)])
def test_parentheses_nest_up_to_a_limit(depth: int, is_fine: bool) -> None:
    """Fifteen parentheses inside each other are fine; those beside each other do not count together."""
    text = "(" * depth + "a" + ")" * depth
    beside = " and ".join([*["(b)"] * 10, text])
    if is_fine:
        assert read_patterns(beside, ["a", "b"]) == (Pattern((0, 1)),)
        return
    with pytest.raises(ValueError, match="nests too deeply"):
        read_patterns(beside, ["a", "b"])


@pytest.mark.parametrize(("count", "is_fine"), [(50, True), (52, False)])
def test_negations_are_limited(count: int, is_fine: bool) -> None:
    """Fifty times `not` is fine."""
    text = "not " * count + "a"
    if is_fine:
        assert read_patterns(text, ["a"]) == (Pattern((0,)),)
        return
    with pytest.raises(ValueError, match="nests too deeply"):
        read_patterns(text, ["a"])


def test_the_length_of_a_condition_is_limited() -> None:
    """A condition may have 2,000 characters."""
    assert read_patterns("a" + " " * 1999, ["a"]) == (Pattern((0,)),)
    with pytest.raises(ValueError, match="longer than 2000 characters"):
        read_patterns("a" + " " * 2000, ["a"])


def test_the_ways_to_meet_a_condition_are_limited() -> None:
    """Three hundred ways are fine, one more is not, in either form of a condition."""
    assert len(any_of_steps(25, 2)) == 300
    with pytest.raises(ValueError, match="more than 300 ways: name fewer rules"):
        any_of_steps(301, 1)
    several = "(" + " or ".join(NAMES[:20]) + ") and (" + " or ".join(NAMES[20:36]) + ")"
    with pytest.raises(ValueError, match="more than 300 ways: split the rule"):
        read_patterns(several, NAMES[:36])
    fine = "(" + " or ".join(NAMES[:20]) + ") and (" + " or ".join(NAMES[20:35]) + ")"
    assert len(read_patterns(fine, NAMES[:35])) == 300
