"""The interface of the service for the console and the API. This module alone is imported before the first request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from actionwatch.base.delivery import Retried
from actionwatch.base.model import Alert, Decision, Silence, Stretch

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.rules.lists import Lists
    from actionwatch.rules.model import Rule
    from actionwatch.settings import Stream
    from actionwatch.store.database import Database
    from actionwatch.store.membership import Roster
    from actionwatch.store.outbox import DeliveryFilter


@dataclass(frozen=True, slots=True)
class Destination:
    """A receiver of the configuration: its type, and how many messages per second it gets at most (None: no limit).

    `is_unrouted`: no route names it, so that it gets no alert.
    """

    name: str
    type: str
    rate_per_second: float | None = None
    is_unrouted: bool = False


class Actions(Protocol):
    """The decisions of people about an alert. Each is one transaction, and records who decided.

    Raises: ActionwatchError, StoreError; a silence also ValueError with `what: remedy`.
    """

    def at(self, now: datetime) -> Actions:
        """Return the actions at an instant."""
        ...

    def acknowledge(self, alert_id: str, who: str, comment: str = "") -> tuple[Alert, bool]:
        """Acknowledge an alert. Return it, and whether this changed it."""
        ...

    def resolve(self, alert_id: str, who: str, comment: str = "") -> tuple[Alert, bool]:
        """Resolve an alert. Return it, and whether this changed it."""
        ...

    def reopen(self, alert_id: str, who: str, comment: str = "") -> tuple[Alert, bool]:
        """Open an alert again. Return it, and whether this changed it."""
        ...

    def assign(self, alert_id: str, who: str, to: str | None, comment: str = "") -> tuple[Alert, bool]:
        """Assign an alert to a person; None: to nobody. Return it, and whether this changed it."""
        ...

    def note(self, alert_id: str, who: str, comment: str) -> tuple[Alert, bool]:
        """Write a note about an alert. Return it, and whether this changed it."""
        ...

    def draft_silence(self, alert_id: str, who: str, span: timedelta, comment: str) -> Silence:
        """Return the silence that `silence` would make."""
        ...

    def add_silence(self, made: Silence) -> tuple[Silence, bool]:
        """Store a silence, unless there is one with its id. Return the one that is stored, and whether it is new."""
        ...

    def expire_silence(self, silence_id: str, who: str) -> Silence:
        """End a silence now, if it has not ended."""
        ...

    def silence(self, alert_id: str, who: str, span: timedelta, comment: str) -> Decision:
        """Silence the rule and group of an alert for some time from now."""
        ...


class DeadLetterActions(Protocol):
    """The decisions of people about dead letters. Each is one transaction, and records who decided. Raises: StoreError."""

    def at(self, now: datetime) -> DeadLetterActions:
        """Return the actions at an instant."""
        ...

    def retry(self, wanted: DeliveryFilter, who: str, to: str | None = None) -> Retried:
        """Send them again, to their receivers or to another one."""
        ...

    def drop(self, wanted: DeliveryFilter, who: str) -> int:
        """Give them up for good. Return how many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The configuration. `sources` are the intervals of the polls of each; they come and go while the service runs.

    `rules` are those in use, and `lists` those that their `expand` names.
    `text_of` returns a rule as its file has it, at a line, if that is the document that runs.
    `doubts` says what is doubtful about a silence at an instant.
    """

    sources: Callable[[], Mapping[str, timedelta]]
    receivers: Sequence[Destination]
    streams: Sequence[Stream]
    max_silence: timedelta
    rules: Callable[[], Sequence[Rule]]
    lists: Callable[[], Lists]
    text_of: Callable[[str, int, str], str | None]
    doubts: Callable[[Silence, datetime], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """The state of the service. `unready` describes why it does not see everything now, as `/readyz` does.

    `stretches` returns for sources that were read what of their time is proved since an instant. `roster` returns the replicas;
    None for a store that one process uses.
    """

    unready: Callable[[], Sequence[str]]
    stretches: Callable[[Connection, Collection[str], datetime], Mapping[str, Sequence[Stretch]]]
    roster: Callable[[], Roster | None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that the console and the API show, and can change."""

    database: Database
    clock: Callable[[], datetime]
    configuration: Configuration
    service: ServiceState
    actions: Actions
    dead_letters: DeadLetterActions

    def at_once(self) -> Parts:
        """Return the parts for one request. Their clock does not move: no time that it computes is past when it is checked."""
        now = self.clock()
        return replace(self, clock=lambda: now, actions=self.actions.at(now), dead_letters=self.dead_letters.at(now))
