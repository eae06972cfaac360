"""The immutable types that the packages exchange.

Times are aware UTC `datetime`s, durations are `timedelta`s. `Record`, `Alert` and `Delivery` are msgspec structs, because a
backfill or a storm creates thousands of them, and a frozen dataclass with as many fields takes ten times as long to create.
`gc=False` is safe, because they cannot be part of a reference cycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

from actionwatch.base.plurals import counted


class Level(IntEnum):
    """The levels of Sigma, in ascending order."""

    INFORMATIONAL = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        """The lower-case name, as in rules, settings and messages."""
        return _LEVEL_WORDS[self]


_LEVEL_WORDS = [level.name.lower() for level in Level]
LEVELS: dict[str, Level] = {level.word: level for level in Level}


class Entity(msgspec.Struct, frozen=True, gc=False):
    """An account, a cluster or an organisation, identified by id, name or both."""

    id: str | None = None
    name: str | None = None


NOTHING = Entity()


class Record(msgspec.Struct, frozen=True, gc=False):
    """One user action, as stored.

    `raw` is the exact JSON text of the upstream. The store assigns `id`, which is 0 before that. Ids follow the order in which
    records were stored, which is not the order of `occurred_at`.
    """

    key: str
    source: str
    occurred_at: datetime
    seen_at: datetime
    action_kind: str
    raw: str
    domain_type: str | None = None
    user_name: str | None = None
    description: str | None = None
    account: Entity = NOTHING
    cluster: Entity = NOTHING
    organisation: Entity = NOTHING
    operation: str | None = None
    scope: str | None = None
    severity: str = "medium"
    upstream_id: str | None = None
    is_time_readable: bool = True
    is_backlog: bool = False
    """From before the start of the tail: stored and used as history, but not alerted."""
    late_by: timedelta | None = None
    """How late the record appeared, if the tail had already read past its time by more than the overlap."""
    id: int = 0
    labels: Mapping[str, str] | None = None
    """The labels of its source, in the test of a rule. None: those of the configuration."""


@dataclass(frozen=True, slots=True)
class LinkedAccount:
    """An account in the listing of linked accounts; `raw` holds all its fields."""

    id: str
    name: str
    raw: Mapping[str, Any] = field(default_factory=dict)


class Mode(StrEnum):
    """The mode of a rule: `live` alerts, `shadow` records its alerts but delivers none, `off` does not run."""

    LIVE = "live"
    SHADOW = "shadow"
    OFF = "off"


class RuleName(msgspec.Struct, frozen=True, gc=False):
    """The rule of an alert. `id` is the id of the rule, or its name if it has none."""

    id: str
    name: str
    title: str
    tags: tuple[str, ...] = ()


SELF_RULE_NAME = "actionwatch_self"  # of the alerts about actionwatch itself; no rule can have it


@dataclass(frozen=True, slots=True)
class Escalation:
    """The receiver that is notified too, if an alert is not acknowledged within `after` of its opening."""

    after: timedelta
    to: str


@dataclass(frozen=True, slots=True)
class Match:
    """One record that satisfied one rule, with what the rule specifies for its alert."""

    rule: RuleName
    record: Record
    level: Level
    title: str
    body: str
    runbook: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    group: Mapping[str, str | None] | None = None
    """The values of the rule's `group_by` fields; None if each record opens its own alert."""
    realert: timedelta = timedelta(0)
    escalation: Escalation | None = None


class ChangeKind(StrEnum):
    """The effect of a correlation on an alert."""

    OPEN = "open"
    JOIN = "join"
    RESOLVE = "resolve"


Group = tuple[str | None, ...]
"""The values of a correlation's group fields, in their order. None means that the field is absent."""


HitOrder = tuple[datetime, int, str]
"""Where a hit lies among those of its group: its time, its step (a tie counts as ordered), its key."""
AFTER_ALL_STEPS = 2**31 - 1


class RecordRef(msgspec.Struct, frozen=True, gc=False):
    """A stored record in a window: a twentieth of its size, because the record has the text of the upstream."""

    key: str
    id: int
    occurred_at: datetime
    is_backlog: bool


KeptRecord = Record | RecordRef
"""A record as a hit has it. Where no store can return it later, the whole record is kept."""


class Hit(msgspec.Struct, frozen=True, gc=False):
    """One record that met one step of a correlation."""

    at: datetime
    step: int
    key: str
    records: tuple[KeptRecord, ...]
    value: Any = None

    @property
    def order(self) -> HitOrder:
        """The sort key of a fold: time, then step (a tie counts as ordered), then key, which is unique within a group."""
        return self.at, self.step, self.key

    def may_alert(self, record_floor: int) -> bool:
        """Return whether it has a record after this id that is no backlog, or has none."""
        return not self.records or any(not each.is_backlog and each.id > record_floor for each in self.records)


def firing_place(fired_at: datetime, firing: HitOrder | None, *, has_waited: bool) -> HitOrder:
    """Return where an alert fires among the hits of its group: at the hit that fires it, or after all of its instant."""
    return firing if firing is not None and not has_waited else (fired_at, AFTER_ALL_STEPS, "")


