"""Suggestions for misspelt words: the only choice that contains the word, or else a similar one."""

from __future__ import annotations

from actionwatch.text.suggestions import closest, did_you_mean, suggest
from tests.cases import in_one_test

FRUIT = ["apple", "apricot", "Banana"]


@in_one_test(
    ("word", "expected"),
    [("aple", "apple"), ("BANAN", "Banana"), ("cot", "apricot"), ("ap", ""), ("xyz", ""), ("", "")],
)
def test_closest_choice(word: str, expected: str) -> None:
    """Case does not matter; a short word is compared as a whole."""
    assert closest(word, FRUIT) == expected


def test_suggestions_list_a_few_choices() -> None:
    """Without a similar choice, a few are listed, and many are not."""
    assert suggest("aple", FRUIT, "there are") == "did you mean 'apple'?"
    assert suggest("xyz", FRUIT, "there are") == "there are: apple, apricot, Banana"
    assert suggest("xyz", [f"choice {number}" for number in range(13)], "there are") == ""
    assert suggest("xyz", [], "there are") == ""


def test_a_choice_from_audit_text_forges_no_line() -> None:
    """Names of clusters and accounts can be suggested, so line ends and control characters in them are escaped."""
    assert did_you_mean("orders", ["orders\n\x1b[8mall is well"]) == "did you mean 'orders\\n\\x1b[8mall is well'?"
    assert "\n" not in suggest("xyz", ["orders\nall is well"], "there are")
