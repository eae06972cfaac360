"""Every key of the configuration file and of silence files: its name, its type, its default. To add a key, add a line.

The keys of the sections `web` and `streams` are in `web_keys.py` and `stream_keys.py`. Attribute names are the keys, except
`rate` (`rate_per_second`) and `continue` (`is_continued`). Paths are absolute after loading. A check that needs two keys is
attached to the later one: pydantic skips the checks of a whole section if one of its keys is wrong, but all errors should be
reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

from actionwatch.base.model import Level
from actionwatch.settings.store_url import resolve_store
from actionwatch.settings.stream_keys import Stream
from actionwatch.settings.timeintervals import Location, TimeIntervalOptions
from actionwatch.settings.validators import (
    Existing,
    Flag,
    KnownInterval,
    KnownReceiver,
    LabelName,
    MatcherText,
    RecordField,
    UserName,
    WholeNumber,
    Word,
    no_flag,
    one_of,
    parse_heartbeat,
    parse_instant,
    parse_level,
    parse_origin,
    parse_rate,
    parse_start,
    parse_storm,
)
from actionwatch.settings.web_keys import Web
from actionwatch.text.options import (
    CaFile,
    ConfigPath,
    Duration,
    Options,
    PositiveDuration,
    Proxy,
    Secret,
    SecretFile,
    secret,
)

_FILE_NAME = re.compile(r"[\w-]+")


def _is_folder(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        raise ValueError(f"'{path.name}' is not a folder: write it as file")
    return path


def _with_name(path: object, info: ValidationInfo) -> object:
    """Insert the name of the source into the path of its secret; the name must not lead to another folder or file."""
    if not isinstance(path, str) or "{name}" not in path:
        return path
    name = info.data.get("name")
    if name is None:  # its fault is reported too
        raise ValueError("{name} is the name of the source, which has no usable one")
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(
            f"'{name}' cannot be the name of a file: for {{name}}, use only letters, digits, _ and - in it"
        )
    return path.replace("{name}", name)


class Source(Options):
    """One organisation whose audit log is tailed."""

    name: Word
    """The name in alerts, logs and metrics. Unique."""
    organisation_id: Word
    """The organisation's id. It cannot change under the same `name`; two sources may share it: [sources and
    organisations](proof.md#sources-and-organisations).
    """
    username: UserName
    """The user that the key belongs to."""
    api_key: Secret | None = None
    """That user's Organization Management API key. One of the two is required."""
    api_key_file: Annotated[
        SecretFile | None, AfterValidator(one_of("api_key", is_required=True)), BeforeValidator(_with_name)
    ] = Field(default=None, validate_default=True)
    labels: Mapping[LabelName, Word] = Field(default_factory=dict)
    """Labels of its alerts, for [routes](#route), silences and templates: `{customer: acme, tier: gold}`. See
    [labels of sources](#labels-of-sources).
    """
    base_url: Annotated[str, AfterValidator(parse_origin)] = "https://api.instaclustr.com"
    """https; plain http is accepted only for loopback addresses."""
    poll_interval: PositiveDuration = timedelta(seconds=10)
    """How often to poll. The interval doubles with each poll that fails, up to 5 minutes; the first success resets it. A
    Retry-After of the upstream is respected, up to one hour.
    """
    overlap: Duration = timedelta(minutes=15)
    """How far before the newest stored record each poll starts, to find late records."""
    sweeps: tuple[PositiveDuration, ...] = (
        timedelta(hours=1),
        timedelta(hours=6),
        timedelta(hours=24),
        timedelta(days=7),
    )
    """How far back older records are checked by counts. Each sweep is checked at least every tenth of its reach. It
    is read again if the counts differ, and once in each reach. This finds [late and vanished
    records](proof.md#late-and-vanished-records). `[]` turns sweeps off.
    """
    start: Annotated[Literal["now"] | timedelta | datetime, BeforeValidator(parse_start)] = "now"
    """`now`: the server's time at the first successful poll. A duration before now (`7d`): records from before now
    are stored and rules learn from them, but they do not alert. Or a time with its zone: `2026-11-25T09:00:00Z`.
    """
    alert_backlog: Flag = False
    """`true`: records from before the first poll alert too."""
    page_size: Annotated[WholeNumber, Field(ge=1, le=1000)] = 1000
    """Records per request, 1 to 1000."""
    timeout: PositiveDuration = timedelta(seconds=30)
    """For a whole request, from connecting to the last byte."""
    ca_file: CaFile | None = None
    """A PEM file with certificates to trust instead of the system's."""
    proxy: Proxy | None = None
    """`http://host:port`, with `user:password@` if required. Proxies from the environment (`HTTPS_PROXY`) are not
    used.
    """
    field_aliases: Mapping[RecordField, tuple[Word, ...]] = Field(default_factory=dict)
    """Names that the upstream uses for fields, tried before the built-in ones: `{user: [principalName]}`.
    `check --live --shape` lists the fields. Set them before the first run, with the same value for every source of an
    organisation. Record keys depend on them: after a change, the records that polls and sweeps read again count as
    new, and the old ones as vanished.
    """

    @property
    def key(self) -> str:
        """The API key, from either key."""
        return secret(self.api_key, self.api_key_file) or ""

    @property
    def proxy_url(self) -> str | None:
        """The proxy with its password, which `proxy` itself never shows."""
        return secret(self.proxy, None)


OWN_KEYS = ("name", "organisation_id")
"""The keys of a source that have no defaults."""


class SourceFiles(Options):
    """The place of the sources, if they are not listed in the configuration file."""

    file: Existing | None = None
    """A YAML file with a list of sources. One of `file` and `folder` is required."""
    folder: Annotated[Existing | None, AfterValidator(_is_folder), AfterValidator(one_of("file", is_required=True))] = (
        Field(default=None, validate_default=True)
    )
    """A folder with one file for each source, `*.yml` or `*.yaml`. The name of a source is that of its file without the ending,
    unless it has the key `name`.
    """
    defaults: Mapping[str, Any] = Field(default_factory=dict, repr=False)
    """Keys for each source that does not set them: all but `name` and `organisation_id`. The labels of a source are added to
    those in `defaults`.
    """

    @property
    def path(self) -> Path:
        """The file or folder."""
        return self.file or self.folder or Path()


class Upstream(Options):
    """Limits for the requests of all sources together."""

    rate_per_second: Annotated[float | None, BeforeValidator(parse_rate)] = Field(default=None, alias="rate")
    """Maximum rate of requests to each origin (`base_url`), shared by its sources: `20/s`, `600/m`. Default: none."""
    threads: Annotated[WholeNumber, Field(ge=1, le=64)] = 16
    """How many sources are polled at the same time, 1 to 64."""


class Retention(Options):
    """The time for which the store keeps each kind of data, counted back from now."""

    records: PositiveDuration = timedelta(days=400)
    """How long records and the alerts that contain them are kept. What is [still needed](operations.md#retention) is
    kept longer.
    """
    deliveries: PositiveDuration = timedelta(days=90)
    """How long finished deliveries are kept. Dead letters are kept until they are retried or dropped. While an alert
    is unresolved, its deliveries are kept, so that the notified receivers also get `alert.resolved`.
    """
    receipts: PositiveDuration = timedelta(days=400)
    """How long the receipts of proved windows are kept."""


class Store(Options):
    """The database. `url` is absolute after loading: `sqlite:////srv/actionwatch.db`."""

    insecure: bool = False
    """Accept a `url` with which the password and all records may reach whoever answers there: PostgreSQL on another host
    without `sslmode=verify-full` or `verify-ca`. Loopback and sockets are always accepted.
    """
    url: Annotated[str, AfterValidator(resolve_store)] = Field(
        default="sqlite:///actionwatch.db", validate_default=True
    )
    """A SQLite file on a local disk. Three slashes: relative to the configuration; four: absolute,
    `sqlite:////var/lib/actionwatch/actionwatch.db`. Or a database in PostgreSQL, for
    [several replicas](postgresql.md): `postgresql+psycopg://user@host/actionwatch`.
    """
    retention: Retention = Retention()
    """The minimum time that records, deliveries and receipts are kept."""

    @property
    def path(self) -> Path:
        """The file of a SQLite store."""
        return Path(self.url.removeprefix("sqlite:///"))


def _not_below_first(longest: timedelta, info: ValidationInfo) -> timedelta:
    if longest < info.data.get("first", longest):
        raise ValueError("must not be shorter than 'first'")
    return longest


class RetryPolicy(Options):
    """The waits after a failed delivery: `first`, `first * factor`, … up to `max`, until `give_up_after`."""

    first: PositiveDuration = timedelta(seconds=1)
    """Wait after the first failure."""
    factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False), no_flag("a number")] = 2.0
    """Factor by which each wait grows, 1 to 100."""
    max: Annotated[PositiveDuration, AfterValidator(_not_below_first)] = Field(
        default=timedelta(minutes=10), validate_default=True
    )
    """The longest wait. Each wait is random up to its length, so that retries are spread."""
    give_up_after: PositiveDuration = timedelta(hours=24)
    """Time after the message was created; then it becomes a dead letter: kept, counted, shown, replayable."""


