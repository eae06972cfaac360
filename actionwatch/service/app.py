"""The composition root: everything that a command or the service needs, built from the settings."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from socket import gethostname

from actionwatch.alerts.self_alerts import OwnAlerts, SelfAlerts
from actionwatch.base.clock import Clock, go_by, machine_now
from actionwatch.base.errors import StoreError
from actionwatch.delivery.dead_letters import DeadLetters
from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.kinds import OWN_KINDS
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.render.renderer import Renderer
from actionwatch.rules.engine import Engine
from actionwatch.rules.load import Rules
from actionwatch.rules.model import Rule
from actionwatch.rules.prefilter import names_demanding
from actionwatch.rules.versions import correlated
from actionwatch.service.configuration import known_kinds, read_rules
from actionwatch.service.receivers import build_addressing, build_channel, build_global_policy
from actionwatch.service.rendering import build_renderer
from actionwatch.service.upstream import reading_client
from actionwatch.settings import Settings, Source
from actionwatch.store.database import Database
from actionwatch.store.membership import LEADER, tail_role
from actionwatch.tail.accounts import AccountWatch
from actionwatch.tail.catching_up import OnBacklog
from actionwatch.tail.health import SourceWatch
from actionwatch.tail.source import SourceTail
from actionwatch.tail.state import TailOptions
from actionwatch.text import logs


def open_store(settings: Settings) -> Database:
    """Open the store, with the schema that this version needs."""
    database = Database(settings.store.url)
    try:
        database.set_up()
    except StoreError:
        database.close()
        raise
    return database


def set_up_logs(settings: Settings) -> None:
    """Set up the logs, which replace every secret of the settings."""
    logs.set_up(settings.log.level, settings.log.format, list(logs.secrets_in(settings)))


class App:
    """The parts that the settings describe. Expensive parts are built at their first use. Close it after use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = open_store(settings)
        go_by(self.database.now)
        self.clock = Clock()
        self._rules: Rules | None = None
        self._correlating: tuple[object, Correlating] | None = None
        self.addressing = build_addressing(settings)
        self.self_alerts = SelfAlertStore(self.database, self.addressing, self.clock)
        self.leading = self.database.as_holder(LEADER)
        """The store for what only the leader does."""
        self.leading_alerts = SelfAlertStore(self.leading, self.addressing, self.clock)
        sender = self.database.sender
        self.own_alerts: SelfAlerts = OwnAlerts(self.self_alerts, gethostname(), sender) if sender else self.self_alerts
        """The self-alerts about this process, which another replica may have too."""
        self._records_stored = threading.Event()
        self._seen_version: int | None = None
        self.on_backlog: OnBacklog = lambda _: None
        """Called with the progress of each source that catches up."""
        self._clients: dict[str, Client] = {}
        self._account_watches: dict[str, AccountWatch] = {}

    @property
    def rules(self) -> Rules:
        """The rules in use. Before the first call of `use`, the rules that load."""
        if self._rules is None:
            self._rules = read_rules(self.settings)
        return self._rules

    def forget_rules(self) -> None:
        """Read the rules again when they are needed: this process does not match by them, and they have changed."""
        self._rules = None

    def use(self, rules: Rules) -> None:
        """Match by these rules from the next batch on. The first call must precede all threads."""
        self._rules = rules
        if "matcher" in self.__dict__:
            self.matcher.use(Engine(rules.rules), self._correlations(rules.rules))
            self.wake_matcher()
        else:
            _ = self.matcher

    @functools.cached_property
    def matcher(self) -> RecordMatcher:
        """The matching step, with the rules in use."""
        correlating = self._correlations(self.rules.rules)
        return RecordMatcher(
            self.leading, Engine(self.rules.rules), self.addressing, self.clock, correlating=correlating
        )

    def _correlations(self, rules: Sequence[Rule]) -> Correlating:
        """Return the correlations. Reuse them if none of them changed, because their state is expensive to rebuild."""
        names = correlated(rules)
        parts = {
            rule.name.id: (
                rule.document and rule.document.value,
                rule.is_silent,
                rule.correlation and rule.correlation.version,
            )
            for rule in rules
            if rule.name.id in names
        }
        if self._correlating is None or self._correlating[0] != parts:
            sources = [source.name for source in self.settings.sources]
            self._correlating = parts, Correlating(rules, self.addressing, sources=sources)
        return self._correlating[1]

    def begin_leading(self) -> None:
        """Forget what this process matched as an earlier leader: another replica has led since."""
        self.__dict__.pop("matcher", None)
        self._correlating = None

    @functools.cached_property
    def tails(self) -> dict[str, SourceTail]:
        """The tailing step of each source."""
        return {source.name: self._build_tail(source) for source in self.settings.sources}

    def begin_tailing(self, source: Source) -> None:
        """Forget what this process knows about a source that it tailed before: another replica has tailed it since."""
        if source.name in self.__dict__.get("tails", {}):
            self._clients[source.name].close()
            self.tails[source.name] = self._build_tail(source)

    @property
    def account_watches(self) -> dict[str, AccountWatch]:
        """What lists the linked accounts of each source."""
        return {source: self._account_watches[source] for source in self.tails}

    @property
    def poll_intervals(self) -> dict[str, timedelta]:
        """The poll interval of each source."""
        return {source.name: source.poll_interval for source in self.settings.sources}

    def delivery_worker(self, leads: Callable[[], bool] = lambda: True) -> DeliveryWorker:
        """Build the delivering step. `leads` returns whether this process is the leader."""
        channels = [build_channel(receiver) for receiver in self.settings.receivers]
        global_policy = build_global_policy(self.settings)
        return DeliveryWorker(
            self.database,
            channels,
            self.renderer,
            self.self_alerts,
            self.clock,
            global_policy=global_policy,
            leads=leads,
            leader_alerts=self.leading_alerts,
        )

    def operator_actions(self, wake: Callable[[], None]) -> OperatorActions:
        """Build what carries out the decisions of operators. It calls `wake` after it enqueued messages."""
        return OperatorActions(self.database, self.addressing, self.clock, wake)

    def dead_letters(self, wake: Callable[[], None]) -> DeadLetters:
        """Build what carries out the decisions of operators about dead letters. It calls `wake` after it enqueued messages."""
        return DeadLetters(self.database, [each.name for each in self.settings.receivers], self.clock, wake)

    @functools.cached_property
    def renderer(self) -> Renderer:
        """The renderer of messages."""
        return build_renderer(self.settings)

    def wake_matcher(self) -> None:
        """End a running `wait_for_records`."""
        self._records_stored.set()

    def wait_for_records(self, seconds: float) -> None:
        """Wait until records were stored, but no longer than `seconds`."""
        if not self.database.is_shared:
            self._records_stored.wait(seconds)
        else:  # another replica may store them
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0:
                is_woken = self._records_stored.wait(min(left, self.database.look_seconds))
                if self._has_new_version() or is_woken:
                    break
        self._records_stored.clear()

    def _has_new_version(self) -> bool:
        before = self._seen_version
        with contextlib.suppress(StoreError):  # the step that follows reports it
            self._seen_version = self.database.version()
        return before != self._seen_version

    def close(self) -> None:
        """Close the upstream connections and the store. The process goes by the machine's clock again."""
        go_by(machine_now)
        for client in self._clients.values():
            client.close()
        self.database.close()

    def _build_tail(self, source: Source) -> SourceTail:
        client = self._clients[source.name] = reading_client(source, self.clock)
        database = self.database.as_holder(tail_role(source.name))
        self_alerts = SelfAlertStore(database, self.addressing, self.clock)
        organisation = client.reader.organisation
        accounts = self._account_watches[source.name] = AccountWatch(
            source.name,
            client,
            database,
            self.clock,
            self_alerts,
            on_stored=self.wake_matcher,
            affected_rules=lambda: names_demanding(self.rules.rules, OWN_KINDS),
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
            configured=frozenset(each.name for each in self.settings.sources),
        )
        watch = SourceWatch(
            source.name,
            source.poll_interval,
            known_kinds(self.settings),
            client.reader,
            database,
            self_alerts,
            self.clock,
        )
        return SourceTail(
            options,
            client,
            database,
            watch,
            self.clock,
            accounts,
            on_stored=self.wake_matcher,
            on_backlog=lambda backlog: self.on_backlog(backlog),
        )
