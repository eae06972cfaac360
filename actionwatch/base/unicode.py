"""Unicode: one name written in two normal forms is one name."""

from __future__ import annotations

from unicodedata import normalize


def canonical(text: str) -> str:
    """Return the form in which equal texts are compared: NFC, in which `é` is one character, however it was typed.

    Case counts. What people see is the text as it came. Source: Unicode Standard Annex 15.
    """
    return text if text.isascii() else normalize("NFC", text)


def forms(text: str) -> list[str]:
    """Return the normal forms of a text, for a search that compares stored texts as they are."""
    return (
        [text] if text.isascii() else list(dict.fromkeys((text, *(normalize(form, text) for form in ("NFC", "NFD")))))
    )
