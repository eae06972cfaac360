"""The nouns of actionwatch, immutable: what one room hands to the next.

Times are aware UTC `datetime`s, spans are `timedelta`s. What is made by the thousand in a backfill or a storm (`Record`,
`Alert`, `Delivery`) is a msgspec struct instead of a dataclass: a frozen dataclass with this many fields takes ten times as
long. They hold nothing that could hold them, so that the garbage collector need not look at them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

import msgspec


class Level(IntEnum):
    """How bad, in Sigma's words; comparable."""

    INFORMATIONAL = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        """The lower-case name, as rules, settings and messages spell it."""
        return _LEVEL_WORDS[self]


_LEVEL_WORDS = [level.name.lower() for level in Level]
LEVELS: dict[str, Level] = {level.word: level for level in Level}


class Entity(msgspec.Struct, frozen=True, gc=False):
    """Something the upstream names by an id, a name, or both: an account, a cluster, an organisation."""

    id: str | None = None
    name: str | None = None


NOTHING = Entity()


class Record(msgspec.Struct, frozen=True, gc=False):
    """One user action as we keep it.

    `raw` is the upstream's JSON object to the letter. `id` is the local number the store gives, 0 before it is stored; it
    grows in the order in which records were stored, which is not the order of `occurred_at`.
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
    """From before the tail began: stored and learned from, not alerted."""
    late_by: timedelta | None = None
    """Set when the tail had seen through this record's time by more than the overlap before it came."""
    id: int = 0


@dataclass(frozen=True, slots=True)
class LinkedAccount:
    """An account of the organisation, as the linked-accounts listing shows it; `raw` holds all its fields."""

    id: str
    name: str
    raw: Mapping[str, Any] = field(default_factory=dict)


class Mode(StrEnum):
    """What becomes of a rule: it alerts; it is evaluated and recorded, but nobody is told; it does not run."""

    LIVE = "live"
    SHADOW = "shadow"
    OFF = "off"


class RuleName(msgspec.Struct, frozen=True, gc=False):
    """A rule as an alert names it. `id` is the rule's own id, or its name where it has none."""

    id: str
    name: str
    title: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Escalation:
    """Who else is told, and how long after its opening, if nobody has taken an alert on by then."""

    after: timedelta
    to: str


@dataclass(frozen=True, slots=True)
class Match:
    """One record that met one rule, with all that the rule says about the alert it should become."""

    rule: RuleName
    record: Record
    level: Level
    title: str
    body: str
    runbook: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    group: Mapping[str, str | None] | None = None
    """The values of the rule's `group_by` fields; None where each record makes an alert of its own."""
    realert: timedelta = timedelta(0)
    escalation: Escalation | None = None


class ChangeKind(StrEnum):
    """What a correlation does to an alert."""

    OPEN = "open"
    JOIN = "join"
    RESOLVE = "resolve"


@dataclass(slots=True)
class CorrelatedAlert:
    """An alert of one group of a correlation, as it is stored. Live correlations update it, so it is mutable.

    `fired_at` is when it fired, `until` is up to when it is joined. One that is not `is_reported` is found, but people do not
    learn of it. `reported_as` is the id of the alert that people see, where that is another one: of a group that shares its
    alert, or one that a late record made disappear; the latter is not `is_current` any more. One `is_open` while it reports
    something missing.
    """

    id: str
    rule_id: str
    group: tuple[str | None, ...]
    origin: str
    first_at: datetime
    fired_at: datetime
    until: datetime
    is_reported: bool = False
    is_open: bool = False
    is_current: bool = True
    reported_as: str | None = None
    resolved_at: datetime | None = None
    keys: set[str] = field(default_factory=set)
    """The keys of the records that the alert holds; all that are reported as one share it. Not stored here."""
    taken: int = 0
    """How many hits of its group are among them. Not stored."""

    @property
    def alert_id(self) -> str:
        """The id of the alert that people see."""
        return self.reported_as or self.id

    def report_as(self, alert_id: str) -> None:
        """Report it in the alert with this id."""
        self.reported_as = None if alert_id == self.id else alert_id


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What a correlation changes: an alert opens, gets more records or one more missing group, or resolves.

    Where `kind` is None, people do not learn of it. `at` is when the alert began or, for RESOLVE, ended. `records` are new, in
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
    """Where an alert is in its life: open -> acked -> resolved, no other way."""

    OPEN = "open"
    ACKED = "acked"
    RESOLVED = "resolved"


