"""The composition root: settings in, one build function per room.

`App` is everything a command may need, built lazily where it is costly; `service.py` runs it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from actionwatch.alerts import routes
from actionwatch.alerts.inhibition import InhibitRule
from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.base.clock import Clock, utc_now
from actionwatch.delivery.receiver_worker import Channel
from actionwatch.delivery.retry import RetryPolicy
from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.instaclustr.admin import Admin
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.identity import canonical_organisation
from actionwatch.instaclustr.kinds import OWN_KINDS
from actionwatch.instaclustr.origin import ConnectionOptions
from actionwatch.matching.addressing import Addressing, Destination
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import Matcher
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.notifiers.base import DigestOptions, NotifierModule, notifier_module, templates_of
from actionwatch.render import Renderer
from actionwatch.rules.engine import Engine
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import ReadFiles, Rules, build_rules, read_documents
from actionwatch.rules.model import Rule
from actionwatch.rules.prefilter import names_demanding
from actionwatch.rules.versions import correlated
from actionwatch.service.configuration import (
    known_kinds,
    known_lists,
    read_rules,
    read_silences,
    shipped,
    time_intervals,
)
from actionwatch.service.heartbeat import Heartbeat
from actionwatch.service.rules_in_use import Memory, Rulebook
from actionwatch.service.silence_files import SilenceFiles
from actionwatch.settings import Receiver, Settings, Source
from actionwatch.store import marks, records, self_alerts
from actionwatch.store.database import Database
from actionwatch.tail.accounts import AccountWatch
from actionwatch.tail.catching_up import OnBacklog
from actionwatch.tail.health import SourceWatch
from actionwatch.tail.source import SourceTail, TailOptions
from actionwatch.text import logs
from actionwatch.text.yaml_document import Document


def open_store(settings: Settings) -> Database:
    """Open the store, bringing its schema up to date."""
    database = Database(settings.store.url)
    database.upgrade()
    return database


def connection_to(source: Source) -> ConnectionOptions:
    """Say how a source's upstream is reached."""
    return ConnectionOptions(
        base_url=source.base_url,
        organisation_id=source.organisation_id,
        username=source.username,
        api_key=source.key,
        timeout=source.timeout,
        ca_file=source.ca_file,
        proxy=source.proxy_url,
    )


def reading_client(source: Source, clock: Callable[[], datetime] = utc_now) -> Client:
    """Make the client that can only read."""
    return Client(connection_to(source), source=source.name, field_aliases=source.field_aliases, clock=clock)


def writing_client(source: Source) -> Admin:
    """Make the client of the two writing operations; no part of the service ever gets one."""
    return Admin(connection_to(source))


class App:
    """What the settings describe, built. Close it when done."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = Clock()
        self.database = open_store(settings)
        self._rules: Rules | None = None
        self._correlating: tuple[object, Correlating] | None = None
        self.addressing = build_addressing(settings)
        self.troubles = SelfAlertStore(self.database, self.addressing, self.clock)
        self._match_wanted = threading.Event()
        self.on_backlog: OnBacklog = lambda _: None
        """Told how far each source is while it catches up."""
        self._clients: list[Client] = []

    @property
    def rules(self) -> Rules:
        """The rules in use; before any are, those that load."""
        if self._rules is None:
            self._rules = read_rules(self.settings)
        return self._rules

    def use(self, rules: Rules) -> None:
        """Match by these rules from the next batch on. The first call comes before anything runs."""
        self._rules = rules
        if "matcher" in self.__dict__:
            self.matcher.use(Engine(rules.rules), self._correlations(rules.rules))
            self.wake_matcher()
        else:
            _ = self.matcher

    @functools.cached_property
    def matcher(self) -> Matcher:
        """The matching step, over the rules in use."""
        correlating = self._correlations(self.rules.rules)
        return Matcher(self.database, Engine(self.rules.rules), self.addressing, self.clock, correlating=correlating)

    def _correlations(self, rules: Sequence[Rule]) -> Correlating:
        """Make the correlations, or give those there are where nothing changed in them: their state is costly to rebuild."""
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

    @functools.cached_property
    def tails(self) -> list[SourceTail]:
        """The tailing step of each source."""
        return [self._tail(source) for source in self.settings.sources]

    def deliverer(self, receivers: Sequence[Receiver] | None = None) -> DeliveryWorker:
        """Make the delivering step, for all receivers or for these only."""
        chosen = self.settings.receivers if receivers is None else receivers
        channels = [build_channel(receiver) for receiver in chosen]
        global_policy = build_global_policy(self.settings)
        return DeliveryWorker(
            self.database, channels, self.renderer, self.troubles, self.clock, global_policy=global_policy
        )

    def operator_actions(self, wake: Callable[[], None] = lambda: None) -> OperatorActions:
        """Make what carries out people's decisions; `wake` has somebody look at the outbox."""
        return OperatorActions(self.database, self.addressing, self.clock, wake)

    @functools.cached_property
    def silence_files(self) -> SilenceFiles:
        """The reviewed silences."""
        return SilenceFiles(functools.partial(read_silences, self.settings), self.database, self.clock)

    @functools.cached_property
    def renderer(self) -> Renderer:
        """The templates of the settings."""
        return build_renderer(self.settings)

    def wake_matcher(self) -> None:
        """Have whoever waits for records look now."""
        self._match_wanted.set()

    def wait_for_records(self, seconds: float) -> None:
        """Wait until records were stored, or for so long."""
        self._match_wanted.wait(seconds)
        self._match_wanted.clear()

    def settle_removed(self) -> None:
        """Settle what is wrong with sources and receivers that are no longer configured, and kinds that are known now."""
        names = [source.name for source in self.settings.sources]
        self.troubles.settle_removed(names, [receiver.name for receiver in self.settings.receivers])
        organisations = {canonical_organisation(source.organisation_id) for source in self.settings.sources}
        with self.database.read() as connection:
            opened = [each for each in self_alerts.read_all(connection) if each.trouble == "unknown_kind"]
            kinds = {each.subject for each in opened} - set(known_kinds(self.settings))
            # Not by name: a source that was renamed goes on under its new name.
            removed = marks.names_of_others(connection, organisations)
            stray = {kind for kind in kinds if removed and not records.has_kind(connection, kind, besides=removed)}
        why = "no source that is configured has records of this kind"
        self.troubles.settle_others("unknown_kind", kinds - stray, lambda kind: why if kind in stray else "")

    def rulebook(self) -> Rulebook:
        """Make what decides, for `run` alone, which version of each rule runs."""
        settings = self.settings

        def read(read_file: Callable[[Path], list[Document]]) -> tuple[ReadFiles, Lists]:
            return read_documents(settings.rules, read_file), known_lists(settings)

        def build(documents: Sequence[Document], lists: Lists, memory: Memory) -> Rules:
            return build_rules(
                documents,
                lists=lists,
                known_kinds=known_kinds(settings),
                time_intervals=time_intervals(settings),
                now=self.clock(),
                read=memory.read_document,
            )

        return Rulebook(read, build, self.database, self.clock)

    def reread_silences(self) -> None:
        """Take up what changed in the reviewed silences, and tell people which files are broken."""
        before = self.silence_files.broken
        faults = self.silence_files.run_once()
        for file in before - {fault.file for fault in faults}:
            self.troubles.settle("rule_broken", file, why_whole(file))
        for fault in faults:
            self.troubles.report(
                "rule_broken", fault.file, str(fault), "fix the file; its last good content is used meanwhile"
            )

    def close(self) -> None:
        """Close the upstream connections and the store."""
        for client in self._clients:
            client.close()
        self.database.close()

    def _tail(self, source: Source) -> SourceTail:
        client = reading_client(source, self.clock)
        self._clients.append(client)
        organisation = client.reader.organisation
        accounts = AccountWatch(
            source.name,
            client,
            self.database,
            self.clock,
            self.troubles,
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
            self.database,
            self.troubles,
            self.clock,
        )
        return SourceTail(
            options,
            client,
            self.database,
            watch,
            self.clock,
            accounts,
            on_stored=self.wake_matcher,
            on_backlog=lambda backlog: self.on_backlog(backlog),
        )