class StormOptions(Options):
    """More than `above` alerts within `per` collapse into summaries."""

    above: Annotated[WholeNumber, Field(ge=1, le=1_000_000)] = 30
    """The number of alerts above which a storm begins, 1 to 1,000,000."""
    per: PositiveDuration = timedelta(minutes=1)
    """The time within which they are counted."""


class ReceiverOptions(Options):
    """The keys of every receiver, in addition to its type."""

    name: Word
    """The name in routes and commands. Unique."""
    min_level: Annotated[Level, BeforeValidator(parse_level)] = Level.INFORMATIONAL
    """`informational`, `low`, `medium`, `high` or `critical`: alerts below this level are not sent here."""
    rate_per_second: Annotated[float | None, BeforeValidator(parse_rate)] = Field(default=None, alias="rate")
    """Maximum rate of messages: `1/s`, `10/m`, `100/h`, for all processes on the store together. Default: `1/s` for
    slack, none for others.
    """
    concurrency: Annotated[WholeNumber, Field(ge=1, le=64)] = 4
    """Concurrent deliveries, 1 to 64, for all processes on the store together. Messages about one alert keep their
    order.
    """
    updates: Duration = timedelta(seconds=10)
    """An alert is updated at most once per this time, always with its newest state."""
    retry: RetryPolicy = RetryPolicy()
    """The waits after a failed delivery."""
    fallback: KnownReceiver | None = None
    """The receiver that gets a copy of messages that are given up here, or that wait while this receiver keeps
    failing.
    """
    fallback_after: Duration = timedelta(minutes=10)
    """How long this receiver must fail before waiting messages are copied to its fallback."""
    storm: Annotated[StormOptions | Literal["off"] | None, BeforeValidator(parse_storm)] = None
    """More than `above` alerts within `per` collapse into one summary that lists and counts them. `off`: always one
    message per alert. Default: `{above: 30, per: 1m}` for slack, email and console, `off` for others.
    """


