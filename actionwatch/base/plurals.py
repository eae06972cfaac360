"""Numbers with a noun that agrees with them: `1 alert`, `2 alerts`."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun, with commas between thousands. Give the plural if it is not formed with an `s`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def is_or_are(number: int) -> str:
    """Return the verb after such a number."""
    return "is" if number == 1 else "are"