def why_whole(file: str) -> str:
    """Say why nothing is wrong with a file any more, where that is not plain."""
    return "" if Path(file).exists() else "the file was removed"


def build_addressing(settings: Settings) -> Addressing:
    """Make the routing tree and the receivers it leads to."""
    destinations = {
        receiver.name: Destination(
            receiver.name,
            updates=receiver.updates,
            is_updated_last=_module(receiver).IS_UPDATED_LAST,
            min_level=receiver.min_level,
        )
        for receiver in settings.receivers
    }
    return Addressing(routes.build(settings.route, list(destinations)), destinations)


def build_channel(receiver: Receiver) -> Channel:
    """Make a receiver's notifier and what its messages need."""
    module, retry = _module(receiver), receiver.retry
    rate = receiver.rate_per_second
    return Channel(
        name=receiver.name,
        notifier=module.build(receiver.options, receiver=receiver.name),
        templates=templates_of(receiver.type, receiver.options),
        retry=RetryPolicy(retry.first, retry.factor, retry.max, retry.give_up_after),
        concurrency=receiver.concurrency,
        rate_per_second=module.DEFAULT_RATE_PER_SECOND if rate is None else rate,
        policy=build_policy(receiver),
    )


def build_policy(receiver: Receiver) -> ReceiverPolicy:
    """Say what a receiver wants of the messages it is sent."""
    digest: DigestOptions | None = getattr(receiver.options, "digest", None)
    return ReceiverPolicy(
        min_level=receiver.min_level,
        storm=_storm(receiver),
        digest=digest.crontab if digest else None,
        updates=receiver.updates,
        fallback=receiver.fallback,
        fallback_after=receiver.fallback_after,
        objective=receiver.slo.p99 if receiver.slo else None,
    )


def _storm(receiver: Receiver) -> Storm | None:
    if receiver.storm is None:
        return Storm() if _module(receiver).IS_READ_BY_PEOPLE else None
    return None if receiver.storm == "off" else Storm(receiver.storm.above, receiver.storm.per)


def build_global_policy(settings: Settings) -> GlobalPolicy:
    """Say what holds for every receiver: what inhibits what, and when it is which time."""
    rules = [
        InhibitRule(
            tuple(routes.parse_matcher(text) for text in rule.source_matchers),
            tuple(routes.parse_matcher(text) for text in rule.target_matchers),
            rule.equal,
        )
        for rule in settings.inhibit_rules
    ]
    return GlobalPolicy(tuple(rules), time_intervals(settings))


def build_renderer(settings: Settings) -> Renderer:
    """Make what renders messages: by the operator's templates first, by ours last."""
    return Renderer([settings.templates, shipped("templates")])


def build_heartbeat(app: App) -> Heartbeat | None:
    """Make the outgoing heartbeat, where one is configured."""
    url = app.settings.heartbeat.address
    if url is None:
        return None
    intervals = {source.name: source.poll_interval for source in app.settings.sources}
    return Heartbeat(url, intervals, app.database, app.clock)


def _module(receiver: Receiver) -> NotifierModule:
    return notifier_module(receiver.type)


def set_up_logs(settings: Settings) -> None:
    """Log as the settings say, with every secret of theirs blanked out."""
    logs.set_up(settings.log.level, settings.log.format, list(logs.secrets_in(settings)))