class Receiver(ReceiverOptions):
    """A named destination: `options` is the `Options` model of its notifier `type`."""

    type: str
    options: Options


class RouteOptions(Options):
    """A node of the routing tree as written; `alerts.routes.build` makes the tree from it."""

    receiver: KnownReceiver | None = None
    """The receiver of the alerts that this node takes. Default: the parent's receivers; at the root, every receiver."""
    receivers: Annotated[
        Annotated[tuple[KnownReceiver, ...], Field(min_length=1)] | None, AfterValidator(one_of("receiver"))
    ] = None
    """Instead of `receiver`: a list of receivers."""
    matchers: tuple[MatcherText, ...] = ()
    """All must match. The root has none."""
    is_continued: Flag = Field(default=False, alias="continue")
    """`true`: later siblings are tried as well. Not allowed at the root."""
    mute_time_intervals: tuple[KnownInterval, ...] = ()
    """Names of `time_intervals` during which this node delivers nothing. At their end, one summary reports what was
    muted. Children do not inherit them.
    """
    routes: tuple[RouteOptions, ...] = ()
    """Child routes."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The receivers of this node; empty if it inherits those of its parent."""
        return (self.receiver,) if self.receiver is not None else self.receivers or ()


class InhibitRuleOptions(Options):
    """Alerts that match the source matchers inhibit those that match the target matchers with equal labels in `equal`."""

    source_matchers: Annotated[tuple[MatcherText, ...], Field(min_length=1)]
    """They select the alerts that inhibit others while they are unresolved."""
    target_matchers: Annotated[tuple[MatcherText, ...], Field(min_length=1)]
    """They select the alerts that are not delivered while one that matches the source matchers is unresolved and near
    in time.
    """
    equal: tuple[Word, ...] = ()
    """The labels that must have equal values in both alerts."""


class Heartbeat(Options):
    """An external dead man's switch that gets requests while the proof of every source is recent."""

    url: Annotated[SecretStr, AfterValidator(parse_heartbeat)] | None = None
    """Receives GET requests while every source is [proved recently](operations.md#heartbeat). When they stop, the
    service behind it sends the alarm.
    """
    url_file: Annotated[SecretFile | None, AfterValidator(one_of("url"))] = None
    interval: PositiveDuration = timedelta(minutes=1)
    """How often."""

    @property
    def address(self) -> str | None:
        """The URL, which is a secret for most services."""
        return secret(self.url, self.url_file)