@dataclass(slots=True)
class CorrelatedAlert:
    """An alert of one group of a correlation, as it is stored, reported or not. Correlations update it, so it is mutable.

    `fired_at` is when it fired, `until` is up to when it is joined. If it is not `is_reported`, people do
    not see it. `reported_as` is the id of the alert that people see, where that is another one, which a
    late record made disappear; that one is no longer `is_current`. An alert
    `is_open` while it reports something missing; `resolved_at` is when that was reported to be over.
    """

    id: str
    rule_id: str
    group: Group
    origin: str
    first_at: datetime
    fired_at: datetime
    until: datetime
    is_reported: bool = False
    is_open: bool = False
    is_current: bool = True
    reported_as: str | None = None
    resolved_at: datetime | None = None
    firing: HitOrder | None = None
    """The hit that completed it; None for what is missing."""
    has_waited: bool = False
    """Whether it fired only after a time in which something else did not happen."""
    is_quiet: bool = False
    """Whether it fired while its rule was still learning: it is remembered but not sent."""
    back_at: datetime | None = None
    """When what was missing came back, reported or not."""
    is_judged: bool = True
    """Whether enough time was verified to notify people."""
    is_noted: bool = True
    """Whether it was judged before: then it stays, also if it is no longer found."""
    pending_at: datetime | None = None
    """The verified time at which it must be looked at again, without another hit."""
    stored: tuple[Any, ...] | None = field(default=None, compare=False, repr=False)
    """What the store has of it; not stored itself."""

    @property
    def alert_id(self) -> str:
        """The id of the alert that people see."""
        return self.reported_as or self.id

    @property
    def place(self) -> HitOrder:
        """Where it fires among the hits of its group."""
        return firing_place(self.fired_at, self.firing, has_waited=self.has_waited)

    def values(self) -> tuple[Any, ...]:
        """Return all that is stored of it."""
        return tuple(getattr(self, name) for name in _STORED)

    def report_as(self, alert_id: str) -> None:
        """Report it in the alert with this id."""
        self.reported_as = None if alert_id == self.id else alert_id


_STORED = [each.name for each in fields(CorrelatedAlert) if each.compare]


@dataclass(frozen=True, slots=True)
class AlertChange:
    """A change by a correlation: an alert opens, gets more records, or resolves.

    Where `kind` is None, nobody is notified. `at` is when the alert began or, for RESOLVE, ended. `records` are new, in
    event order; `level` is the highest of theirs. `match` holds the texts, where these are needed.
    """

    kind: ChangeKind | None
    known: CorrelatedAlert
    at: datetime
    is_absence: bool = False
    records: tuple[Record, ...] = ()
    level: Level = Level.INFORMATIONAL
    match: Match | None = None


class Status(StrEnum):
    """The status of an alert: open -> acked -> resolved, or open -> resolved. Only a person moves it back, to open."""

    OPEN = "open"
    ACKED = "acked"
    RESOLVED = "resolved"


STATUSES: dict[str, Status] = {status.value: status for status in Status}


class Alert(msgspec.Struct, frozen=True, gc=False):
    """The subject of notifications: one match, or the matches of one grouping key within `realert` of the first."""

    id: str
    rule: RuleName
    level: Level
    title: str
    body: str
    source: str
    first_at: datetime
    last_at: datetime
    opened_at: datetime
    """When it was opened by the wall clock; `first_at` and `last_at` are event times."""
    runbook: str | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    fields: tuple[str, ...] = ()
    group: Mapping[str, str | None] | None = None
    realert: timedelta = timedelta(0)
    status: Status = Status.OPEN
    acked_by: str | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    count: int = 1
    late_by: timedelta | None = None
    happened_at: datetime | None = None
    """The event time of the newest record with which it opened. It may open long after `first_at`."""
    seen_at: datetime | None = None
    """When its first record was fetched; None for an alert without records."""
    first_sent_at: datetime | None = None
    """When a receiver first accepted one of its messages."""
    escalation: Escalation | None = None
    user: str | None = None
    """Who acted in the record with which it opened."""
    cluster: str | None = None
    """The cluster of that record: its name, or its id."""
    assigned_to: str | None = None
    note: str | None = None
    """What a person wrote last about it, without a decision. The history has all notes."""
    noted_by: str | None = None
    reopened_by: str | None = None
    """Who opened it again after an acknowledgement or a resolve, and when."""
    reopened_at: datetime | None = None

    @property
    def is_shadow(self) -> bool:
        """Whether it is only recorded and not delivered: its rule has `mode: shadow`, and the label repeats it."""
        return self.labels.get("mode") == Mode.SHADOW


class Event(StrEnum):
    """The reason why a message is sent."""

    OPENED = "opened"
    UPDATED = "updated"
    ACKED = "acked"
    RESOLVED = "resolved"
    SUMMARY = "summary"
    TEST = "test"

    @property
    def word(self) -> str:
        """The event as messages and lists name it: an acknowledgement is an update."""
        return MESSAGE_TYPES[self].partition(".")[2]


