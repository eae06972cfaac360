"""All exceptions of actionwatch.

Modules at the edges translate the exceptions of their libraries into these (`raise ... from exc`), so that no other module
depends on httpx, SQLAlchemy or smtplib. A message says what happened and, if a person can act, what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


class ActionwatchError(Exception):
    """The base class of all exceptions that actionwatch raises on purpose."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One error in a file, and how to fix it. `line` and `column` count from 1; line 0 means the whole file."""

    file: str
    line: int
    column: int
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        """Format as `file:line:column: what: remedy`, which editors and scripts can parse."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.what}: {self.remedy}" if self.remedy else f"{place}: {self.what}"


class NotFound(ActionwatchError):
    """Nothing has a name that a person or a program gave, or the names of several things begin with it."""


class ConfigError(ActionwatchError):
    """The configuration is invalid. `faults` holds all errors, not just the first."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class TemplateError(ConfigError):
    """A template cannot be parsed or rendered."""


class TransportError(ActionwatchError):
    """An HTTP exchange failed before a whole response arrived: refused, reset, timed out, truncated or too large."""


class TooLarge(TransportError):
    """The response is larger than the limit."""


class SourceError(ActionwatchError):
    """The upstream returned no usable response. `remedy` says what to do; it is empty if only waiting helps.

    `retry_after` is the Retry-After of a temporary error; None if the upstream sent none.
    """

    def __init__(self, what: str, remedy: str = "", retry_after: timedelta | None = None) -> None:
        super().__init__(f"{what}: {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy
        self.retry_after = retry_after


class SourceUnavailable(SourceError):
    """The upstream is unreachable or answers 5xx. Temporary."""


class RateLimited(SourceError):
    """The upstream answered 429. Temporary."""


class AccessDenied(SourceError):
    """401, 403, or 404 for the organisation. Permanent until a person fixes the key, its CIDR range or the organisation id."""


class BadResponse(SourceError):
    """A response that cannot be parsed, or a redirect. It never counts as "no records"."""


class OversizedPage(BadResponse):
    """A page takes more memory than one page may take. A page of fewer records may be read."""


class BadRequest(SourceError):
    """The upstream refused the request (400, or 404 for a write). The message contains its explanation."""


class SilenceOfFile(ActionwatchError):
    """A silence that a file has: it ends when it is removed there."""


class DeliveryError(ActionwatchError):
    """A message was not accepted. `response` is what the receiver answered, at most 500 characters."""

    def __init__(self, what: str, *, response: str = "") -> None:
        super().__init__(f"{what}: {response}" if response else what)
        self.what = what
        self.response = response


class TransientDeliveryError(DeliveryError):
    """A later attempt may succeed, not before `retry_after` has passed."""

    def __init__(self, what: str, *, response: str = "", retry_after: timedelta = timedelta(0)) -> None:
        super().__init__(what, response=response)
        self.retry_after = retry_after


class PermanentDeliveryError(DeliveryError):
    """No later attempt can succeed: the delivery becomes a dead letter at once."""


class EvidenceError(ActionwatchError):
    """A folder or a bucket has no evidence to compare the store with."""


class StoreError(ActionwatchError):
    """The store failed."""


class StoreBusy(StoreError):
    """Another process locked the store for too long. Temporary."""


class StoreOwned(StoreBusy):
    """Another replica runs on the shared store."""


class StoreUnreachable(StoreError):
    """The server of the store does not answer. Temporary."""


class StoreReplaced(StoreError):
    """The file of the store is no longer the one that this process works on. Nothing more is written; the process ends."""


class RoleLost(StoreError):
    """This process no longer has the role for which it writes: another replica took over. Nothing was written."""


class StoreClosed(StoreError):
    """This process closed the store because it is stopping. A thread that gets this ends; the next start repeats its work."""


class StoreMissing(StoreError):
    """The configured store does not exist: the path is wrong, or the service has never run."""


class SchemaMismatch(StoreError):
    """Another version wrote the store. Permanent until the store is upgraded or the newer version is used."""
