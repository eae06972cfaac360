"""Patterns in many texts at once: never fewer than in each by itself."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionwatch.rules.patterns import JoinedTexts, PatternFilter, encode, pattern_check, pattern_search

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


@settings(max_examples=400)
@given(st.sampled_from(PATTERNS), many_texts)
def test_a_search_in_joined_texts_passes_none_over(pattern: str, drawn: list[str]) -> None:
    """Every text that a pattern is in is among those in which it is found when they are joined; each once, in order."""
    search = pattern_search(pattern)
    if search is None:
        return
    places = list(JoinedTexts(drawn).places(search))
    assert places == sorted(set(places))
    assert {place for place, text in enumerate(drawn) if pattern_check(pattern)(text)} <= set(places)
    assert set(places) <= set(range(len(drawn)))


@settings(max_examples=200)
@given(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=8), many_texts)
def test_the_filter_passes_none_over(patterns: list[str], drawn: list[str]) -> None:
    """Every pattern that is in one of the joined texts is possible in the whole."""
    possible = PatternFilter(patterns).possible(JoinedTexts(drawn).whole)
    found = {place for place, pattern in enumerate(patterns) if any(map(pattern_check(pattern), drawn))}
    assert found <= set(possible)


@pytest.mark.parametrize("text", [b"x", b""])
def test_more_literals_than_re2_can_hold_are_all_possible(text: bytes) -> None:
    """A list of ten thousand words in a pattern makes nothing impossible, and stops nothing."""
    patterns = [f"^{sha256(b'%d' % number).hexdigest()}$" for number in range(10_000)]
    assert list(PatternFilter(patterns).possible(text)) == list(range(len(patterns)))


@pytest.mark.parametrize("pattern", [r"\Aa", r"b\z", "(?-m)^b", "(?i-m:^B$)", "(?s-U)a"])
def test_what_speaks_of_the_whole_is_not_searched_for_in_joined_texts(pattern: str) -> None:
    """`\\A` is not at the beginning of every text once they are joined."""
    assert pattern_search(pattern) is None


def test_words_end_where_texts_do() -> None:
    """What joins texts is no part of a word, and no gap of a pattern reaches over it."""
    texts = JoinedTexts(["node", "nodes", "a node", "no", "de"])
    whole_word, gap = pattern_search(r"\bnode\b"), pattern_search("n.*d")
    assert whole_word is not None
    assert gap is not None
    assert list(texts.places(whole_word)) == [0, 2]
    assert list(texts.places(gap)) == [0, 1, 2]


def test_half_of_a_pair_is_a_character() -> None:
    """Half of a surrogate pair is U+FFFD; two halves that meet are one character."""
    assert encode("a\ud835") == "a�".encode()
    assert encode("\ud835\udd4f") == "𝕏".encode()
    assert JoinedTexts(["\ud835", "\udd4f"]).whole == "�\n�".encode()
