"""The documents of the API: what a response contains, and what a request may. Their types make the OpenAPI document."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StrictBool, model_validator
from typing_extensions import TypedDict

from actionwatch.alerts.silences import MAX_MATCHER_CHARS, MAX_MATCHERS
from actionwatch.base.access import MAX_AUTHOR_CHARS, MAX_COMMENT_CHARS, is_own_name, is_person
from actionwatch.base.model import Alert
from actionwatch.queries.alerts import WholeAlert, WithFolded
from actionwatch.queries.rules import RuleItem
from actionwatch.queries.status import SourceStatus
from actionwatch.text.escaping import one_line, shorten
from actionwatch.text.payloads import (
    AlertFacts,
    DeliveryDocument,
    JsonSchema,
    RecordDocument,
    SilenceDocument,
    Time,
    alert_facts,
    instant,
)
from actionwatch.web.filters import Strict

_MAX_RECEIVER_CHARS = 500  # of a name
_MAX_ID_CHARS = 100
MAX_AT_ONCE = 200  # alerts of one decision: as many as a page has
ACTIONS = ("acknowledge", "resolve", "reopen", "assign", "note")
_SURROGATE = re.compile("[\ud800-\udfff]")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d")


def _check_instant(given: Any) -> Any:
    """Refuse what pydantic also takes for a time: a number, a date."""
    if not isinstance(given, str) or not _RFC3339.match(given):
        raise ValueError("not a time with a zone: use 2026-11-25T09:00:00Z")
    return given


def _check_text(given: str) -> str:
    """Refuse what no store can keep."""
    if "\0" in given:
        raise ValueError("contains a NUL character: remove it")
    if not given.isascii() and _SURROGATE.search(given):
        raise ValueError("contains half a character (a surrogate): remove it")
    return given


def _check_person(given: str) -> str:
    if not is_person(given) or is_own_name(given):
        raise ValueError(f"{one_line(given)} is not the name of a person")
    return given


def _known_action(given: str) -> str:
    if given not in ACTIONS:
        raise ValueError(f"{shorten(given, 60)} is unknown: use {', '.join(ACTIONS)}")
    return given


_CHECKED = (
    AfterValidator(_check_text),
    JsonSchema({"pattern": r"^[^\x00]*$"}),
)  # behind the length, which has its own sentence
Comment = Annotated[str, Field(max_length=MAX_COMMENT_CHARS), *_CHECKED]
Author = Annotated[str, Field(max_length=MAX_AUTHOR_CHARS), *_CHECKED]
Receiver = Annotated[str, Field(min_length=1, max_length=_MAX_RECEIVER_CHARS), *_CHECKED]
Matcher = Annotated[str, Field(max_length=MAX_MATCHER_CHARS), *_CHECKED]
Person = Annotated[str, Field(min_length=1, max_length=MAX_AUTHOR_CHARS), *_CHECKED, AfterValidator(_check_person)]
AlertId = Annotated[str, Field(min_length=1, max_length=_MAX_ID_CHARS), *_CHECKED]
Instant = Annotated[AwareDatetime, BeforeValidator(_check_instant)]


class AlertItem(AlertFacts):
    """An alert in a list. `opened_at` is when it opened; the other times are those of its records."""

    opened_at: Time
    resolved_at: Time | None


class ListedItem(AlertItem, WithFolded):
    """An alert in a list, with the alerts that are shown below it."""


class AlertDetail(AlertItem, WholeAlert):
    """An alert with its newest 50 records (the newest last), its deliveries, what held them back, and its history."""


class RecordDetail(RecordDocument):
    """A record, when a poll saw it, and the ids of its alerts."""

    seen_at: Time
    alerts: list[str]


class ReceiverStatus(TypedDict):
    """The queue of a receiver. `type` is null if it is no longer configured."""

    name: str
    type: str | None
    pending: int
    dead: int
    last_sent: Time | None
    failing_since: Time | None
    last_error: str | None


class TroubleStatus(TypedDict):
    """An open self-alert."""

    trouble: str
    subject: str
    since: Time
    what: str
    remedy: str
    alert: str


class SourceItem(SourceStatus):
    """The progress of a source, and its state: refused, silent, unproved, paused, behind or current."""

    state: str


class StatusDocument(TypedDict):
    """Whether actionwatch sees everything, and what needs a person. `unready` has the reasons of `/readyz`.

    `sight` is `everything`, `limited` (only up to a time, or records have disappeared upstream) or `blind`.
    """

    is_seeing: bool
    sight: str
    seeing: str
    is_quiet: bool
    needs: str
    unready: list[str]
    open_alerts: dict[str, int]
    sources: list[SourceItem]
    receivers: list[ReceiverStatus]
    troubles: list[TroubleStatus]


class AlertPage(TypedDict):
    """A page of alerts. `next` is the cursor of the next page, null at the end."""

    items: list[ListedItem]
    next: str | None


class RecordPage(TypedDict):
    """A page of records, newest first. `next` is the cursor of the next page, null at the end."""

    items: list[RecordDocument]
    next: str | None


class DeliveryPage(TypedDict):
    """A page of deliveries, by receiver and time. `next` is the cursor of the next page, null at the end."""

    items: list[DeliveryDocument]
    next: str | None


class SilencePage(TypedDict):
    """A page of silences. `next` is the cursor of the next page, null at the end."""

    items: list[SilenceDocument]
    next: str | None


class RulePage(TypedDict):
    """All rules in use, by name. `next` is always null."""

    items: list[RuleItem]
    next: str | None


class DecisionBody(Strict):
    """A decision. The token of a person proves the author; only with the shared token it must be written."""

    comment: Comment = ""
    author: Author | None = None


class RetryBody(Strict):
    """A dead letter is sent again: to its receiver, or to another one. The token of a person proves the author."""

    to: Receiver | None = None
    author: Author | None = None


class DropBody(Strict):
    """A dead letter is given up for good. The token of a person proves the author."""

    author: Author | None = None


class AssignBody(Strict):
    """Whom an alert is assigned to; null: nobody. The token of a person proves the author; else `author` is needed."""

    to: Person | None
    comment: Comment = ""
    author: Author | None = None


class NoteBody(Strict):
    """A note about an alert. The token of a person proves the author; else `author` is needed."""

    comment: Annotated[str, Field(min_length=1, max_length=MAX_COMMENT_CHARS), *_CHECKED]
    author: Author | None = None


class DecisionsBody(Strict):
    """A decision about several alerts, by their whole ids. `to` is for `assign` (null: nobody); `note` needs a `comment`."""

    action: Annotated[str, AfterValidator(_known_action), JsonSchema({"enum": list(ACTIONS)})]
    ids: Annotated[list[AlertId], Field(min_length=1, max_length=MAX_AT_ONCE)]
    to: Person | None = None
    comment: Comment = ""
    author: Author | None = None

    @model_validator(mode="after")
    def _check_to(self) -> Self:
        """Check that nobody is unassigned by an omission, and no name is ignored. Raises: ValueError."""
        if self.action == "assign" and "to" not in self.model_fields_set:
            raise ValueError("to is missing: name a person, or null for nobody")
        if self.action != "assign" and self.to is not None:
            raise ValueError("to is only for assign: leave it out")
        return self


class MissedAlert(TypedDict):
    """An alert about which nothing was decided, and why."""

    id: str
    why: str


class Decided(TypedDict):
    """The alerts as they are after a decision, in the order of the ids, and those that do not exist."""

    items: list[AlertItem]
    missed: list[MissedAlert]


class ExpireBody(Strict):
    """A silence ends. The token of a person proves the author. Nothing keeps a comment about it."""

    author: Author | None = None


class SilenceBody(Strict):
    """A new silence. `starts_at` defaults to now. `force` accepts what is doubtful: unknown labels, a long time."""

    matchers: Annotated[list[Matcher], Field(min_length=1, max_length=MAX_MATCHERS)]
    comment: Annotated[str, Field(min_length=1, max_length=MAX_COMMENT_CHARS), *_CHECKED]
    ends_at: Instant
    starts_at: Instant | None = None
    author: Author | None = None
    force: StrictBool = False


class DraftedSilence(TypedDict):
    """A silence that is not made: what it would have hidden of the last 7 days, by rule, and what is doubtful about it.

    `is_cut`: only the newest 5,000 alerts were looked at.
    """

    silence: SilenceDocument
    doubts: list[str]
    alert_count: int
    hidden: dict[str, int]
    is_cut: bool


def alert_item(alert: Alert) -> AlertItem:
    """Return an alert as in a list."""
    return {
        **alert_facts(alert),
        "opened_at": instant(alert.opened_at),
        "resolved_at": time(alert.resolved_at),
    }


def time(at: datetime | None) -> Time | None:
    """Return a time, if there is one."""
    return instant(at) if at is not None else None
