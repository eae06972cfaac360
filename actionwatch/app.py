"""The composition root: settings in, one build function per room, and the service that runs them.

`App` is everything a command may need, built lazily where it is costly; `Service` is the scheduler, the threads and the web
listener around it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from actionwatch import logs
from actionwatch.alerts import routes, silences
from actionwatch.alerts.inhibition import InhibitRule
from actionwatch.alerts.policy import House, Policy, Storm
from actionwatch.errors import Fault
from actionwatch.instaclustr import aliases
from actionwatch.instaclustr.admin import Admin
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.instaclustr.origin import Connection
from actionwatch.model import Record, Silence
from actionwatch.notifiers.base import DigestOptions, NotifierModule, notifier_module, notifier_types, templates_of
from actionwatch.pipeline import prune
from actionwatch.pipeline.accounts import OWN_KINDS, AccountWatch
from actionwatch.pipeline.addressing import Addressing, Destination
from actionwatch.pipeline.channels import Channel
from actionwatch.pipeline.correlating import Correlating
from actionwatch.pipeline.deliver import Deliverer
from actionwatch.pipeline.heartbeat import Heartbeat
from actionwatch.pipeline.match import Matcher
from actionwatch.pipeline.people import People
from actionwatch.pipeline.reading import PollReport
from actionwatch.pipeline.selfwatch import SourceWatch, judge_disk
from actionwatch.pipeline.silencing import SilenceFiles
from actionwatch.pipeline.tail import Tail, TailOptions
from actionwatch.pipeline.troubles import Troubles
from actionwatch.render import Renderer
from actionwatch.retry import RetryPolicy
from actionwatch.rules import schema as rules_schema
from actionwatch.rules.engine import Engine
from actionwatch.rules.fields import field_text
from actionwatch.rules.lint import lint
from actionwatch.rules.load import Rules, load_rules, read_documents
from actionwatch.settings import Receiver, Settings, Source, load_settings
from actionwatch.settings import read_silences as settings_of_silences
from actionwatch.settings import schema as settings_schema
from actionwatch.store import troubles
from actionwatch.store.database import Database
from actionwatch.timeintervals import Period, TimeInterval

READ_BY_PEOPLE = (
    "apprise",
    "console",
    "email",
    "slack",
)  # types that a storm would drown; automation wants every message
SILENCES_SECONDS = 30  # how soon a change of the files is seen

DEFAULT_FIELDS = ("timestamp", "userName", "actionKind", "account", "cluster", "description")
MATCH_SECONDS = 5.0  # the matcher looks by itself this often; new records wake it at once
PRUNE_HOURS = 1
ACCOUNTS_EVERY = timedelta(minutes=5)
DISK_SECONDS = 60

log = structlog.get_logger()

Result = TypeVar("Result")


def utc_now() -> datetime:
    """Read the clock: the one place where the service does."""
    return datetime.now(UTC)


def shipped(name: str) -> Path:
    """Find a folder that comes with actionwatch (`rules`, `templates`): in the wheel, else in the checkout."""
    packaged = Path(__file__).parent / "_data" / name
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / name


def read_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read a configuration file.

    Raises: ConfigError, with every fault of it.
    """
    return load_settings(
        path,
        environ=os.environ if environ is None else environ,
        receiver_options=lambda kind: notifier_module(kind).Options,
        receiver_types=notifier_types(),
        check_matcher=routes.parse_matcher,
        record_fields=aliases.FIELDS,
    )


def read_rules(settings: Settings) -> Rules:
    """Read the rules that a configuration names; faults are in the result."""
    return load_rules(
        settings.rules,
        lists=settings.lists,
        known_kinds=known_kinds(settings),
        time_intervals=time_intervals(settings),
        now=utc_now(),
    )


def documented_kinds() -> list[str]:
    """List the kinds of the catalogue and those we make ourselves."""
    return [*KINDS, *OWN_KINDS]


def time_intervals(settings: Settings) -> dict[str, TimeInterval]:
    """Give the configured time intervals by name."""
    return {options.name: options.interval for options in settings.time_intervals}


def usual_intervals() -> dict[str, TimeInterval]:
    """Give the time intervals that `init` writes, for rules that are looked at without a configuration."""
    workday = Period(weekdays=((0, 4),), times=((8 * 60, 18 * 60),))
    return {"business-hours": TimeInterval("business-hours", (workday,))}


def known_kinds(settings: Settings) -> list[str]:
    """List the kinds that are no surprise: the catalogue's, those we make ourselves, and the configuration's."""
    return [*documented_kinds(), *settings.extra_kinds]


def rule_schema() -> dict[str, Any]:
    """Give the JSON Schema of rule files."""
    return rules_schema.rule_schema(KINDS)


