"""Compare names independently of their Unicode normal form, and replace what no store accepts."""

from __future__ import annotations

import re
from typing import Any
from unicodedata import normalize

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # UTF-8 has no lone surrogates, and text of PostgreSQL has no NUL


def canonical(text: str) -> str:
    """Return the text in NFC, the form for comparisons, in which `é` is always one character.

    Case is significant. Display the original text. Source: Unicode Standard Annex 15.
    """
    return text if text.isascii() else normalize("NFC", text)


def folded(text: str) -> str:
    """Return the form in which names of people are compared, so that nobody writes that of another one in other characters.

    Full-width letters, ligatures and case make no difference. Letters of another script do, even if they look alike.
    """
    return normalize("NFKC", normalize("NFKC", text).casefold())


def forms(text: str) -> list[str]:
    """Return the text and its normal forms, for searches in texts that are stored unnormalised."""
    return (
        [text] if text.isascii() else list(dict.fromkeys((text, *(normalize(form, text) for form in ("NFC", "NFD")))))
    )


def storable(value: Any) -> Any:
    """Replace what UTF-8 or PostgreSQL cannot represent by U+FFFD, in all texts of a value decoded from JSON."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {storable(key): storable(held) for key, held in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value
