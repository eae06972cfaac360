"""Every exception of actionwatch, on one page.

Edges translate what their libraries raise into these (`raise ... from exc`), so that nothing above an edge knows httpx,
SQLAlchemy or smtplib. Each message says what happened and, where a person can do something, what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


class ActionwatchError(Exception):
    """The root: catching it catches whatever actionwatch raises on purpose."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a file, and how to mend it. `line` and `column` count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        """Render as `file:line:column: what: remedy`, the form editors and people's scripts jump by."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.what}: {self.remedy}" if self.remedy else f"{place}: {self.what}"


class ConfigError(ActionwatchError):
    """The configuration cannot be used. Carries every fault found, never only the first."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class TemplateError(ConfigError):
    """A template cannot be parsed or filled in."""


class TransportError(ActionwatchError):
    """An HTTP exchange broke before a whole answer came: refused, reset, timed out, cut off, too large."""


class SourceError(ActionwatchError):
    """The upstream gave no usable answer. `remedy` says what to do; empty where waiting is all there is."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}: {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy


class SourceUnavailable(SourceError):
    """The upstream cannot be reached, or answers 5xx: passes by itself, after `retry_after` where it said so."""

    def __init__(self, what: str, remedy: str = "", retry_after: timedelta | None = None) -> None:
        super().__init__(what, remedy)
        self.retry_after = retry_after


class RateLimited(SourceError):
    """The upstream answered 429: passes after `retry_after` (None: it did not say)."""

    def __init__(self, what: str, remedy: str = "", retry_after: timedelta | None = None) -> None:
        super().__init__(what, remedy)
        self.retry_after = retry_after


class AccessDenied(SourceError):
    """401, 403, or a 404 on the organisation: stays until a person mends the key, its CIDR range or the id."""


class BadResponse(SourceError):
    """An answer that the tolerant reader cannot read, or a redirect: never taken for 'no records'."""


class BadRequest(SourceError):
    """The upstream refused the request itself (400, 404 of a writing operation): its own text says why."""


class DeliveryError(ActionwatchError):
    """A message was not taken. `response` holds the receiver's words, at most 500 characters."""

    def __init__(self, what: str, *, response: str = "") -> None:
        super().__init__(f"{what}: {response}" if response else what)
        self.what = what
        self.response = response


class TransientDeliveryError(DeliveryError):
    """Worth another attempt, not sooner than `retry_after`."""

    def __init__(self, what: str, *, response: str = "", retry_after: timedelta = timedelta(0)) -> None:
        super().__init__(what, response=response)
        self.retry_after = retry_after


class PermanentDeliveryError(DeliveryError):
    """No further attempt can succeed: becomes a dead letter at once."""


class StoreError(ActionwatchError):
    """The store cannot do what was asked."""


class StoreBusy(StoreError):
    """Another writer held the store for too long: passes by itself."""


class StoreMissing(StoreError):
    """There is no store where the configuration says: a mistyped path, or nothing ran yet."""


class SchemaMismatch(StoreError):
    """The store was written by another version: stays until it is upgraded, or the newer version is used."""
