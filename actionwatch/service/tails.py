"""Build the tailing step of each source that this process tails, when it begins to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from actionwatch.base.clock import Clock
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.kinds import OWN_KINDS
from actionwatch.instaclustr.upstream import Upstream
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.rules.model import Rule
from actionwatch.rules.prefilter import names_demanding
from actionwatch.service.configuration import known_kinds
from actionwatch.service.machine import Machine
from actionwatch.service.upstream import Upstreams, reading_client
from actionwatch.settings import Settings, Source
from actionwatch.store.database import Database
from actionwatch.store.membership import tail_role
from actionwatch.tail.accounts import AccountWatch
from actionwatch.tail.catching_up import OnBacklog
from actionwatch.tail.health import SourceWatch
from actionwatch.tail.record_watch import kept_kinds
from actionwatch.tail.rounds import Rounds
from actionwatch.tail.source import SourceTail
from actionwatch.tail.state import TailOptions


class Tails:
    """The tailing steps of one process. Close it after use."""

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
        self.gives_way: Callable[[str], bool] = lambda _: False
        """Returns whether a source that reads a backlog is to let others go first."""
        self.replica_count: Callable[[], int] = lambda: 1
        """Returns how many processes share the limit of requests."""
        self._kinds = kept_kinds(known_kinds(settings))
        self._upstreams = Upstreams(machine, self._rate)
        self._changing = threading.Lock()
        self._clients: dict[str, Client] = {}
        # Other threads read these while they change: each is replaced as a whole.
        self._account_watches: dict[str, AccountWatch] = {}
        self._steps: dict[str, SourceTail] = {}
        self._sources = {source.name: source for source in settings.sources}

    @property
    def steps(self) -> Mapping[str, SourceTail]:
        """The tailing step of each source that this process has begun to tail."""
        return self._steps

    @property
    def account_watches(self) -> Mapping[str, AccountWatch]:
        """What lists the linked accounts of each of these sources."""
        return self._account_watches

    @property
    def sources(self) -> Mapping[str, Source]:
        """The sources of the configuration."""
        return self._sources

    def upstream_of(self, source: str) -> Upstream:
        """Return the upstream of a source."""
        return self._upstreams.of(self._sources[source])

    def upstreams(self) -> Mapping[Upstream, int]:
        """Return how many sources each upstream has."""
        return self._upstreams.counts(self._sources.values())

    def ages(self) -> dict[str, timedelta | None]:
        """Return how long ago this process polled each source that it has begun to tail; None if it has not yet."""
        return {name: tail.age for name, tail in self._steps.items()}

    def changes(self, settings: Settings) -> tuple[list[str], list[str]]:
        """Return the names of the sources that a configuration ends or changes, and of those that it adds or changes."""
        wanted, before = {source.name: source for source in settings.sources}, self._sources
        ended = [name for name, source in before.items() if wanted.get(name) != source]
        begun = [name for name, source in wanted.items() if before.get(name) != source]
        return ended, begun

    def use(self, settings: Settings) -> None:
        """Tail the sources of a configuration, as soon as they begin. Those that it ends or changes stop."""
        with self._changing:
            ended, _ = self.changes(settings)
            self._settings, self._sources = settings, {source.name: source for source in settings.sources}
            for name in self._steps.keys() & ended:
                self._steps[name].stop()
                self._clients.pop(name).close()
            self._steps = {name: step for name, step in self._steps.items() if name not in ended}
            self._account_watches = {name: each for name, each in self._account_watches.items() if name in self._steps}

    def begin(self, *sources: str) -> None:
        """Begin to tail sources. Forget what is known of an earlier time: another replica has tailed them since."""
        with self._changing:
            steps, watches = dict(self._steps), dict(self._account_watches)
            for name in sources:
                if name in self._clients:
                    self._clients[name].close()
                steps[name], watches[name] = self._build(self._sources[name])
            self._steps, self._account_watches = steps, watches

    def close(self) -> None:
        """Close the connections to the upstreams."""
        for client in self._clients.values():
            client.close()
        self._upstreams.close()

    def _rate(self) -> float | None:
        rate = self._settings.upstream.rate_per_second
        return None if rate is None else rate / max(self.replica_count(), 1)

    def _build(self, source: Source) -> tuple[SourceTail, AccountWatch]:
        upstream = self._upstreams.of(source)
        client = self._clients[source.name] = reading_client(source, self._clock, self._machine, upstream)
        database = self._database.as_holder(tail_role(source.name))
        self_alerts = SelfAlertStore(database, self._addressing, self._clock)
        organisation = client.reader.organisation
        accounts = AccountWatch(
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
            configured=lambda: self._sources.keys(),
        )
        watch = SourceWatch(
            source.name,
            source.poll_interval,
            self._kinds,
            client.reader,
            database,
            self_alerts,
            self._clock,
            is_out=lambda: upstream.outage is not None,
        )
        tail = SourceTail(
            options,
            client,
            database,
            watch,
            self._clock,
            accounts,
            on_stored=lambda: self.on_stored(),
            on_backlog=lambda backlog: self.on_backlog(backlog),
            gives_way=lambda: self.gives_way(source.name),
            elapsed=self._machine.elapsed,
            rounds=self._rounds,
        )
        return tail, accounts