def config_schema() -> dict[str, Any]:
    """Give the JSON Schema of the configuration."""
    options = {kind: notifier_module(kind).Options for kind in notifier_types()}
    return settings_schema.config_schema(options, rules_schema.DIALECT)


def open_store(settings: Settings) -> Database:
    """Open the store, bringing its schema up to date."""
    database = Database(settings.store.url)
    database.upgrade()
    return database


def connection_to(source: Source) -> Connection:
    """Say how a source's upstream is reached."""
    return Connection(
        base_url=source.base_url,
        organisation_id=source.organisation_id,
        username=source.username,
        api_key=source.key,
        timeout=source.timeout,
        ca_file=source.ca_file,
        proxy=source.proxy_url,
    )


def reading_client(source: Source) -> Client:
    """Make the client that can only read."""
    return Client(connection_to(source), source=source.name, field_aliases=source.field_aliases)


def writing_client(source: Source) -> Admin:
    """Make the client of the two writing operations; no part of the service ever gets one."""
    return Admin(connection_to(source))


class SourceTail:
    """What is polled of one source: its log at every poll, its linked accounts now and then, and before the first."""

    def __init__(self, tail: Tail, accounts: AccountWatch) -> None:
        self._tail = tail
        self._accounts = accounts
        self._accounts_due_at = datetime.min.replace(tzinfo=UTC)

    def run_once(self) -> PollReport:
        """Poll once."""
        now = utc_now()
        if now >= self._accounts_due_at:
            self._accounts_due_at = now + ACCOUNTS_EVERY
            self._accounts.run_once()
        return self._tail.run_once()

    def stop(self) -> None:
        """Leave the poll under way."""
        self._tail.stop()


class App:
    """What the settings describe, built. Close it when done."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = open_store(settings)
        self.rules = read_rules(settings)
        self.addressing = build_addressing(settings)
        self.troubles = Troubles(self.database, self.addressing, utc_now)
        self._match_wanted = threading.Event()
        self._clients: list[Client] = []

    @functools.cached_property
    def matcher(self) -> Matcher:
        """The matching step, over the rules that load."""
        sources = [source.name for source in self.settings.sources]
        correlating = Correlating(self.rules.rules, self.addressing, sources=sources)
        return Matcher(self.database, Engine(self.rules.rules), self.addressing, utc_now, correlating=correlating)

    @functools.cached_property
    def tails(self) -> list[SourceTail]:
        """The tailing step of each source."""
        return [self._tail(source) for source in self.settings.sources]

    def deliverer(self, receivers: Sequence[Receiver] | None = None) -> Deliverer:
        """Make the delivering step, for all receivers or for these only."""
        chosen = self.settings.receivers if receivers is None else receivers
        channels = [build_channel(receiver) for receiver in chosen]
        house = build_house(self.settings)
        return Deliverer(self.database, channels, self.renderer, field_texts, self.troubles, utc_now, house=house)

    def people(self, wake: Callable[[], None] = lambda: None) -> People:
        """Make what carries out people's decisions; `wake` has somebody look at the outbox."""
        return People(self.database, self.addressing, utc_now, wake)

    @functools.cached_property
    def silence_files(self) -> SilenceFiles:
        """The reviewed silences."""
        return SilenceFiles(functools.partial(read_silences, self.settings), self.database, utc_now)

    @functools.cached_property
    def renderer(self) -> Renderer:
        """The templates: the operator's first, ours last."""
        return Renderer([self.settings.templates, shipped("templates")])

    def wake_matcher(self) -> None:
        """Have whoever waits for records look now."""
        self._match_wanted.set()

    def wait_for_records(self, seconds: float) -> None:
        """Wait until records were stored, or for so long."""
        self._match_wanted.wait(seconds)
        self._match_wanted.clear()

    def settle_what_was_mended(self) -> None:
        """Tell people which rules are off, and settle what a change of files has mended since the last start."""
        with self.database.read() as connection:
            opened = troubles.read_all(connection)
        kinds = {found.subject for found in opened if found.trouble == "unknown_kind"}
        self.troubles.settle_others("unknown_kind", kinds - set(known_kinds(self.settings)))
        broken: dict[str, list[Fault]] = {}
        for fault in (*self.rules.faults, *self.silence_files.run_once()):
            log.error("rule_broken", fault=str(fault))
            broken.setdefault(fault.file, []).append(fault)
        for file, faults in broken.items():
            # One alert a file, however much is wrong in it: people mend files.
            what = "; ".join(f"line {fault.line}: {fault.what}" if fault.line else fault.what for fault in faults)
            self.troubles.report(
                "rule_broken", file, what, "mend it; 'actionwatch check' shows what is wrong and where"
            )
        self.troubles.settle_others("rule_broken", set(broken))

    def reread_silences(self) -> None:
        """Take up what changed in the reviewed silences, and tell people which files are broken."""
        before = self.silence_files.broken
        faults = self.silence_files.run_once()
        for file in before - {fault.file for fault in faults}:
            self.troubles.settle("rule_broken", file)
        for fault in faults:
            self.troubles.report("rule_broken", fault.file, str(fault), "mend it; what it said before holds meanwhile")

    def close(self) -> None:
        """Close the upstream connections and the store."""
        for client in self._clients:
            client.close()
        self.database.close()

    def _tail(self, source: Source) -> SourceTail:
        client = reading_client(source)
        self._clients.append(client)
        accounts = AccountWatch(source.name, client, self.database, utc_now, on_stored=self.wake_matcher)
        options = TailOptions(
            name=source.name,
            start=source.start,
            overlap=source.overlap,
            sweeps=source.sweeps,
            page_size=source.page_size,
            alert_backlog=source.alert_backlog,
            poll_interval=source.poll_interval,
        )
        watch = SourceWatch(
            source.name,
            source.poll_interval,
            known_kinds(self.settings),
            lambda: client.reader.unmapped_fields,
            self.database,
            self.troubles,
            utc_now,
        )
        tail = Tail(
            options, client, self.database, watch, utc_now, on_stored=self.wake_matcher, account_name=accounts.name_at
        )
        return SourceTail(tail, accounts)


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


