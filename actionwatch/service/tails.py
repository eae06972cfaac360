"""Build the tailing step of each source, and build it again when this process takes a source over."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta

from actionwatch.base.clock import Clock
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.kinds import OWN_KINDS
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.rules.model import Rule
from actionwatch.rules.prefilter import names_demanding
from actionwatch.service.configuration import known_kinds
from actionwatch.service.machine import Machine
from actionwatch.service.upstream import reading_client
from actionwatch.settings import Settings, Source
from actionwatch.store.database import Database
from actionwatch.store.membership import tail_role
from actionwatch.tail.accounts import AccountWatch
from actionwatch.tail.catching_up import OnBacklog
from actionwatch.tail.health import SourceWatch
from actionwatch.tail.rounds import Rounds
from actionwatch.tail.source import SourceTail
from actionwatch.tail.state import TailOptions


class Tails:
    """The tailing steps of one process, built at their first use. Close it after use."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        addressing: Addressing,
        clock: Clock,
        read_rules: Callable[[], Sequence[Rule]],
        on_stored: Callable[[], None],
        machine: Machine = Machine(),  # noqa: B008 - a frozen value
    ) -> None:
        self._machine = machine
        self._settings = settings
        self._database = database
        self._addressing = addressing
        self._clock = clock
        self._read_rules = read_rules
        self.on_stored = on_stored
        """Called after records of any source were stored."""
        self.on_backlog: OnBacklog = lambda _: None
        """Called with the progress of each source that catches up."""
        self._rounds = Rounds(database)
        self._account_watches: dict[str, AccountWatch] = {}
        self._clients: dict[str, Client] = {}

    @functools.cached_property
    def steps(self) -> dict[str, SourceTail]:
        """The tailing step of each source."""
        return {source.name: self._build(source) for source in self._settings.sources}

    @property
    def account_watches(self) -> dict[str, AccountWatch]:
        """What lists the linked accounts of each source."""
        return {source: self._account_watches[source] for source in self.steps}

    def ages(self) -> dict[str, timedelta | None]:
        """Return how long ago this process polled each source; None if it has not yet."""
        return {name: tail.age for name, tail in self.steps.items()}

    def begin(self, source: Source) -> None:
        """Forget what this process knows about a source that it tailed before: another replica has tailed it since."""
        if source.name in self._clients:
            self._clients[source.name].close()
            self.steps[source.name] = self._build(source)

    def close(self) -> None:
        """Close the connections to the upstreams."""
        for client in self._clients.values():
            client.close()

    def _build(self, source: Source) -> SourceTail:
        client = self._clients[source.name] = reading_client(source, self._clock, self._machine)
        database = self._database.as_holder(tail_role(source.name))
        self_alerts = SelfAlertStore(database, self._addressing, self._clock)
        organisation = client.reader.organisation
        accounts = self._account_watches[source.name] = AccountWatch(
            source.name,
            client,
            database,
            self._clock,
            self_alerts,
            on_stored=lambda: self.on_stored(),
            affected_rules=lambda: names_demanding(self._read_rules(), OWN_KINDS),
            organisation=organisation,
        )
        options = TailOptions(
            name=source.name,
            organisation=organisation,
            start=source.start,
            overlap=source.overlap,
            sweeps=source.sweeps,
            page_size=source.page_size,
            alert_backlog=source.alert_backlog,
            poll_interval=source.poll_interval,
            configured=frozenset(each.name for each in self._settings.sources),
        )
        watch = SourceWatch(
            source.name,
            source.poll_interval,
            known_kinds(self._settings),
            client.reader,
            database,
            self_alerts,
            self._clock,
        )
        return SourceTail(
            options,
            client,
            database,
            watch,
            self._clock,
            accounts,
            on_stored=lambda: self.on_stored(),
            on_backlog=lambda backlog: self.on_backlog(backlog),
            elapsed=self._machine.elapsed,
            rounds=self._rounds,
        )