class Alert(msgspec.Struct, frozen=True, gc=False):
    """What a human is told: one match, or the matches of one grouping key within `realert` of the first."""

    id: str
    rule: RuleName
    level: Level
    title: str
    body: str
    source: str
    first_at: datetime
    last_at: datetime
    opened_at: datetime
    """When we opened it (wall clock), while `first_at` and `last_at` are event times."""
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
    """The event time of the newest record it opened with; it may open long after its first, and more may join."""
    seen_at: datetime | None = None
    """When we saw its first record; None for an alert that has none."""
    told_at: datetime | None = None
    """When a receiver first took a message of it."""
    escalation: Escalation | None = None
    """Known while it is opened only: from then on it is a row of the outbox."""

    @property
    def is_shadow(self) -> bool:
        """Whether it is recorded only, and delivered to nobody: its rule says `mode: shadow`, which the label repeats."""
        return self.labels.get("mode") == Mode.SHADOW


class Event(StrEnum):
    """Why a message is sent; with an alert and a receiver it says what a delivery is for."""

    OPENED = "opened"
    UPDATED = "updated"
    ACKED = "acked"
    RESOLVED = "resolved"
    SUMMARY = "summary"
    TEST = "test"

    @property
    def word(self) -> str:
        """What it is to its receiver, as messages and lists spell it: that somebody took an alert on is an update."""
        return MESSAGE_TYPES[self].partition(".")[2]


MESSAGE_TYPES: dict[Event, str] = {
    Event.OPENED: "alert.opened",
    Event.UPDATED: "alert.updated",
    Event.ACKED: "alert.updated",
    Event.RESOLVED: "alert.resolved",
    Event.SUMMARY: "alerts.summary",
    Event.TEST: "receiver.test",
}

SUMMARY_HEADLINES = {
    "storm": "Storm: {} in one message",
    "digest": "Digest: {}",
    "mute": "{} came while notifications were muted",
    "silence": "{} came under a silence",
}
CAUSE_WORDS = {"mute": "mute interval {ref}", "silence": "silence {ref:.8}"}  # as much of an id as commands need


@dataclass(frozen=True, slots=True)
class Message:
    """What one delivery says, frozen at its first attempt. `id` is the idempotency key, the same on every attempt.

    `data` is the contract's `data` object, ready for JSON. `fields` are the labelled values the rule wants shown to people,
    in its order; a webhook does not send them.
    """

    id: str
    type: str
    timestamp: datetime
    data: Mapping[str, Any]
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def headline(self) -> str:
        """Say in a few words what it is about: the alert's title, or what a summary sums up."""
        if self.type != MESSAGE_TYPES[Event.SUMMARY]:
            return str(self.data.get("title") or self.type)
        count = self.data.get("count", 0)
        words = "1 alert" if count == 1 else f"{count} alerts"
        return SUMMARY_HEADLINES.get(str(self.data.get("reason")), "{} in one message").format(words)

    @property
    def causes(self) -> list[str]:
        """Say in a line each what hid the alerts of a summary; empty where nothing did. The texts are as people wrote them."""
        reason = str(self.data.get("reason"))
        return [_spell_cause(reason, cause) for cause in self.data.get("causes", ())]

    @property
    def level(self) -> str:
        """The alert's level, a summary's highest one; empty where there is none."""
        if self.type != MESSAGE_TYPES[Event.SUMMARY]:
            return str(self.data.get("level") or "")
        return next((word for word in reversed(LEVELS) if self.data.get("levels", {}).get(word)), "")


def _spell_cause(reason: str, cause: Mapping[str, Any]) -> str:
    """Say what was hidden and by what; what a person wrote comes last."""
    hidden = [f"{count} {rule}" for rule, count in cause["rules"].items()]
    more = cause["count"] - sum(cause["rules"].values())
    by = CAUSE_WORDS.get(reason, "{ref}").format(ref=cause["ref"])
    of = f" of {cause['author']}: {cause['comment']}" if cause["author"] else ""
    return f"{', '.join([*hidden, *([f'{more} more'] if more else [])])} hidden by {by}{of}"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The texts of one message, by template name without folder and `.j2` (`email.html`); empty where a type needs none."""

    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a notifier brought back from a message that was taken.

    `reference` names the message at the receiver (a Slack `ts`), so that later ones can update it. `note` is worth keeping for
    people: recipients that were refused, say.
    """

    reference: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """A promise to be quiet about some alerts for some time, with a name and a reason. `file`: where it was reviewed."""

    id: str
    matchers: tuple[str, ...]
    author: str
    comment: str
    starts_at: datetime
    ends_at: datetime
    file: str | None = None

    def status(self, now: datetime) -> str:
        """Say `pending`, `active` or `expired`."""
        if now >= self.ends_at:
            return "expired"
        return "active" if now >= self.starts_at else "pending"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person's decision came to: a sentence to show, and whether it changed anything. Somebody may have been quicker."""

    said: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class Cause:
    """What hid alerts until a summary told of them, and how many of which rules it hid, by the rules' names, the most first.

    `ref` is a silence's id, or a mute interval's name; only a silence has an author and a comment.
    """

    ref: str
    rules: Mapping[str, int]
    author: str | None = None
    comment: str | None = None
