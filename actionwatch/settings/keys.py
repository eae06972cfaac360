"""Every key of the configuration file and of silence files: its name, its type, its default. To add a key, add a line.

Attribute names are the keys, except `rate` (`rate_per_second`) and `continue` (`is_continued`). Paths are absolute after
loading. A check that needs two keys is attached to the later one: pydantic skips the checks of a whole section if one of its
keys is wrong, but all errors should be reported at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

from actionwatch.base.model import Level
from actionwatch.settings.timeintervals import Location, TimeIntervalOptions
from actionwatch.settings.validators import (
    Address,
    Existing,
    Flag,
    HostName,
    KnownInterval,
    KnownReceiver,
    MatcherText,
    RecordField,
    WholeNumber,
    Word,
    one_of,
    parse_address,
    parse_heartbeat,
    parse_instant,
    parse_level,
    parse_origin,
    parse_rate,
    parse_start,
    parse_storm,
    resolve_store,
)
from actionwatch.text.options import (
    CaFile,
    ConfigPath,
    Duration,
    Options,
    PositiveDuration,
    Proxy,
    Secret,
    SecretFile,
    is_loopback,
    secret,
)


class Source(Options):
    """One organisation whose audit log is tailed."""

    name: Word
    organisation_id: Word
    username: Word
    api_key: Secret | None = None
    api_key_file: Annotated[SecretFile | None, AfterValidator(one_of("api_key", is_required=True))] = Field(
        default=None, validate_default=True
    )
    base_url: Annotated[str, AfterValidator(parse_origin)] = "https://api.instaclustr.com"
    poll_interval: PositiveDuration = timedelta(seconds=30)
    overlap: Duration = timedelta(minutes=15)
    sweeps: tuple[PositiveDuration, ...] = (
        timedelta(hours=1),
        timedelta(hours=6),
        timedelta(hours=24),
        timedelta(days=7),
    )
    start: Annotated[Literal["now"] | timedelta | datetime, BeforeValidator(parse_start)] = "now"
    alert_backlog: Flag = False
    page_size: Annotated[WholeNumber, Field(ge=1, le=1000)] = 1000
    timeout: PositiveDuration = timedelta(seconds=30)
    ca_file: CaFile | None = None
    proxy: Proxy | None = None
    field_aliases: Mapping[RecordField, tuple[Word, ...]] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """The API key, from either key."""
        return secret(self.api_key, self.api_key_file) or ""

    @property
    def proxy_url(self) -> str | None:
        """The proxy with its password, which `proxy` itself never shows."""
        return secret(self.proxy, None)


class Retention(Options):
    """How long the store keeps each kind of data, counted back from now."""

    records: PositiveDuration = timedelta(days=400)
    deliveries: PositiveDuration = timedelta(days=90)
    receipts: PositiveDuration = timedelta(days=400)


class Store(Options):
    """The database. `url` is absolute after loading: `sqlite:////srv/actionwatch.db`."""

    url: Annotated[str, AfterValidator(resolve_store)] = Field(
        default="sqlite:///actionwatch.db", validate_default=True
    )
    retention: Retention = Retention()

    @property
    def path(self) -> Path:
        """The database file."""
        return Path(self.url.removeprefix("sqlite:///"))


def _not_below_first(longest: timedelta, info: ValidationInfo) -> timedelta:
    if longest < info.data.get("first", longest):
        raise ValueError("must not be shorter than 'first'")
    return longest


class RetryPolicy(Options):
    """The waits after a failed delivery: `first`, `first * factor`, … up to `max`, until `give_up_after`."""

    first: PositiveDuration = timedelta(seconds=1)
    factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = 2.0
    max: Annotated[PositiveDuration, AfterValidator(_not_below_first)] = Field(
        default=timedelta(minutes=10), validate_default=True
    )
    give_up_after: PositiveDuration = timedelta(hours=24)


class StormOptions(Options):
    """More than `above` alerts within `per` collapse into summaries."""

    above: Annotated[WholeNumber, Field(ge=1, le=1_000_000)] = 30
    per: PositiveDuration = timedelta(minutes=1)


class Objective(Options):
    """The time within which 99 of 100 alerts must be delivered, counted from when they happened."""

    p99: PositiveDuration


class ReceiverOptions(Options):
    """The keys of every receiver, in addition to its type."""

    name: Word
    min_level: Annotated[Level, BeforeValidator(parse_level)] = Level.INFORMATIONAL
    rate_per_second: Annotated[float | None, BeforeValidator(parse_rate)] = Field(default=None, alias="rate")
    """None: the default of its type."""
    concurrency: Annotated[WholeNumber, Field(ge=1, le=64)] = 4
    updates: Duration = timedelta(seconds=10)
    retry: RetryPolicy = RetryPolicy()
    fallback: KnownReceiver | None = None
    fallback_after: Duration = timedelta(minutes=10)
    storm: Annotated[StormOptions | Literal["off"] | None, BeforeValidator(parse_storm)] = None
    """None: the default of its type."""
    slo: Objective | None = None


class Receiver(ReceiverOptions):
    """A named destination: `options` is the `Options` model of its notifier `type`."""

    type: str
    options: Options


class RouteOptions(Options):
    """A node of the routing tree as written; `alerts.routes.build` makes the tree from it."""

    receiver: KnownReceiver | None = None
    receivers: Annotated[
        Annotated[tuple[KnownReceiver, ...], Field(min_length=1)] | None, AfterValidator(one_of("receiver"))
    ] = None
    matchers: tuple[MatcherText, ...] = ()
    is_continued: Flag = Field(default=False, alias="continue")
    mute_time_intervals: tuple[KnownInterval, ...] = ()
    routes: tuple[RouteOptions, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The receivers of this node; empty if it inherits those of its parent."""
        return (self.receiver,) if self.receiver is not None else self.receivers or ()