def build_policy(receiver: Receiver) -> Policy:
    """Say what a receiver wants of the messages it is sent."""
    digest: DigestOptions | None = getattr(receiver.options, "digest", None)
    return Policy(
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
        return Storm() if receiver.type in READ_BY_PEOPLE else None
    return None if receiver.storm == "off" else Storm(receiver.storm.above, receiver.storm.per)


def build_house(settings: Settings) -> House:
    """Say what holds for every receiver: what inhibits what, and when it is which time."""
    rules = [
        InhibitRule(
            tuple(routes.parse_matcher(text) for text in rule.source_matchers),
            tuple(routes.parse_matcher(text) for text in rule.target_matchers),
            rule.equal,
        )
        for rule in settings.inhibit_rules
    ]
    return House(tuple(rules), time_intervals(settings))


def read_silences(settings: Settings) -> tuple[list[Silence], list[Fault]]:
    """Read the reviewed silences of a configuration; gives them, and what is wrong with any."""
    found, faults = settings_of_silences(settings.silences, silences.check_matchers, routes.parse_matcher)
    made = [
        silences.make_silence(
            text.matchers,
            text.author,
            text.comment,
            text.starts_at or silences.EVER,
            text.ends_at,
            made_at=silences.EVER,
            file=file,
        )
        for file, texts in found.items()
        for text in texts
    ]
    return made, faults


def build_heartbeat(app: App) -> Heartbeat | None:
    """Make the outgoing heartbeat, where one is configured."""
    url = app.settings.heartbeat.address
    if url is None:
        return None
    intervals = {source.name: source.poll_interval for source in app.settings.sources}
    return Heartbeat(url, intervals, app.database, utc_now)


def field_texts(record: Record, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Give the labelled values a rule wants shown, without the empty ones."""
    texts = ((name, field_text(record, name)) for name in names or DEFAULT_FIELDS)
    return tuple((name, text) for name, text in texts if text)


def _module(receiver: Receiver) -> NotifierModule:
    return notifier_module(receiver.type)


def check(settings: Settings) -> tuple[list[Fault], list[Fault]]:
    """Find what is wrong beyond the configuration file itself: rules, lists, templates. Gives (faults, notes)."""
    rules = read_rules(settings)
    notes = [*rules.notes, *lint(rules, read_documents(settings.rules).documents, known_kinds(settings))]
    return [*rules.faults, *read_silences(settings)[1], *check_templates(settings)], notes


def check_templates(settings: Settings) -> list[Fault]:
    """Find what is wrong with the templates, and which ones receivers name in vain."""
    renderer = Renderer([settings.templates, shipped("templates")])
    named = (templates_of(receiver.type, receiver.options) for receiver in settings.receivers)
    return [*renderer.check(), *(fault for names in named for fault in renderer.missing(names))]


def run_once(app: App, wait: timedelta) -> list[PollReport]:
    """Poll each source once, match, deliver what is due, and wait for retries due within `wait`."""
    app.settle_what_was_mended()
    with app.database.owned():
        reports = [tail.run_once() for tail in app.tails]
        app.matcher.run_once()
        app.deliverer().drain(wait)
    return reports


class Service:
    """The running service: a scheduler for the polls, a thread each for matching and delivering, the web listener."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._deliverer = app.deliverer()
        self._heartbeat = build_heartbeat(app)
        self._stopping = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self.url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run until the block ends, then end cleanly: what is being sent is finished and recorded."""
        settings = self._app.settings
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._app.database.owned())
            self._app.settle_what_was_mended()
            self.url = stack.enter_context(self._web())
            stack.callback(self._stop_threads)
            self._start("match", self._match)
            self._start("deliver", self._deliverer.run)
            self._listen_to_buttons(stack)
            scheduler = self._scheduler()
            scheduler.start()
            stack.callback(scheduler.shutdown, wait=True)
            stack.callback(self._stop_polling)
            if self._heartbeat:
                stack.callback(self._heartbeat.close)
            sources = [source.name for source in settings.sources]
            log.info("service_started", sources=sources, rules=len(self._app.rules.rules), url=self.url)
            yield
            log.info("service_stopping")
        log.info("service_stopped")

    def workers(self) -> dict[str, bool]:
        """Say which of the threads live."""
        return {name: thread.is_alive() for name, thread in self._threads.items()}

    def _listen_to_buttons(self, stack: contextlib.ExitStack) -> None:
        """Where a receiver has buttons, have presses carried out as decisions of whoever pressed."""
        people = self._app.people(self._deliverer.wake)
        for receiver in self._app.settings.receivers:
            make = getattr(_module(receiver), "listener", None)
            listener = make and make(receiver.options, people.act, receiver=receiver.name)
            if listener is not None:
                listener.start()
                stack.callback(listener.close)

    def _web(self) -> contextlib.AbstractContextManager[str]:
        # starlette and uvicorn are for the service alone; other commands need not wait for them.
        from actionwatch.web.health import health_routes
        from actionwatch.web.metrics import metrics_routes
        from actionwatch.web.server import serving

        settings, database = self._app.settings, self._app.database
        intervals = {source.name: source.poll_interval for source in settings.sources}
        web = [*health_routes(database, intervals, self.workers, utc_now), *metrics_routes(database, utc_now)]
        return serving(web, settings.web.listen.host, settings.web.listen.port, settings.web.access_token)

    def _scheduler(self) -> BackgroundScheduler:
        """One job a source, each with a thread of its own, so that a stuck source delays no other."""
        app = self._app
        scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(len(app.tails) + 4)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for source, tail in zip(app.settings.sources, app.tails, strict=True):
            seconds = source.poll_interval.total_seconds()
            scheduler.add_job(
                _guarded, "interval", (f"tail {source.name}", tail.run_once), seconds=seconds, next_run_time=utc_now()
            )
        disk = functools.partial(judge_disk, app.database.path, app.troubles)
        scheduler.add_job(_guarded, "interval", ("disk", disk), seconds=DISK_SECONDS, next_run_time=utc_now())
        if self._heartbeat:
            seconds = app.settings.heartbeat.interval.total_seconds()
            scheduler.add_job(_guarded, "interval", ("heartbeat", self._heartbeat.run_once), seconds=seconds)
        reread = ("silences", app.reread_silences)
        scheduler.add_job(_guarded, "interval", reread, seconds=SILENCES_SECONDS)
        keep = app.settings.store.retention
        retention = prune.Retention(keep.records, keep.deliveries, keep.receipts)
        pruning = functools.partial(_prune, app.database, retention)
        scheduler.add_job(_guarded, "interval", ("prune", pruning), hours=PRUNE_HOURS, next_run_time=utc_now())
        return scheduler

    def _match(self) -> None:
        while not self._stopping.is_set():
            self._app.wait_for_records(MATCH_SECONDS)
            if _guarded("match", self._app.matcher.run_once):
                self._deliverer.wake()

    def _start(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads[name] = thread
        thread.start()

    def _stop_polling(self) -> None:
        for tail in self._app.tails:
            tail.stop()

    def _stop_threads(self) -> None:
        self._stopping.set()
        self._app.wake_matcher()
        self._deliverer.stop()
        for thread in self._threads.values():
            thread.join(10)


def _prune(database: Database, retention: prune.Retention) -> None:
    prune.run_once(database, retention, utc_now())


def _guarded(step: str, run: Callable[[], Result]) -> Result | None:
    """Run one step; whatever it raises is logged, and the next run tries again: no step may end the service."""
    try:
        return run()
    except Exception as exc:
        log.exception("step_failed", step=step, error=str(exc))
        return None


def set_up_logs(settings: Settings) -> None:
    """Log as the settings say, with every secret of theirs blanked out."""
    logs.set_up(settings.log.level, settings.log.format, list(logs.secrets_in(settings)))