class Log(Options):
    """Level and format of the log, which depend on the terminal unless they are set."""

    level: Literal["auto", "debug", "info", "warning", "error"] = "auto"
    """`debug`, `info`, `warning`, `error`, or `auto`: `warning` on a terminal, which may show alerts too, `info` otherwise."""
    format: Literal["auto", "text", "json"] = "auto"
    """`text`, `json`, or `auto`: text on a terminal, JSON otherwise."""


class Settings(Options):
    """The whole configuration. `load_settings` checks that there is a source and that names are unique."""

    sources: tuple[Source, ...] = ()
    """At least one. Each is one organisation whose audit log is tailed. Or `{file: sources.yml}` or `{folder: sources}`."""
    upstream: Upstream = Upstream()
    """Limits for the requests of all sources together."""
    store: Store = Field(default_factory=Store)
    """The database."""
    rules: tuple[Existing, ...] = Field(default=(Path("rules"),), validate_default=True)
    """Files, or folders with `*.yml` and `*.yaml`. Each must exist."""
    lists: ConfigPath = Field(default=Path("lists"), validate_default=True)
    """The folder of the lists that rules refer to; optional."""
    templates: ConfigPath = Field(default=Path("templates"), validate_default=True)
    """Templates in this folder replace the shipped ones with the same name; optional."""
    extra_kinds: tuple[Word, ...] = ()
    """Additional action kinds of your upstream, so that they are not reported as unknown."""
    receivers: tuple[Receiver, ...] = ()
    """The named destinations. Each has exactly one type."""
    route: RouteOptions = RouteOptions()
    """The routing tree. Default: every receiver gets every alert."""
    inhibit_rules: tuple[InhibitRuleOptions, ...] = ()
    """Each has `source_matchers`, `target_matchers` and `equal`: an alert that matches the target matchers is not delivered
    while an alert that matches the source matchers is unresolved, near in time, and has equal values of the labels in `equal`.
    """
    streams: tuple[Stream, ...] = ()
    """The [streams](streams.md), which send all records, alerts or decisions to a broker. Each has exactly one type."""
    silences: ConfigPath = Field(default=Path("silences"), validate_default=True)
    """A folder of reviewed silences, `*.yml` and `*.yaml`; optional. Each file contains one silence or a list, with
    `matchers`, `author`, `comment`, `ends_at`, and optionally `starts_at`.
    """
    max_silence: PositiveDuration = timedelta(days=7)
    """`silences add` refuses a longer silence without `--force`, so that none is forgotten. It does not limit
    reviewed files and the button.
    """
    time_intervals: tuple[TimeIntervalOptions, ...] = ()
    """Named times for `when` of rules and `mute_time_intervals` of routes, in the format of Alertmanager."""
    auto_reload: Flag = False
    """Whether the service reloads a changed configuration by itself, as it does with rules."""
    time_zone: Location = UTC
    """The time zone of the people who read messages. Messages show each time in it and in UTC."""
    heartbeat: Heartbeat = Heartbeat()
    """An external service that raises the alarm when the requests of actionwatch stop."""
    web: Web = Field(default_factory=Web)
    """The health and metrics endpoints."""
    log: Log = Log()
    """Level and format of the log."""

    _source_files: SourceFiles | None = None

    def model_post_init(self, context: Any) -> None:
        self._source_files = (context or {}).get("source_files")

    @property
    def source_files(self) -> SourceFiles | None:
        """Where the sources are, if the configuration does not list them itself."""
        return self._source_files

    @property
    def poll_intervals(self) -> dict[str, timedelta]:
        """The poll interval of each source."""
        return {source.name: source.poll_interval for source in self.sources}


def _comment(text: str) -> str:
    if not text.strip():
        raise ValueError("must state the reason")
    return text.strip()


def _after_start(ends_at: datetime, info: ValidationInfo) -> datetime:
    starts_at = info.data.get("starts_at")
    if starts_at is not None and ends_at <= starts_at:
        raise ValueError("must be after starts_at: correct one of the two")
    return ends_at


_Instant = Annotated[datetime, BeforeValidator(parse_instant)]


class SilenceOptions(Options):
    """One silence in a file of the folder `silences`: its matchers, author, comment and time."""

    matchers: Annotated[tuple[MatcherText, ...], Field(min_length=1)]
    author: Word
    comment: Annotated[str, AfterValidator(_comment)]
    starts_at: _Instant | None = None
    ends_at: Annotated[_Instant, AfterValidator(_after_start)]
