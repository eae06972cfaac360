"""Reasons for which the service is not ready."""

from __future__ import annotations


class Reason(str):
    """A reason as a sentence, and as strangers see it: without the texts of others, such as an error of the database.

    A text that is no `Reason` is not shown to strangers.
    """

    __slots__ = ("short",)
    short: str

    def __new__(cls, text: str, short: str | None = None) -> Reason:
        made = super().__new__(cls, text)
        made.short = text if short is None else short
        return made


class SourceReason(Reason):
    """A reason that is about sources: where there are many, the overview has them in its table."""

    __slots__ = ()


def short_reason(reason: str) -> str:
    """Return what strangers see of a reason."""
    return reason.short if isinstance(reason, Reason) else "a reason that only people with a token see"
