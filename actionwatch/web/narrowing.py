"""The one place that decides what a visitor sees whose token is limited to labels: nothing but what is listed here.

The guard refuses every path that is not one of `OPEN_PATHS`. The parts of a request that it lets through read a store that has
only what is of these sources (`store/narrowing.py`), and a configuration without what others have.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection
from starlette.routing import compile_path

from actionwatch.alerts.self_alerts import OF_SOURCES
from actionwatch.alerts.silences import doubts_of_times
from actionwatch.base.delivery import Retried
from actionwatch.base.errors import ActionwatchError
from actionwatch.base.model import Alert, Decision, Silence
from actionwatch.base.reasons import Reason, SourceReason
from actionwatch.base.source_labels import is_configured, sources_with
from actionwatch.rules.blindness import Blindness
from actionwatch.rules.lists import Lists
from actionwatch.rules.trial import TrialEvent, TrialRefused
from actionwatch.store import alerts, marks, outbox, silences
from actionwatch.store.database import Database
from actionwatch.store.narrowing import Narrowing
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.text.matchers import Matcher
from actionwatch.web.parts import Actions, Configuration, DeadLetterActions, Parts, ServiceState

OPEN_PATHS = (
    "/",
    "/alerts",
    "/alerts/{id}",
    "/alerts/{id}/decision",
    "/deliveries",
    "/news",
    "/records",
    "/records/export",
    "/records/{key}",
    "/sign-out",
    "/silences",
    "/sources",
    "/api/v1/alerts",
    "/api/v1/alerts/decisions",
    "/api/v1/alerts/{id}",
    "/api/v1/alerts/{id}/acknowledge",
    "/api/v1/alerts/{id}/assign",
    "/api/v1/alerts/{id}/note",
    "/api/v1/alerts/{id}/reopen",
    "/api/v1/alerts/{id}/resolve",
    "/api/v1/deliveries",
    "/api/v1/deliveries/{id}",
    "/api/v1/deliveries/{id}/drop",
    "/api/v1/deliveries/{id}/retry",
    "/api/v1/openapi.json",
    "/api/v1/records",
    "/api/v1/records/{key}",
    "/api/v1/silences",
    "/api/v1/silences/preview",
    "/api/v1/silences/{id}",
    "/api/v1/silences/{id}/expire",
    "/api/v1/status",
)
"""What is about the records, alerts, deliveries and silences of some sources. Rules, drafts and metrics are about all."""
REFUSED = "your token is limited to some sources, and this is about all of them: ask whoever runs actionwatch"
_NOT_READY = Reason("actionwatch is not ready: whoever runs it sees why")
_NO_SOURCE = Reason("no source has the labels to which your token is limited: ask whoever runs actionwatch")
_PLAIN = re.compile(r"[\w.-]+")  # a value that a matcher may have without quotes
_OPEN = [compile_path(path)[0] for path in OPEN_PATHS]


def may_open(path: str) -> bool:
    """Return whether a visitor who sees only some sources may open a path."""
    return any(each.match(path) for each in _OPEN)


def confined(matchers: Sequence[str], labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return matchers of a silence with those that confine it to labels: an alert has to match all."""
    missing = [forms[0] for forms in _forms(labels) if not set(forms) & set(matchers)]
    return tuple(dict.fromkeys([*matchers, *missing]))


