"""Escaping and shortening of untrusted text."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from actionwatch.text.escaping import one_line, shorten, steps, visible
from tests.cases import in_one_test


@in_one_test(
    ("text", "shown"),
    [
        ("plain, é, 日本, שלום", "plain, é, 日本, שלום"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("\x1b[2J\x00\x7f\x9b", "\\x1b[2J\\x00\\x7f\\x9b"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("a\u2028b\u200b\ufeff", "a\\u2028b\\u200b\\ufeff"),
        ("\ud800x", "\ufffdx"),
        ("a\u00adb\u3164c\U000e0041", "a\\xadb\\u3164c\\U000e0041"),
        (
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        ),
        ("葛\U000e0100", "葛\U000e0100"),
    ],
)
def test_invisible_characters_are_escaped(text: str, shown: str) -> None:
    """Characters that act invisibly are escaped, and all others are unchanged."""
    assert visible(text) == shown


@given(st.text(st.characters()))
def test_one_line_is_one_line(text: str) -> None:
    """No character ends the line or moves a cursor."""
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
    shown.encode()
    assert one_line(shown) == shown


@given(st.text(), st.integers(0, 60))
def test_shortening_keeps_its_limit_and_counts_right(text: str, limit: int) -> None:
    """A shortened text is within its limit, and the count of cut characters is right."""
    cut = shorten(text, limit)
    assert len(cut) <= limit
    if cut == text:
        return
    kept, mark, count = cut.rpartition("… (+")
    if mark and count.rstrip(")").isdigit():
        assert text.startswith(kept)


@in_one_test(
    ("runbook", "expected"),
    [
        ("", []),
        ("Ask.\nRestore.", ["Ask.", "Restore."]),
        ("1. Ask.\n2) Restore.\n\n- Look.", ["Ask.", "Restore.", "Look."]),
        (
            "1. Ask whoever\n   did it.\n2. Restore,\nfrom the newest.",
            ["Ask whoever did it.", "Restore, from the newest."],
        ),
        ("1. Ask.\n\nSee the wiki\nfor more.", ["Ask.", "See the wiki for more."]),
        ("Ask eve - then restore.\n2. Call - now.", ["Ask eve - then restore.", "Call - now."]),
        ("Before all:\n- Ask.\n- Restore.", ["Before all:", "Ask.", "Restore."]),
    ],
)
def test_the_steps_of_a_runbook(runbook: str, expected: list[str]) -> None:
    """A wrapped step is one step, and two steps are two."""
    assert steps(runbook) == expected
