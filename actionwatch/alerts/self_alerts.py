"""What the tail, delivery and the service need of self-alerts: a way to report a problem and to settle it.

`matching/self_alerts.py` provides it. The steps do not import each other, so they receive it as this protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class SelfAlerts(Protocol):
    """Opens and resolves the alerts about actionwatch itself. Safe to share between threads."""

    def report(self, trouble: str, subject: str, what: str, remedy: str) -> None:
        """Report a problem. Only the first report of a continuing problem opens an alert."""
        ...

    def update(self, trouble: str, subject: str, what: str) -> None:
        """Change what an open alert says, and notify its receivers. Does nothing if it says that, or if there is none."""
        ...

    def settle(self, trouble: str, subject: str, why: str = "") -> None:
        """Report that a problem ended, and `why` if that is not obvious. Does nothing if there is none."""
        ...

    def settle_others(self, trouble: str, subjects: set[str], why: Callable[[str], str] = ...) -> None:
        """Settle a problem for every subject except these; `why` returns the reason for a subject."""
        ...
