"""The composition root: everything that a command or the service needs, built from the settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from socket import gethostname

from actionwatch.alerts.self_alerts import OwnAlerts, SelfAlerts
from actionwatch.base.clock import Clock, go_by, machine_now
from actionwatch.base.errors import StoreError
from actionwatch.base.source_labels import use_labels
from actionwatch.delivery.dead_letters import DeadLetters
from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.matching.rule_failures import RuleFailures
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.render.renderer import Renderer
from actionwatch.rules.engine import Engine
from actionwatch.rules.load import Rules
from actionwatch.rules.model import Rule
from actionwatch.service import configuration, prune
from actionwatch.service.machine import Machine
from actionwatch.service.receivers import build_addressing, build_channel, build_global_policy
from actionwatch.service.record_signal import RecordSignal
from actionwatch.service.rendering import build_renderer
from actionwatch.service.streams import build_streams
from actionwatch.service.tails import Tails
from actionwatch.settings import Settings
from actionwatch.store.database import Database
from actionwatch.store.membership import LEADER
from actionwatch.text import logs


def open_store(settings: Settings, machine: Machine = Machine()) -> Database:  # noqa: B008 - a frozen value
    """Open the store, with the schema that this version needs."""
    database = machine.open_store(settings.store.url)
    try:
        database.set_up()
    except StoreError:
        database.close()
        raise
    return database


def set_up_logs(settings: Settings) -> None:
    """Set up the logs, which replace every secret of the settings. No step waits until its lines are read."""
    logs.set_up(settings.log.level, settings.log.format, list(logs.secrets_in(settings)), is_background=True)


class App:
    """The parts that the settings describe. Expensive parts are built at their first use. Close it after use."""

    def __init__(self, settings: Settings, machine: Machine = Machine()) -> None:  # noqa: B008 - a frozen value
        self.settings = settings
        use_labels(configuration.source_labels(settings.sources))
        self.machine = machine
        self.database = open_store(settings, machine)
        go_by(self.database.peers.now if self.database.is_shared else machine.now)
        self.clock = Clock(elapsed=machine.elapsed)
        self._rules: Rules | None = None
        self._matcher: RecordMatcher | None = None
        self.addressing = build_addressing(settings)
        self.self_alerts = SelfAlertStore(self.database, self.addressing, self.clock)
        self.leading = self.database.as_holder(LEADER)
        """The store for what only the leader does."""
        self.leading_alerts = SelfAlertStore(self.leading, self.addressing, self.clock)
        self.rule_failures = RuleFailures(self.leading_alerts)
        sender = self.database.peers.sender
        self.own_alerts: SelfAlerts = OwnAlerts(self.self_alerts, gethostname(), sender) if sender else self.self_alerts
        """The self-alerts about this process, which another replica may have too."""
        self.record_signal = RecordSignal(self.database)
        self.streams = build_streams(settings, self.database, self.clock, machine, lambda: self.renderer)
        """The streams by name. They connect when they have something to send."""

    @functools.cached_property
    def tails(self) -> Tails:
        """The tailing steps of the sources."""
        return Tails(
            self.settings,
            self.database,
            self.addressing,
            self.clock,
            lambda: self.rules.rules,
            self.record_signal.set,
            self.machine,
        )

    def use_sources(self, settings: Settings) -> None:
        """Tail the sources of a configuration that differs in nothing else."""
        self.settings = settings
        use_labels(configuration.source_labels(settings.sources))
        self.tails.use(settings)

    def source_names(self) -> list[str]:
        """Return the names of the sources of the configuration, as it is now."""
        return [source.name for source in self.settings.sources]

    @property
    def rules(self) -> Rules:
        """The rules in use. Before the first call of `use`, the rules that load."""
        if self._rules is None:
            self._rules = configuration.read_rules(self.settings)
        return self._rules

    def forget_rules(self) -> None:
        """Read the rules again when they are needed: this process does not match by them, and they have changed."""
        self._rules = None

    def use(self, rules: Rules) -> None:
        """Match by these rules from the next batch on. The first call must precede all threads."""
        self._rules = rules
        if self._matcher is None:
            self._matcher = _matcher(self)
        else:
            self._matcher.use(Engine(rules.rules), _correlations(self, rules.rules))
            self.record_signal.set()

    @property
    def matcher(self) -> RecordMatcher:
        """The matching step, with the rules in use."""
        if self._matcher is None:
            self._matcher = _matcher(self)
        return self._matcher

    @property
    def records_learned(self) -> int | None:
        """How many records correlations have read again since the start; None once they have caught up, or without matcher."""
        if self._matcher is None or self._matcher.has_learned:
            return None
        return self._matcher.fed_count

    def apply_retention(self) -> None:
        """Delete what is older than its retention and no longer needed."""
        prune.apply_retention(self.leading, self.settings, lambda: self.rules.rules, self.clock)

    def begin_leading(self) -> None:
        """Forget what this process matched as an earlier leader: another replica has led since."""
        self._matcher = None

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
            self.machine.chance,
            global_policy=global_policy,
            leads=leads,
            leader_alerts=self.leading_alerts,
            start_thread=self.machine.start_thread,
        )

    @functools.cached_property
    def renderer(self) -> Renderer:
        """The renderer of messages."""
        return build_renderer(self.settings)

    def close(self) -> None:
        """Close the upstream connections and the store. The process goes by the machine's clock again."""
        go_by(machine_now)
        use_labels({})
        if "tails" in self.__dict__:
            self.tails.close()
        self.database.close()


def operator_actions(app: App, wake: Callable[[], None]) -> OperatorActions:
    """Build what carries out the decisions of operators. It calls `wake` after it enqueued messages."""
    return OperatorActions(app.database, app.addressing, app.clock, wake)


def dead_letters(app: App, wake: Callable[[], None]) -> DeadLetters:
    """Build what carries out the decisions of operators about dead letters. It calls `wake` after it enqueued messages."""
    return DeadLetters(app.database, [each.name for each in app.settings.receivers], app.clock, wake)


def _matcher(app: App) -> RecordMatcher:
    rules = app.rules.rules
    return RecordMatcher(
        app.leading,
        Engine(rules),
        app.addressing,
        app.clock,
        correlating=_correlations(app, rules),
        failures=app.rule_failures,
        elapsed=app.machine.elapsed,
    )


def _correlations(app: App, rules: Sequence[Rule]) -> Correlating:
    """Return correlations by rules, which continue from the stored hits."""
    return Correlating(rules, app.addressing, sources=app.source_names, elapsed=app.machine.elapsed)