def _forms(labels: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Return the matcher of each label as people write it: with quotes, and without them if that means the same."""
    return tuple(
        (str(Matcher(name, "=", value)), *([f"{name}={value}"] if _PLAIN.fullmatch(value) else []))
        for name, value in labels.items()
    )


def narrowed(parts: Parts, labels: Mapping[str, str]) -> Parts:
    """Return the parts as a visitor sees them whose token is limited to labels.

    Which sources have them is asked at each transaction, because sources come and go.
    """

    def narrowing(connection: Connection) -> Narrowing:
        names = sources_with(labels)
        # What a source read under its former names, unless another one has such a name now.
        former = {each for name in names for each in marks.former_names(connection, name) if not is_configured(each)}
        return Narrowing(frozenset(names | former), _forms(labels), OF_SOURCES)

    database = parts.database.narrowed(narrowing)
    return Parts(
        database=database,
        clock=parts.clock,
        configuration=_configuration(parts.configuration, labels),
        service=_service(parts.service, labels),
        actions=_Actions(parts.actions, database, labels),
        dead_letters=_DeadLetters(parts.dead_letters, database),
        confine=lambda matchers: confined(matchers, labels),
    )


def _configuration(configuration: Configuration, labels: Mapping[str, str]) -> Configuration:
    def sources() -> dict[str, timedelta]:
        names = sources_with(labels)
        return {name: interval for name, interval in configuration.sources().items() if name in names}

    return Configuration(
        sources=sources,
        receivers=(),
        streams=(),
        max_silence=configuration.max_silence,
        rules=lambda: (),
        lists=Lists,
        text_of=_no_text,
        doubts=lambda made, now: doubts_of_times(made, configuration.max_silence, now),  # others suggest names
        try_draft=_refuse_draft,
    )


def _no_text(file: str, line: int, document: str) -> None:
    del file, line, document


async def _refuse_draft(draft: str, since: datetime) -> AsyncGenerator[TrialEvent, None]:
    del draft, since
    yield TrialRefused([REFUSED])


def _service(service: ServiceState, labels: Mapping[str, str]) -> ServiceState:
    def unready() -> Sequence[str]:
        if not sources_with(labels):
            return [_NO_SOURCE]
        is_general = any(not isinstance(each, SourceReason) for each in service.unready())
        return [_NOT_READY] if is_general else []

    return ServiceState(
        unready=unready,
        stretches=service.stretches,
        blindness=_no_blindness,
        roster=lambda: None,
    )


def _no_blindness(connection: Connection, since: datetime, until: datetime) -> Blindness:
    del connection
    return Blindness(since, until, (), ())


@dataclass(frozen=True, slots=True)
class _Actions:
    """The decisions about alerts that a visitor sees, and about silences that only such alerts can match."""

    actions: Actions
    database: Database
    labels: Mapping[str, str]

    def at(self, now: datetime) -> _Actions:
        return replace(self, actions=self.actions.at(now))

    def acknowledge(self, alert_id: str, who: str, comment: str = "") -> tuple[Alert, bool]:
        return self.actions.acknowledge(self._seen(alert_id), who, comment)

    def resolve(self, alert_id: str, who: str, comment: str = "") -> tuple[Alert, bool]:
        return self.actions.resolve(self._seen(alert_id), who, comment)

    def reopen(self, alert_id: str, who: str, comment: str = "") -> tuple[Alert, bool]:
        return self.actions.reopen(self._seen(alert_id), who, comment)

    def assign(self, alert_id: str, who: str, to: str | None, comment: str = "") -> tuple[Alert, bool]:
        return self.actions.assign(self._seen(alert_id), who, to, comment)

    def note(self, alert_id: str, who: str, comment: str) -> tuple[Alert, bool]:
        return self.actions.note(self._seen(alert_id), who, comment)

    def draft_silence(
        self, alert_id: str, who: str, span: timedelta, comment: str, also: Sequence[str] = ()
    ) -> Silence:
        also = confined(also, self.labels)
        return self.actions.draft_silence(self._seen(alert_id), who, span, comment, also)

    def silence(self, alert_id: str, who: str, span: timedelta, comment: str, also: Sequence[str] = ()) -> Decision:
        return self.actions.silence(self._seen(alert_id), who, span, comment, confined(also, self.labels))

    def add_silence(self, made: Silence) -> tuple[Silence, bool]:
        return self.actions.add_silence(replace(made, matchers=confined(made.matchers, self.labels)))

    def expire_silence(self, silence_id: str, who: str) -> Silence:
        with self.database.read() as connection:
            if not silences.read_many(connection, [silence_id]):
                raise ActionwatchError(f"no silence has the id {silence_id}")
        return self.actions.expire_silence(silence_id, who)

    def _seen(self, alert_id: str) -> str:
        """Return the id of an alert that the visitor sees. Raises: ActionwatchError."""
        with self.database.read() as connection:
            if alerts.read(connection, alert_id) is None:
                raise ActionwatchError(f"no alert has the id {alert_id}")
        return alert_id


@dataclass(frozen=True, slots=True)
class _DeadLetters:
    """The decisions about the dead letters of alerts that a visitor sees. They are sent again to their own receivers only."""

    actions: DeadLetterActions
    database: Database

    def at(self, now: datetime) -> _DeadLetters:
        return replace(self, actions=self.actions.at(now))

    def retry(self, wanted: DeliveryFilter, who: str, to: str | None = None) -> Retried:
        if to is not None:
            raise ActionwatchError(REFUSED)
        return self.actions.retry(self._seen(wanted), who)

    def drop(self, wanted: DeliveryFilter, who: str) -> int:
        return self.actions.drop(self._seen(wanted), who)

    def _seen(self, wanted: DeliveryFilter) -> DeliveryFilter:
        with self.database.read() as connection:
            return DeliveryFilter(ids=outbox.read_dead_ids(connection, wanted))