class InhibitRuleOptions(Options):
    """Alerts that match the source matchers inhibit those that match the target matchers with equal labels in `equal`."""

    source_matchers: Annotated[tuple[MatcherText, ...], Field(min_length=1)]
    target_matchers: Annotated[tuple[MatcherText, ...], Field(min_length=1)]
    equal: tuple[Word, ...] = ()


def _guarded(token_file: SecretFile | None, info: ValidationInfo) -> SecretFile | None:
    listen = info.data.get("listen")
    is_token_given = token_file is not None or info.data.get("token", "unusable") is not None
    if listen is not None and not is_loopback(listen.host) and not is_token_given:
        raise ValueError("an address that is not loopback needs a token: set token_file, or listen on 127.0.0.1")
    return token_file


class Web(Options):
    """Health and metrics. A token is required for addresses that are not loopback."""

    listen: Annotated[Address, BeforeValidator(parse_address)] = Address("127.0.0.1", 8080)
    token: Secret | None = None
    token_file: Annotated[SecretFile | None, AfterValidator(one_of("token")), AfterValidator(_guarded)] = Field(
        default=None, validate_default=True
    )
    hosts: tuple[HostName, ...] = ()

    @property
    def access_token(self) -> str | None:
        """The token, from either key."""
        return secret(self.token, self.token_file)


class Heartbeat(Options):
    """An external dead man's switch that gets requests while the proof of every source is recent."""

    url: Annotated[SecretStr, AfterValidator(parse_heartbeat)] | None = None
    url_file: Annotated[SecretFile | None, AfterValidator(one_of("url"))] = None
    interval: PositiveDuration = timedelta(minutes=1)

    @property
    def address(self) -> str | None:
        """The URL, which is a secret for most services."""
        return secret(self.url, self.url_file)


class Log(Options):
    """Level and format of the log. `auto`: text on a terminal, JSON otherwise."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"


class Settings(Options):
    """The whole configuration. `load_settings` checks that there is a source and that names are unique."""

    sources: tuple[Source, ...] = ()
    store: Store = Field(default_factory=Store)
    rules: tuple[Existing, ...] = Field(default=(Path("rules"),), validate_default=True)
    lists: ConfigPath = Field(default=Path("lists"), validate_default=True)
    templates: ConfigPath = Field(default=Path("templates"), validate_default=True)
    extra_kinds: tuple[Word, ...] = ()
    receivers: tuple[Receiver, ...] = ()
    route: RouteOptions = RouteOptions()
    inhibit_rules: tuple[InhibitRuleOptions, ...] = ()
    silences: ConfigPath = Field(default=Path("silences"), validate_default=True)
    max_silence: PositiveDuration = timedelta(days=7)
    """The longest silence that `silences add` makes without `--force`. Reviewed files may have longer ones."""
    time_intervals: tuple[TimeIntervalOptions, ...] = ()
    time_zone: Location = UTC
    """The time zone of the people who read messages. Messages show each time in it and in UTC."""
    heartbeat: Heartbeat = Heartbeat()
    web: Web = Field(default_factory=Web)
    log: Log = Log()


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