MESSAGE_TYPES: dict[Event, str] = {
    Event.OPENED: "alert.opened",
    Event.UPDATED: "alert.updated",
    Event.ACKED: "alert.updated",
    Event.RESOLVED: "alert.resolved",
    Event.SUMMARY: "alerts.summary",
    Event.TEST: "receiver.test",
}

_SUMMARY_HEADLINES = {
    "storm": "Storm: {} in one message",
    "digest": "Digest: {}",
    "mute": "Muted: {}",
    "silence": "Silenced: {}",
}
# The commands accept the first 8 characters of an id.
_CAUSE_WORDS = {"mute": "mute interval {ref}", "silence": "silence {ref:.8}"}

_INHIBITED_NAMED = 5  # of the alerts that an alert inhibits: more are not read


@dataclass(frozen=True, slots=True)
class Message:
    """The content of one delivery, frozen at its first attempt. `id` is the idempotency key, the same on every attempt.

    `data` is the `data` object of the contract. `fields` are the names and values that the rule wants people to see, in its
    order; a webhook does not send them.
    """

    id: str
    type: str
    timestamp: datetime
    data: Mapping[str, Any]
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def headline(self) -> str:
        """The title of the alert, or a short description of a summary."""
        if self.type != MESSAGE_TYPES[Event.SUMMARY]:
            return str(self.data.get("title") or self.type)
        alerts = counted(self.data.get("count", 0), "alert")
        return _SUMMARY_HEADLINES.get(str(self.data.get("reason")), "{} in one message").format(alerts)

    @property
    def causes(self) -> list[str]:
        """One line for each silence or mute interval that suppressed alerts of a summary, with unescaped texts of people."""
        reason = str(self.data.get("reason"))
        return [_spell_cause(reason, cause) for cause in self.data.get("causes", ())]

    @property
    def inhibited(self) -> str:
        """The alerts that this one inhibits, by rule and short id; empty if there are none."""
        found = self.data.get("inhibits") or {"count": 0, "alerts": ()}
        named = [f"{each['rule']} {each['id']:.8}" for each in found["alerts"][:_INHIBITED_NAMED]]
        more = found["count"] - len(named)
        return ", ".join([*named, *([f"{more} more"] if more else [])])

    @property
    def level(self) -> str:
        """The level of the alert, or the highest level in a summary; empty if there is none."""
        if self.type != MESSAGE_TYPES[Event.SUMMARY]:
            return str(self.data.get("level") or "")
        return next((word for word in reversed(LEVELS) if self.data.get("levels", {}).get(word)), "")


def _spell_cause(reason: str, cause: Mapping[str, Any]) -> str:
    """Describe what was suppressed and why. The comment comes last, because a person wrote it."""
    hidden = [f"{count} {rule}" for rule, count in cause["rules"].items()]
    more = cause["count"] - sum(cause["rules"].values())
    by = _CAUSE_WORDS.get(reason, "{ref}").format(ref=cause["ref"])
    of = f" of {cause['author']}: {cause['comment']}" if cause["author"] else ""
    return f"{', '.join([*hidden, *([f'{more} more'] if more else [])])} suppressed by {by}{of}"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The texts of one message by template name without folder and `.j2` (`email.html`); empty if the type has no templates."""

    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a message that was accepted.

    `reference` identifies the message at the receiver (a Slack `ts`), so that later messages can update it. `note` is for
    people, for example about refused recipients.
    """

    reference: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a source's time that is proved without a gap, or that is not proved, with the reason."""

    source: str
    start: datetime
    end: datetime
    is_proved: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Silence:
    """Suppresses matching alerts for some time, with an author and a reason. `file` is set if it comes from a file.

    `ended_by` is set if a person ended it before its time.
    """

    id: str
    matchers: tuple[str, ...]
    author: str
    comment: str
    starts_at: datetime
    ends_at: datetime
    file: str | None = None
    ended_by: str | None = None

    def status(self, now: datetime) -> str:
        """Return `pending`, `active` or `expired`."""
        if now >= self.ends_at:
            return "expired"
        return "active" if now >= self.starts_at else "pending"


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of a person's action: a sentence to show, and whether it changed anything (someone may have been faster)."""

    text: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class Cause:
    """The reason why alerts were suppressed until a summary, with their number by rule name in descending order.

    `ref` is the id of a silence or the name of a mute interval. Only a silence has an author and a comment.
    """

    ref: str
    rules: Mapping[str, int]
    author: str | None = None
    comment: str | None = None


def seen_at_once(record: Record) -> Record:
    """Treat a record as seen when it happened, so that it is not late: for rules that run over the past."""
    return msgspec.structs.replace(record, seen_at=record.occurred_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """The filter of the commands `actions` and `records`; None and empty mean everything. Entities match by id or name.

    `text`: words, each of which is in a name or an id of the record, or in its description. Only stored records have it.
    """

    kinds: Sequence[str] = ()
    user: str | None = None
    account: str | None = None
    cluster: str | None = None
    operations: Sequence[str] = ()
    scope: str | None = None
    keyword: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None
