"""Patterns in joined texts: they find at least what they find in each text."""

from __future__ import annotations

from hashlib import sha256

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.rules.patterns import JoinedTexts, PatternFilter, encode, pattern_check, pattern_search
from tests.examples import examples

PATTERNS = [
    "a", "a.*b", "^a", "b$", "^$", "^a$", "", "a*", "a*?", "(a|)", "(?s)a.*b", "(?i)A.B", "(?m)^b", "(?m)a$", "[^a]", "[^a]*b",
    r"\n", r"a\nb", r"\s", r"\S+", r"\W", r"\ba", r"b\b", r"\Ba", r"a\B", r"\Aa", r"b\z", r"(?m)\Ab\z", r"(?-m)^b",
    r"(?i-m:^B$)", r"(?m)(?-m:a$)", r"\\A", r"\Qa.b\E", "é", "(?i)É", r"\x00", "�", ".", r"\C", r"\pL+", "k",
    "(?i)k",
]  # fmt: skip
PARTS = [
    "a",
    "b",
    "A",
    "B",
    "\n",
    "\r\n",
    " ",
    "",
    "\x00",
    "é",
    "É",
    "ß",
    "𝕏",
    "\ud835",
    "\udd4f",
    "�",
    "K",
    "\\A",
    "\u2028",
]

texts = st.lists(st.sampled_from(PARTS), max_size=6).map("".join)
many_texts = st.lists(texts, min_size=1, max_size=12)


@examples(100)
@given(st.sampled_from(PATTERNS), many_texts)
def test_search_in_joined_texts_finds_every_text(pattern: str, drawn: list[str]) -> None:
    """A search in joined texts finds every text that contains the pattern, each once and in order."""
    search = pattern_search(pattern)
    if search is None:
        return
    places = list(JoinedTexts(drawn).places(search))
    assert places == sorted(set(places))
    assert {place for place, text in enumerate(drawn) if pattern_check(pattern)(text)} <= set(places)
    assert set(places) <= set(range(len(drawn)))


@examples(100)
@given(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=8), many_texts)
def test_filter_keeps_every_pattern_that_occurs(patterns: list[str], drawn: list[str]) -> None:
    """Every pattern that occurs in one of the joined texts is possible in the whole."""
    possible = PatternFilter(patterns).possible(JoinedTexts(drawn).whole)
    found = {place for place, pattern in enumerate(patterns) if any(map(pattern_check(pattern), drawn))}
    assert found <= set(possible)


@examples(250)
@given(
    st.lists(st.sampled_from([*"aAbe .*+?\\_-<", "\\.", "\\*", "\\\\", ".*", ".+?", "é", "|", "(?i)"]), max_size=6).map(
        "".join
    ),
    st.lists(st.sampled_from([*"aAbe .*+?\\_-<", "\n", "é", "e\u0301", "a\u0301", "\ud835"]), max_size=8).map("".join),
)
def test_required_texts_decide_like_re2(pattern: str, text: str) -> None:
    """The texts that a pattern requires are looked for first; the result is that of RE2 alone."""
    try:
        expected = re2.compile(pattern).search(encode(text)) is not None
    except re2.error:
        with pytest.raises(ValueError, match="RE2 refuses"):
            pattern_check(pattern)
        return
    assert pattern_check(pattern)(text) is expected


@pytest.mark.parametrize("text", [b"x", b""])
def test_more_literals_than_re2_can_hold_are_all_possible(text: bytes) -> None:
    """With a pattern of ten thousand words, all patterns count as possible."""
    patterns = [f"^{sha256(b'%d' % number).hexdigest()}$" for number in range(10_000)]
    assert list(PatternFilter(patterns).possible(text)) == list(range(len(patterns)))


@pytest.mark.parametrize("pattern", [r"\Aa", r"b\z", "(?-m)^b", "(?i-m:^B$)", "(?s-U)a"])
def test_patterns_for_whole_texts_are_not_searched_for_in_joined_texts(pattern: str) -> None:
    """A pattern with `\\A` is not searched for in joined texts, because it is not at the beginning of each."""
    assert pattern_search(pattern) is None


def test_words_end_where_texts_do() -> None:
    """The separator of texts is part of no word, and no gap of a pattern extends over it."""
    texts = JoinedTexts(["node", "nodes", "a node", "no", "de"])
    whole_word, gap = pattern_search(r"\bnode\b"), pattern_search("n.*d")
    assert whole_word is not None
    assert gap is not None
    assert list(texts.places(whole_word)) == [0, 2]
    assert list(texts.places(gap)) == [0, 1, 2]


def test_lone_surrogate_is_one_character() -> None:
    """Half of a surrogate pair is U+FFFD; two halves that meet are one character."""
    assert encode("a\ud835") == "a�".encode()
    assert encode("\ud835\udd4f") == "𝕏".encode()
    assert JoinedTexts(["\ud835", "\udd4f"]).whole == "�\n�".encode()
