"""The keys of the section `streams`: what every stream has, in addition to the options of its driver."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from actionwatch.settings.validators import MatcherText, WholeNumber, Word, parse_instant
from actionwatch.text.formats.messages import check_format
from actionwatch.text.formats.streams import STREAM_FORMATS
from actionwatch.text.options import Duration, Options, PositiveDuration

_DAY = timedelta(days=1)
_OF_ALERTS = ("alert", "rule", "source", "cluster", "user")
KEYS: Mapping[str, tuple[str, ...]] = {
    "records": ("source", "account", "cluster", "user", "kind"),
    "alerts": _OF_ALERTS,
    "decisions": _OF_ALERTS,
    "everything": ("source",),
}
"""The partition keys of what a stream sends, the default first."""


def _start(value: object) -> object:
    if value in ("now", "beginning"):
        return value
    try:
        return parse_instant(value)
    except ValueError as exc:
        raise ValueError("not a start: write now, beginning, or a time: 2026-11-25T09:00:00Z") from exc


def _key(name: str | None, info: ValidationInfo) -> str | None:
    accepted = KEYS.get(info.data.get("what", ""), ())
    if name is not None and accepted and name not in accepted:
        raise ValueError(f"must be one of {', '.join(accepted)} for {info.data['what']}")
    return name


def _part_of_day(span: timedelta) -> timedelta:
    if _DAY % span or span < timedelta(seconds=10):
        raise ValueError("must divide a day, and be at least 10s: write 1m, 15m, 1h or 1d")
    return span


class StreamOptions(Options):
    """The keys of every stream, in addition to its type."""

    name: Word
    """The name in commands, metrics and alerts. Unique. A stream with another name is another stream, which starts
    as `start` says.
    """
    what: Literal["records", "alerts", "decisions", "everything"] = "records"
    """`records`: every user action. `alerts`: every state of every alert. `decisions`: what people decided about alerts,
    and silences. `everything`: all of these, as [evidence](proof.md#evidence-outside).
    """
    matchers: tuple[MatcherText, ...] = ()
    """All must match; default: everything is sent. Records have the labels `actionKind`, `userName`, `account`,
    `cluster`, `scope`, `crudOperation` and `source`, and those of their source; alerts and decisions those that routes match.
    """
    format: Annotated[str, AfterValidator(functools.partial(check_format, STREAM_FORMATS))] = "actionwatch"
    """`actionwatch`, `cloudevents`, `ocsf`, or the name of [your own template](streams.md#formats)."""
    key: Annotated[str | None, AfterValidator(_key)] = None
    """The partition key: messages with the same value keep their order. `source` (default), `account`, `cluster`, `user` or
    `kind` for records; `alert` (default), `rule`, `source`, `cluster` or `user` for alerts and decisions.
    """
    start: Annotated[Literal["now", "beginning"] | datetime, BeforeValidator(_start)] = "now"
    """What its first start sends: `now`: what is stored from then on; `beginning`: all that is stored; or a time,
    `2026-11-25T09:00:00Z`: what happened since.
    """
    watermark: Annotated[PositiveDuration, AfterValidator(_part_of_day)] = timedelta(hours=1)
    """How much time each statement `stream.complete_through` is about. It must divide a day."""
    batch: Annotated[WholeNumber, Field(ge=1, le=10_000)] | None = None
    """How many messages are sent together at most, 1 to 10,000. Default: 500, and 10,000 in an object."""
    wait: Duration | None = None
    """How long messages wait for others, to be sent together. Default: `0s`, and `1m` for objects."""
    max_lag: PositiveDuration = timedelta(minutes=10)
    """The self-alert `stream_lagging` opens if a message waits longer."""

    @model_validator(mode="after")
    def _is_whole(self) -> StreamOptions:
        if self.what == "everything" and self.matchers:
            raise ValueError("a stream of everything takes no matchers: it is evidence, and a part shows no gap")
        return self

    @property
    def has_records(self) -> bool:
        """Whether it sends records, and statements about them."""
        return self.what in ("records", "everything")

    @property
    def template(self) -> str | None:
        """The name of the operator's template that the stream fills; None if its format is built in."""
        return None if self.format in STREAM_FORMATS else f"{self.format}.json"


class Stream(StreamOptions):
    """A stream: `options` is the `Options` model of its driver `type`."""

    type: str
    options: Options
